"""SimSiam: exploring simple siamese representation learning (Chen and He 2021, arXiv 2011.10566)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from clever.baselines.baseline import Baseline, Head, HeadOutput, two_views
from clever.baselines.cosine import diagnose_cosines, predicted_cosine
from clever.baselines.mlp import PredictionHead, make_mlp
from clever.baselines.options.simsiam import SimsiamOptions


class Simsiam(Baseline[PredictionHead]):
    """Pulls each view's prediction towards the other view's projection, which receives no gradient.

    The similarity is exactly DDCL's form (authors' main_simsiam.py:477-512): the absolute value of the batch mean of
    the signed cosine between prediction and detached projection, averaged over both orders. Positive and negative
    cosines cancel in the mean.

    Recipes: workflow/recipes/{cifar10,imagenet100}/simsiam.yaml, solo-learn's. DDCL on ImageNet-100: SGD, learning rate
    0.05 for a batch of 256, weight decay 1e-4, 30 extra epochs of warm-up (its run_train.sh, main_simsiam.py).

    >>> import torch
    >>> from clever.baselines.options.simsiam import SimsiamOptions
    >>> from clever.baselines.simsiam import Simsiam
    >>> _ = torch.manual_seed(0)
    >>> simsiam = Simsiam(SimsiamOptions(hidden_dim=32, out_dim=8, predictor_dim=8))
    >>> head = simsiam.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = simsiam.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    -0.1
    """

    options: SimsiamOptions

    def make_head(self, width: int) -> PredictionHead:
        hidden, out = self.options.hidden_dim, self.options.out_dim
        projector = make_mlp([width, hidden, hidden, out], final_norm="plain")
        return PredictionHead(projector, make_mlp([out, self.options.predictor_dim, out]))

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        return -predicted_cosine(two_views("simsiam", student), teacher)

    def similarity(
        self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None
    ) -> Tensor:
        return predicted_cosine(two_views("simsiam", student), teacher).abs()

    def constant_rate_parameters(self, head: PredictionHead) -> list[nn.Parameter]:
        return head.prediction_parameters() if self.options.constant_predictor_rate else []

    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        return diagnose_cosines(student)
