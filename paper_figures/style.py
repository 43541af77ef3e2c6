"""A common style for all figures: sizes, colours that colour-blind readers can distinguish, reproducible files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from clever.files import write_bytes

SUFFIXES = (".pdf", ".png", ".svg")
INK = "#222222"
MUTED = "#6b6b6b"
ALARM = "#b00020"


@dataclass(frozen=True)
class Mark:
    """How a method is drawn: the marker distinguishes methods that share a colour."""

    colour: str
    marker: str


# The eight colours of Okabe and Ito (2008), without their yellow, which is too pale for a thin line on white.
METHOD_MARKS = {
    "dino": Mark("#0072B2", "o"),
    "dino+clever": Mark("#D55E00", "s"),
    "simsiam": Mark("#009E73", "^"),
    "simsiam+ddcl": Mark("#CC79A7", "v"),
    "simsiam+clever": Mark("#E69F00", "D"),
    "untrained": Mark("#6b6b6b", ""),
    "pixels": Mark("#222222", ""),
}
SPARE_MARKS = tuple(
    Mark(colour, marker)
    for marker in "PXhp*<>d"
    for colour in ("#56B4E9", "#CC79A7", "#009E73", "#E69F00", "#0072B2", "#D55E00")
)
Dashes = tuple[float, Sequence[float]] | Literal["solid"]

SOLID: Dashes = "solid"
AUGMENTATION_DASHES: dict[str, Dashes] = {
    "baug": (0, (4, 1.6)),
    "caug": SOLID,
    "caug_plus": (0, (1, 1.2)),
}


def marks(methods: Iterable[str]) -> dict[str, Mark]:
    """Marks for the methods of one figure. Named methods always look the same; others take spare marks in order of
    name."""
    wanted = sorted(set(methods))
    unnamed = [method for method in wanted if method not in METHOD_MARKS]
    spare = {method: SPARE_MARKS[index % len(SPARE_MARKS)] for index, method in enumerate(unnamed)}
    return {method: METHOD_MARKS.get(method) or spare[method] for method in wanted}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw with our settings; the caller's settings are restored afterwards."""
    settings = {
        **sns.axes_style("whitegrid"),
        "font.family": "DejaVu Sans",  # ships with matplotlib, so a figure is the same on every machine
        "font.size": 9.0,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9.0,
        "axes.edgecolor": "#9a9a9a",
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "grid.color": "#e3e3e3",
        "grid.linewidth": 0.7,
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "lines.linewidth": 1.7,
        "lines.markersize": 5.5,
        "figure.dpi": 100.0,
        "savefig.dpi": 200.0,
        "pdf.fonttype": 42,  # TrueType: text stays text, and publishers accept it
        "svg.fonttype": "path",  # a browser without our font would set wider letters, which overlap
        "svg.hashsalt": "clever",  # matplotlib draws a new one for each file otherwise
    }
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` x ``height`` inches, without a window and without pyplot's global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def legend_columns(labels: Iterable[str], width: float) -> int:
    """How many columns of a legend fit into ``width`` inches: a sample line, then about 0.075 inches per letter."""
    return max(1, min(5, int(width / (0.7 + 0.075 * max(len(label) for label in labels)))))


_METADATA: dict[str, dict[str, str | None]] = {
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
}


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` to a .pdf, .png or .svg without date and version, so that redrawing gives the same bytes."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format=path.suffix[1:], metadata=_METADATA[path.suffix])
    write_bytes(path, buffer.getvalue())
