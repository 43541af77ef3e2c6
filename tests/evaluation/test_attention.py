"""Protocol attention: scores of hand-made maps; a ViT has heads, a ResNet parts; a missing data set is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, functional

from clever.backbones import Backbone
from clever.data import Store
from clever.errors import UserError
from clever.evaluation.attention import VIEWS, evaluate
from clever.evaluation.options.attention import AttentionOptions

from .subjects import build, by_axes, subject_of
from .toys import coloured

NOT_REHEARSED = "it reads its own data set"

BICUBIC = InterpolationMode.BICUBIC


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return coloured(tmp_path / "toys", classes=2)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two black photographs of 64x96 px; a bright object covers a sixth of each."""
    for folder in ("images", "masks"):
        (tmp_path / "ECSSD" / folder).mkdir(parents=True)
    for name in ("a", "b"):
        mask = np.zeros((64, 96), np.uint8)
        mask[16:48, 32:64] = 255
        Image.fromarray(mask).save(tmp_path / "ECSSD" / "masks" / f"{name}.png")
        Image.fromarray(np.repeat(mask[..., None], 3, axis=2)).save(tmp_path / "ECSSD" / "images" / f"{name}.png")
    return tmp_path / "ECSSD"


class Looks(Backbone):
    """A ViT with patches of 8 px; its first head attends to bright patches, its second head to all patches."""

    has_blocks = True

    def __init__(self) -> None:
        super().__init__("looks", 3)

    def patch_tokens(self, images: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(images, 8).flatten(2).transpose(1, 2)

    def attention(self, images: Tensor) -> Tensor:
        bright = self.patch_tokens(images).mean(2)
        bright = (bright > bright.mean()).float()
        rows = torch.stack([bright / bright.sum(1, keepdim=True), torch.full_like(bright, 1 / bright.shape[1])], dim=1)
        prefixed = torch.nn.functional.pad(rows, (1, 0))
        return prefixed[:, :, None].expand(-1, -1, prefixed.shape[2], -1)


def test_a_head_that_sees_the_object_is_the_best(store: Store, photographs: Path) -> None:
    options = AttentionOptions(root=str(photographs), image_size=96, mass=0.999)
    found = by_axes(evaluate(subject_of(Looks(), store, ir_dim=2), options))
    assert found["ALL", "orig", "object"] == pytest.approx(100 / 6)
    assert found["ALL", "orig", "best_head_iou"] > 70  # 8 px patches of the square made from 64x96 px
    assert found["ALL", "orig", "energy"] > 70
    assert {part for part, _, _ in found} == {"ALL"}


@pytest.mark.parametrize(("name", "parts"), [("vit_micro", {"ALL"}), ("resnet10t_half", {"ALL", "IR", "EF"})])
def test_a_vit_has_heads_and_a_resnet_parts(store: Store, photographs: Path, name: str, parts: set[str]) -> None:
    backbone = build(name, 32)
    subject = subject_of(backbone, store, ir_dim=backbone.feature_dim - 5)
    found = by_axes(evaluate(subject, AttentionOptions(root=str(photographs), image_size=64, limit=1)))
    assert {part for part, _, metric in found if metric == "iou"} == parts
    assert (("ALL", "orig", "best_head_iou") in found) == (name == "vit_micro")
    assert all(0 <= value <= 100 for value in found.values())


def test_photographs_and_maps_are_kept_under_each_view(store: Store, photographs: Path) -> None:
    subject = subject_of(Looks(), store, ir_dim=2)
    evaluate(subject, AttentionOptions(root=str(photographs), image_size=96, mass=0.999, pictures=1))
    assert subject.picture_facts == {"views": ["orig", "rotation", "elastic"], "photographs": ["a"]}
    names = {f"0/{view}/{what}" for view in VIEWS for what in ("image", "ALL")}
    assert set(subject.pictures) == names
    photograph = functional.resize(
        functional.pil_to_tensor(Image.open(photographs / "images" / "a.png")).float(), [96, 96], BICUBIC
    ).clamp(0, 255)
    expected = {"orig": photograph, "rotation": functional.rotate(photograph, 45.0)}
    for view, image in expected.items():
        kept = torch.from_numpy(subject.pictures[f"0/{view}/image"]).movedim(2, 0)
        assert (kept.float() - image).abs().max() < 1.5
        # A head that attends to all patches adds nothing; the mean is stretched to [0, 1].
        seen = subject.pictures[f"0/{view}/ALL"]
        bright = torch.nn.functional.avg_pool2d(image[None], 8).mean(1)[0]
        assert set(np.unique(seen)) == {0.0, 1.0}
        assert np.array_equal(seen > 0.5, (bright > bright.mean()).numpy())
    assert not np.array_equal(subject.pictures["0/elastic/image"], subject.pictures["0/orig/image"])


def test_kept_pictures_are_small_and_optional(store: Store, photographs: Path) -> None:
    for pictures, count in ((0, 0), (9, 2)):
        subject = subject_of(Looks(), store)
        evaluate(subject, AttentionOptions(root=str(photographs), image_size=320, pictures=pictures))
        assert len(subject.picture_facts.get("photographs", [])) == count
        assert {p.shape for name, p in subject.pictures.items() if name.endswith("image")} <= {(112, 112, 3)}


@pytest.mark.parametrize(("count", "pictures", "kept"), [(10, 4, [0, 3, 6, 9]), (3, 4, [0, 1, 2]), (5, 1, [0])])
def test_kept_photographs_are_spread_evenly(count: int, pictures: int, kept: list[int]) -> None:
    assert AttentionOptions(root="x", pictures=pictures).pictured(count) == kept


def test_a_missing_data_set_is_reported(store: Store, tmp_path: Path) -> None:
    options = AttentionOptions(root=str(tmp_path / "nowhere"), layout="duts")
    for refuses in (options.require, lambda: evaluate(subject_of(Looks(), store), options)):
        with pytest.raises(UserError, match="nowhere: no such folder"):
            refuses()
