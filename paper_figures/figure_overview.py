"""Overview of a method as vector graphics: backbone, split, heads and losses in training, and what is evaluated."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any

import style
from arguments import check_suffixes, make_parser, run_script
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from method_description import Description, describe

from clever.errors import UserError

COLOURS = {"ALL": "#0072B2", "IR": "#0072B2", "EF": "#D55E00"}
PALE = {"ALL": "#d9e9f4", "IR": "#d9e9f4", "EF": "#fbe3d3"}
GREY, PALE_GREY = "#6b6b6b", "#efefef"
WIDTH, HEIGHT = 10.4, 5.3
"""Size of the figure in inches; its coordinates are in inches too."""
LAYERS = "layers"
BAR = 1.15
"""Height of the bar that shows the representation."""
STUDENT, TARGET = 4.0, 2.35
"""Heights of the two encoders' centres."""


def choose(methods: dict[str, Any], wanted: str | None = None) -> str:
    """The method to draw: ``wanted``, else the first with CLeVER, else the first with another add-on, else the first.

    Raises:
        UserError: there is no method of that name.
    """
    if wanted is not None and wanted not in methods:
        raise UserError(f"--method {wanted}: the study has {', '.join(methods)}")
    add_ons = {name: options.get("equivariance", {}).get("name", "none") for name, options in methods.items()}
    ranked = sorted(methods, key=lambda name: (add_ons[name] != "clever", add_ons[name] == "none"))
    return wanted or ranked[0]


def draw(method: Description) -> Figure:
    """Left to right: image, views, encoders, representation, heads and layers, terms; below, the evaluation."""
    with style.house_style():
        figure = style.new_figure(WIDTH, HEIGHT)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, WIDTH)
        axes.set_ylim(0, HEIGHT)
        axes.axis("off")
        title = f"{method.name}: {method.baseline}"
        title += "" if method.equivariance == "none" else f" with {method.equivariance}"
        axes.text(0.15, HEIGHT - 0.12, f"(a) Pre-training, {title}", va="top", fontweight="bold", fontsize=10)
        _encoders(axes, method)
        outputs = _heads(axes, method)
        _terms(axes, method, outputs)
        axes.text(0.15, 1.12, "(b) Evaluation", va="top", fontweight="bold", fontsize=10)
        _evaluation(axes, method)
    return figure


def _encoders(axes: Axes, method: Description) -> None:
    middle = (STUDENT + TARGET) / 2
    _box(axes, 0.15, middle, 0.7, 0.6, "image", PALE_GREY, GREY)
    extra = "".join(f"\n+ {name.replace('_', ' ')}" for name in method.extra_views)
    _box(axes, 1.15, middle, 1.05, 0.85, f"augmented\nviews{extra}", PALE_GREY, GREY)
    _arrow(axes, (0.85, middle), (1.15, middle))
    teacher = "teacher" if method.has_teacher else "student"
    for height, role in ((STUDENT, "student"), (TARGET, teacher)):
        target = height == TARGET
        _box(axes, 2.55, height, 1.15, 0.75, f"backbone\n{role}", "white", style.INK, dashed=target)
        _arrow(axes, (2.2, middle), (2.55, height))
        _arrow(axes, (3.7, height), (3.98, height))
        _bar(axes, 4.0, height, method)
    note = "average of\nthe student" if method.has_teacher else "same\nweights"
    head = "-|>" if method.has_teacher else "-"
    _arrow(axes, (3.12, STUDENT - 0.375), (3.12, TARGET + 0.375), dashed=True, head=head)
    axes.text(3.2, (STUDENT + TARGET) / 2, note, va="center", fontsize=7.5, color=GREY)


def _bar(axes: Axes, left: float, centre: float, method: Description) -> None:
    """The representation, cut into its parts."""
    top = centre + BAR / 2
    for part, share in method.shares.items():
        height = BAR * share
        axes.add_patch(Rectangle((left, top - height), 0.42, height, facecolor=PALE[part], edgecolor=COLOURS[part]))
        axes.text(left + 0.21, top - height / 2, part, ha="center", va="center", fontsize=8, color=COLOURS[part])
        top -= height


def _middle(centre: float, part: str, method: Description) -> float:
    """Height of the middle of a part in the bar around ``centre``."""
    top = centre + BAR / 2
    for name, share in method.shares.items():
        if name == part:
            return top - BAR * share / 2
        top -= BAR * share
    return centre


