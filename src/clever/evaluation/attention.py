"""Protocol ``attention``: the share of a backbone's attention on the object of a photograph with a mask.

For a ViT, the map is the last block's [CLS] attention, as shown in the paper and in DINO: the mean over heads, and the
best head. For a convolutional network, the map is Grad-CAM of its last map, for the whole representation and for IR and
EF alone, as in DDCL.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clever.augmentation.elastic import elastic
from clever.augmentation.rotate import rotate
from clever.evaluation.attention_maps import class_attention, mass_mask, mean_over_heads, stretch
from clever.evaluation.grad_cam import grad_cam
from clever.evaluation.options.attention import AttentionOptions
from clever.evaluation.pace import Pace
from clever.evaluation.parts import Selection, part_selections
from clever.evaluation.saliency.datasets import find_photographs
from clever.evaluation.subject import Subject
from clever.results.records import Record

VIEWS = ("orig", "rotation", "elastic")
"""Photographs kept for figures are shown unchanged, rotated and elastically distorted."""
ROTATION = 45.0
"""Degrees; within the training range of the paper, ±90."""
ELASTIC_ALPHA, ELASTIC_SIGMA, ELASTIC_REFERENCE = 100.0, 5.0, 224.0
"""The paper's distortion for images of 224 px, scaled to the size of the photographs."""
PICTURE = 112
"""Side in pixels of the photographs that are kept."""


def evaluate(subject: Subject, options: AttentionOptions) -> list[Record]:
    """Compare each map with the mask of its photograph.

    Records are percentages, averaged over photographs. ``iou`` compares the object with the mask that holds ``mass`` of
    the map, and ``energy`` is the share of the map's sum inside the object. A ViT has only the part ALL, and also
    ``best_head_iou``, which uses each photograph's best head (DINO's figure). ``object`` is the object's share of the
    photograph, which is the energy of a constant map.

    The pictures are ``i/<view>/image`` and ``i/<view>/<part>`` of photograph number i, with the views ``VIEWS``.

    Raises:
        UserError: the data set is missing or elsewhere, the backbone has neither attention nor a map that it pools, or
            captum is not installed.
    """
    photographs = options.first(find_photographs(Path(options.root), options.layout))
    backbone = subject.backbone.to(subject.device).eval()
    parts = part_selections(backbone.feature_dim, None if backbone.has_blocks else subject.ir_dim)
    values: dict[tuple[str, str], list[float]] = {}
    pictured = options.pictured(len(photographs))
    pace = Pace("attention", len(photographs), "photographs")
    for number, photograph in enumerate(photographs, start=1):
        truth, counted = photograph.truth()
        seen = _resized(photograph.pixels(), options.image_size)
        image = _normalised(seen, subject)
        values.setdefault(("ALL", "object"), []).append(100.0 * float(truth[counted].mean()))
        for part, columns in parts.items():
            if backbone.has_blocks:
                heads = class_attention(backbone, image)
                best = max(_iou(mass_mask(head, options.mass), truth, counted) for head in heads[0])
                values.setdefault((part, "best_head_iou"), []).append(best)
                [shown] = mean_over_heads(heads)
            else:
                [shown] = grad_cam(backbone, image, columns)
            values.setdefault((part, "iou"), []).append(_iou(mass_mask(shown, options.mass), truth, counted))
            values.setdefault((part, "energy"), []).append(_energy(shown, truth, counted))
        if number - 1 in pictured:
            _keep(subject, photograph.image.stem, seen, parts)
        pace.reached(number)
    return [
        subject.record(
            protocol="attention",
            part=part,
            perturbation="orig",
            metric=metric,
            value=float(np.mean(each)),
            n=len(photographs),
        )
        for (part, metric), each in values.items()
    ]


def _keep(subject: Subject, name: str, image: Tensor, parts: Mapping[str, Selection]) -> None:
    """Keep a photograph float32 [1, 3, side, side] and its maps, under each view, for figures."""
    facts, backbone = subject.picture_facts, subject.backbone
    facts["views"] = list(VIEWS)
    names = facts.setdefault("photographs", [])
    side = image.shape[2]
    for view in VIEWS:
        seen = _viewed(image, view)
        small = torch.nn.functional.interpolate(seen, size=(min(side, PICTURE),) * 2, mode="area")
        place = f"{len(names)}/{view}"
        subject.pictures[f"{place}/image"] = (small[0] * 255).round().to(torch.uint8).movedim(0, 2).numpy()
        for part, columns in parts.items():
            normalised = _normalised(seen, subject)
            shown = (
                mean_over_heads(class_attention(backbone, normalised))
                if backbone.has_blocks
                else grad_cam(backbone, normalised, columns)
            )
            subject.pictures[f"{place}/{part}"] = stretch(shown)[0].cpu().numpy().astype(np.float16)
    names.append(name)


def _viewed(image: Tensor, view: str) -> Tensor:
    """A view of a photograph; the elastic field is the same for every photograph and run."""
    if view == "rotation":
        return rotate(image, torch.tensor([ROTATION]))
    if view == "elastic":
        scale = image.shape[2] / ELASTIC_REFERENCE
        return elastic(image.clone(), torch.tensor([0]), ELASTIC_ALPHA * scale, ELASTIC_SIGMA * scale).clamp(0.0, 1.0)
    return image


def _resized(pixels: NDArray[np.uint8], side: int) -> Tensor:
    """A photograph as float32 [1, 3, side, side] in [0, 1]."""
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    image = torch.nn.functional.interpolate(image, size=(side, side), mode="bicubic", antialias=True) / 255
    return image.clamp(0.0, 1.0)


def _normalised(image: Tensor, subject: Subject) -> Tensor:
    """The input of the backbone, on the subject's device."""
    shift, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (subject.store.mean, subject.store.std))
    return ((image - shift) / scale).to(subject.device)


def _enlarged(map_: Tensor, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Enlarge a map [rows, columns] to the photograph's pixels; each pixel takes the value of the nearest patch."""
    large = torch.nn.functional.interpolate(map_[None, None].double().cpu(), size=shape, mode="nearest")
    return large[0, 0].numpy()


def _iou(mask: Tensor, truth: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float:
    chosen = _enlarged(mask, truth.shape) > 0.5
    union = ((chosen | truth) & counted).sum()
    return 100.0 * float((chosen & truth & counted).sum() / union) if union else 100.0


def _energy(map_: Tensor, truth: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float:
    shown = _enlarged(map_, truth.shape) * counted
    total = shown.sum()
    # A map that is 0 everywhere gets the energy of a constant map, which is chance level.
    return 100.0 * float((shown * truth).sum() / total) if total > 0 else 100.0 * float(truth[counted].mean())
