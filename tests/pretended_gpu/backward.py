"""Reverse-mode differentiation of a graph of pretended CUDA tensors, in Python.

Torch's engine asks the CUDA driver for a stream before it starts. This engine calls the nodes of the same graph, so
every derivative formula and every ``autograd.Function.backward`` runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

Edge = tuple[Any, int]
"""A node of the graph, and the index of one of its outputs in the forward pass (inputs in the backward pass)."""


def accumulate(roots: Sequence[Tensor], gradients: Sequence[Tensor], create_graph: bool) -> None:
    """Add gradients to ``grad`` of every leaf below ``roots``, as ``torch.autograd.backward`` does."""
    for leaf, gradient in _run(roots, gradients, [], create_graph)[1]:
        kept = gradient if create_graph else gradient.detach()
        if kept.stride() != leaf.stride():  # fused optimisers read both in memory order
            kept = torch.empty_like(leaf, requires_grad=False).copy_(kept)
        leaf.grad = kept if leaf.grad is None else leaf.grad + kept


def gradients_of(
    roots: Sequence[Tensor], gradients: Sequence[Tensor], inputs: Sequence[Tensor], create_graph: bool
) -> tuple[Tensor | None, ...]:
    """The result of ``torch.autograd.grad``; None for an input on which the roots do not depend."""
    edges = [_edge(tensor) for tensor in inputs]
    found, _ = _run(roots, gradients, edges, create_graph)
    return tuple(found.get(edge) for edge in edges)


def _edge(tensor: Tensor) -> Edge:
    edge = torch.autograd.graph.get_gradient_edge(tensor)
    return edge.node, edge.output_nr


def _run(
    roots: Sequence[Tensor], gradients: Sequence[Tensor], wanted: Sequence[Edge], create_graph: bool
) -> tuple[dict[Edge, Tensor], list[tuple[Tensor, Tensor]]]:
    """The gradients at the wanted edges or, if there are none, of the leaves."""
    received: dict[Any, dict[int, Tensor]] = defaultdict(dict)
    for root, gradient in zip(roots, gradients, strict=True):
        node, place = _edge(root)
        _add(received[node], place, gradient)
    waiting = _dependencies(list(received))
    ready = [node for node in received if not waiting[node]]
    found: dict[Edge, Tensor] = {}
    leaves: list[tuple[Tensor, Tensor]] = []
    with torch.set_grad_enabled(create_graph):
        while ready:
            node = ready.pop()
            arrived = received.pop(node, {})
            found |= {(node, place): gradient for place, gradient in arrived.items() if (node, place) in wanted}
            if hasattr(node, "variable"):
                if arrived and not wanted:
                    leaves.append((node.variable, arrived[0]))
                continue
            results = _call(node, arrived) if arrived else [None] * len(node.next_functions)
            for (below, place), result in zip(node.next_functions, results, strict=True):
                if below is None:
                    continue
                if result is not None:
                    _add(received[below], place, _fitted(result, below._input_metadata[place]))
                waiting[below] -= 1
                if not waiting[below]:
                    ready.append(below)
    return found, leaves


def _dependencies(roots: Sequence[Any]) -> dict[Any, int]:
    """The number of nodes that pass a gradient to each reachable node."""
    counts: dict[Any, int] = dict.fromkeys(roots, 0)
    stack = list(roots)
    while stack:
        for below, _ in stack.pop().next_functions:
            if below is None:
                continue
            if below not in counts:
                counts[below] = 0
                stack.append(below)
            counts[below] += 1
    return counts


def _call(node: Any, arrived: dict[int, Tensor]) -> list[Tensor | None]:
    metadata = node._input_metadata
    gradients = [arrived.get(place) for place in range(len(metadata))]
    if not isinstance(node, BackwardCFunction):
        result = node(*gradients)
        return list(result) if isinstance(result, tuple) else [result]
    # A backward pass written in Python receives zeros for missing gradients, and returns a value for every argument of
    # its forward pass; the graph has edges only for tensor arguments.
    filled = [
        torch.zeros(entry.shape, dtype=entry.dtype, device=entry.device) if gradient is None else gradient
        for gradient, entry in zip(gradients, metadata, strict=True)
    ]
    result = node.apply(*filled)
    answers = list(result) if isinstance(result, tuple) else [result]
    needed = iter([answer for answer, need in zip(answers, node.needs_input_grad, strict=True) if need])
    return [None if below is None else next(needed) for below, _ in node.next_functions]


def _fitted(gradient: Tensor, metadata: Any) -> Tensor:
    """Like torch's engine, sum the gradient of a broadcast tensor, and cast a gradient of another dtype."""
    if gradient.shape != metadata.shape:
        gradient = gradient.sum_to_size(metadata.shape)
    return gradient if gradient.dtype == metadata.dtype else gradient.to(metadata.dtype)


def _add(gradients: dict[int, Tensor], place: int, gradient: Tensor) -> None:
    gradients[place] = gradients[place] + gradient if place in gradients else gradient
