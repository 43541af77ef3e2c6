"""The base class of all add-ons' options, with the needs of an add-on for views, backbone and baseline."""

from __future__ import annotations

from clever.augmentation import ExtraView, ViewOptions
from clever.backbones import BackboneOptions
from clever.baselines import BaselineOptions
from clever.options import Options

UNAUGMENTED = "unaugmented"
"""Name of the extra view of the un-augmented image, for the add-ons that predict views from it."""


class EquivarianceOptions(Options):
    """Options of an equivariance add-on; ``name`` chooses it."""

    name: str

    @property
    def redraws(self) -> int:
        """The number of fresh draws of the first view's differentiable parameters that the terms need, in addition to
        the gradient with respect to these parameters; 0 if the terms need neither."""
        return 0

    @property
    def shared_draws(self) -> int:
        """The number of consecutive images of a batch that share the parameters of the augmentation's views; 1: no
        sharing. Extra views have their own setting (``ExtraView.shared_draws``).
        """
        return 1

    def extra_views(self) -> tuple[ExtraView, ...]:
        """The views that the terms need in addition to those of the augmentation."""
        return ()

    def needed_maps(self) -> tuple[int, ...]:
        """Indices of the backbone's feature maps that the terms need (``Equivariance.feature_maps``)."""
        return ()

    def refusal(self, views: ViewOptions, backbone: BackboneOptions) -> str | None:
        """The reason why the add-on cannot work with these views or this backbone, and what would work; None if it can.

        Called before anything runs. The requirements on views that all add-ons share are checked separately,
        afterwards.
        """
        return None

    def baseline_refusal(self, baseline: BaselineOptions) -> str | None:
        """The reason why the add-on cannot work with this baseline, and what would work; None if it can.

        Decide by the facts that the baseline declares (``compares``, ``reads_samples``), not by its name, so that the
        answer is also right for a new baseline.
        """
        return None
