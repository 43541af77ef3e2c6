"""Evaluates an objective on hand-made encodings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from clever.augmentation import View
from clever.augmentation.options.views import FIRST, SECOND
from clever.equivariance import Batch, Encoded, Objective, Term


def batch_of(objective: Objective, encoded: Encoded, views: Sequence[View] = ()) -> Batch:
    """A batch without a momentum teacher: the student's own outputs are the targets."""
    return objective.batch(encoded, encoded, dict(zip((FIRST, SECOND), views, strict=False)))


def terms_of(objective: Objective, encoded: Encoded, views: Sequence[View] = ()) -> dict[str, Term]:
    """The named terms of one batch."""
    return objective.terms(batch_of(objective, encoded, views))


def diagnosis_of(objective: Objective, encoded: Encoded, views: Sequence[View] = ()) -> Mapping[str, Tensor]:
    """The add-on's diagnostics for one batch."""
    return objective.add_on.diagnose(batch_of(objective, encoded, views))
