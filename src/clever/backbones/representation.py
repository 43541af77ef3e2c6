"""The representation: a backbone's output vector, split into invariant representation and equivariant factor, in this
order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clever.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

PAPER_RATIO = 0.8
"""The share of the invariant representation in the paper's output vector (authors' main_dino.py:133)."""

Rounding = Literal["truncate", "nearest"]
"""How a share of the features is rounded to a whole number."""


@dataclass(frozen=True)
class Split:
    """The split of a vector of ``feature_dim`` entries into two parts.

    The invariant representation is the first ``int(feature_dim * ratio)`` entries, the equivariant factor the rest;
    ``int`` truncates, exactly as the authors' utils.py:658-659 do. With ``nearest`` it is ``int(round(...))``, as in
    DDCL's DRL_builder.py:26-27.

    Raises:
        UserError: ``ratio`` is not inside (0, 1) or leaves one of the two parts empty.
    """

    feature_dim: int
    ratio: float = PAPER_RATIO
    rounding: Rounding = "truncate"

    def __post_init__(self) -> None:
        if not 0.0 < self.ratio < 1.0:
            raise UserError(
                f"ratio {self.ratio} is not a split: choose a number between 0 and 1, the paper's is {PAPER_RATIO}"
            )
        if self.ir_dim < 1 or self.ef_dim < 1:
            raise UserError(
                f"ratio {self.ratio} splits {self.feature_dim} features into {self.ir_dim} and {self.ef_dim}: "
                "choose a ratio that leaves at least one feature in each part"
            )

    @property
    def ir_dim(self) -> int:
        """Number of entries of the invariant representation."""
        share = self.feature_dim * self.ratio
        return round(share) if self.rounding == "nearest" else int(share)

    @property
    def ef_dim(self) -> int:
        """Number of entries of the equivariant factor."""
        return self.feature_dim - self.ir_dim

    def ir(self, z: Tensor) -> Tensor:
        """The invariant representation of ``z`` [..., feature_dim], a view [..., ir_dim]."""
        self._check(z)
        return z[..., : self.ir_dim]

    def ef(self, z: Tensor) -> Tensor:
        """The equivariant factor of ``z`` [..., feature_dim], a view [..., ef_dim]."""
        self._check(z)
        return z[..., self.ir_dim :]

    def _check(self, z: Tensor) -> None:
        if z.shape[-1] != self.feature_dim:
            raise ValueError(f"a split of {self.feature_dim} features was given a tensor of shape {tuple(z.shape)}")


SPLITS: dict[str, Split] = {
    "vit_tiny": Split(192),
    "vit_small": Split(384),
    "resnet18": Split(512),
    "vmamba_tiny": Split(768),
    "resnet50": Split(2048),
}
"""The paper's split of its five backbones: 153|39, 307|77, 409|103, 614|154 and 1638|410."""
