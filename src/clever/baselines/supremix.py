"""SupReMix: supervised contrastive learning for regression with mixed embeddings (Wu et al. 2023, arXiv 2309.16633).

Source: excerpts of the authors' code for ages of faces (IMDB-WIKI, AgeDB). We have neither its complete recipe nor its
accuracies, so we provide no recipe with published values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from clever import spirograph, threediebench
from clever.baselines.baseline import Head, HeadOutput, two_views
from clever.baselines.contrast import Contrastive, gather_projections, scaled_products
from clever.baselines.options.supremix import SupremixOptions, ThreediebenchName
from clever.baselines.samples import Samples, gather_samples
from clever.collectives import from_first_process

COLUMNS = {name: column for names in (spirograph.NAMES, threediebench.NAMES) for column, name in enumerate(names)}
"""The column of every latent in its data source's latents."""

_ELEMENTS = 2**22
"""Maximum number of elements of the anchors-by-pairs table in memory at once."""


class Supremix(Contrastive):
    """Orders images by a continuous target. It is a supervised control: it is given what other methods must discover.

    For each of the 2N embeddings z_i with target y_i:

    * hard negatives: a z_i + (1 - a) z_k for every k with another target, a drawn from a beta distribution; their
      target is a y_i + (1 - a) y_k.
    * hard positives: a z_j + (1 - a) z_k for every y_j < y_i < y_k within the window, with the a that gives y_i.

    All mixtures are normalised and receive no gradient. With s = cos / T and w = 1 + |y_i - y|, the loss of i is

        - 1 / (P + 1) sum over its P positives p of log [exp(s_p) / sum over m of w_m exp(s_m)],

    where positives are the other embeddings with the same target and the hard positives, and m are all other embeddings
    and all mixtures. The loss is the mean over embeddings. The sources leave three details open. We chose to draw a for
    every pair (i, k), to normalise mixtures, and to include hard positives in the denominator.

    >>> import torch
    >>> from clever.baselines.samples import Samples
    >>> from clever.baselines.options.supremix import SupremixOptions
    >>> from clever.baselines.supremix import Supremix
    >>> _ = torch.manual_seed(0)
    >>> supremix = Supremix(SupremixOptions(hidden_dim=32, out_dim=8))
    >>> head = supremix.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> rows = torch.arange(32).expand(2, -1)
    >>> loss = supremix.attract_samples(views, views, head, Samples(rows, labels=rows % 10))
    >>> loss.backward()
    >>> round(loss.item(), 1)
    7.6
    """

    options: SupremixOptions

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        raise TypeError("supremix compares images by their targets: call attract_samples")

    def attract_samples(
        self,
        student: Sequence[HeadOutput],
        teacher: Sequence[HeadOutput],
        head: Head | None = None,
        samples: Samples | None = None,
    ) -> Tensor:
        o = self.options
        assert samples is not None
        embeddings = gather_projections(two_views("supremix", student)).flatten(0, 1)
        targets = gather_samples(self._targets(samples)).flatten() / o.unit
        shares = from_first_process(_draw_beta(*o.mixing_shape, len(embeddings), embeddings.device))
        return supremix_loss(embeddings, targets, shares, o.temperature, o.window)

    def _targets(self, samples: Samples) -> Tensor:
        """float32 [2, N]."""
        if self.options.target is None:
            return samples.labels.float()
        assert samples.latents is not None
        return samples.latents[..., COLUMNS[self.options.target]].float()


