"""VMamba's selective scan with one state per channel, in plain PyTorch, on any device.

Per channel, with step Δ = softplus(step + step_bias) > 0 and A < 0::

    h_l = exp(Δ_l·A)·h_{l-1} + Δ_l·B_l·u_l        y_l = C_l·h_l + D·u_l

The official code needs compiled CUDA kernels for this (authors' csms6s.py, vmamba.py:376-698). Here the recurrence runs
in chunks: all chunks are scanned in parallel from a zero state, then the effect of the preceding chunk's last state is
added to each. Only products of decays in (0, 1] are formed, never a quotient or the exponential of a sum over the
sequence: nothing can overflow, and values that underflow are negligible. The arithmetic is float32, even under autocast
(float64 for float64).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def selective_scan(
    u: Tensor,
    step: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
    step_bias: Tensor,
    *,
    reverse: bool = False,
    chunk: int | None = None,
) -> Tensor:
    """Scan G groups of D channels along sequences of length L.

    Args:
        u: input [G, N, L, D], any floating type.
        step: step size before bias and softplus [G, N, L, D].
        a: continuous decay rate [G, D], negative.
        b: input gate [G, N, L].
        c: output gate [G, N, L].
        d: skip weight [G, D].
        step_bias: [G, D].
        reverse: scan from the last position to the first.
        chunk: positions per chunk; None: about √L. It only affects rounding and speed.

    Returns:
        y [G, N, L, D], float32 (float64 when ``u`` is). Differentiable any number of times in every argument.
    """
    y: Tensor = _apply(u, step, a, b, c, d, step_bias, reverse, chunk or _chunk_length(u.shape[2]))
    return y


def linear_recurrence(decay: Tensor, x: Tensor, *, reverse: bool = False, chunk: int | None = None) -> Tensor:
    """h_l = decay_l·h_{l-1} + x_l along the second-to-last axis, with h = 0 before the first position.

    Args:
        decay: [..., L, D] in [0, 1].
        x: [..., L, D], same type.
        reverse: start at the last position; the predecessor of l is then l + 1.
        chunk: positions per chunk; None: about √L.

    Returns:
        h [..., L, D]. Differentiable any number of times.
    """
    h: Tensor = _LinearRecurrence.apply(decay, x, reverse, chunk or _chunk_length(x.shape[-2]))
    return h


def _chunk_length(length: int) -> int:
    # √L positions in each of √L chunks need 2·√L sequential operations, the minimum for two levels.
    return math.isqrt(length - 1) + 1


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)) as max(x, 0) + 2·atanh(e / (e + 2)), e = exp(-|x|): on a CPU ten times as fast as PyTorch's."""
    e = x.abs().neg_().exp_()
    return e.div_(e + 2).atanh_().mul_(2).add_(x.clamp(min=0))


def _scan_(decay: Tensor, h: Tensor, reverse: bool, chunk: int) -> Tensor:
    """Replace x, given in ``h`` [..., L, D], by the states of the recurrence, in place and without autograd."""
    length = h.shape[-2]
    count = length // chunk
    if count <= 1:
        _scan_positions_(decay, h, reverse)
        return h
    # If one chunk is incomplete, it is the last in the order of the scan.
    rest = length - count * chunk
    whole = slice(rest, None) if reverse else slice(0, length - rest)
    decays, states = (tensor[..., whole, :].view(*h.shape[:-2], count, chunk, h.shape[-1]) for tensor in (decay, h))
    _scan_positions_(decays, states, reverse)
    reach = (decays.flip(-2).cumprod(-2).flip(-2) if reverse else decays.cumprod(-2)).unbind(-3)
    order = range(count - 2, -1, -1) if reverse else range(1, count)
    chunks = states.unbind(-3)
    for i in order:
        carry = chunks[i + 1][..., :1, :] if reverse else chunks[i - 1][..., -1:, :]
        chunks[i].addcmul_(reach[i], carry)
    if rest:
        tail = slice(0, rest + 1) if reverse else slice(length - rest - 1, None)
        _scan_positions_(decay[..., tail, :], h[..., tail, :], reverse)
    return h


def _scan_positions_(decay: Tensor, h: Tensor, reverse: bool) -> None:
    decays, states = decay.unbind(-2), h.unbind(-2)
    if reverse:
        decays, states = decays[::-1], states[::-1]
    for i in range(1, len(states)):
        states[i].addcmul_(decays[i], states[i - 1])


def _scan_adjoint_(decay: Tensor, grad: Tensor, reverse: bool, chunk: int) -> Tensor:
    """Replace the gradient of the states by that of x, in place: g_l = grad_l + decay_{l+1}·g_{l+1}."""
    return _scan_(decay.roll(1 if reverse else -1, -2), grad, not reverse, chunk)


