"""The paper's tables and figures: what is known about each, its rule and its study, and where it was measured.

``python paper_figures/paper.py > docs/paper.md`` writes the page. The rules come from ``clever.drawings``, the studies
from ``workflow/studies``, and what was measured from ``paper_figures/measured``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tables import Row, markdown_grid

from clever.config import load_study
from clever.drawings import DRAWINGS

ROOT = Path(__file__).resolve().parents[1]
PAPER_STUDY = "imagenet100"
DEMO = "config.yaml"


@dataclass(frozen=True)
class Item:
    """A table or figure of the paper.

    ``known`` is what our sources say about it, ``guessed`` whether its number or existence is inferred. ``draws`` are
    our items; empty if there is none, and then ``study`` says why.
    """

    label: str
    known: str
    draws: tuple[str, ...]
    guessed: bool = True
    study: str = PAPER_STUDY


TABLES = (
    Item(
        "Table 8 (v1)",
        "Printed in the authors' repository (performance.png): linear probe on ImageNet-100 after 200 epochs, DINO and "
        "CLeVER on five backbones next to SimCLR, BYOL, MoCo and others, with standard deviations.",
        ("table_methods",),
        guessed=False,
    ),
    Item(
        "main results",
        "The README prints DINO and CLeVER, five backbones, BAug and CAug, unchanged and rotated images. run.sh also "
        "evaluates CAug+, colour jitter, flips and elastic transforms.",
        ("table_1",),
    ),
    Item(
        "parts",
        "run.sh probes the whole vector, IR and EF. DDCL prints its invariant part alone; CLeVER's values are unknown.",
        ("table_parts",),
    ),
    Item(
        "SimSiam family",
        "DDCL's README prints SimSiam, DDCL and DDCL with L_PReg (CLeVER on SimSiam) under five perturbations.",
        ("table_simsiam",),
        study="imagenet100_ddcl",
    ),
    Item(
        "semi-supervised",
        "run_ds.sh fine-tunes on 1 % and 10 % of the labels. No value is known.",
        ("table_semi",),
    ),
    Item(
        "downstream data",
        "run_ds.sh probes and fine-tunes on CUB-200, Flowers-102, Food-101 and Oxford Pets. No value is known; DDCL's "
        "Table 3 is the nearest.",
        ("table_transfer",),
    ),
    Item(
        "video segmentation",
        "The code has DINO's label propagation on DAVIS-2017, for ViTs. No value is known.",
        ("table_video",),
    ),
    Item(
        "saliency",
        "The README refers to TokenCut on ECSSD, DUTS and DUT-OMRON. TokenCut prints DINO's values, not CLeVER's.",
        ("table_saliency",),
    ),
    Item(
        "loss terms",
        "Inferred from the options of run.sh: L_Orth and L_PReg on and off. No value is known.",
        ("table_loss_terms",),
    ),
    Item(
        "ImageNet-1k",
        "Inferred from the evaluation scripts, which also take ImageNet. No value of CLeVER is known.",
        ("table_1",),
        study="no study: copy imagenet100.yaml, remove data.imagenet100.classes, and rename it",
    ),
)
FIGURES = (
    Item(
        "Figure 1",
        "Its caption claims a comprehensive improvement of DINO's robustness. The layout is unknown; here every "
        "perturbation for every backbone.",
        ("figure_robustness",),
        guessed=False,
    ),
    Item(
        "Figure 2",
        "Overview: (a) pre-training with its heads and losses, (b) inference with IR and EF (Arch.png).",
        ("figure_overview",),
        guessed=False,
    ),
    Item(
        "Figure 3",
        "Attention maps of DINO and CLeVER under several augmentations. The layout is inferred from "
        "visualize_attention.py.",
        ("figure_attention",),
        guessed=False,
    ),
    Item("Figure 4", "Masks of unsupervised saliency segmentation by TokenCut.", ("figure_saliency",), guessed=False),
    Item(
        "Figure 5",
        "Ablations on hyper-parameters. Which ones is inferred from run.sh: separation ratio, weights of orthogonality "
        "and head norm, outputs of the EF's head. No value is known.",
        ("figure_hyperparameters",),
        guessed=False,
    ),
    Item(
        "Figure 6–8, a",
        "Accuracy against epochs per backbone (Backbones.png in the repository), read off the picture.",
        ("figure_epochs",),
    ),
    Item(
        "Figure 6–8, b",
        "Unknown. DDCL's check_ortho.py suggests curves of orthogonality and norms over training.",
        ("figure_loss_terms",),
    ),
    Item(
        "Figure 6–8, c",
        "Unknown. Further attention maps or masks, also of videos, are likely.",
        ("figure_attention", "figure_saliency", "figure_video"),
    ),
)


@dataclass(frozen=True)
class Studies:
    """The items of every study, and the studies with committed records."""

    items: Mapping[str, Sequence[str]]
    measured: frozenset[str]

    def measured_for(self, item: str) -> list[str]:
        """The studies with committed records that draw an item."""
        return sorted(name for name in self.measured if item in self.items.get(name, ()))


def read_studies(root: Path = ROOT) -> Studies:
    """The studies of a checkout."""
    files = [*sorted((root / "workflow" / "studies").glob("*.yaml")), root / DEMO]
    loaded = [load_study(path) for path in files]
    measured = {path.parent.name for path in (root / "paper_figures" / "measured").glob("*/records.csv*")}
    return Studies({study.study: study.paper for study in loaded}, frozenset(measured))


def render(studies: Studies) -> str:
    """The page."""
    named = {item for one in (*TABLES, *FIGURES) for item in one.draws}
    others = [item for item in DRAWINGS if item not in named]
    lines = [
        "# The paper, item by item",
        "",
        "Written by `python paper_figures/paper.py > docs/paper.md`; do not edit by hand.",
        "",
        "The paper (arXiv 2406.00262) has 10 tables and 8 figures. Its text was not available to us: what we know",
        "comes from the authors' two repositories and the abstract's page. An item marked † is inferred: we know how",
        "many items there are, but not this one's number or exact content. Values that our sources print are in",
        "`paper_figures/published/` and appear next to ours; where there is none, tables and figures say so.",
        "",
        "## Tables",
        "",
        _grid(TABLES, studies),
        "",
        "## Figures",
        "",
        _grid(FIGURES, studies),
        "",
        "## Further items",
        "",
        "These are not known to be in the paper:",
        "",
        markdown_grid(
            ("rule", "measured on"),
            (),
            [Row((f"{item}", ", ".join(studies.measured_for(item)) or "not yet"), (), "ours") for item in others],
        ),
        "",
        "## Commands",
        "",
        "Every rule draws one item from the records of its study, and measures what is missing:",
        "",
        "    snakemake --configfile workflow/studies/imagenet100.yaml --workflow-profile workflow/profiles/slurm \\",
        "        --config data_root=FOLDER -- results/imagenet100/paper/table_1.md",
        "",
        "An item that was measured on a smaller study is redrawn from its committed records in seconds:",
        "",
        "    snakemake --cores 1 --configfile workflow/studies/photographs_cpu.yaml --config from_measured=true \\",
        "        -- results/photographs_cpu/measured/paper/table_1.md",
        "",
        "No item has been measured on ImageNet-100: that takes weeks of a GPU (see the head of the study).",
        "",
    ]
    return "\n".join(lines)


def _grid(items: Sequence[Item], studies: Studies) -> str:
    rows = [
        Row(
            (
                item.label + (" †" if item.guessed else ""),
                item.known,
                ", ".join(item.draws),
                item.study,
                _measured(item, studies),
                _file(item),
            ),
            (),
            "ours",
        )
        for item in items
    ]
    return markdown_grid(("paper", "what is known", "rule", "study", "measured on", "file"), (), rows)


def _measured(item: Item, studies: Studies) -> str:
    found = sorted({name for one in item.draws for name in studies.measured_for(one)})
    return ", ".join(found) or "not yet"


def _file(item: Item) -> str:
    """The output to request for the first of our items; a dash if it is not drawn by one of the paper's studies."""
    if item.study not in (PAPER_STUDY, "imagenet100_ddcl"):
        return "–"
    return f"results/{item.study}/paper/{item.draws[0]}{DRAWINGS[item.draws[0]].suffixes[0]}"


def main() -> None:
    """Print the page."""
    sys.stdout.write(render(read_studies()))


if __name__ == "__main__":
    main()
