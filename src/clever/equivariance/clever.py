"""CLeVER: DDCL with a regulariser that keeps the two heads' parameter norms close to each other (arXiv 2406.00262)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clever.augmentation import ParameterSpace
from clever.baselines import Head
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.ddcl import ir_and_ef, joint_entropy, orthogonality
from clever.equivariance.equivariance import Equivariance
from clever.equivariance.options.clever import CleverOptions


class Clever(Equivariance):
    """DDCL's two terms, plus ``head_norm``.

    >>> import torch
    >>> from clever.baselines.options.simclr import SimclrOptions
    >>> from clever.baselines.simclr import Simclr
    >>> from clever.equivariance import Encoded, Objective
    >>> from clever.equivariance.clever import Clever
    >>> from clever.equivariance.options.clever import CleverOptions
    >>> _ = torch.manual_seed(0)
    >>> make_baseline = lambda changes: Simclr(SimclrOptions(hidden_dim=32, out_dim=8))
    >>> objective = Objective(Clever(CleverOptions(), feature_dim=20), make_baseline)
    >>> heads = objective.make_heads()
    >>> features = list(torch.randn(2, 32, 20))  # two views of 32 images
    >>> outputs = {part: [heads[part](view[:, cut]) for view in features] for part, cut in objective.parts.items()}
    >>> encoded = Encoded(features, outputs, heads)
    >>> terms = objective.terms(objective.batch(encoded, encoded))
    >>> sum(term.weight * term.value for term in terms.values()).backward()
    >>> sorted(terms)
    ['contrast', 'head_norm', 'orthogonality']
    """

    def __init__(self, options: CleverOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(*ir_and_ef(options, feature_dim))
        self.options = options

    def terms(self, batch: Batch) -> dict[str, Term]:
        groups = [norm_groups(batch.parts[part].head, self.options.head_norm_last_layer) for part in ("IR", "EF")]
        return (
            contrast(batch, "IR")
            | orthogonality(batch, self.options.orthogonality_weight)
            | {"head_norm": Term(head_norm_difference(*groups), self.options.head_norm_weight)}
            | joint_entropy(batch, self.split, self.options)
        )


def norm_groups(head: Head, with_last_layer: bool) -> list[list[nn.Parameter]]:
    """The groups of a head's parameters whose norms are balanced, with or without the last layer."""
    if with_last_layer:
        return head.norm_groups()
    last = {id(p) for p in head.last_layer_parameters()}
    return [[p for p in group if id(p) not in last] for group in head.norm_groups()]


def head_norm_difference(ir_groups: Sequence[Sequence[Tensor]], ef_groups: Sequence[Sequence[Tensor]]) -> Tensor:
    """| sum of ||theta||^2 over the IR head - sum of ||theta||^2 over the EF head |, averaged over groups.

    From the authors' main_dino.py:404-416. Only the student's heads are included. Frozen parameters are counted, as in
    the authors' code; they cancel if both heads have equally many. The sums and their difference are float64; the
    result is a float32 scalar.

    >>> import torch
    >>> ir_head, ef_head = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    >>> loss = head_norm_difference([list(ir_head.parameters())], [list(ef_head.parameters())])
    >>> loss.backward()
    >>> head_norm_difference([[torch.ones(4)]], [[torch.ones(9)]]).item()
    5.0
    """
    differences = [
        (_SquaredNorm.apply(*ir) - _SquaredNorm.apply(*ef)).abs() for ir, ef in zip(ir_groups, ef_groups, strict=True)
    ]
    return torch.stack(differences).mean().float()


class _SquaredNorm(torch.autograd.Function):
    """The sum of the squares of all entries, in float64: the forward pass reads each parameter once, the backward pass
    scales it once.

    A head with 65,536 outputs has 17 million parameters, and storing the square of each would dominate the term's cost.
    The sums of the two heads nearly cancel, and a float32 sum over that many squares is wrong in the third digit.
    Therefore, only the norm of a row is computed in float32; rows and tensors are added in float64.
    """

    @staticmethod
    def forward(ctx: Any, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(*parameters)
        return torch.stack([_squared_norm(parameter.detach()) for parameter in parameters]).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        twice = 2 * gradient
        pairs = zip(ctx.saved_tensors, ctx.needs_input_grad, strict=True)
        return tuple((p * twice).to(p.dtype) if wanted else None for p, wanted in pairs)


def _squared_norm(parameter: Tensor) -> Tensor:
    """The sum of squares, a float64 scalar, without a float64 copy of a matrix."""
    if parameter.ndim > 1:
        parameter = torch.linalg.vector_norm(parameter.flatten(1), dim=1)
    return parameter.double().square().sum()
