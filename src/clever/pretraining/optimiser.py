"""Optimiser, weight-decay groups, clipping, and the teacher's moving average."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from timm.optim.lars import Lars
from torch import Tensor, nn

from clever.backbones.backbone import DecayRule
from clever.pretraining.network import Network
from clever.pretraining.options import OptimisationOptions


def weight_decay_groups(
    network: Network, rule: DecayRule, constant_rate: Iterable[nn.Parameter] = ()
) -> list[dict[str, object]]:
    """Group the student's trainable parameters by weight decay (yes or no) and by constant learning rate (yes or no).

    Args:
        network: the student.
        rule: ``authors``: biases by name and 1-D tensors are exempt (authors' utils.py:667-678). ``standard``: so are
            the parameters that the backbone exempts from weight decay. ``all``: every parameter is decayed.
        constant_rate: parameters whose learning rate stays at its peak after the warm-up.
    """
    exempt = {f"backbone.{name}" for name in network.backbone.no_weight_decay_names(rule)}
    constant = {id(parameter) for parameter in constant_rate}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {(False, True): [], (False, False): []}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            is_free = rule != "all" and (name.endswith(".bias") or parameter.ndim == 1 or name in exempt)
            groups.setdefault((id(parameter) in constant, not is_free), []).append(parameter)
    return [
        {"params": parameters, "decayed": decays, "constant_rate": keeps_rate}
        | ({} if decays else {"weight_decay": 0.0})
        for (keeps_rate, decays), parameters in groups.items()
    ]


def build_optimiser(
    network: Network, options: OptimisationOptions, constant_rate: Iterable[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The optimiser of a run, fused if torch supports it.

    LARS is timm's (You et al. 2017, arXiv 1708.03888). A tensor w with gradient g takes the step rate * trust *
    (g + decay * w), through a momentum of 0.9, with trust = c |w| / (|g| + decay |w| + 1e-8), or 1 where either norm is
    0; clipped, trust becomes min(trust / rate, 1). Parameters that are exempt from weight decay (biases and
    gains) are exempt from the adaptation too and take a plain step, as with solo-learn's exclude_bias_n_norm.
    """
    groups = weight_decay_groups(network, options.decay_rule, constant_rate)
    if options.optimiser == "lars":
        # Set for each group, because timm would also exempt the other parameters while their decay is 0.
        adapted = [group | {"always_adapt": group["decayed"]} for group in groups]
        return Lars(
            adapted,
            lr=0.0,
            momentum=0.9,
            weight_decay=options.weight_decay,
            trust_coeff=options.trust_coefficient,
            trust_clip=options.clip_trust,
        )
    if options.optimiser == "sgd":
        # Not fused: that fails once some parameters have a momentum and others, frozen until now, have none.
        return torch.optim.SGD(groups, lr=0.0, momentum=0.9, weight_decay=options.weight_decay, foreach=True)
    return torch.optim.AdamW(groups, lr=0.0, weight_decay=options.weight_decay, fused=True)


def set_schedules(
    optimiser: torch.optim.Optimizer, learning_rate: float, weight_decay: float, constant_rate: float | None = None
) -> None:
    """Set this iteration's learning rate and, where there is one, weight decay.

    Args:
        constant_rate: the learning rate of the groups with a constant rate; None means that of the others.
    """
    for group in optimiser.param_groups:
        keeps_rate = group["constant_rate"] and constant_rate is not None
        group["lr"] = constant_rate if keeps_rate else learning_rate
        if group["decayed"]:
            group["weight_decay"] = weight_decay


def clip_each(parameters: Iterable[nn.Parameter], largest: float | None) -> Tensor:
    """Clip each gradient tensor separately to norm ``largest``, in place (authors' utils.py:151-160).

    Args:
        parameters: those without a gradient are skipped.
        largest: bound on each tensor's norm; None leaves the gradients alone.

    Returns:
        The norm of all gradients together before clipping, a scalar.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms: Sequence[Tensor] = torch._foreach_norm(gradients)
    stacked = torch.stack(list(norms))
    if largest is not None:
        scales = (largest / (stacked + 1e-6)).clamp(max=1.0)
        if scales.device.type == "cpu":
            # Here, on a CPU, reading the scales costs nothing, and most gradients need no scaling.
            for gradient, scale in zip(gradients, scales.tolist(), strict=True):
                if scale < 1.0:
                    gradient.mul_(scale)
        else:
            torch._foreach_mul_(gradients, list(scales.unbind()))
    total: Tensor = torch.linalg.vector_norm(stacked)
    return total


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """theta_t <- m theta_t + (1 - m) theta_s, parameters only: buffers are the teacher's own (main_dino.py:443-446)."""
    parameters: list[Tensor] = [*teacher.parameters()]
    if parameters:  # the backbone ``pixels`` has none
        torch._foreach_lerp_(parameters, list(student.parameters()), 1.0 - momentum)