def supremix_loss(embeddings: Tensor, targets: Tensor, shares: Tensor, temperature: float, window: float) -> Tensor:
    """The loss of :class:`Supremix`, a scalar.

    Args:
        embeddings: [M, K] float32 unit vectors.
        targets: [M], in units.
        shares: [M, M], the share of row i in its mixture with row k, in [0, 1].
        temperature: T > 0.
        window: in units.
    """
    # Mixtures have no gradient, so the gradient of a cosine with a mixture goes to its anchor (the row) alone; the
    # gradient of a cosine between two embeddings goes to both. Cosines with mixtures follow from cosines between
    # embeddings, so mixtures are never built.
    fixed = scaled_products(embeddings, embeddings.detach(), 1.0)
    between = scaled_products(embeddings, embeddings, 1.0)
    size = len(embeddings)
    rows = max(1, _ELEMENTS // size**2)
    total = torch.zeros((), device=embeddings.device)
    for start in range(0, size, rows):
        anchors = torch.arange(start, min(start + rows, size), device=embeddings.device)
        of_anchors = between[anchors], fixed[anchors], shares[anchors]
        # Recomputed in the backward pass, so that the table of all anchors by all pairs is not kept.
        total = total + checkpoint(
            _loss_of_anchors,
            *of_anchors,
            anchors,
            fixed.detach(),
            targets,
            temperature,
            window,
            use_reentrant=False,
            preserve_rng_state=False,
        )
    return total / size


def _loss_of_anchors(
    between: Tensor,
    fixed: Tensor,
    shares: Tensor,
    anchors: Tensor,
    cosines: Tensor,
    targets: Tensor,
    temperature: float,
    window: float,
) -> Tensor:
    """The sum of the losses of the embeddings ``anchors`` int64 [A].

    Args:
        between: [A, M], the anchors' cosines, with gradient to both sides; fixed: the same, with gradient to the anchor
            only.
        shares: [A, M], as in :func:`supremix_loss`.
        cosines: [M, M] without gradient.
    """
    own = targets[anchors].unsqueeze(1)
    away = targets - own  # [A, M]
    itself = anchors.unsqueeze(1) == torch.arange(len(targets), device=targets.device)
    same, other = (away == 0) & ~itself, away != 0

    plain = (between / temperature + torch.log1p(away.abs())).masked_fill(itself, -torch.inf)
    alone = fixed.gather(1, anchors.unsqueeze(1))  # cosine 1, with the gradient of an embedding and its copy
    toward = cosines[anchors]
    negative = (shares * alone + (1 - shares) * fixed) / _length(shares, toward)
    negative = negative / temperature + torch.log1p((1 - shares) * away.abs())
    negative = negative.masked_fill(~other, -torch.inf)

    below, above = (away < 0) & (away >= -window), (away > 0) & (away <= window)
    chosen = below.unsqueeze(2) & above.unsqueeze(1)  # [A, M, M]: j below, k above
    distance = torch.where(chosen, away.unsqueeze(1) - away.unsqueeze(2), 1.0)
    share = torch.where(chosen, away.unsqueeze(1) / distance, 0.5)
    mixed = (share * fixed.unsqueeze(2) + (1 - share) * fixed.unsqueeze(1)) / _length(share, cosines)
    positive = mixed / temperature
    spread = torch.logsumexp(
        torch.cat([plain, negative, positive.masked_fill(~chosen, -torch.inf).flatten(1)], dim=1), dim=1
    )
    count = same.sum(1) + chosen.sum((1, 2))
    reached = (between / temperature).masked_fill(~same, 0.0).sum(1) + positive.masked_fill(~chosen, 0.0).sum((1, 2))
    return ((count * spread - reached) / (count + 1)).sum()


def _length(share: Tensor, cosine: Tensor) -> Tensor:
    """The length of a x + (1 - a) y of two unit vectors with this cosine."""
    rest = 1 - share
    return (share.square() + rest.square() + 2 * share * rest * cosine.detach()).clamp_min(1e-12).sqrt()


def _draw_beta(first: int, second: int, size: int, device: torch.device) -> Tensor:
    """[size, size] draws from a beta distribution with integer parameters, as a share of a sum of exponential
    variables."""
    waits = -torch.log1p(-torch.rand(first + second, size, size, device=device))
    return waits[:first].sum(0) / waits.sum(0)


assert get_args(ThreediebenchName) == threediebench.NAMES
