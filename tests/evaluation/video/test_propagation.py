"""Label propagation against a plain loop, and on a square that moves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clever.evaluation.video.propagation import PropagationSettings, frame_size, harden, one_hot, propagate, segment
from clever.evaluation.video.scores import score_sequence, summary


def test_a_frame_s_labels_equal_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, columns, width, kinds = 4, 5, 6, 3
    target = torch.randn(rows, columns, width, generator=generator)
    sources = [torch.randn(rows, columns, width, generator=generator) for _ in range(2)]
    labels = [torch.rand(kinds, rows, columns, generator=generator) for _ in range(2)]
    settings = PropagationSettings(window=2, neighbours=3, temperature=0.1)
    expected = torch.zeros(kinds, rows, columns)
    for i in range(rows):
        for j in range(columns):
            found = []
            for source, label in zip(sources, labels, strict=True):
                for p in range(max(0, i - 2), min(rows, i + 3)):
                    for q in range(max(0, j - 2), min(columns, j + 3)):
                        cosine = F.cosine_similarity(target[i, j], source[p, q], dim=0)
                        found.append((math.exp(float(cosine) / 0.1), label[:, p, q]))
            found = sorted(found, key=lambda pair: -pair[0])[:3]
            expected[:, i, j] = sum(weight * label for weight, label in found) / sum(weight for weight, _ in found)
    torch.testing.assert_close(propagate(target, sources, labels, settings), expected)


def test_labels_still_sum_to_one_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(3, 4, 5, generator=generator)
    sources = [torch.randn(3, 4, 5, generator=generator)]
    labels = [torch.rand(2, 3, 4, generator=generator).softmax(0)]
    whole = propagate(target, sources, labels, PropagationSettings(window=0))
    torch.testing.assert_close(whole.sum(0), torch.ones(3, 4))
    monkeypatch.setitem(propagate.__globals__, "_CHUNK_ELEMENTS", 30)
    torch.testing.assert_close(propagate(target, sources, labels, PropagationSettings(window=0)), whole)


def test_frame_sizes_match_dino() -> None:
    settings = PropagationSettings()
    assert frame_size(480, 854, settings) == (480, 832)
    assert frame_size(854, 480, settings) == (832, 480)
    assert frame_size(1080, 1920, settings) == (480, 832)


def test_labels_are_stretched_before_the_largest_wins() -> None:
    """A faint label at its peak wins against a strong label below its peak: .3 of .3 against .7 of [.7, 1]."""
    soft = torch.tensor([[[1.0, 1.0], [1.0, 0.7]], [[0.0, 0.0], [0.0, 0.3]], [[0.0, 0.0], [0.0, 0.0]]])
    assert harden(soft, (2, 2), 2, 2).tolist() == [[0, 0], [0, 1]]


def colours(images: Tensor) -> Tensor:
    """The features of each patch of 8 px are its mean colour and a constant, so that no cosine is undefined."""
    pooled = F.avg_pool2d(images, 8)[0].movedim(0, 2)
    return torch.cat([pooled, torch.full((*pooled.shape[:2], 1), 0.1)], dim=2)


def test_moving_squares_are_followed() -> None:
    draw = np.random.default_rng(0)
    frames, truths = [], []
    for step in range(6):
        objects = np.zeros((128, 192), np.uint8)
        objects[16 + 8 * step : 48 + 8 * step, 16:64] = 1
        objects[64:112, 160 - 8 * step : 184 - 8 * step] = 2
        palette = np.array([[40, 60, 60], [220, 40, 40], [40, 60, 230]])
        frames.append((palette[objects] + draw.integers(0, 10, (128, 192, 3))).astype(np.uint8))
        truths.append(objects)
    settings = PropagationSettings(short_side=128, multiple=64, window=3)
    predictions = list(segment(frames, truths[0], colours, settings, mean=(0.5,) * 3, std=(0.25,) * 3))
    assert np.array_equal(predictions[0], truths[0])
    assert summary(score_sequence("toy", predictions, truths))["j_and_f"] > 85.0


def test_an_object_lost_in_the_reduced_labels_keeps_its_number() -> None:
    objects = np.zeros((64, 64), np.uint8)
    objects[0, 0], objects[32:, 32:] = 1, 2
    assert one_hot(objects, 4, 4).shape == (3, 4, 4)
