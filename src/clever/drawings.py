"""The tables and figures of the paper, as the workflow draws them: one line per item.

Each item has a script ``paper_figures/<item>.py`` and a caption ``workflow/report/<item>.rst``. Its rule, log and
outputs have its name, and a study lists it under ``paper``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clever.config import Study


@dataclass(frozen=True)
class Drawing:
    """How one item is drawn."""

    category: str
    """Heading of the item in Snakemake's report."""
    suffixes: tuple[str, ...]
    """Its files, ``<results>/paper/<item><suffix>``."""
    reads: tuple[str, ...]
    """Which of the study's ``records``, ``runs`` and ``curves`` its script reads, each as an option of that name."""
    published: bool = True
    """Whether its script reads the values that others have published."""
    templates: tuple[str, ...] = ()
    """Files of paper_figures that its script fills in or includes."""
    optional: tuple[str, ...] = ()
    """Those of ``reads`` without which it is drawn if the committed records lack them."""
    embeds: bool = False
    """Whether it contains the study's other items, and the command that made it."""
    options: Mapping[str, Callable[[Study], str]] = field(default_factory=dict)
    """Further options of its script, from the study."""
    shows: str | None = None
    """The protocol whose records it requires; None if it draws whatever records exist."""

    @property
    def embedded(self) -> str:
        """Suffix of its file that another page can contain: the vector graphic of a figure, else Markdown."""
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
            lacking: as in ``self.inputs``.
            command: the command that draws the study, for a page that quotes it.
        """
        found = []
        for name in self.inputs(study, lacking):
            paths = getattr(inputs, name)
            found += [f"--{name}", *([paths] if isinstance(paths, str) else map(str, paths))]
        for name, value in self.options.items():
            found += [f"--{name}", value(study)]
        return [*found, "--command", command] if self.embeds else found


def contained_items(study: Study) -> list[str]:
    """The study's items in its order, without those that contain others."""
    return [item for item in dict.fromkeys(study.paper) if not DRAWINGS[item].embeds]


def _name(study: Study) -> str:
    return study.study


def _claims(study: Study) -> str:
    """The claims figure in the folder of the page, if the study draws it."""
    return "figure_claims.png" if "figure_claims" in study.paper else ""


FILES = {"records": "records.csv", "runs": "runs.json", "curves": "curves.csv"}
"""The files of a study's measurements, by the names that ``Drawing.reads`` uses."""
_TABLE = ("Tables", (".md", ".csv", ".tex"))
_FIGURE = ("Figures", (".pdf", ".png", ".svg"))
_BOTH = ("records", "runs")

DRAWINGS: dict[str, Drawing] = {
    "table_1": Drawing(*_TABLE, _BOTH, shows="linear"),
    "table_matrix": Drawing(*_TABLE, _BOTH, published=False, shows="linear"),
    "table_latents": Drawing(*_TABLE, _BOTH, published=False, shows="latents"),
    "table_references": Drawing(*_TABLE, _BOTH),
    "figure_robustness": Drawing(*_FIGURE, ("records",), shows="linear"),
    "figure_loss_terms": Drawing(*_FIGURE, ("curves", "runs"), published=False),
    "figure_claims": Drawing(*_FIGURE, _BOTH, options={"study": _name}),
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
        "Report", (".md",), _BOTH, templates=("findings.md.jinja",), options={"study": _name, "figure": _claims}
    ),
}
"""Every item, by its name."""
