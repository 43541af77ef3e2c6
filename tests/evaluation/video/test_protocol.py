"""Protocol video: the part that encodes colour follows a moving square; a missing data set is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from clever.backbones import Backbone
from clever.errors import UserError
from clever.evaluation.options.video import VideoOptions
from clever.evaluation.video.pictures import keep
from clever.evaluation.video.protocol import evaluate
from clever.evaluation.video.scores import score_sequence

from ..subjects import by_axes, subject_of
from ..toys import coloured

NOT_REHEARSED = "it reads its own data set"


class Colours(Backbone):
    """The features of each patch of 8 px are its mean colour and, as the other part, an uninformative number."""

    def __init__(self) -> None:
        super().__init__("colours", 4)

    def last_map(self, images: Tensor) -> Tensor:
        pooled = F.avg_pool2d(images, 8)
        return torch.cat([pooled, torch.ones_like(pooled[:, :1])], dim=1)


def write(root: Path, frames: int = 6) -> None:
    draw = np.random.default_rng(0)
    for folder in ("JPEGImages", "Annotations"):
        (root / folder / "480p" / "square").mkdir(parents=True)
    for frame in range(frames):
        mask = np.zeros((64, 128), np.uint8)
        mask[16:48, 16 + 8 * frame : 48 + 8 * frame] = 255
        pixels = np.where(mask[..., None] > 0, (220, 40, 40), (40, 60, 200)) + draw.integers(0, 9, (64, 128, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"JPEGImages/480p/square/{frame:05d}.jpg", quality=95)
        Image.fromarray(mask).save(root / f"Annotations/480p/square/{frame:05d}.png")


def test_a_moving_square_is_followed_by_the_part_that_sees_it(tmp_path: Path) -> None:
    write(tmp_path / "DAVIS")
    subject = subject_of(Colours(), coloured(tmp_path / "toys", classes=2), ir_dim=3)
    options = VideoOptions(root=str(tmp_path), short_side=64, multiple=64)
    records = evaluate(subject, options)
    found = by_axes(records)
    assert found["ALL", "orig", "j_and_f"] > 90
    assert found["IR", "orig", "j_and_f"] > 90
    assert found["EF", "orig", "j_and_f"] < 60
    assert {record.n for record in records} == {1}  # objects
    facts, pictures = subject.picture_facts, subject.pictures
    assert facts["photographs"] == ["square"]
    assert facts["frames"] == {"0": [1, 2, 3, 4]}
    assert facts["j_and_f"]["0/IR"] == pytest.approx(found["IR", "orig", "j_and_f"], abs=0.01)
    assert len(pictures) == 4 * (2 + 3)
    for number in facts["frames"]["0"]:
        truth = np.zeros((64, 128), np.uint8)
        truth[16:48, 16 + 8 * number : 48 + 8 * number] = 1
        assert np.array_equal(pictures[f"0/{number}/truth"], truth)
        # The red square is where the mask is.
        assert (pictures[f"0/{number}/image"][truth > 0, 0] > 150).mean() > 0.95
        assert (pictures[f"0/{number}/IR"] == truth).mean() > 0.95


def test_pictures_of_the_first_sequences_are_kept_small(tmp_path: Path) -> None:
    subject = subject_of(Colours(), coloured(tmp_path / "toys", classes=2))
    images = [np.full((90, 300, 3), number, np.uint8) for number in range(3)]
    objects = [np.full((90, 300), 1, np.uint8)] * 3
    for name in "abc":
        keep(subject, name, images, objects, {"ALL": (objects, score_sequence(name, objects, objects))})
    assert subject.picture_facts["photographs"] == ["a", "b"]
    assert subject.picture_facts["frames"] == {"0": [1], "1": [1]}  # the only frame that is scored
    assert subject.picture_facts["j_and_f"] == {"0/ALL": 100.0, "1/ALL": 100.0}
    assert {array.shape[:2] for array in subject.pictures.values()} == {(43, 144)}
    assert (subject.pictures["1/1/image"] == 1).all()


def test_a_missing_data_set_is_reported_and_frames_may_be_omitted(tmp_path: Path) -> None:
    subject = subject_of(Colours(), coloured(tmp_path / "toys", classes=2))
    options = VideoOptions(root=str(tmp_path), short_side=64, multiple=64, longest=2)
    for refuses in (options.require, lambda: evaluate(subject, options)):
        with pytest.raises(UserError, match="does not hold DAVIS"):
            refuses()
    write(tmp_path, frames=4)
    options.require()
    with pytest.raises(UserError, match="square: has 2 frames"):
        evaluate(subject, options)
