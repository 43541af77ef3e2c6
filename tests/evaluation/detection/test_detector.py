"""Mask R-CNN: a frozen backbone stays frozen, a step lowers the loss, a killed training ends with the same bits."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torchvision.models.detection import MaskRCNN

from clever.backbones import BackboneOptions, build_backbone
from clever.errors import UserError
from clever.evaluation.detection.coco import CocoSet, read_coco
from clever.evaluation.detection.model import PyramidBackbone, mask_rcnn
from clever.evaluation.detection.scores import coco_scores, detect
from clever.evaluation.detection.training import DetectionSettings, train_detector
from clever.evaluation.resumption import ResumableState

from .toys import write_coco

STEP = DetectionSettings(epochs=2, batch_size=1, learning_rate=0.16, milestones=(1,), warmup_steps=1)


def detector(name: str = "resnet10t_half", frozen: bool = False) -> MaskRCNN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = build_backbone(BackboneOptions(name=name, image_size=64), seed=0)
        return mask_rcnn(
            backbone, 2, frozen=frozen, mean=(0.5,) * 3, std=(0.25,) * 3, short_sides=(64,), longest_side=96
        )


@pytest.fixture
def data(tmp_path: Path) -> CocoSet:
    return read_coco(*write_coco(tmp_path / "data", images=2))


@pytest.mark.parametrize("name", ["resnet18", "vit_micro", "vmamba_tiny"])
def test_every_backbone_with_a_map_gives_a_pyramid(name: str) -> None:
    backbone = build_backbone(BackboneOptions(name=name, image_size=64), seed=0)
    pyramid = PyramidBackbone(backbone, frozen=True).eval()(torch.zeros(1, 3, 64, 96))
    assert {level.shape[1] for level in pyramid.values()} == {256}
    sides = [level.shape[2] for level in pyramid.values()]
    assert len(sides) == 5
    assert sides == sorted(sides, reverse=True)
    assert all(level.shape[2] * 96 == level.shape[3] * 64 for level in list(pyramid.values())[:3])


def test_a_resnet_gives_its_four_stages() -> None:
    backbone = build_backbone(BackboneOptions(name="resnet18", image_size=224), seed=0)
    body = PyramidBackbone(backbone, frozen=True).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    levels = body._levels(images)
    assert [level.shape[1:] for level in levels] == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]
    torch.testing.assert_close(levels[-1], backbone.eval().last_map(images))


def test_pixels_are_refused() -> None:
    with pytest.raises(UserError, match="backbone pixels has no feature map"):
        detector("pixels")


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_backbone_does_not_change_and_a_free_one_does(data: CocoSet, frozen: bool) -> None:
    model = detector(frozen=frozen)
    before = copy.deepcopy(model.state_dict())
    train_detector(model, data, DetectionSettings(epochs=1, batch_size=2, warmup_steps=0), seed=0, run="run")
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert any(name.startswith("roi_heads.mask") for name in changed)
    assert any(name.startswith("backbone.fpn") for name in changed)
    backbone = {name for name in changed if name.startswith("backbone.backbone")}
    assert bool(backbone) != frozen
    assert not any("running" in name for name in backbone)


def test_a_killed_training_ends_with_the_same_bits(data: CocoSet, tmp_path: Path) -> None:
    whole = detector()
    expected = train_detector(whole, data, STEP, seed=3, run="run")
    assert expected[1] < expected[0]

    class KilledError(Exception):
        pass

    def kill(*_reached: float) -> None:
        raise KilledError

    state = ResumableState(tmp_path / "detection.pt", {"run": "run"})
    with pytest.raises(KilledError):
        train_detector(detector(), data, STEP, seed=3, run="run", state=state, report=kill)
    resumed = detector()
    assert train_detector(resumed, data, STEP, seed=3, run="run", state=state) == expected
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_an_untrained_detector_is_scored(data: CocoSet) -> None:
    done: list[int] = []
    results = detect(detector().eval(), data, lambda images, _: done.append(images))
    assert done == [1, 2]
    assert 0.0 <= coco_scores(data, results)["box_ap"] < 50.0


def test_images_without_objects_are_reported(data: CocoSet) -> None:
    empty = CocoSet(data.folder, data.images, {}, data.categories, data.names, data.content)
    with pytest.raises(UserError, match="none of the 2 images"):
        train_detector(detector(), empty, STEP, seed=0, run="toy/run")
