"""What a method consists of, read off its own objects: parts, heads, layers and the terms of its objective.

Only the words of the terms are written here, one line for each; a test compares their names and weights with the terms
that training computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WIDTH = 1000
"""Width of the representation that shares are computed for."""


@dataclass(frozen=True)
class Term:
    """A term of the objective."""

    name: str
    weight: float
    parts: tuple[str, ...]
    """The parts of the representation whose heads it reads; empty if it reads the add-on's layers or the features."""
    words: str


@dataclass(frozen=True)
class Description:
    """A method: baseline and add-on."""

    name: str
    baseline: str
    equivariance: str
    shares: dict[str, float]
    """Share of the representation of each part, in order: ALL, or IR and EF."""
    heads: tuple[str, ...]
    """The parts that have a head."""
    has_predictor: bool
    """Whether a head has a predictor on top of its projection."""
    has_teacher: bool
    """Whether a momentum teacher encodes the targets; otherwise the student does."""
    evaluates_teacher: bool
    extra_views: tuple[str, ...]
    layers: tuple[str, ...]
    """The add-on's own layers."""
    layers_read: str
    """The part that these layers, or the add-on's terms on features, take."""
    terms: tuple[Term, ...]


_WORDS: dict[str, tuple[str | None, tuple[str, ...] | None, str]] = {
    # term: the option that weighs it, the parts that it reads (None: the baseline's own), words
    "contrast": (None, None, "loss of {baseline} between the views"),
    "orthogonality": ("orthogonality_weight", ("EF",), "similarity of the views' EF, driven to 0"),
    "head_norm": ("head_norm_weight", ("IR", "EF"), "difference of the heads' squared norms"),
    "gradient": ("gradient_weight", (), "change of the features with the view's colours"),
    "essl": ("essl_weight", (), "which transformation was applied to the crop"),
    "augself": ("augself_weight", (), "transformation between the two views"),
    "equimod": ("equimod_weight", (), "a view's embedding, predicted from its parameters"),
    "equivariance": ("equivariance_weight", (), "error of the EF predicted for the other view"),
    "variance": ("variance_weight", (), "spread of the EF's embedding, kept above 1"),
    "predicted_variance": ("predicted_variance_weight", (), "spread of the prediction, kept above 1"),
    "covariance": ("covariance_weight", (), "covariances of the EF's embedding"),
    "joint_entropy": ("joint_entropy_weight", (), "density of IR and EF together, lowered"),
    "care": ("care_weight", ("ALL",), "change of angles under a shared transformation"),
    "stl": ("equivariance_weight", (), "features, moved as another image's were"),
    "transformation": ("transformation_weight", (), "one transformation, seen on two images"),
    "ser": ("ser_weight", (), "cells of a turned map"),
    "star": ("star_weight", ("ALL",), "a view's embedding, predicted from its parameters"),
    "hallucination": (None, None, "the same loss on hallucinated positives"),
}
_TERMS = {
    "none": ("contrast",),
    "ddcl": ("contrast", "orthogonality"),
    "clever": ("contrast", "orthogonality", "head_norm"),
    "gradient": ("contrast", "gradient"),
    "essl": ("contrast", "essl"),
    "augself": ("contrast", "augself"),
    "equimod": ("contrast", "equimod"),
    "sie": ("contrast", "equivariance", "variance", "predicted_variance", "covariance"),
    "care": ("contrast", "care"),
    "stl": ("contrast", "stl", "transformation"),
    "ser": ("contrast", "ser"),
    "star": ("contrast", "star"),
    "hallucinator": ("contrast", "hallucination"),
}
"""The terms of each add-on, in the order of its code."""
_OPTIONAL = ("joint_entropy",)
"""Terms that a split add-on has if their weight is above 0."""
_FIXED_WEIGHT = {"hallucinator": 0.5}
"""Weight of an add-on's terms that no option weighs, where it is not 1."""


def describe(name: str, options: Mapping[str, Any]) -> Description:
    """Describe a method by building its objective, without allocating its heads.

    Args:
        name: its name in the study.
        options: its options, ``baseline`` and ``equivariance``.

    Raises:
        UserError: the options are wrong.
    """
    import torch

    from clever.augmentation import AugmentationOptions, parameter_space
    from clever.options import parse
    from clever.pretraining.composition import build_objective
    from clever.pretraining.recipe import MethodOptions

    method = parse(MethodOptions, options, f"methods.{name}")
    objective = build_objective(method, WIDTH, parameter_space(AugmentationOptions()))
    with torch.device("meta"):
        heads = objective.make_heads()
        layers = objective.add_on.make_layers([1] * (1 + max(objective.add_on.feature_maps, default=-1)))
    split = objective.split
    shares = {"ALL": 1.0} if split is None else {"IR": split.ir_dim / WIDTH, "EF": split.ef_dim / WIDTH}
    first = next(iter(objective.parts))
    settings = method.equivariance
    terms = []
    optional = [term for term in _OPTIONAL if getattr(settings, str(_WORDS[term][0]), 0)]
    for term in (*_TERMS[settings.name], *optional):
        option, parts, words = _WORDS[term]
        weight = _FIXED_WEIGHT.get(settings.name, 1.0) if option is None else float(getattr(settings, option))
        terms.append(
            Term(term, weight, (first,) if parts is None else parts, words.format(baseline=method.baseline.name))
        )
    return Description(
        name=name,
        baseline=method.baseline.name,
        equivariance=settings.name,
        shares=shares,
        heads=tuple(objective.parts),
        has_predictor=bool(heads[first].prediction_parameters()),
        has_teacher=objective.has_momentum_teacher,
        evaluates_teacher=objective.evaluates_teacher,
        extra_views=tuple(view.name for view in settings.extra_views()),
        layers=tuple(layers),
        layers_read="EF" if split is not None else "ALL",
        terms=tuple(terms),
    )
