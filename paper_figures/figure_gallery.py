"""The effect of a study's training augmentations and test perturbations, on images of its store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import style
from arguments import check_suffixes, make_parser, run_script
from matplotlib.figure import Figure
from numpy.typing import NDArray
from picture_files import missing_figure, show_image

from clever.errors import UserError

if TYPE_CHECKING:
    from clever.data import ImageBatch, Store

SEED = 0
MOST = {"global": 4, "local": 2}
"""The largest number of views to show of each kind, from two draws of a training augmentation, a and b."""
CELL = 0.92
"""Side of one picture in inches."""
PICTURE = 128
"""Side in pixels to which larger pictures are reduced."""


@dataclass(frozen=True)
class Panel:
    """A block of pictures: a row for each image, a column for each view."""

    title: str
    heads: tuple[str, ...]
    pictures: tuple[tuple[NDArray[np.uint8], ...], ...]
    """Pictures by column, then by row: uint8 [S, S, 3]."""


def panels(store: Store, views: dict[str, Any], images: int) -> list[Panel]:
    """One panel per training augmentation and one for the perturbations, on test images spread evenly over the store.

    Args:
        store: the study's store.
        views: ``augmentations`` by name with all their options, and, where a protocol has perturbations,
            ``perturbations`` with ``image_size``, ``resize_size`` and ``elastic_reference_size``, which may be None.
        images: the largest number of images to show.

    Raises:
        UserError: the store has no test images.
    """
    split = store.split("test")
    if not len(split):
        raise UserError(f"{store.folder}: the test split has no images")
    rows = np.unique(np.linspace(0, len(split) - 1, min(images, len(split))).round().astype(np.int64))
    batch = split.images(rows)
    side = split.image_size or max(options["global_size"] for options in views["augmentations"].values())
    found = [_training(store, batch, name, options, side) for name, options in views["augmentations"].items()]
    if views.get("perturbations"):
        found.append(_perturbed(store, batch, views, side))
    return found


def _training(store: Store, batch: ImageBatch, name: str, options: dict[str, Any], side: int) -> Panel:
    """The stored images and the views of two draws of one augmentation, if it makes any."""
    import torch

    from clever.augmentation import VIEW_MAKERS, make_view_maker, perturb
    from clever.options import parse

    [kind] = [kind for kind in VIEW_MAKERS if options["name"] in _names(kind)]
    parsed = parse(kind, options, f"augmentations.{name}")
    size = min(side, parsed.global_size)
    plain = perturb(
        "orig",
        batch.pixels,
        batch.sizes,
        image_size=size,
        resize_size=size,
        mean=store.mean,
        std=store.std,
        seed=SEED,
        indices=batch.indices,
    )
    heads, columns = ["stored"], [_bytes(plain, store)]
    if not parsed.pairs:
        maker = make_view_maker(parsed, store.mean, store.std)
        generator = torch.Generator().manual_seed(SEED)
        shown = dict.fromkeys(("global", "local"), 0)
        for draw_name in "ab":
            tables = maker.draw(batch.sizes, generator)
            made = maker.apply(batch.pixels, batch.sizes, tables, latents=batch.latents)
            for view_name, view in zip(maker.names, made, strict=True):
                shown[view.kind] += 1
                if shown[view.kind] <= MOST[view.kind]:
                    heads.append(f"{view_name.replace('_', ' ')} ({draw_name})")
                    columns.append(_bytes(view.images, store))
    return Panel(f"Training: {name}", tuple(heads), tuple(columns))


def _names(kind: type[Any]) -> tuple[str, ...]:
    """The values that the ``name`` of a class of view options can take."""
    return get_args(kind.model_fields["name"].annotation)


def _perturbed(store: Store, batch: ImageBatch, views: dict[str, Any], side: int) -> Panel:
    from clever.augmentation import perturb, scaled_to

    size = views.get("image_size") or side
    heads, columns = [], []
    for name in views["perturbations"]:
        definition = scaled_to(name, size, views.get("elastic_reference_size"))
        images = perturb(
            name,
            batch.pixels,
            batch.sizes,
            image_size=size,
            resize_size=views.get("resize_size") or size,
            mean=store.mean,
            std=store.std,
            seed=SEED,
            indices=batch.indices,
            options=definition,
        )
        heads.append(name)
        columns.append(_bytes(images, store))
    return Panel("Test perturbations", tuple(heads), tuple(columns))


def _bytes(images: Any, store: Store) -> tuple[NDArray[np.uint8], ...]:
    """Normalised images [N, 3, S, S] as pixels, one array [S, S, 3] each, reduced to ``PICTURE``."""
    import torch

    shift, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (store.mean, store.std))
    pixels = (images * scale + shift).clamp(0.0, 1.0)
    if pixels.shape[2] > PICTURE:
        pixels = torch.nn.functional.interpolate(pixels, size=(PICTURE, PICTURE), mode="area")
    return tuple((pixels * 255).round().to(torch.uint8).movedim(1, 3).numpy())


def draw(shown: Sequence[Panel], title: str) -> Figure:
    """Draw the panels below each other."""
    across = max(len(panel.heads) for panel in shown)
    heights = [0.5 + len(panel.pictures[0]) * CELL for panel in shown]
    width, height = CELL * across + 0.1, 0.3 + sum(heights)
    with style.house_style():
        figure = style.new_figure(width, height)
        figure.set_layout_engine("none")
        figure.text(0.05 / width, 1 - 0.06 / height, title, va="top", fontsize=9, fontweight="bold")
        top = 0.3
        for panel, extent in zip(shown, heights, strict=True):
            figure.text(0.05 / width, 1 - (top + 0.08) / height, panel.title, va="top", fontsize=8, fontweight="bold")
            for column, (head, pictures) in enumerate(zip(panel.heads, panel.pictures, strict=True)):
                centre = (0.05 + (column + 0.5) * CELL) / width
                figure.text(centre, 1 - (top + 0.43) / height, head, ha="center", va="bottom", fontsize=7)
                for row, pixels in enumerate(pictures):
                    left, lower = 0.05 + (column + 0.03) * CELL, top + 0.45 + (row + 0.97) * CELL
                    box = left / width, 1 - lower / height, 0.94 * CELL / width, 0.94 * CELL / height
                    show_image(figure.add_axes(box), pixels)
            top += extent
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    parser.add_argument(
        "--store",
        type=Path,
        nargs="*",
        default=[],
        metavar="JSON",
        help="store.json of the study's data; without it, a note of what is missing is drawn",
    )
    parser.add_argument("--views", required=True, metavar="JSON", help="the study's augmentations and perturbations")
    parser.add_argument("--images", type=int, default=3, help="images to show at most (default: 3)")
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    figure = missing_figure() if not arguments.store else _of_store(arguments.store[0].parent, arguments)
    for output in arguments.output:
        style.save(figure, output)


def _of_store(folder: Path, arguments: Any) -> Figure:
    from clever.data import Store  # torch takes seconds to import

    store = Store.open(folder)
    return draw(panels(store, json.loads(arguments.views), arguments.images), f"Images of {folder.name}")


if __name__ == "__main__":
    run_script(main)
