"""Sinkhorn-Knopp: assignments that use every prototype equally."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def sinkhorn(scores: Tensor, *, epsilon: float, iterations: int) -> Tensor:
    """Scale exp(scores / epsilon) until all prototypes have equal shares and all images have equal shares (authors'
    main_swav.py:359-380).

    Computed in the log domain, so that a small epsilon neither overflows nor empties a prototype.

    Args:
        scores: [B, K] of B images with K prototypes, any floating type.
        epsilon: > 0; the smaller it is, the harder the assignments are.
        iterations: >= 1; each scales the prototypes to B/K, then the images to 1.

    Returns:
        [B, K] float32: rows sum to 1, columns approximately to B/K.
    """
    logits = scores.float() / epsilon
    for _ in range(iterations):
        logits = logits - torch.logsumexp(logits, dim=0, keepdim=True)
        logits = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    return logits.exp()
