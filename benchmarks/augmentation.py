"""Speed and memory of the training augmentations against the authors' pipeline and kornia, in the same run.

    python benchmarks/augmentation.py                 # every case, two threads, a few minutes on two cores
    python benchmarks/augmentation.py --case small_caug --json
    CLEVER_REAL_DATA=photos python benchmarks/augmentation.py    # JPEG photographs below this folder instead of noise
    python benchmarks/augmentation.py --device cuda   # ours and kornia on the GPU, the reference on the CPU

The benchmark measures the path from uint8 pixels in memory to normalised float batches in the main process.

* ``pillow``: the authors' augmentation (``main_dino.py:607-751``) rebuilt from torchvision's transforms on Pillow
  images in a DataLoader with two workers. In practice it would also have to decode images; this is excluded.
* ``kornia``: the nearest transforms of kornia on the same device. This is an approximation: its crops are not
  antialiased, its colours are drawn and ordered once per batch, its elastic field is smoothed differently.

Contenders alternate within a round; the ratio is the median over rounds of (ours / other) in images per second. Peak
memory is the contender's increase of the resident set plus its workers' private memory at the end; on a GPU, the
increase of allocated memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from clever.augmentation import Augmentation, AugmentationOptions
from clever.randomness import make_generator

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Case:
    """One augmentation on one kind of image, with the goal for the ratio to the reference."""

    options: AugmentationOptions
    images: int
    batch_size: int
    goal: float


SMALL = AugmentationOptions(name="caug", global_size=32, local_views=0)
CASES = {
    "small_caug": Case(SMALL, 4096, 512, 3.0),
    "ten_crops_caug_plus": Case(AugmentationOptions(name="caug_plus"), 64, 64, 3.0),
    "ten_crops_baug": Case(AugmentationOptions(name="baug"), 128, 64, 1.0),
    "ten_crops_caug": Case(AugmentationOptions(name="caug"), 128, 64, 1.0),
}


class Contender(ABC):
    """Something that turns the images of a case into batches of views."""

    name: str

    @abstractmethod
    def batches(self) -> Iterator[list[Tensor]]:
        """One pass over the images."""

    def workers(self) -> list[int]:
        """Ids of processes whose memory is included."""
        return []


class Ours(Contender):
    name = "ours"

    def __init__(self, case: Case, images: list[np.ndarray], device: torch.device) -> None:
        self.augmentation = Augmentation(case.options, MEAN, STD)
        self.pixels, self.sizes = pad(images)
        self.pixels = self.pixels.to(device)
        self.batch_size, self.step = case.batch_size, 0

    def batches(self) -> Iterator[list[Tensor]]:
        pairs = zip(torch.split(self.pixels, self.batch_size), torch.split(self.sizes, self.batch_size), strict=True)
        for pixels, sizes in pairs:
            self.step += 1
            yield [view.images for view in self.augmentation(pixels, sizes, make_generator(0, "bench", self.step))]


class Pillow(Contender):
    name = "pillow"

    def __init__(self, case: Case, images: list[np.ndarray], workers: int) -> None:
        dataset = PillowViews(images, pillow_pipelines(case.options))
        self.loader = DataLoader(dataset, case.batch_size, num_workers=workers, persistent_workers=workers > 0)
        self.iterator: Any = None

    def batches(self) -> Iterator[list[Tensor]]:
        self.iterator = iter(self.loader)
        yield from self.iterator

    def workers(self) -> list[int]:
        return [worker.pid for worker in getattr(self.iterator, "_workers", [])]


class Kornia(Contender):
    name = "kornia"

    def __init__(self, case: Case, images: list[np.ndarray], device: torch.device) -> None:
        self.pipelines = kornia_pipelines(case.options)
        self.pixels = pad(images)[0].to(device)
        self.batch_size = case.batch_size

    def batches(self) -> Iterator[list[Tensor]]:
        for pixels in torch.split(self.pixels, self.batch_size):
            images = pixels.float().div_(255)
            yield [pipeline(images) for pipeline in self.pipelines]


class PillowViews(Dataset[list[Tensor]]):
    """The authors' dataset: every access makes all views of one image."""

    def __init__(self, images: list[np.ndarray], pipelines: list[Callable[[Image.Image], Tensor]]) -> None:
        self.images, self.pipelines = images, pipelines

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        image = Image.fromarray(self.images[index])
        return [pipeline(image) for pipeline in self.pipelines]


