"""Protocol saliency: finds an object with a distinct colour, unlike random masks; reports a missing data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from clever.backbones import Backbone
from clever.data import Store
from clever.errors import UserError
from clever.evaluation.options.saliency import SaliencyOptions
from clever.evaluation.saliency.protocol import evaluate

from ..subjects import build, by_axes, subject_of
from ..toys import coloured

NOT_REHEARSED = "it reads its own data set"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return coloured(tmp_path / "toys", classes=2)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "ECSSD" / folder).mkdir(parents=True)
    for name in ("a", "b"):
        mask = np.zeros((64, 96), bool)
        mask[16:48, 32:64] = True
        image = np.where(mask[..., None], (220, 40, 30), (30, 90, 200)) + draw.integers(0, 10, (64, 96, 3))
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / "ECSSD" / "images" / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "ECSSD" / "masks" / f"{name}.png")
    return tmp_path / "ECSSD"


class Colours(Backbone):
    """Each patch of 8 px is its mean colour."""

    def __init__(self) -> None:
        super().__init__("colours", 3)

    def last_map(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, 8)


def test_the_object_is_found_and_random_masks_are_not(store: Store, photographs: Path) -> None:
    records = evaluate(subject_of(Colours(), store, ir_dim=2), SaliencyOptions(root=str(photographs)))
    found = by_axes(records)
    for method in ("tokencut", "tokencut_bs", "lost"):
        assert found["ALL", "orig", f"{method}_iou"] > 95, method
        assert found["ALL", "orig", f"{method}_max_f"] > 95, method
    assert found["ALL", "orig", "random_iou"] < 30
    assert {part for part, _, _ in found} == {"ALL", "IR", "EF"}
    assert {record.n for record in records} == {2}


def test_keys_are_not_split_and_a_map_is(store: Store, photographs: Path) -> None:
    subject = subject_of(build("vit_micro", 32), store, ir_dim=51)
    keys = by_axes(
        evaluate(subject, SaliencyOptions(root=str(photographs), lost=False, bilateral_solver=False, limit=1))
    )
    assert {part for part, _, _ in keys} == {"ALL"}
    assert {metric.rpartition("_")[0] for _, _, metric in keys} >= {"tokencut"}
    assert not any(metric.startswith(("lost", "tokencut_bs")) for _, _, metric in keys)
    split = by_axes(evaluate(subject, SaliencyOptions(root=str(photographs), source="map", limit=1)))
    assert {part for part, _, _ in split} == {"ALL", "IR", "EF"}


def test_photographs_ground_truth_and_masks_are_kept_with_their_iou(store: Store, photographs: Path) -> None:
    subject = subject_of(Colours(), store, ir_dim=2)
    found = by_axes(evaluate(subject, SaliencyOptions(root=str(photographs), pictures=5)))
    facts, pictures = subject.picture_facts, subject.pictures
    assert facts["photographs"] == ["a", "b"]
    assert np.array_equal(pictures["1/image"], np.asarray(Image.open(photographs / "images" / "b.png")))
    assert pictures["0/truth"].dtype == bool
    assert pictures["0/truth"].sum() == 32 * 32
    for part in ("ALL", "IR", "EF"):
        for method in ("tokencut", "tokencut_bs", "lost"):
            overlap = [facts["iou"][f"{place}/{part}/{method}"] for place in "01"]
            assert np.mean(overlap) == pytest.approx(found[part, "orig", f"{method}_iou"], abs=0.01)
            mask, truth = pictures[f"0/{part}/{method}"], pictures["0/truth"]
            assert 100 * (mask & truth).sum() / (mask | truth).sum() == pytest.approx(overlap[0], abs=0.01)
    assert "0/ALL/random" in pictures


def test_a_missing_data_set_is_reported(store: Store, tmp_path: Path) -> None:
    options = SaliencyOptions(root=str(tmp_path), layout="dut_omron")
    for refuses in (options.require, lambda: evaluate(subject_of(Colours(), store), options)):
        with pytest.raises(UserError, match="does not hold dut_omron: the folders DUT-OMRON-image/"):
            refuses()
