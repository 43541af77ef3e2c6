"""SimCLR: a simple framework for contrastive learning (Chen et al. 2020, arXiv 2002.05709)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.baseline import Head, HeadOutput, two_views
from clever.baselines.contrast import Contrastive, gather_projections, scaled_products
from clever.baselines.options.simclr import Negatives, SimclrOptions


class Simclr(Contrastive):
    """NT-Xent, the cross-entropy of finding an image's other view among all views of the batch.

    Recipes: workflow/recipes/{cifar10,imagenet100}/simclr.yaml, solo-learn's. On ImageNet, E-SSL's SimCLR uses batches
    of 4096 images and LARS with a learning rate of 4.8 at this batch size.

    >>> import torch
    >>> from clever.baselines.options.simclr import SimclrOptions
    >>> from clever.baselines.simclr import Simclr
    >>> _ = torch.manual_seed(0)
    >>> simclr = Simclr(SimclrOptions(hidden_dim=32, out_dim=8))
    >>> head = simclr.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = simclr.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    8.2
    """

    options: SimclrOptions

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        first, second = gather_projections(two_views("simclr", student))
        return nt_xent(first, second, temperature=self.options.temperature, negatives=self.options.negatives)


def nt_xent(first: Tensor, second: Tensor, *, temperature: float, negatives: Negatives = "both_views") -> Tensor:
    """Mean over the 2N ordered positives (i, j) of -log [exp(z_i.z_j / T) / sum_k exp(z_i.z_k / T)].

    Args:
        first, second: [N, K] float32 unit vectors; equal rows belong to the same image.
        temperature: T > 0.
        negatives: whether k runs over all 2N views except i itself, or over the N images of the other view.

    >>> import torch
    >>> z = torch.eye(4)  # four images, orthogonal to each other, each view like the other
    >>> round(nt_xent(z, z, temperature=1.0).item(), 4)  # log(e + 6) - 1
    1.1654
    """
    count = len(first)
    targets = torch.arange(count, device=first.device)
    if negatives == "other_view":
        logits = scaled_products(first, second, temperature)
        return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
    both = torch.cat([first, second])
    logits = scaled_products(both, both, temperature)
    logits = logits.masked_fill(torch.eye(2 * count, dtype=torch.bool, device=both.device), -torch.inf)
    return F.cross_entropy(logits, torch.cat([targets + count, targets]))
