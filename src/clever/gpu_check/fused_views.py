"""Views of ten crops with compiled operations (``--compile``), compared with the eager ones: values and time.

Differences are in grey levels, before normalisation. A pixel at the threshold of solarisation may jump, so the share of
pixels that differ by more than half a grey level is reported as well as the mean.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor

from clever.augmentation import AugmentationOptions
from clever.augmentation.augmentation import Augmentation
from clever.augmentation.sample import Table
from clever.gpu_check.findings import Findings, step_parser
from clever.gpu_check.trials import MEAN, STD
from clever.randomness import make_generator


def photographs(count: int, side: int, device: torch.device) -> Tensor:
    """Smooth colours with some noise, uint8 [N, 3, side, side]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (count, 3, 12, 12), generator=generator).float()
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    noise = 20.0 * torch.randn(count, 3, side, side, generator=generator)
    return (smooth + noise).clamp(0, 255).byte().to(device)


def compare(
    augmentation: str, count: int, sizes: tuple[int, int, int], device: torch.device, findings: Findings
) -> None:
    """Measure the rows of one augmentation.

    Args:
        count: images.
        sizes: side of the images, of the global and of the local views.
    """
    side, global_size, local_size = sizes
    options = AugmentationOptions.model_validate(
        {"name": augmentation, "global_size": global_size, "local_size": local_size, "local_views": 8}
    )
    pixels, where = photographs(count, side, device), torch.full((count, 2), side)
    eager, fused = Augmentation(options, MEAN, STD), Augmentation(options, MEAN, STD)
    fused.fuse = True
    tables = eager.draw(where, make_generator(0, "fused"))
    expected, found = eager.apply(pixels, where, tables), fused.apply(pixels, where, tables)
    deviation = 255 * torch.tensor(STD, device=device).view(3, 1, 1)
    apart = [((a.images - b.images).abs() * deviation) for a, b in zip(expected, found, strict=True)]
    name, kind = f"{augmentation}, {count} images of {side} px", device.type
    mean = max(view.mean().item() for view in apart)
    beyond = max((view > 0.5).float().mean().item() for view in apart)
    findings.row(f"{name}: mean difference of fused views, worst view", mean, "grey levels", "eager", 0.1, True)
    findings.row(f"{name}: share of pixels beyond 0.5 grey levels", beyond, "", "eager", 0.01, True)
    slow, fast = (seconds(maker, pixels, where, tables) for maker in (eager, fused))
    findings.row(f"{name}: eager views", count / slow, "images/s", kind)
    findings.row(f"{name}: fused views", count / fast, "images/s", kind)
    findings.row(f"{name}: gain of fusing", slow / fast, "x", "eager views")


def seconds(maker: Augmentation, pixels: Tensor, sizes: Tensor, tables: list[Table]) -> float:
    """Median seconds of five calls."""
    taken = []
    for _ in range(5):
        clock = Clock(pixels.device)
        maker.apply(pixels, sizes, tables)
        taken.append(clock.seconds())
    return sorted(taken)[2]


class Clock:
    """Seconds since it was created, including the device's work."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._wait()
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """The elapsed seconds, after the device has finished all queued work."""
        self._wait()
        return time.perf_counter() - self._start

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def main() -> int:
    """Measure ten crops of photographs, and two of small images."""
    arguments = step_parser(__doc__).parse_args()
    device, findings = torch.device(arguments.device), Findings(arguments.findings)
    large = device.type == "cuda"
    compare("caug", 256 if large else 4, (256, 224, 96) if large else (48, 32, 16), device, findings)
    if large:
        compare("caug_plus", 256, (256, 224, 96), device, findings)
        compare("caug", 512, (32, 32, 16), device, findings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