def _heads(axes: Axes, method: Description) -> dict[str, list[tuple[float, float]]]:
    """Draw heads and layers; return the places of their outputs by part (``LAYERS`` for the add-on's layers)."""
    rows = [(part, role) for part in method.heads for role in ("student", "target")]
    if any(not term.parts for term in method.terms):
        rows.append((LAYERS, "student"))
    outputs: dict[str, list[tuple[float, float]]] = {}
    left, width = 5.05, 1.45
    step = min(0.86, 3.2 / len(rows))
    top = (STUDENT + TARGET) / 2 + step * (len(rows) - 1) / 2
    for number, (part, role) in enumerate(rows):
        height = top - number * step
        read = method.layers_read if part == LAYERS else part
        if part == LAYERS:
            names = ", ".join(name.replace("_", " ") for name in method.layers) or "features"
            label = "\n".join(textwrap.wrap(names, 20))
        else:
            predictor = " + predictor" if method.has_predictor and role == "student" else ""
            label = f"head {part}{predictor}" + ("" if role == "student" else ", targets")
        _box(axes, left, height, width, min(0.6, 0.8 * step), label, PALE[read], COLOURS[read], dashed=role == "target")
        start = (4.42, _middle(STUDENT if role == "student" else TARGET, read, method))
        _arrow(axes, start, (left, height), COLOURS[read], dashed=role == "target")
        outputs.setdefault(part, []).append((left + width, height))
    return outputs


def _terms(axes: Axes, method: Description, outputs: dict[str, list[tuple[float, float]]]) -> None:
    left, width = 7.2, 3.05
    step = min(1.05, 3.2 / len(method.terms))
    top = (STUDENT + TARGET) / 2 + step * (len(method.terms) - 1) / 2
    for number, term in enumerate(method.terms):
        height = top - number * step
        part = term.parts[0] if len(term.parts) == 1 else None
        read = part or method.layers_read
        colours = (PALE_GREY, GREY) if len(term.parts) > 1 else (PALE[read], COLOURS[read])
        label = f"{term.name} × {term.weight:g}\n{term.words}"
        _box(axes, left, height, width, min(0.66, 0.88 * step), label, *colours, size=7.5)
        # Several parts: the term compares the student's heads themselves.
        if len(term.parts) > 1:
            starts = [outputs[name][0] for name in term.parts]
        elif part is not None:
            starts = outputs[part]
        else:
            starts = outputs[LAYERS]
        for start in starts:
            _arrow(axes, start, (left, height), colours[1], dashed=len(term.parts) > 1)


def _evaluation(axes: Axes, method: Description) -> None:
    height = 0.5
    _box(axes, 0.15, height, 0.7, 0.5, "image", PALE_GREY, GREY)
    role = "teacher" if method.evaluates_teacher else "student"
    _box(axes, 1.15, height, 1.45, 0.55, f"backbone of\nthe {role}", "white", style.INK)
    _arrow(axes, (0.85, height), (1.15, height))
    _arrow(axes, (2.6, height), (3.0, height))
    left = 3.0
    for part, share in method.shares.items():
        width = 2.6 * share
        axes.add_patch(Rectangle((left, height - 0.2), width, 0.4, facecolor=PALE[part], edgecolor=COLOURS[part]))
        label = f"{part}, {100 * share:.0f} %" if len(method.shares) > 1 and share >= 0.3 else part
        axes.text(left + width / 2, height, label, ha="center", va="center", fontsize=8, color=COLOURS[part])
        left += width
    parts = " and ".join(method.shares)
    words = "ALL, the representation" if len(method.shares) == 1 else f"ALL, the representation, and {parts} alone"
    _arrow(axes, (left, height), (6.0, height))
    axes.text(6.05, height, f"protocols evaluate {words}", va="center", fontsize=8)


def _box(
    axes: Axes,
    left: float,
    centre: float,
    width: float,
    height: float,
    text: str,
    face: str,
    edge: str,
    *,
    dashed: bool = False,
    size: float = 8.0,
) -> None:
    """A rounded box with text, its left edge at ``left`` and its middle at the height ``centre``."""
    shape = FancyBboxPatch(
        (left, centre - height / 2),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.06",
        facecolor=face,
        edgecolor=edge,
        linestyle=(0, (4, 2)) if dashed else "solid",
    )
    axes.add_patch(shape)
    axes.text(left + width / 2, centre, text, ha="center", va="center", fontsize=size, linespacing=1.25)


def _arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str = GREY,
    *,
    dashed: bool = False,
    head: str = "-|>",
) -> None:
    shape = FancyArrowPatch(
        start,
        end,
        arrowstyle=head,
        mutation_scale=8,
        color=colour,
        linewidth=1.0,
        linestyle=(0, (4, 2)) if dashed else "solid",
        shrinkA=0,
        shrinkB=0,
    )
    axes.add_patch(shape)


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    parser.add_argument("--methods", required=True, metavar="JSON", help="the study's methods with their options")
    parser.add_argument("--method", help="method to draw (default: the first with CLeVER, else with an add-on)")
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    methods = json.loads(arguments.methods)
    name = choose(methods, arguments.method)
    figure = draw(describe(name, methods[name]))
    for output in arguments.output:
        style.save(figure, output)


if __name__ == "__main__":
    run_script(main)
