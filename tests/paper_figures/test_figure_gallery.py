"""The gallery shows a store's images under the augmentations and perturbations themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import figure_gallery
import numpy as np
import pytest
from picture_files import MISSING

from clever.augmentation import AugmentationOptions
from clever.config import load_study
from clever.data import Store
from clever.drawings import DRAWINGS

ROOT = Path(__file__).resolve().parents[2]
SIDE = 16


def views(**changes: Any) -> dict[str, Any]:
    recipe = AugmentationOptions(global_size=SIDE, local_size=8, local_views=2).model_dump(mode="json")
    return {
        "augmentations": {"caug": recipe, "baug": recipe | {"name": "baug", "local_views": 0}},
        "perturbations": ["orig", "cj_flip", "rot180"],
    } | changes


def test_columns_show_two_drawn_views_and_the_perturbations(digits_store: Store) -> None:
    found = figure_gallery.panels(digits_store, views(), 3)
    assert [panel.title for panel in found] == ["Training: caug", "Training: baug", "Test perturbations"]
    globals_ = ("global 1 (a)", "global 2 (a)", "global 1 (b)", "global 2 (b)")
    assert set(found[0].heads) == {"stored", *globals_, "local 1 (a)", "local 2 (a)"}
    assert found[1].heads == ("stored", *globals_)
    assert found[2].heads == ("orig", "cj_flip", "rot180")
    sides = {head: pictures[0].shape for head, pictures in zip(found[0].heads, found[0].pictures, strict=True)}
    assert sides == {head: (8, 8, 3) if "local" in head else (SIDE, SIDE, 3) for head in found[0].heads}
    # Draws differ from each other, and augmented pictures differ from the stored image.
    first = [pictures[0] for pictures in found[0].pictures[:5]]
    assert all(not np.array_equal(first[0], other) for other in first[1:])
    assert not np.array_equal(first[1], first[3])


def test_unperturbed_pictures_are_the_stored_pixels(digits_store: Store) -> None:
    """Pictures are spread evenly over the test images, and the normalisation of the batch is undone."""
    assert digits_store.split("test").image_size == SIDE
    found = figure_gallery.panels(digits_store, views(), 3)[-1]
    last = len(digits_store.split("test")) - 1
    stored = digits_store.split("test").images([0, round(last / 2), last]).pixels.permute(0, 2, 3, 1).numpy()
    for shown, expected in zip(found.pictures[0], stored, strict=True):
        assert np.abs(shown.astype(int) - expected.astype(int)).max() <= 1
    flipped = found.pictures[1][0].astype(float).mean(2)
    # A flip and a change of colours: the result is almost proportional to the mirrored stored picture.
    assert np.corrcoef(flipped.ravel(), stored[0][:, ::-1].astype(float).mean(2).ravel())[0, 1] > 0.95


def test_pictures_do_not_overlap(digits_store: Store) -> None:
    figure = figure_gallery.draw(figure_gallery.panels(digits_store, views(), 2), "Images of digits")
    figure.draw_without_rendering()
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 2 * (7 + 5 + 3)
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0
    for text in figure.texts:
        box = text.get_window_extent()
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes), text.get_text()


def test_the_study_determines_the_columns() -> None:
    study = load_study(ROOT / "workflow" / "studies" / "photographs_cpu.yaml")
    drawing = DRAWINGS["figure_gallery"]
    shown = json.loads(drawing.options["views"](study))
    assert list(shown["augmentations"]) == ["baug", "caug"]
    assert shown["augmentations"]["baug"]["global_scale"] == [0.2, 1.0]
    assert shown["perturbations"] == ["orig", "cj", "cj_flip", "cj_rot", "cj_rot_et"]
    assert shown["elastic_reference_size"] == 224
    assert drawing.uncommitted_inputs(study) == {"store": ["data/cifar10/store.json"]}


def test_the_script_draws_the_same_bytes_twice_and_a_note_without_a_store(
    digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--views", json.dumps(views()), "--images", "1"]
    outputs = [tmp_path / f"{name}.svg" for name in ("one", "two", "none")]
    for output in outputs[:2]:
        store = str(digits_store.folder / "store.json")
        figure_gallery.main(["--store", store, *options, "--output", str(output)])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    figure_gallery.main(["--store", *options, "--output", str(outputs[2])])
    assert outputs[2].stat().st_size > 1000
    assert capsys.readouterr().err == f"note: {MISSING}\n"
