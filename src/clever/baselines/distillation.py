"""Two losses between softmax distributions, computed with their gradients in one pass over the logits.

With 65,536 outputs, a head's logits are the largest tensors of a training step. The direct form reads them dozens of
times: a log-softmax and a product for each of the 18 (teacher, student) pairs of ten crops. Both losses are sums over
the pairs. Therefore, for one student view,

* the cross-entropies with all its teachers are one cross-entropy with the *sum* of their distributions, and
* the cosines with all its teachers are one product with the *sum* of their unit vectors,

and both gradients have closed forms in the softmax that the loss needs anyway. Each view's softmax is computed once, in
blocks of rows that stay in the cache, and the only large buffer is the gradient itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

_BLOCK_ELEMENTS = 1 << 18  # 1 MiB of float32: one block's few arrays stay in a core's second-level cache
_SHORTEST = 1e-8  # torch's cosine_similarity divides by no smaller norm


def teacher_distribution(logits: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """The centred and sharpened distribution softmax((t - c) / T) (authors' main_dino.py:541-548).

    Args:
        logits: [N, K], any floating type.
        centre: [1, K] float32.
        temperature: T > 0.

    Returns:
        [N, K] float32, detached.
    """
    return torch.softmax((logits.detach().float() - centre) / temperature, dim=-1)


def count_pairs(teacher_views: int, student_views: int) -> int:
    """The number of pairs of a teacher view and a different student view (18 for 2 global and 8 local views)."""
    return teacher_views * (student_views - 1)


def cross_entropy(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    centre: Tensor,
    *,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """Mean over pairs (q, v), q != v, of the batch mean of -sum_k softmax((t_q - c) / T_t)_k log softmax(s_v / T_s)_k.

    This is DINO's loss (Caron et al. 2021, eq. 2-3; the CLeVER authors' main_dino.py:550-560).

    Args:
        student: V >= 2 tensors [N, K] of logits, the global views first; any floating type, computed in float32.
        teacher: Q <= V tensors [N, K] of logits; teacher q saw the same crop as student view q, and that pair is
            excluded. The teacher tensors receive no gradient.
        centre: c, [1, K] float32.
        student_temperature: T_s > 0.
        teacher_temperature: T_t > 0.

    Returns:
        A float32 scalar. The gradient with respect to each student tensor has that tensor's dtype.

    >>> import torch
    >>> logits = [torch.zeros(5, 4), torch.zeros(5, 4)]
    >>> centre = torch.zeros(1, 4)
    >>> loss = cross_entropy(logits, logits, centre, student_temperature=0.1, teacher_temperature=0.04)
    >>> round(loss.item(), 4)  # log 4
    1.3863
    """
    arguments = (_cross_entropy_rows, len(teacher), centre, student_temperature, teacher_temperature)
    return _Sweep.apply(*arguments, *teacher, *student)  # type: ignore[no-any-return]


def cosine(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    centre: Tensor,
    *,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """Mean over all pairs (q, v), q != v, of |batch mean of cos(softmax((t_q - c) / T_t), softmax(s_v / T_s))|.

    This is the orthogonality term of CLeVER on DINO. The cosine is taken between the K probabilities, not between the
    logits (authors' main_dino.py:562-580). Both vectors are non-negative, so the absolute value changes nothing, and
    the minimum, 0, means disjoint supports. The arguments and the result are the same as for :func:`cross_entropy`.
    """
    arguments = (_cosine_rows, len(teacher), centre, student_temperature, teacher_temperature)
    return _Sweep.apply(*arguments, *teacher, *student)  # type: ignore[no-any-return]


_RowObjective = Callable[[Tensor, int, Tensor, float, float | None], tuple[Tensor, Tensor | None]]
"""(sum of targets [n, K], their number, logits [n, K] float32, temperature, scale of the gradient or None without)
-> (sum over rows and targets, its derivative with respect to the logits times the scale)."""


def _cross_entropy_rows(
    target: Tensor, targets: int, logits: Tensor, temperature: float, scale: float | None
) -> tuple[Tensor, Tensor | None]:
    probability = torch.softmax(logits / temperature, dim=-1)
    # The largest probability cannot underflow, so this is a safe log-sum-exp without a second exponential.
    log_partition = logits.amax(-1) / temperature - probability.amax(-1).log()
    value = targets * log_partition.sum() - torch.dot(target.flatten(), logits.flatten()) / temperature
    if scale is None:
        return value, None
    scale /= temperature
    return value, probability.mul_(targets * scale).sub_(target, alpha=scale)


def _cosine_rows(
    target: Tensor, _targets: int, logits: Tensor, temperature: float, scale: float | None
) -> tuple[Tensor, Tensor | None]:
    # Let p = softmax(s / T), U (``target``) the sum of the unit targets, and C = U.p / |p| the sum of a row's cosines.
    # Then dC/ds = (p / T) (U / |p| - C p / |p|^2). The usual mean correction of a softmax gradient, <p, dC/dp>, is zero
    # here, because the cosine does not depend on the length of p.
    probability = torch.softmax(logits / temperature, dim=-1)
    length = _length(probability)
    cosines = torch.linalg.vecdot(target, probability).unsqueeze(-1) / length
    if scale is None:
        return cosines.sum(), None
    gradient = torch.addcmul(target, probability, cosines / length, value=-1.0)
    return cosines.sum(), gradient.mul_(probability).mul_(scale / (length * temperature))


class _Sweep(torch.autograd.Function):
    """A row objective summed over all pairs and divided by their number; the forward pass stores the gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        objective: _RowObjective,
        teachers: int,
        centre: Tensor,
        student_temperature: float,
        teacher_temperature: float,
        *tensors: Tensor,
    ) -> Tensor:
        teacher, student = tensors[:teachers], tensors[teachers:]
        wanted = ctx.needs_input_grad[-len(student) :]
        scale = 1.0 / (count_pairs(len(teacher), len(student)) * len(student[0]))
        gradients = [torch.empty_like(s) if want else None for s, want in zip(student, wanted, strict=True)]
        total = torch.zeros((), dtype=torch.float64, device=student[0].device)
        for rows in _row_blocks(student[0]):
            targets = [teacher_distribution(t[rows], centre, teacher_temperature) for t in teacher]
            if objective is _cosine_rows:
                targets = [target.div_(_length(target)) for target in targets]
            everyone = _total(targets)
            for view, (logits, gradient) in enumerate(zip(student, gradients, strict=True)):
                others = [t for q, t in enumerate(targets) if q != view]
                if not others:
                    if gradient is not None:
                        gradient[rows] = 0
                    continue
                target = everyone if view >= len(targets) else _total(others)
                wanted_scale = None if gradient is None else scale
                value, block = objective(target, len(others), logits[rows].float(), student_temperature, wanted_scale)
                total += value
                if gradient is not None and block is not None:
                    gradient[rows] = block
        ctx.gradients = gradients
        return (total * scale).float()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("a one-sweep loss supports a single backward pass")
        gradients, ctx.gradients = ctx.gradients, None
        no_gradient = [None] * (len(ctx.needs_input_grad) - len(gradients))
        return (*no_gradient, *(None if g is None else g.mul_(grad_output.to(g.dtype)) for g in gradients))


def _row_blocks(logits: Tensor) -> Iterator[slice]:
    # On a GPU, a few large kernels beat many small ones; small blocks only help a CPU's cache.
    rows = len(logits) if logits.is_cuda else max(1, _BLOCK_ELEMENTS // logits.shape[1])
    for start in range(0, len(logits), rows):
        yield slice(start, start + rows)


def _total(tensors: list[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total


def _length(vectors: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return length.clamp_min_(_SHORTEST)
