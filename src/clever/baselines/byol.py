"""BYOL: bootstrap your own latent (Grill et al. 2020, arXiv 2006.07733)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from clever.baselines.baseline import Baseline, Head, HeadOutput, two_views
from clever.baselines.cosine import diagnose_cosines, predicted_cosine
from clever.baselines.mlp import PredictionHead, make_mlp
from clever.baselines.options.byol import ByolOptions


class Byol(Baseline[PredictionHead]):
    """Pulls each view's prediction towards the momentum teacher's projection of the other view.

    The similarity for the orthogonality term is DDCL's form for SimSiam, with the teacher's projection as the target:
    the absolute value of the batch mean of the signed cosine, averaged over both orders.

    Recipes: workflow/recipes/{cifar10,imagenet100}/byol.yaml, solo-learn's. The student's backbone is evaluated.

    >>> import torch
    >>> from clever.baselines.byol import Byol
    >>> from clever.baselines.options.byol import ByolOptions
    >>> _ = torch.manual_seed(0)
    >>> byol = Byol(ByolOptions(hidden_dim=32, out_dim=8, predictor_dim=8))
    >>> head = byol.make_head(16)  # for 16 features
    >>> features = torch.randn(2, 32, 16)  # two views of 32 images
    >>> teacher = [head(view) for view in features]  # in training from a momentum copy of the head
    >>> loss = byol.attract([head(view) for view in features], teacher, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    3.7
    """

    options: ByolOptions

    def make_head(self, width: int) -> PredictionHead:
        hidden, out = self.options.hidden_dim, self.options.out_dim
        predictor = make_mlp([out, self.options.predictor_dim or hidden, out])
        return PredictionHead(make_mlp([width, hidden, out]), predictor)

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        """The sum over both orders of 2 - 2 cos, which is the squared distance between the unit vectors."""
        return 4 - 4 * predicted_cosine(two_views("byol", student), teacher)

    def similarity(
        self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None
    ) -> Tensor:
        return predicted_cosine(two_views("byol", student), teacher).abs()

    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        return diagnose_cosines(student)