def _predecessor(h: Tensor, reverse: bool) -> Tensor:
    """h_{l-1} at l (h_{l+1} in reverse), 0 at the start of the scan."""
    return functional.pad(h[..., 1:, :], (0, 0, 0, 1)) if reverse else functional.pad(h[..., :-1, :], (0, 0, 1, 0))


class _LinearRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, decay: Tensor, x: Tensor, reverse: bool, chunk: int) -> Tensor:
        h = _scan_(decay, x.clone(memory_format=torch.contiguous_format), reverse, chunk)
        ctx.save_for_backward(decay, h)
        ctx.reverse, ctx.chunk = reverse, chunk
        return h

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        decay, h = ctx.saved_tensors
        shift = 1 if ctx.reverse else -1
        grad_x = linear_recurrence(decay.roll(shift, -2), grad, reverse=not ctx.reverse, chunk=ctx.chunk)
        return grad_x * _predecessor(h, ctx.reverse), grad_x, None, None


def _exact(*tensors: Tensor) -> list[Tensor]:
    dtype = torch.float64 if tensors[0].dtype == torch.float64 else torch.float32
    return [tensor.to(dtype) for tensor in tensors]


def _composed(arguments: tuple[Tensor, ...], reverse: bool, chunk: int) -> Tensor:
    """The selective scan composed of differentiable operations: slower than ``_SelectiveScan``, but it can be
    differentiated again."""
    u, step, a, b, c, d, step_bias = _exact(*arguments)
    delta = functional.softplus(step + step_bias[:, None, None])
    x = delta * u * b[..., None]
    h = linear_recurrence(torch.exp(delta * a[:, None, None]), x, reverse=reverse, chunk=chunk)
    return h * c[..., None] + d[:, None, None] * u


class _SelectiveScan(torch.autograd.Function):
    """Selective scan that keeps only its arguments and states for the backward pass and recomputes the rest."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        step: Tensor,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        d: Tensor,
        step_bias: Tensor,
        reverse: bool,
        chunk: int,
    ) -> Tensor:
        # Saved in their original dtype: bfloat16 takes half the memory.
        saved = (u, step, a, b, c, d, step_bias)
        u, step, a, b, c, d, step_bias = _exact(u, step, a, b, c, d, step_bias)
        delta = _softplus(step + step_bias[:, None, None])
        decay = (delta * a[:, None, None]).exp_()
        h = _scan_(decay, delta.mul_(u).mul_(b[..., None]), reverse, chunk)
        ctx.save_for_backward(*saved, h)
        ctx.reverse, ctx.chunk = reverse, chunk
        return torch.addcmul(h * c[..., None], d[:, None, None], u)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        arguments: tuple[Tensor, ...] = ctx.saved_tensors[:7]
        h: Tensor = ctx.saved_tensors[7]
        if torch.is_grad_enabled():  # create_graph: the gradient itself will be differentiated
            with torch.enable_grad():
                y = _composed(arguments, ctx.reverse, ctx.chunk)
                wanted = [t for t, needed in zip(arguments, ctx.needs_input_grad, strict=False) if needed]
                found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:7]), None, None
        u, step, a, b, c, d, step_bias = _exact(*arguments)
        shifted = step + step_bias[:, None, None]
        delta = _softplus(shifted)
        decay = (delta * a[:, None, None]).exp_()
        g = _scan_adjoint_(decay, grad * c[..., None], ctx.reverse, ctx.chunk)  # gradient of Δ·B·u
        exponent = decay.mul_(_predecessor(h, ctx.reverse)).mul_(g)  # gradient of Δ·A
        grad_a = (exponent * delta).sum((1, 2))
        g_u = g * u
        grad_b = (g_u * delta).sum(-1)
        grad_step = (exponent.mul_(a[:, None, None])).addcmul_(g_u, b[..., None]).mul_(shifted.sigmoid_())
        grad_u = torch.addcmul(delta.mul_(g).mul_(b[..., None]), grad, d[:, None, None])
        grad_c = (grad * h).sum(-1)
        grad_d = (grad * u).sum((1, 2))
        grads = (grad_u, grad_step, grad_a, grad_b, grad_c, grad_d, grad_step.sum((1, 2)))
        return *(g.to(t.dtype) for g, t in zip(grads, arguments, strict=True)), None, None


# A compiler would unroll the loops over positions and chunks, thousands of steps, so the scan is not compiled.
_apply: Any = torch.compiler.disable(_SelectiveScan.apply)  # type: ignore[no-untyped-call]
