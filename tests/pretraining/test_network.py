"""A network's wiring: the views that share a batch, and the columns that reach each head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clever.backbones import Backbone
from clever.baselines import HeadOutput
from clever.pretraining.network import Network


class Means(Backbone):
    """Six features: the image's mean times the feature's index. Records the batches that it receives."""

    def __init__(self) -> None:
        super().__init__("means", 6)
        self.batches: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(tuple(images.shape))
        return images.mean((1, 2, 3)).unsqueeze(1) * torch.arange(1.0, 7.0)


class Double(nn.Module):
    """A test double of a head with a predictor."""

    def forward(self, features: Tensor) -> HeadOutput:
        return HeadOutput(2 * features, -features)


class Plain(nn.Module):
    def forward(self, features: Tensor) -> HeadOutput:
        return HeadOutput(features)


def test_views_of_one_size_share_a_batch_and_each_head_gets_its_columns() -> None:
    backbone = Means()
    heads = nn.ModuleDict({"IR": Double(), "EF": Plain()})
    network = Network(backbone, heads, {"IR": slice(0, 4), "EF": slice(4, 6)})
    views = [torch.rand(3, 3, size, size) for size in (8, 8, 4, 4, 4)]
    encoded = network(views)
    assert backbone.batches == [(6, 3, 8, 8), (9, 3, 4, 4)]
    for view, features, ir, ef in zip(
        views, encoded.features, encoded.outputs["IR"], encoded.outputs["EF"], strict=True
    ):
        expected = view.mean((1, 2, 3)).unsqueeze(1) * torch.arange(1.0, 7.0)
        torch.testing.assert_close(features, expected)
        torch.testing.assert_close(ir.projection, 2 * expected[:, :4])
        torch.testing.assert_close(ir.prediction, -expected[:, :4])
        torch.testing.assert_close(ef.projection, expected[:, 4:])
        assert ef.prediction is None


def test_without_local_views_and_with_local_views_as_large_as_global_ones() -> None:
    backbone = Means()
    network = Network(backbone, nn.ModuleDict({"ALL": Plain()}), {"ALL": slice(0, 6)})
    assert len(network([torch.rand(3, 3, 8, 8)] * 2).features) == 2
    assert len(network([torch.rand(3, 3, 8, 8)] * 4).features) == 4
    assert backbone.batches == [(6, 3, 8, 8), (12, 3, 8, 8)]
