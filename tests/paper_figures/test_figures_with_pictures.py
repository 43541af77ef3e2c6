"""Figures of pictures: positions of pictures from synthetic bundles; without pictures, a note says what is missing."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import figure_attention
import figure_saliency
import figure_video
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from picture_files import MISSING, of_one_augmentation, read_shown
from style import SUFFIXES

from clever.errors import UserError
from clever.results.pictures import Pictures, write_pictures

VIEWS = ("orig", "rotation", "elastic")


def bundle(folder: Path, protocol: str, run: str, parts: tuple[str, ...] = ("ALL",), photographs: int = 2) -> Path:
    """A run's pictures, with a different number for every value."""
    draw = np.random.default_rng(len(run))
    names = [f"p{place}" for place in range(photographs)]
    arrays: dict[str, Any] = {}
    facts: dict[str, Any] = {"run": run, "protocol": protocol, "photographs": names, "views": list(VIEWS), "iou": {}}
    for place in range(photographs):
        if protocol == "saliency":
            arrays[f"{place}/image"] = draw.integers(0, 256, (9, 12, 3)).astype(np.uint8)
            arrays[f"{place}/truth"] = draw.random((9, 12)) > 0.5
            for part in parts:
                for method in ("tokencut", "lost"):
                    arrays[f"{place}/{part}/{method}"] = draw.random((9, 12)) > 0.5
                    facts["iou"][f"{place}/{part}/{method}"] = 10.0 * place + len(part)
        elif protocol == "video":
            facts["frames"] = facts.get("frames", {}) | {str(place): [1, 4]}
            for number in (1, 4):
                arrays[f"{place}/{number}/image"] = draw.integers(0, 256, (9, 12, 3)).astype(np.uint8)
                for kind in ("truth", *parts):
                    arrays[f"{place}/{number}/{kind}"] = draw.integers(0, 3, (9, 12)).astype(np.uint8)
            facts["j_and_f"] = facts.get("j_and_f", {}) | {f"{place}/{p}": 10.0 * place + len(p) for p in parts}
        else:
            for view in VIEWS:
                arrays[f"{place}/{view}/image"] = draw.integers(0, 256, (12, 12, 3)).astype(np.uint8)
                arrays |= {f"{place}/{view}/{part}": draw.random((3, 3)).astype(np.float16) for part in parts}
    path = folder / f"{protocol}-{run.replace('/', '-')}.npz"
    write_pictures(path, Pictures(facts, arrays))
    return path


@pytest.fixture
def runs() -> list[str]:
    return [
        f"d/{b}/{m}/seed0" for b in ("vit_tiny", "resnet18") for m in ("dino+clever/caug", "dino/caug", "dino/baug")
    ]


