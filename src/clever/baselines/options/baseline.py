"""The base class of all baselines' options, with the facts that a study is checked against."""

from __future__ import annotations

from typing import ClassVar, Literal

from clever.options import Options

Compared = Literal["projections", "predictions", "scores"]
"""What a loss compares: the projector's outputs alone, a predictor's outputs with projections, or scores of
prototypes or words."""


class BaselineOptions(Options):
    """Options of a baseline, and the facts about the baseline that a study is checked against; ``name`` chooses it."""

    has_momentum_teacher: ClassVar[bool] = False
    """True: a teacher, the exponential moving average of the student, encodes the global views. False: the targets are
    the student's own outputs for the global views."""

    accepts_local_views: ClassVar[bool] = False
    """True: the student may see any number of small local views in addition to the two global views. False: a run with
    local views is rejected before it trains."""

    compares: ClassVar[Compared] = "projections"
    """What the loss compares. Add-ons that replace the head's outputs or layers depend on it."""

    views_apart: ClassVar[bool] = False
    """True: every view goes through backbone and head in a separate pass, so that BatchNorm normalises each view with
    its own statistics, as in the authors' code of two-view methods. False: views of equal size share a pass."""

    evaluates_teacher: ClassVar[bool] = True
    """Whether the momentum teacher's backbone is evaluated (DINO) or the student's (BYOL, MoCo v3)."""

    reads_samples: ClassVar[bool] = False
    """True: the loss depends on which images are compared (labels, latents, rows of the training split), and the
    baseline implements ``attract_samples`` or ``observe_samples``."""

    remembers_images: ClassVar[bool] = False
    """True: the baseline's state has an entry for every training image, so it must know their number."""

    name: str

    def needed_maps(self) -> tuple[int, ...]:
        """Indices of the backbone's feature maps that the baseline needs (``Baseline.feature_maps``)."""
        return ()

    def refusal(self, images: int) -> str | None:
        """The reason why the baseline cannot compare batches of this many images, and what would work; None if it can.

        Called before anything runs, with the number of images per step over all processes.
        """
        return None

    def teacher_momentum(self, progress: float) -> float:
        """Momentum of the teacher after a fraction ``progress`` in [0, 1] of all steps."""
        raise TypeError(f"{self.name} has no momentum teacher")
