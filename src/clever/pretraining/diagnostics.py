"""Metrics that distinguish a healthy run from a collapsed one, and their interpretation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from clever.results.run_description import HEALTHY

UNIFORM_ENTROPY_RATIO = 0.98
"""Above this share of its maximal entropy, a teacher hardly distinguishes any images."""
CONSTANT_ENTROPY_RATIO = 0.02
"""Below this share, a teacher gives nearly every image the same output."""
COLLAPSED_DIVERGENCE_RATIO = 0.01
"""Teacher-student divergence over the teacher's maximal entropy. Below it, and at an extreme entropy, the student has
nothing left to learn; healthy runs stay above 0.05."""
SMALLEST_RANK = 1.5
"""Effective rank below which all features lie on a line."""
SMALLEST_INFORMATION_RATIO = 0.01
"""Mutual information between image and prototype over its maximum. Below it, prototypes do not distinguish images
(SwAV)."""
SMALLEST_STD = 0.01
"""Spread of unit features below which all images look the same (1 is isotropic)."""


@torch.no_grad()
def effective_rank(features: Tensor) -> Tensor:
    """exp of the entropy of the normalised singular values of the centred features (Roy and Vetterli 2007).

    Args:
        features: [N, D]; at most N - 1 and D.

    Returns:
        A scalar >= 1. It is 1 if all rows are equal, and NaN if a feature is not finite (in a step that is skipped).
    """
    centred = features.double() - features.double().mean(dim=0)
    if not centred.isfinite().all():
        return torch.full((), torch.nan)
    singular = torch.linalg.svdvals(centred)
    share = singular / singular.sum().clamp_min(torch.finfo(singular.dtype).tiny)
    rank: Tensor = torch.special.entr(share).sum().exp()
    return rank


@torch.no_grad()
def feature_std(features: Tensor) -> Tensor:
    """sqrt(D) times the mean standard deviation of the l2-normalised features (Chen and He 2021, section 4.1).

    Args:
        features: [N, D], N >= 2.

    Returns:
        A scalar: near 1 for isotropic features, 0 when all images look the same.
    """
    unit = torch.nn.functional.normalize(features.float(), dim=-1)
    spread: Tensor = unit.std(dim=0).mean() * features.shape[1] ** 0.5
    return spread


@torch.no_grad()
def diagnose_features(parts: Mapping[str, slice], views: Sequence[Tensor]) -> dict[str, float]:
    """Spread, effective rank and agreement between two views, for each part of the representation.

    Args:
        parts: the columns of each part by its name.
        views: features [N, D] of two views of the same images.
    """
    values: dict[str, float] = {}
    for part, columns in parts.items():
        first, second = (view[:, columns].float() for view in views[:2])
        name = part.lower()
        values[f"feature_std_{name}"] = feature_std(first).item()
        values[f"effective_rank_{name}"] = effective_rank(first).item()
        values[f"view_cosine_{name}"] = torch.cosine_similarity(first, second).mean().item()
    return values


def assess(values: Mapping[str, float], unmoved: str | None = None) -> str:
    """Return ``ok``, or the way in which a run with these metrics has collapsed.

    Args:
        values: metrics of the last epoch by name.
        unmoved: at the end of a run, the problem with its teacher (``pretraining.momentum_teacher``), if there is one.
    """
    reasons = []
    entropy, divergence = values.get("teacher_entropy_ratio"), values.get("teacher_student_divergence_ratio")
    if entropy is not None and divergence is not None and divergence < COLLAPSED_DIVERGENCE_RATIO:
        if entropy > UNIFORM_ENTROPY_RATIO:
            reasons.append("teacher collapsed to the uniform distribution")
        if entropy < CONSTANT_ENTROPY_RATIO:
            reasons.append("teacher collapsed to one output")
    if values.get("projection_std", 1.0) < SMALLEST_STD:
        reasons.append(f"projections are the same for all images (std {values['projection_std']:.4f})")
    if values.get("assignment_information_ratio", 1.0) < SMALLEST_INFORMATION_RATIO:
        reasons.append("assignments carry no information about the image")
    for name, value in values.items():
        part = name.rsplit("_", 1)[-1].upper()
        if name.startswith("effective_rank_") and value < SMALLEST_RANK:
            reasons.append(f"{part} collapsed to a line (effective rank {value:.2f})")
        if name.startswith("feature_std_") and value < SMALLEST_STD:
            reasons.append(f"{part} is the same for all images (std {value:.4f})")
    if unmoved is not None:
        reasons.append(unmoved)
    return "; ".join(reasons) or HEALTHY