def images(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_runs_of_an_axis_are_left_to_separate_figures(tmp_path: Path) -> None:
    runs = [
        "d/v/dino+clever/caug/seed0",
        "d/v/dino+clever@separation_ratio=0.5/caug/seed0",
        "d/v/dino/caug@epochs=2/seed0",
    ]
    shown = read_shown([bundle(tmp_path, "saliency", run) for run in runs])
    assert [str(each.run.method) for each in shown] == ["dino+clever"]


def test_attention_has_a_row_for_each_method_and_part(tmp_path: Path, runs: list[str]) -> None:
    parts = {run: ("EF", "ALL", "IR") if "clever" in run and "resnet" in run else ("ALL",) for run in runs}
    paths = [
        bundle(tmp_path, "attention", run, parts.get(run, ("ALL",)))
        for run in [*runs, "d/vit_tiny/untrained/none/seed0"]
    ]
    chosen, augmentation = of_one_augmentation(read_shown(paths))
    assert augmentation == "caug"
    figure = figure_attention.draw(chosen, augmentation, 1)
    assert [line.label for line in figure_attention.lines(chosen)] == [
        *("control: untrained", "dino", "dino+clever"),
        *("dino", "dino+clever, ALL", "dino+clever, IR", "dino+clever, EF"),
    ]
    # The photograph under three views, then seven rows of maps.
    shown = images(figure)
    assert len(shown) == 3 * (1 + 7)
    ef = next(each for each in chosen if each.run.backbone == "resnet18" and each.run.method == "dino+clever")
    last = [axes.images[0].get_array() for axes in shown[-3:]]
    for view, drawn in zip(VIEWS, last, strict=True):
        assert np.array_equal(np.asarray(drawn), ef.pictures.arrays[f"0/{view}/EF"].astype(np.float64))
    assert "resnet18: Grad-CAM" in texts(figure)
    assert "vit_tiny: [CLS] attention, mean over heads" in texts(figure)


def test_pictures_do_not_overlap_and_are_inside(tmp_path: Path, runs: list[str]) -> None:
    for module, protocol, more in (
        (figure_attention, "attention", (2,)),
        (figure_saliency, "saliency", ("tokencut", 2)),
        (figure_video, "video", (2, 4)),
    ):
        shown, name = of_one_augmentation(read_shown([bundle(tmp_path, protocol, run) for run in runs]))
        figure = module.draw(shown, name, *more)
        figure.draw_without_rendering()
        boxes = [axes.get_position() for axes in images(figure)]
        for place, one in enumerate(boxes):
            assert 0 <= one.x0 < one.x1 <= 1
            assert 0 <= one.y0 < one.y1 <= 1
            for other in boxes[place + 1 :]:
                assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0
        for text in figure.texts:
            box = text.get_window_extent()
            assert figure.bbox.x0 <= box.x0, text.get_text()
            assert box.x1 <= figure.bbox.x1, text.get_text()
            assert figure.bbox.y0 <= box.y0, text.get_text()
            assert box.y1 <= figure.bbox.y1, text.get_text()


def test_saliency_shows_masks_side_by_side_with_their_iou(tmp_path: Path, runs: list[str]) -> None:
    paths = [bundle(tmp_path, "saliency", run, ("ALL", "IR") if "+" in run else ("ALL",)) for run in runs[3:]]
    shown, name = of_one_augmentation(read_shown(paths), "caug")
    assert figure_saliency.segmenter_of(shown, None) == "tokencut"
    figure = figure_saliency.draw(shown, name, "lost", 2)
    assert [column.label for column in figure_saliency.columns(shown, "lost")] == [
        *("dino", "dino+clever, ALL", "dino+clever, IR")
    ]
    drawn = images(figure)
    assert len(drawn) == 2 * (2 + 3)
    arrays = shown[1].pictures.arrays
    assert np.array_equal(np.asarray(drawn[0].images[0].get_array()), shown[0].pictures.arrays["0/image"])
    assert np.array_equal(np.asarray(drawn[9].images[0].get_array()), arrays["1/IR/lost"])
    assert [text for text in texts(figure) if text.startswith("IoU")] == [
        *("IoU 3", "IoU 3", "IoU 2"),  # len("ALL"), len("ALL"), len("IR")
        *("IoU 13", "IoU 13", "IoU 12"),
    ]


def test_videos_show_the_ground_truth_and_then_each_method_and_part(tmp_path: Path, runs: list[str]) -> None:
    paths = [bundle(tmp_path, "video", run, ("ALL", "IR") if "+" in run else ("ALL",)) for run in runs[3:]]
    shown, name = of_one_augmentation(read_shown(paths), "caug")
    figure = figure_video.draw(shown, name, 2, 4)
    assert [line.label for line in figure_video.lines(shown)] == ["dino", "dino+clever, ALL", "dino+clever, IR"]
    drawn = images(figure)
    assert len(drawn) == 2 * 2 * (1 + 3)
    # The last row is the second sequence: the method's IR over the frames of the first run.
    for place, number in ((-2, 1), (-1, 4)):
        frame, objects = shown[0].pictures.arrays[f"1/{number}/image"], shown[1].pictures.arrays[f"1/{number}/IR"]
        pixels = np.asarray(drawn[place].images[0].get_array())
        grey = np.broadcast_to(frame.mean(axis=2, keepdims=True), frame.shape)
        assert np.allclose(pixels[objects == 0], grey[objects == 0], atol=0.5)
        assert np.allclose(pixels[objects == 2], 0.4 * grey[objects == 2] + 0.6 * np.array([0, 0x72, 0xB2]), atol=1)
    assert "resnet18, J&F 12" in texts(figure)[-1]
    assert "p1, frames 2, 5" in texts(figure)


@pytest.mark.parametrize("module", [figure_attention, figure_saliency, figure_video])
def test_redrawing_gives_the_same_bytes(tmp_path: Path, runs: list[str], module: ModuleType) -> None:
    paths = [bundle(tmp_path, module.__name__.removeprefix("figure_"), run) for run in runs[:2]]
    outputs = [tmp_path / f"{name}{suffix}" for name in ("one", "two") for suffix in SUFFIXES]
    for half in (outputs[:3], outputs[3:]):
        module.main(["--pictures", *map(str, paths), "--output", *map(str, half)])
    assert [path.read_bytes() for path in outputs[:3]] == [path.read_bytes() for path in outputs[3:]]


@pytest.mark.parametrize("module", [figure_attention, figure_saliency, figure_video])
def test_without_pictures_the_figure_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], module: ModuleType
) -> None:
    empty = tmp_path / "empty.npz"
    write_pictures(empty, Pictures({"run": "d/b/m/a/seed0", "protocol": "attention"}, {}))
    for pictures in ([], [str(empty)]):
        module.main(["--pictures", *pictures, "--output", str(tmp_path / "figure.svg")])
        assert (tmp_path / "figure.svg").stat().st_size > 1000
        assert capsys.readouterr().err == f"note: {MISSING}\n"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"x\.npz: is not a file of pictures"):
        figure_saliency.main(["--pictures", str(tmp_path / "x.npz"), "--output", str(tmp_path / "figure.png")])
    assert not (tmp_path / "figure.png").exists()
