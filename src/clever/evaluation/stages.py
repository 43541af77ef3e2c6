"""Protocol ``stages``: the linear probe on the features of a run and of all earlier runs of its chain, concatenated.

MCL (arXiv 2402.11816) trains a chain of networks, of which each learns what the earlier ones have left out, and
represents an image by all of them. A run without earlier ones is probed alone, so the records show what each further
stage adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from clever.backbones import Backbone
from clever.evaluation import linear
from clever.evaluation.options.stages import StagesOptions
from clever.evaluation.subject import Subject
from clever.results.records import Record


class Concatenated(Backbone):
    """Several backbones whose representations [N, D_i] are concatenated, [N, sum of D_i], each of length 1.

    The length is a choice of ours, so that no stage outweighs another by its scale.
    """

    def __init__(self, backbones: Sequence[Backbone]) -> None:
        super().__init__("+".join(backbone.name for backbone in backbones), sum(b.feature_dim for b in backbones))
        self.backbones = nn.ModuleList(backbones)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([nn.functional.normalize(backbone(images), dim=1) for backbone in self.backbones], dim=1)


def evaluate(subject: Subject, options: StagesOptions) -> list[Record]:
    """Probe the concatenated representations, as protocol ``linear`` does.

    Records: those of ``linear`` for part ALL, under the name ``stages``.

    Raises:
        UserError: as ``linear``.
    """
    backbones = [*(backbone.to(subject.device) for backbone in subject.earlier), subject.backbone]
    whole = replace(subject, backbone=Concatenated(backbones), ir_dim=None, features=None)
    return [replace(record, protocol="stages" + subject.variant) for record in linear.evaluate(whole, options)]
