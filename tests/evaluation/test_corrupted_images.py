"""Protocol corruption on CIFAR-C's and ImageNet-C's own images: uncorrupted copies score as the clean test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from clever.data import Store
from clever.errors import UserError
from clever.evaluation.corruption import evaluate
from clever.evaluation.options.corruption import CorruptionOptions

from .subjects import build, by_axes, subject_of
from .toys import store_of

KINDS = 3
OPTIONS: dict[str, Any] = {"corruptions": ["fog", "snow"], "severities": [1, 2]}


@pytest.fixture(scope="module")
def images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """24 images of 32 px in three classes."""
    draw = np.random.default_rng(0)
    patterns = draw.integers(0, 256, (KINDS, 32, 32, 3))
    labels = np.arange(24) % KINDS
    noisy = patterns[labels] + draw.integers(-150, 151, (24, 32, 32, 3))
    return noisy.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def store(images: tuple[NDArray[np.uint8], NDArray[np.int64]], tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(tmp_path_factory.mktemp("store"), *images, *images)


@pytest.fixture(params=["cifar", "imagenet"])
def root(images: tuple[NDArray[np.uint8], NDArray[np.int64]], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Both layouts; severity 1 holds the clean images, severity 2 black images."""
    pixels, labels = images
    if request.param == "cifar":
        stacked = np.concatenate([pixels, *[np.zeros_like(pixels)] * 4])
        for name in OPTIONS["corruptions"]:
            np.save(tmp_path / f"{name}.npy", stacked)
        np.save(tmp_path / "labels.npy", np.tile(labels, 5))
        return tmp_path
    for name in OPTIONS["corruptions"]:
        for severity in (1, 2):
            for place, (image, label) in enumerate(zip(pixels, labels, strict=True)):
                path = tmp_path / name / str(severity) / str(label) / f"{place:02}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:  # lossless, whatever the file name says
                    Image.fromarray(image if severity == 1 else np.zeros_like(image)).save(file, format="PNG")
    return tmp_path


def test_uncorrupted_copies_score_as_the_clean_images(store: Store, root: Path) -> None:
    options = CorruptionOptions(**OPTIONS, root=str(root))
    options.require()
    records = evaluate(subject_of(build("resnet10t_half", 32), store), options)
    values = by_axes(records)
    assert values["ALL", "orig", "top1"] > 50
    for name in OPTIONS["corruptions"]:
        assert values["ALL", f"{name}_1", "top1"] == values["ALL", "orig", "top1"]
        assert values["ALL", f"{name}_2", "top1"] == pytest.approx(100 / KINDS)  # all are black: one class
        mean = (values["ALL", f"{name}_1", "top1"] + values["ALL", f"{name}_2", "top1"]) / 2
        assert values["ALL", name, "relative_top1"] == pytest.approx(100 * mean / values["ALL", "orig", "top1"])
    assert {record.n for record in records} == {24}


def test_a_missing_corruption_or_severity_is_named_before_anything_runs(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"frost(\.npy|/1): missing; expected <corruption>\.npy and labels\.npy"):
        CorruptionOptions(corruptions=["fog", "frost"], severities=[1], root=str(root)).require()
    with pytest.raises(UserError, match="nowhere: no such folder; unpack CIFAR-10-C or ImageNet-C there"):
        CorruptionOptions(**OPTIONS, root="nowhere").at(str(tmp_path)).require()
    CorruptionOptions(**OPTIONS).at(str(tmp_path)).require()
    assert CorruptionOptions(**OPTIONS, root="c").at(str(tmp_path)).root == str(tmp_path / "c")


@pytest.mark.parametrize("root", ["cifar"], indirect=True)
def test_images_of_another_data_set_are_refused(root: Path, store: Store) -> None:
    np.save(root / "labels.npy", np.arange(120) % 10)
    with pytest.raises(UserError, match="CIFAR images of 10 classes, but the run's data have source arrays with 3"):
        evaluate(subject_of(build("resnet10t_half", 32), store), CorruptionOptions(**OPTIONS, root=str(root)))
    with pytest.raises(ValidationError, match="averaging is not possible on the images of root"):
        CorruptionOptions(**OPTIONS, root=str(root), averaging={"count": 2})  # type: ignore[arg-type]