class PillowBlur:
    """Blur with probability ``p`` and a radius drawn from ``radius``."""

    def __init__(self, p: float, radius: tuple[float, float]) -> None:
        self.p, self.radius = p, radius

    def __call__(self, image: Image.Image) -> Image.Image:
        if torch.rand(1).item() >= self.p:
            return image
        radius = torch.empty(1).uniform_(*self.radius).item()
        return image.filter(ImageFilter.GaussianBlur(radius))


def view_list(options: AugmentationOptions) -> list[tuple[int, tuple[float, float], float, float]]:
    """Size, scale, chance of blur and chance of solarisation of every view."""
    o = options
    return [
        (o.global_size, o.global_scale, o.blur_probability_global_1, 0.0),
        (o.global_size, o.global_scale, o.blur_probability_global_2, o.solarise_probability),
        *[(o.local_size, o.local_scale, o.blur_probability_local, 0.0)] * o.local_views,
    ]


def pillow_pipelines(options: AugmentationOptions) -> list[Callable[[Image.Image], Tensor]]:
    """The views of an augmentation as torchvision transforms of Pillow images."""
    o = options
    pipelines: list[Callable[[Image.Image], Tensor]] = []
    for size, scale, blur, solarise in view_list(o):
        steps: list[Any] = [
            transforms.RandomResizedCrop(size, scale=scale, interpolation=InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(o.flip_probability),
        ]
        if o.rotates:
            steps.append(transforms.RandomRotation(o.rotation_degrees))
        if o.distorts:
            distortion = transforms.ElasticTransform(o.elastic_alpha, o.elastic_sigma)
            steps.append(transforms.RandomApply([distortion], o.elastic_probability))
        jitter = transforms.ColorJitter(o.brightness, o.contrast, o.saturation, o.hue)
        steps += [
            transforms.RandomApply([jitter], o.jitter_probability),
            transforms.RandomGrayscale(o.grayscale_probability),
            PillowBlur(blur, o.blur_radius),
        ]
        if solarise:
            steps.append(transforms.RandomSolarize(o.solarise_threshold, solarise))
        steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        pipelines.append(transforms.Compose(steps))
    return pipelines


def kornia_pipelines(options: AugmentationOptions) -> list[Callable[[Tensor], Tensor]]:
    """kornia's closest approximation of the views."""
    import kornia.augmentation as K

    o = options
    pipelines: list[Callable[[Tensor], Tensor]] = []
    taps = (int(8 * o.elastic_sigma + 1) | 1,) * 2
    for size, scale, blur, solarise in view_list(o):
        steps: list[Any] = [
            K.RandomResizedCrop((size, size), scale=scale, resample="BICUBIC"),
            K.RandomHorizontalFlip(p=o.flip_probability),
        ]
        if o.rotates:
            steps.append(K.RandomRotation(o.rotation_degrees, resample="NEAREST", p=1.0))
        if o.distorts:
            strength = (o.elastic_alpha / size,) * 2
            sigma = (o.elastic_sigma,) * 2
            steps.append(K.RandomElasticTransform(taps, sigma, strength, p=o.elastic_probability))
        steps += [
            K.ColorJitter(o.brightness, o.contrast, o.saturation, o.hue, p=o.jitter_probability),
            K.RandomGrayscale(p=o.grayscale_probability),
            K.RandomGaussianBlur((17, 17), o.blur_radius, p=blur),
        ]
        if solarise:
            steps.append(K.RandomSolarize(thresholds=(0.5, 0.5), additions=(0.0, 0.0), p=solarise))
        steps.append(K.Normalize(torch.tensor(MEAN), torch.tensor(STD)))
        pipelines.append(K.AugmentationSequential(*steps, data_keys=["input"]))
    return pipelines


def make_images(case: Case, photographs: Path | None) -> list[np.ndarray]:
    """uint8 [H, W, 3] each: photographs if available, else smooth noise with the sizes and gradients of photographs."""
    if case.options.global_size <= 64:
        return [smooth_noise(index, 32, 32) for index in range(case.images)]
    files = sorted(photographs.rglob("*.jpg")) if photographs else []
    if files:
        return [np.asarray(Image.open(files[i % len(files)]).convert("RGB")) for i in range(case.images)]
    sizes = np.random.default_rng(0).integers(256, 401, (case.images, 2))
    return [smooth_noise(index, int(height), int(width)) for index, (height, width) in enumerate(sizes)]


def smooth_noise(seed: int, height: int, width: int) -> np.ndarray:
    """Noise at three scales."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((4, 0.6), (16, 0.3), (64, 0.1)):
        field = random.integers(0, 256, (min(cells, height), min(cells, width), 3), np.uint8)
        total += weight * np.asarray(Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC))
    return total.clip(0, 255).astype(np.uint8)


def pad(images: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """uint8 [N, 3, H, W] padded with 0, in the memory layout of the store (channels last), and sizes [N, 2]."""
    sizes = torch.tensor([image.shape[:2] for image in images])
    height, width = sizes.amax(0).tolist()
    pixels = torch.zeros(len(images), height, width, 3, dtype=torch.uint8)
    for row, image in enumerate(images):
        pixels[row, : image.shape[0], : image.shape[1]] = torch.from_numpy(image.copy())
    return pixels.permute(0, 3, 1, 2), sizes


def memory(process: int | str, file: str, prefix: str) -> int:
    """Bytes of the fields of /proc/<process>/<file> that begin with ``prefix``; 0 where there are none."""
    try:
        lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(prefix))


@contextmanager
def peak_memory(contender: Contender, device: torch.device) -> Iterator[list[int]]:
    """Append the peak memory, in bytes, that the block added."""
    found: list[int] = []
    if device.type == "cuda" and not isinstance(contender, Pillow):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield found
        found.append(torch.cuda.max_memory_allocated(device) - before)
        return
    with suppress(OSError):
        # Writing 5 resets this process's own high-water mark (man proc).
        Path("/proc/self/clear_refs").write_text("5")
    before = memory("self", "status", "VmRSS")
    yield found
    workers = sum(memory(process, "smaps_rollup", "Private_") for process in contender.workers())
    found.append(memory("self", "status", "VmHWM") - before + workers)


def one_round(contender: Contender, case: Case, device: torch.device) -> tuple[float, int]:
    """Images per second and peak bytes of one pass."""
    with peak_memory(contender, device) as peak:
        start = time.perf_counter()
        for _ in contender.batches():
            pass
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - start
    return case.images / seconds, peak[0]


@dataclass(frozen=True)
class Result:
    """One contender in one case; ``ratio`` is ours / this one, the median over rounds."""

    case: str
    contender: str
    images_per_second: float
    peak_memory_bytes: int
    ratio: float
    goal: float | None


def run_case(
    name: str, rounds: int, device: torch.device, workers: int, photographs: Path | None, kornia: bool
) -> list[Result]:
    """Measure all contenders of a case in alternation."""
    case = CASES[name]
    images = make_images(case, photographs)
    contenders: list[Contender] = [Ours(case, images, device), Pillow(case, images, workers)]
    if kornia:
        try:
            contenders.append(Kornia(case, images, device))
        except ImportError:
            print("kornia is not installed: left out", file=sys.stderr)
    for contender in contenders:
        speed, _ = one_round(contender, case, device)
        print(f"{name}: {contender.name} warmed up at {speed:.1f} images/s", file=sys.stderr)
    measured: dict[str, list[tuple[float, int]]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            measured[contender.name].append(one_round(contender, case, device))
    results = []
    for contender in contenders:
        speeds = [speed for speed, _ in measured[contender.name]]
        ratios = [mine / other for (mine, _), other in zip(measured["ours"], speeds, strict=True)]
        results.append(
            Result(
                case=name,
                contender=contender.name,
                images_per_second=statistics.median(speeds),
                peak_memory_bytes=max(peak for _, peak in measured[contender.name]),
                ratio=statistics.median(ratios),
                goal=case.goal if contender.name == "pillow" else None,
            )
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=list(CASES), action="append", help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="of the reference's DataLoader")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-kornia", action="store_true")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    folder = os.environ.get("CLEVER_REAL_DATA")
    results = []
    for name in arguments.case or CASES:
        results += run_case(
            name,
            arguments.rounds,
            device,
            arguments.workers,
            Path(folder) if folder else None,
            not arguments.no_kornia,
        )
    if arguments.json:
        machine = {"torch": torch.__version__, "threads": arguments.threads, "device": str(device)}
        print(json.dumps({"machine": machine, "results": [asdict(result) for result in results]}, indent=2))
        return
    print(f"{'case':<22}{'contender':<11}{'images/s':>10}{'peak MiB':>10}{'ours/this':>11}{'goal':>7}")
    for result in results:
        goal = f"{result.goal:.1f}" if result.goal else ""
        print(
            f"{result.case:<22}{result.contender:<11}{result.images_per_second:>10.1f}"
            f"{result.peak_memory_bytes / 2**20:>10.0f}{result.ratio:>11.2f}{goal:>7}"
        )


if __name__ == "__main__":
    main()
