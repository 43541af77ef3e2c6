"""The words of tables and figures, and their order."""

from __future__ import annotations

import math
import re

from clever.results.run_id import PIXELS, UNTRAINED, setting, unvaried

PERTURBATIONS = {
    "orig": "unchanged",
    "cj": "colour jitter",
    "cj_flip": "horizontal flip, colour jitter",
    "cj_rot": "rotation within ±90°, colour jitter",
    "cj_rot180": "rotation within ±180°, colour jitter",
    "rot180": "rotation within ±180°",
    "cj_rot_et50": "cj_rot and an elastic transform, strength 50",
    "cj_rot_et": "cj_rot and an elastic transform, strength 100",
    "cj_rot_et150": "cj_rot and an elastic transform, strength 150",
}
AUGMENTATIONS = ("baug", "caug", "caug_plus", "none")
BACKBONES = ("vit_tiny", "vit_small", "resnet18", "resnet50", "vmamba_tiny")
PARTS = ("ALL", "IR", "IR_cut", "IR_strict", "EF", "EF_cut")
METRICS = {"top1": "top-1 accuracy", "top5": "top-5 accuracy"}
PROTOCOLS = {
    "linear": "Linear probe",
    "knn": "Weighted kNN",
    "corruption": "Corruption robustness",
    "saliency": "Unsupervised saliency",
    "video": "Video object segmentation",
    "attention": "Attention on objects",
    "detection": "Detection and instance segmentation",
    "parameters": "Augmentation parameters",
    "equivariance": "Equivariance",
    "quality": "Quality",
    "latents": "Latents",
    "relative_rotation": "Relative rotation",
    "relative_colour": "Relative colour",
    "retrieval": "Retrieval",
}
SEGMENTERS = {
    "tokencut": "TokenCut",
    "tokencut_bs": "TokenCut + bilateral solver",
    "lost": "LOST",
    "random": "random masks",
}
NOT_PUBLISHED = "not published in the sources we have"


def perturbation_rank(name: str) -> tuple[int, str]:
    """Sort key: from unchanged to the strongest, then unknown names."""
    known = list(PERTURBATIONS)
    return (known.index(name) if name in PERTURBATIONS else len(known), name)


def part_rank(name: str) -> tuple[int, str]:
    """Sort key: the whole representation first."""
    return (PARTS.index(name) if name in PARTS else len(PARTS), name)


def configuration_rank(backbone: str, method: str, augmentation: str) -> tuple[object, ...]:
    """Sort key of a row: backbones in the paper's order, each with its untrained control first, raw pixels last."""
    return (
        backbone == PIXELS,
        BACKBONES.index(backbone) if backbone in BACKBONES else -1,
        [int(piece) if piece.isdigit() else 0 for piece in re.findall(r"\d+", backbone)],
        backbone,
        method != UNTRAINED,
        AUGMENTATIONS.index(unvaried(augmentation)) if unvaried(augmentation) in AUGMENTATIONS else len(AUGMENTATIONS),
        setting_rank(augmentation),
        unvaried(method).split("+"),
        setting_rank(method),
    )


def setting_rank(name: str) -> tuple[str, float, str]:
    """Sort key of a method or augmentation along an ablation's axis: the plain one first, then by increasing value."""
    option, value = setting(name) or ("", "")
    try:
        return (option, float(value or 0), "")
    except ValueError:
        return (option, math.inf, value)


def reference_of(method: str) -> str:
    """The baseline alone: ``dino`` of ``dino+clever`` and of ``dino+clever@separation_ratio=0.5``.

    A method without an add-on is its own reference.
    """
    return method if "+" not in unvaried(method) else unvaried(method).split("+")[0]


def method_label(backbone: str, method: str) -> str:
    """The name of a row or a line: the method, or which control it is."""
    if backbone == PIXELS:
        return "control: raw pixels"
    return "control: untrained" if method == UNTRAINED else method


def seeds_label(count: int, fewest: int | None = None) -> str:
    """``1 seed``, ``3 seeds``; ``2–3 seeds`` if some rows have only ``fewest``."""
    counted = str(count) if fewest in (None, count) else f"{fewest}–{count}"
    return f"{counted} seed" if count == 1 else f"{counted} seeds"
