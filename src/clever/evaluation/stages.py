"""Protocol ``stages``: the linear probe on the concatenated features of a run and all earlier runs of its chain.

MCL (arXiv 2402.11816) trains a chain of networks, each of which learns features that the earlier ones have not learned,
and represents an image by all of them. A run without earlier runs is probed alone, so the records show what each stage
adds.
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
    """Several backbones whose representations [N, D_i] are normalised to length 1 and concatenated, [N, sum of D_i].

    The normalisation is our choice, so that no stage outweighs another by its scale.
    """

    def __init__(self, backbones: Sequence[Backbone]) -> None:
        super().__init__("+".join(backbone.name for backbone in backbones), sum(b.feature_dim for b in backbones))
        self.backbones = nn.ModuleList(backbones)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([nn.functional.normalize(backbone(images), dim=1) for backbone in self.backbones], dim=1)


def evaluate(subject: Subject, options: StagesOptions) -> list[Record]:
    """Probe the concatenated representations, as protocol ``linear`` does.

    Records: the same as for ``linear``, for part ALL, under the name ``stages``.

    Raises:
        UserError: as for ``linear``.
    """
    backbones = [*(backbone.to(subject.device) for backbone in subject.earlier), subject.backbone]
    whole = replace(subject, backbone=Concatenated(backbones), ir_dim=None, features=None)
    return [replace(record, protocol="stages" + subject.variant) for record in linear.evaluate(whole, options)]
