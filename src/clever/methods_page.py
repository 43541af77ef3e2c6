"""The page docs/methods.md, generated from the registries: ``python -m clever.methods_page > docs/methods.md``.

A test keeps the page in step with registries, recipes and committed records.
"""

from __future__ import annotations

import csv
import gzip
import re
import sys
from pathlib import Path

from clever.baselines import BASELINES, BaselineOptions
from clever.equivariance import EQUIVARIANCES, EquivarianceOptions

_HEAD = """\
# Methods

A method is a baseline (how two views are compared) plus an add-on (what is learned in addition). This page is
generated from the code: `python -m clever.methods_page > docs/methods.md`. The docstring of a method's file gives its
sources, its options, and every choice that its sources leave open. "Measured" names the committed studies in
`paper_figures/measured`. A method without one has only been tested: its loss and gradient against an independent
float64 form, a few training steps, and a rehearsal on a pretended GPU.
"""

_LEFT_OUT = """\
## Not separate methods

MCL's stages are a chain of runs of any baseline ([studies](studies.md)). Core-tuning is an option of the protocols
`semi` and `transfer` ([protocols](protocols.md)).

## Left out, and why

| method | reason |
|---|---|
| Hydra, SimLAP | no formula of their gates and losses in our sources; they need labels |
| cMIM | needs a decoder; no code found |
| EquiCaps, seq-JEPA | need capsules or sequences of views, which two-view baselines do not have; published rows only |
| ContextSSL | a sequence model over many views with a context at test time |
| LiDAR detection, recurrent flow equivariance | other data than single photographs |
| text, vision-language, recommendation, reward learning, text-to-image | no representation of images from views alone |
"""


def methods_page(root: Path) -> str:
    """The page's text.

    Args:
        root: the repository, whose recipes and committed records the page lists.
    """
    baselines = [
        _row(name, entry.kind, _baseline_needs(entry.options.model_validate({"name": name})), root)
        for name, entry in BASELINES.items()
    ]
    add_ons = [
        _row(name, entry.kind, _add_on_needs(entry.options.model_validate({"name": name})), root)
        for name, entry in EQUIVARIANCES.items()
    ]
    columns = "| name | method | paper | needs | recipes | measured |\n|---|---|---|---|---|---|\n"
    sections = [
        _HEAD,
        "## Baselines\n\n" + columns + "".join(baselines),
        "## Add-ons\n\n" + columns + "".join(add_ons),
        _LEFT_OUT,
    ]
    return "\n".join(sections)


def _row(name: str, kind: type[object], needs: str, root: Path) -> str:
    described = " ".join((sys.modules[kind.__module__].__doc__ or "").split())
    papers = dict.fromkeys(re.findall(r"arXiv (\d{4}\.\d{5})", described))
    links = ", ".join(f"[{paper}](https://arxiv.org/abs/{paper})" for paper in papers)
    what = re.split(r" \(|[.:] |\.$", described.split(": ", 1)[-1])[0]
    recipes = sorted(root.glob(f"workflow/recipes/*/{name}.yaml"))
    linked = ", ".join(f"[{path.parent.name}](../{path.relative_to(root)})" for path in recipes)
    return f"| `{name}` | {what} | {links} | {needs} | {linked} | {', '.join(_studies(name, root))} |\n"


def _baseline_needs(options: BaselineOptions) -> str:
    needs = ["a momentum teacher"] if options.has_momentum_teacher else []
    if options.needed_maps():
        needs.append("feature maps of the teacher")
    elif options.remembers_images:
        needs.append("a memory of every training image")
    elif options.reads_samples:
        needs.append("labels or latents")
    return ", ".join([*needs, "two or more views" if options.accepts_local_views else "two views"])


def _add_on_needs(options: EquivarianceOptions) -> str:
    views = options.extra_views()
    needs = [f"{len(views)} further view{'s' if len(views) > 1 else ''}"] if views else []
    if options.shared_draws > 1 or any(view.shared_draws > 1 for view in views):
        needs.append("images that share a view's parameters")
    if options.needed_maps():
        needs.append("feature maps")
    if options.redraws:
        needs.append("gradients through the views")
    return ", ".join(needs) or "nothing further"


def _studies(name: str, root: Path) -> list[str]:
    """The studies whose committed records have a method with this part in its name."""
    found = []
    for path in sorted(root.glob("paper_figures/measured/*/records.csv*")):
        opened = gzip.open if path.suffix == ".gz" else Path.open
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            methods = {row["method"] for row in csv.DictReader(file)}
        if any(name in method.split("+") or (name == "none" and "+" not in method) for method in methods):
            found.append(path.parent.name)
    return found


if __name__ == "__main__":
    sys.stdout.write(methods_page(Path.cwd()))
