"""The tables and figures of the paper, as the workflow draws them: one line per item.

Each item has a script ``paper_figures/<item>.py`` and a caption ``workflow/report/<item>.rst``. Its rule, log and
outputs have its name, and a study lists it under ``paper``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clever.results.run_id import PIXELS, setting

if TYPE_CHECKING:
    from clever.config import Study


@dataclass(frozen=True)
class Drawing:
    """How one item is drawn."""

    category: str
    """Heading of the item in Snakemake's report."""
    suffixes: tuple[str, ...]
    """Suffixes of its files, ``<results>/paper/<item><suffix>``."""
    reads: tuple[str, ...]
    """Which of the study's ``records``, ``runs`` and ``curves`` its script reads, each as an option of that name."""
    published: bool = True
    """Whether its script reads published values."""
    templates: tuple[str, ...] = ()
    """Patterns of the files in paper_figures that its script fills in, includes or reads."""
    optional: tuple[str, ...] = ()
    """The entries of ``reads`` that may be missing from committed records."""
    embeds: bool = False
    """Whether it contains the study's other items, and the command that made it."""
    options: Mapping[str, Callable[[Study], str]] = field(default_factory=dict)
    """Further options of its script, computed from the study."""
    uncommitted: Mapping[str, Callable[[Study], list[str]]] = field(default_factory=dict)
    """Further inputs, which are never committed because they hold images of the data: files below the study's results,
    by the name of the script's option. If they are missing, its script draws a note that says so."""
    shows: str | None = None
    """The protocol whose records it requires; None if it draws all records that exist."""
    needs: Callable[[Study], str | None] | None = None
    """Further requirements on a study: a function that returns what is missing and how to add it, or None if nothing
    is."""

    @property
    def embedded(self) -> str:
        """Suffix of the file that another page can embed: the vector graphic of a figure, else Markdown."""
        return ".svg" if ".svg" in self.suffixes else ".md"

    def inputs(self, study: Study, lacking: Collection[str] = ()) -> dict[str, object]:
        """Its inputs other than code and published values, by their names in the rule.

        Args:
            study: the study whose items it may contain.
            lacking: which of ``FILES`` do not exist.
        """
        left_out = set(lacking) & set(self.optional)
        files: dict[str, object] = {name: f"<results>/{FILES[name]}" for name in self.reads if name not in left_out}
        if self.embeds:
            files["drawn"] = [f"<results>/paper/{item}{DRAWINGS[item].embedded}" for item in contained_items(study)]
        return files

    def arguments(self, study: Study, inputs: object, lacking: Collection[str] = (), command: str = "") -> list[str]:
        """Its script's arguments, without the output.

        Args:
            study: the study that sets the options.
            inputs: an attribute for each name of ``self.inputs``: a path, or a sequence of paths.
            lacking: see ``self.inputs``.
            command: the command that draws the study, for a page that quotes it.
        """
        found = []
        for name in self.inputs(study, lacking):
            paths = getattr(inputs, name)
            found += [f"--{name}", *([paths] if isinstance(paths, str) else map(str, paths))]
        for name, value in self.options.items():
            found += [f"--{name}", value(study)]
        return [*found, "--command", command] if self.embeds else found

    def uncommitted_inputs(self, study: Study) -> dict[str, list[str]]:
        """The inputs that are never committed, below the study's results, by their names in the rule."""
        return {name: files(study) for name, files in self.uncommitted.items()}

    def uncommitted_arguments(self, inputs: object) -> list[str]:
        """Its script's arguments for these inputs; ``inputs`` has a sequence of paths for each name."""
        return [word for name in self.uncommitted for word in (f"--{name}", *map(str, getattr(inputs, name)))]


def contained_items(study: Study) -> list[str]:
    """The study's items in its order, without those that contain others."""
    return [item for item in dict.fromkeys(study.paper) if not DRAWINGS[item].embeds]


def pictures_of(protocol: str) -> Callable[[Study], list[str]]:
    """The picture files of a protocol and its variants, for the run with the first seed of each configuration."""

    def files(study: Study) -> list[str]:
        names = [name for name in study.evaluation_options() if name.partition("+")[0] == protocol]
        first: dict[tuple[str, ...], tuple[int, str]] = {}
        for run, recipe in study.recipes().items():
            axes = recipe.data, recipe.backbone_name, recipe.method_name, recipe.augmentation_name
            if recipe.backbone_name != PIXELS:
                first[axes] = min(first.get(axes, (recipe.seed, run)), (recipe.seed, run))
        return [f"evaluations/{run}/{name}.npz" for _, run in first.values() for name in names]

    return files


def _first_store(study: Study) -> list[str]:
    """The store of the first block of runs."""
    return [f"data/{study.pretrainings[0].data}/store.json"]


def _views(study: Study) -> str:
    """What the study does to the images of its first block: its training augmentations and test perturbations, as JSON.

    The perturbations are those of the first protocol that has some.
    """
    data = study.pretrainings[0].data
    names = dict.fromkeys(name for block in study.pretrainings if block.data == data for name in block.augmentations)
    chosen: dict[str, object] = {"augmentations": {name: study.augmentations[name].model_dump() for name in names}}
    for options in study.evaluation_options().values():
        settings = options.model_dump()
        if "perturbations" in settings:
            keys = ("perturbations", "image_size", "resize_size", "elastic_reference_size")
            chosen |= {key: settings.get(key) for key in keys}
            break
    return json.dumps(chosen, sort_keys=True)


def _methods(study: Study) -> str:
    """The study's methods with all their options, in its order, as JSON."""
    return json.dumps({name: method.model_dump(mode="json") for name, method in study.methods.items()})


