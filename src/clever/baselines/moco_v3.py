"""MoCo v3: momentum contrast without a queue (Chen, Xie and He 2021, arXiv 2104.02057)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.baseline import Baseline, Head, HeadOutput, two_views
from clever.baselines.contrast import scaled_products
from clever.baselines.cosine import diagnose_cosines, predicted_cosine
from clever.baselines.mlp import PredictionHead, make_mlp
from clever.baselines.options.moco_v3 import MocoV3Options
from clever.collectives import gather_rows, process_rank
from clever.errors import UserError


class MocoV3(Baseline[PredictionHead]):
    """InfoNCE of each view's prediction against the momentum teacher's projections of the other view.

    The similarity for the orthogonality term is the absolute value of the batch mean of the signed cosine between the
    prediction and the teacher's projection of the other view, averaged over both orders, as for SimSiam.

    Recipes: workflow/recipes/{cifar10,imagenet100}/moco_v3.yaml, solo-learn's. Our sources do not contain the authors'
    recipe for a ViT, and its frozen patch embedding is not implemented. The student's backbone is evaluated.

    >>> import torch
    >>> from clever.baselines.moco_v3 import MocoV3
    >>> from clever.baselines.options.moco_v3 import MocoV3Options
    >>> _ = torch.manual_seed(0)
    >>> moco_v3 = MocoV3(MocoV3Options(hidden_dim=32, out_dim=8))
    >>> head = moco_v3.make_head(16)  # for 16 features
    >>> features = torch.randn(2, 32, 16)  # two views of 32 images
    >>> teacher = [head(view) for view in features]  # in training from a momentum copy of the head
    >>> loss = moco_v3.attract([head(view) for view in features], teacher, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    3.5
    """

    options: MocoV3Options

    def make_head(self, width: int) -> PredictionHead:
        hidden, out = self.options.hidden_dim, self.options.out_dim
        projector = make_mlp([width, *[hidden] * (self.options.projector_layers - 1), out], final_norm="plain")
        predictor_norm: Literal["plain", "none"] = "plain" if self.options.predictor_batch_norm else "none"
        return PredictionHead(projector, make_mlp([out, hidden, out], final_norm=predictor_norm, final_bias=False))

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        first, second = two_views("moco_v3", student)
        assert first.prediction is not None
        assert second.prediction is not None
        temperature = self.options.temperature
        loss = info_nce(first.prediction, teacher[1].projection, temperature)
        loss = loss + info_nce(second.prediction, teacher[0].projection, temperature)
        return 2 * temperature * loss

    def similarity(
        self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None
    ) -> Tensor:
        return predicted_cosine(two_views("moco_v3", student), teacher).abs()

    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        return diagnose_cosines(student)


def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Mean of -log [exp(cos(q_i, k_i) / T) / sum_j exp(cos(q_i, k_j) / T)]; j runs over all processes' keys.

    Args:
        queries: [N, K], the queries of this process.
        keys: [N, K], the keys of the same images; they receive no gradient.
        temperature: T > 0.

    Raises:
        UserError: there is only one key in all processes, so there are no negatives.

    >>> import torch
    >>> round(info_nce(torch.eye(4), torch.eye(4), 1.0).item(), 4)  # log(e + 3) - 1
    0.7437
    """
    everyone = gather_rows(F.normalize(keys.detach().float(), dim=-1))
    if len(everyone) < 2:
        raise UserError("moco_v3 needs at least 2 images in a batch: raise batch_size or lower accumulate")
    logits = scaled_products(F.normalize(queries.float(), dim=-1), everyone, temperature)
    own = process_rank() * len(queries) + torch.arange(len(queries), device=queries.device)
    return F.cross_entropy(logits, own)
