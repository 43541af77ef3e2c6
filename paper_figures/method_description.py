"""The components of a method, read from its objects: parts, heads, layers and the terms of its objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from term_words import wordings

WIDTH = 1000
"""Width of the representation for which shares are computed."""


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
    """Each part's share of the representation, in order: ALL, or IR and EF."""
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
    """The part that these layers, or the add-on's terms on features, take as input."""
    terms: tuple[Term, ...]


def describe(name: str, options: Mapping[str, Any]) -> Description:
    """Describe a method by building its objective, without allocating its heads.

    Args:
        name: its name in the study.
        options: its options, ``baseline`` and ``equivariance``.

    Raises:
        UserError: the options, or the words for the add-on's terms, are wrong.
    """
    import torch

    from clever.augmentation import AugmentationOptions, parameter_space
    from clever.options import parse
    from clever.pretraining.composition import build_objective
    from clever.pretraining.recipe import MethodOptions

    method = parse(MethodOptions, options, f"methods.{name}")
    objective = build_objective(method, WIDTH, parameter_space(AugmentationOptions()))
    map_widths = [1] * (1 + max((*objective.feature_maps, *objective.add_on.feature_maps), default=-1))
    with torch.device("meta"):
        objective.prepare(map_widths=map_widths)
        heads = objective.make_heads()
        layers = objective.add_on.make_layers(map_widths)
    split = objective.split
    shares = {"ALL": 1.0} if split is None else {"IR": split.ir_dim / WIDTH, "EF": split.ef_dim / WIDTH}
    first = next(iter(objective.parts))
    settings = method.equivariance
    terms = []
    for term, wording in wordings(settings).items():
        weight = wording.weight_in(settings)
        if weight is None:
            continue
        parts = (first,) if wording.parts == "first" else wording.parts
        terms.append(Term(term, weight, parts, wording.words.format(baseline=method.baseline.name)))
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