def _name(study: Study) -> str:
    return study.study


def _claims(study: Study) -> str:
    """The claims figure in the folder of the page, if the study draws it."""
    return "figure_claims.png" if "figure_claims" in study.paper else ""


def _accuracies(study: Study) -> str | None:
    if {"linear", "knn"} & set(study.evaluation_options()):
        return None
    return "shows the protocol linear or knn, which evaluations does not have; add linear: {} to evaluations"


def _probe(study: Study) -> str | None:
    if "linear" in study.evaluation_options():
        return None
    return "compares measures with the protocol linear, which evaluations does not have; add linear: {} to evaluations"


def _simsiam(study: Study) -> str | None:
    if any(method.baseline.name == "simsiam" for block in study.blocks() for method in block.methods.values()):
        return None
    return "compares methods with the baseline simsiam, which no pre-training has; add one"


def _split(study: Study) -> str | None:
    names = ("clever", "ddcl")
    if any(method.equivariance.name in names for block in study.blocks() for method in block.methods.values()):
        return None
    return "shows the IR and EF of clever or ddcl, which no pre-training has; add one"


def _axis(study: Study) -> str | None:
    if any(setting(name) for block in study.blocks() for name in block.methods):
        return None
    return (
        "shows how an option of a method changes the accuracy, but no block of pretrainings varies one; add axes, for "
        "example {equivariance.separation_ratio: [0.5, 0.9]}"
    )


def _schedules(study: Study) -> str | None:
    epochs: dict[tuple[str, str, str], set[int]] = {}
    for block in study.blocks():
        for backbone in block.backbones:
            for method in block.methods:
                epochs.setdefault((block.data, backbone, method), set()).add(block.optimisation.epochs)
    if any(len(found) > 1 for found in epochs.values()):
        return None
    return (
        "shows accuracy against epochs of pre-training, but no method has two schedules; add axes, for example "
        "{optimisation.epochs: [100, 200]}, to a block of pretrainings"
    )


FILES = {"records": "records.csv", "runs": "runs.json", "curves": "curves.csv"}
"""The files of a study's measurements, by the names that ``Drawing.reads`` uses."""
_TABLE = ("Tables", (".md", ".csv", ".tex"))
_FIGURE = ("Figures", (".pdf", ".png", ".svg"))
_BOTH = ("records", "runs")

DRAWINGS: dict[str, Drawing] = {
    "table_1": Drawing(*_TABLE, _BOTH, shows="linear"),
    "table_matrix": Drawing(*_TABLE, _BOTH, published=False, shows="linear"),
    "table_latents": Drawing(*_TABLE, _BOTH, published=False, shows="latents"),
    "table_methods": Drawing(*_TABLE, _BOTH, shows="linear"),
    "table_parts": Drawing(*_TABLE, _BOTH, shows="linear", needs=_split),
    "table_simsiam": Drawing(*_TABLE, _BOTH, shows="linear", needs=_simsiam),
    "table_semi": Drawing(*_TABLE, _BOTH, shows="semi"),
    "table_transfer": Drawing(*_TABLE, _BOTH, shows="transfer"),
    "table_loss_terms": Drawing(*_TABLE, _BOTH, shows="linear", needs=_split),
    "table_references": Drawing(*_TABLE, _BOTH, needs=_accuracies),
    "table_saliency": Drawing(*_TABLE, _BOTH, shows="saliency"),
    "table_video": Drawing(*_TABLE, _BOTH, shows="video"),
    "table_detection": Drawing(*_TABLE, _BOTH, shows="detection"),
    "table_corruption": Drawing(*_TABLE, _BOTH, shows="corruption"),
    "table_equivariance": Drawing(*_TABLE, _BOTH, shows="equivariance"),
    "figure_attention": Drawing(
        *_FIGURE, (), published=False, uncommitted={"pictures": pictures_of("attention")}, shows="attention"
    ),
    "figure_saliency": Drawing(
        *_FIGURE, (), published=False, uncommitted={"pictures": pictures_of("saliency")}, shows="saliency"
    ),
    "figure_video": Drawing(
        *_FIGURE, (), published=False, uncommitted={"pictures": pictures_of("video")}, shows="video"
    ),
    "figure_gallery": Drawing(
        *_FIGURE, (), published=False, uncommitted={"store": _first_store}, options={"views": _views}
    ),
    "figure_overview": Drawing(
        *_FIGURE, (), published=False, templates=("terms/*.yaml",), options={"methods": _methods}
    ),
    "figure_robustness": Drawing(*_FIGURE, ("records",), shows="linear"),
    "figure_epochs": Drawing(*_FIGURE, _BOTH, shows="linear", needs=_schedules),
    "figure_hyperparameters": Drawing(*_FIGURE, _BOTH, shows="linear", needs=_axis),
    "figure_loss_terms": Drawing(*_FIGURE, ("curves", "runs"), published=False),
    "figure_equivariance": Drawing(*_FIGURE, ("records",), published=False, shows="equivariance"),
    "figure_quality": Drawing(*_FIGURE, ("records",), published=False, shows="quality", needs=_probe),
    "figure_claims": Drawing(*_FIGURE, _BOTH, options={"study": _name}, shows="linear"),
    "report": Drawing(
        "Report",
        (".html",),
        ("records", "runs", "curves"),
        templates=("report.html.jinja", "report.css", "report.js"),
        optional=("curves",),
        embeds=True,
        options={"study": _name},
    ),
    "findings": Drawing(
        "Report",
        (".md",),
        _BOTH,
        templates=("findings.md.jinja",),
        options={"study": _name, "figure": _claims},
        shows="linear",
    ),
}
"""Every item, by its name."""
