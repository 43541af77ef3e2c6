"""Protocol ``saliency``: unsupervised segmentation of photographs that have masks, by TokenCut and LOST.

Nothing is trained and no label is used. The paper's table reports TokenCut with and without the bilateral solver on
ECSSD, DUTS and DUT-OMRON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from clever.evaluation.options.saliency import SaliencyOptions
from clever.evaluation.pace import Pace
from clever.evaluation.parts import part_selections
from clever.evaluation.saliency.bilateral_solver import solve
from clever.evaluation.saliency.datasets import find_photographs
from clever.evaluation.saliency.masks import coarse_mask, enlarge, map_stride
from clever.evaluation.saliency.pictures import keep
from clever.evaluation.saliency.scores import SaliencyScores
from clever.evaluation.subject import Subject
from clever.randomness import make_generator
from clever.results.records import Record


def evaluate(subject: Subject, options: SaliencyOptions) -> list[Record]:
    """Segment every photograph and score the masks.

    Records in percent: ``<method>_max_f``, ``<method>_iou`` and ``<method>_accuracy`` of ``tokencut``, ``tokencut_bs``,
    ``lost`` and ``random``; a random mask contains each patch with probability 1/2. Keys are not split, so they have
    only the part ALL.

    The pictures of photograph number i are ``i/image``, ``i/truth`` and ``i/<part>/<method>`` for every mask.

    Raises:
        UserError: the data set or a part of it is missing, or the backbone has neither keys nor a map.
    """
    photographs = options.first(find_photographs(Path(options.root), options.layout))
    backbone, store = subject.backbone.to(subject.device).eval(), subject.store
    splits = options.source == "map" or not backbone.has_blocks
    parts = part_selections(backbone.feature_dim, subject.ir_dim if splits else None)
    patch = options.stride or map_stride(backbone)
    methods: tuple[Literal["tokencut", "lost"], ...] = ("tokencut", "lost") if options.lost else ("tokencut",)
    scores: dict[tuple[str, str], SaliencyScores] = {}
    pictured = options.pictured(len(photographs))
    pace = Pace("saliency", len(photographs), "photographs")
    for number, photograph in enumerate(photographs, start=1):
        pixels, (truth, counted) = photograph.pixels(), photograph.truth()

        made: dict[tuple[str, str], NDArray[np.float64] | NDArray[np.bool_]] = {}
        for part, columns in parts.items():
            for method in methods:
                mask = coarse_mask(
                    backbone,
                    pixels,
                    patch=patch,
                    mean=store.mean,
                    std=store.std,
                    method=method,
                    threshold=options.threshold,
                    source=options.source,
                    columns=None if part == "ALL" else columns,
                    device=subject.device,
                )
                made[part, method] = mask
                if method == "tokencut" and options.bilateral_solver:
                    made[part, "tokencut_bs"] = solve(pixels, mask.astype(np.float64))
        generator = make_generator(subject.seed, "random mask", photograph.image.name)
        rows, across = (max(1, round(side / patch)) for side in pixels.shape[:2])
        drawn = torch.rand(rows, across, generator=generator) < 0.5
        made["ALL", "random"] = enlarge(drawn.numpy(), pixels.shape[0], pixels.shape[1])
        for key, prediction in made.items():
            scores.setdefault(key, SaliencyScores()).add(prediction, truth, counted)
        if number - 1 in pictured:
            keep(subject, photograph, made)
        pace.reached(number)
    return [
        subject.record(
            protocol="saliency",
            part=part,
            perturbation="orig",
            metric=f"{method}_{metric}",
            value=value,
            n=len(photographs),
        )
        for (part, method), each in scores.items()
        for metric, value in each.summary().items()
    ]
