"""Label propagation of DINO (Caron et al. 2021, eval_video_segmentation.py): no training, nearest patches only.

A frame's labels are the affinity-weighted mean of the labels of the first frame and the frames just before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

_CHUNK_ELEMENTS = 2**25
"""Maximum number of affinities in memory at once (128 MB of float32)."""


@dataclass(frozen=True)
class PropagationSettings:
    """The paper's and DINO's settings."""

    frames: int = 7
    """Number of frames before the current one that provide labels, in addition to the first."""
    window: int = 12
    """Patches are compared if they are at most this many rows and columns apart; 0 compares all."""
    neighbours: int = 5
    """Number of most similar patches in all these frames that contribute labels."""
    temperature: float = 0.1
    """The affinity is exp(cosine / temperature)."""
    short_side: int = 480
    """Length in pixels of a frame's shorter side at the input of the backbone."""
    multiple: int = 64
    """The longer side is reduced to a multiple of this many pixels."""


def frame_size(height: int, width: int, settings: PropagationSettings) -> tuple[int, int]:
    """The backbone's input size (height, width) for a frame of this height and width."""
    short, long_ = sorted((height, width))
    longer = max(settings.multiple, settings.short_side * long_ // short // settings.multiple * settings.multiple)
    return (longer, settings.short_side) if height > width else (settings.short_side, longer)


def propagate(
    target: Tensor, sources: Sequence[Tensor], labels: Sequence[Tensor], settings: PropagationSettings
) -> Tensor:
    """Compute the labels of one frame from the labels of other frames.

    Args:
        target: features of the frame [rows, columns, D].
        sources: features of C other frames, each [rows, columns, D].
        labels: their labels, each float [K, rows, columns], soft or one-hot.

    Returns:
        float32 [K, rows, columns]; if all labels sum to 1 over K, so does the result.
    """
    rows, columns = target.shape[:2]
    device = target.device
    queries = F.normalize(target.flatten(0, 1).float(), dim=1)
    keys = F.normalize(torch.stack(list(sources)).flatten(0, 2).float(), dim=1)
    values = torch.stack(list(labels)).flatten(2).permute(0, 2, 1).flatten(0, 1).float()
    place = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), dim=2)
    place = place.flatten(0, 1).to(device)
    found: list[Tensor] = []
    for chunk in torch.split(torch.arange(len(queries), device=device), max(1, _CHUNK_ELEMENTS // len(keys))):
        affinity = (queries[chunk] @ keys.t() / settings.temperature).exp()
        if settings.window:
            apart = (place[chunk][:, None] - place[None]).abs().amax(dim=2)
            affinity *= (apart <= settings.window).repeat(1, len(sources))
        least = affinity.topk(min(settings.neighbours, len(keys)), dim=1).values[:, -1:]
        affinity = affinity.where(affinity >= least, 0.0)
        found.append((affinity / affinity.sum(dim=1, keepdim=True)) @ values)
    return torch.cat(found).t().reshape(-1, rows, columns)


@torch.no_grad()
def segment(
    frames: Sequence[NDArray[np.uint8]],
    first: NDArray[np.integer],
    features: Callable[[Tensor], Tensor],
    settings: PropagationSettings,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device | str = "cpu",
) -> Iterator[NDArray[np.uint8]]:
    """Carry the first frame's objects through a sequence.

    Args:
        frames: uint8 [H, W, 3] each, RGB, all of one size.
        first: the object numbers of the first frame [H, W], 0 for the background.
        features: normalised images [1, 3, h, w] to features [rows, columns, D] of the patches.
        settings: settings of the propagation.
        mean, std: normalisation of the three channels, for pixels in [0, 1].
        device: the device on which features are compared.

    Yields:
        The object numbers of each frame, uint8 [H, W]; the first frame's are returned as given.
    """
    height, width = frames[0].shape[:2]
    size = frame_size(height, width, settings)

    def look(frame: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(frame.copy()).to(device).permute(2, 0, 1)[None].float()
        pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True) / 255
        shift, scale = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, std))
        return features((pixels - shift) / scale)

    first_features = look(frames[0])
    first_labels = one_hot(first, *first_features.shape[:2]).to(device)
    yield first.astype(np.uint8)
    recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=settings.frames)
    for frame in frames[1:]:
        seen = look(frame)
        sources = [first_features, *(pair[0] for pair in recent)]
        labels = [first_labels, *(pair[1] for pair in recent)]
        soft = propagate(seen, sources, labels, settings)
        recent.append((seen, soft))
        yield harden(soft, size, height, width)


def one_hot(objects: NDArray[np.integer], rows: int, columns: int) -> Tensor:
    """Object numbers [H, W] as labels of patches, float32 [1 + objects, rows, columns]; each patch takes one pixel's
    label."""
    small = Image.fromarray(objects.astype(np.uint8)).resize((columns, rows), Image.Resampling.NEAREST)
    numbers = torch.from_numpy(np.asarray(small).astype(np.int64))
    return F.one_hot(numbers, int(objects.max()) + 1).permute(2, 0, 1).float()


def harden(labels: Tensor, size: tuple[int, int], height: int, width: int) -> NDArray[np.uint8]:
    """Soft labels of patches [K, rows, columns] as object numbers of pixels, uint8 [height, width].

    They are enlarged to ``size`` bilinearly, each label that occurs is stretched to [0, 1], and the largest wins. The
    result is resized by nearest neighbour.
    """
    large = F.interpolate(labels[None], size=size, mode="bilinear", align_corners=False)[0]
    least, most = large.amin(dim=(1, 2), keepdim=True), large.amax(dim=(1, 2), keepdim=True)
    stretched = (large - least) / (most - least).clamp_min(torch.finfo(large.dtype).tiny)
    numbers = torch.where(most > 0, stretched, large).argmax(dim=0)
    image = Image.fromarray(numbers.to(torch.uint8).cpu().numpy())
    return np.asarray(image.resize((width, height), Image.Resampling.NEAREST))
