"""Features of a frozen backbone: the only place where an evaluation runs a network."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from clever.augmentation import PERTURBATIONS, PerturbationOptions, perturb, probe_views, scaled_to
from clever.augmentation.pixels import normalise_
from clever.augmentation.tables import upload
from clever.data import Batches, ImageBatch, Split
from clever.data.threads import available_cores
from clever.errors import UserError
from clever.evaluation.averaging import FreshViews, to_bytes
from clever.evaluation.image_files import Images
from clever.evaluation.options.features import ExtractionOptions, FeatureOptions, ImageOptions
from clever.evaluation.options.protocol import ProtocolOptions
from clever.evaluation.subject import Subject
from clever.randomness import make_generator

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")
_READ_ROWS = 64
"""Number of images that a thread decodes at a time."""


class FeatureExtractor:
    """Runs a frozen backbone over the splits of a store.

    The backbone is moved to the subject's device and, while features are computed, put into evaluation mode without
    gradients. ``blocks`` is the number of last blocks whose class tokens are concatenated, with the final block last; 1
    uses the output vector. The subject's seed draws crops and perturbations, each a function of only the seed and the
    image. Features of perturbed images are shared between the protocols of a job (``subject.features``). ``labelled``
    is False if classes play no role. With ``options.averaging``, a feature is the mean over that many random
    transformations of the image, which is first rounded to whole grey levels, like stored images.

    Raises UserError if the image size is unknown or differs from the size of rendered images, if a split is empty, or,
    with ``labelled``, if there are fewer than two classes or a class has no training image.
    """

    def __init__(
        self,
        subject: Subject,
        options: ImageOptions,
        *,
        blocks: int,
        labelled: bool = True,
    ) -> None:
        self._backbone = subject.backbone.to(subject.device)
        self._store = store = subject.store
        self._shared = subject.features
        self._options = options
        self._blocks = blocks
        self._run = run = subject.identity.run
        self._device = subject.device
        self._seed = subject.seed
        self._splits: dict[SplitName, Split] = {"train": store.split("train"), "test": store.split("test")}
        self._batches: dict[SplitName, Batches] = {}
        image_size = options.image_size or self._splits["test"].image_size
        if image_size is None:
            raise UserError(
                f"{run}: the stored images have no common size: set image_size of the evaluation (paper: 224)"
            )
        self._image_size = image_size
        self._resize_size = options.resize_size or image_size
        self._averaging = options.averaging if isinstance(options, ExtractionOptions) else None
        self._fresh_views: FreshViews | None = None
        if self._averaging:
            self._fresh_views = FreshViews(self._averaging.augmentation, image_size, store.mean, store.std)
        for name, split in self._splits.items():
            if not len(split):
                raise UserError(f"{run}: the {name} split has no images")
        if labelled:
            self._check_labels()

    @property
    def width(self) -> int:
        """Number of features per image."""
        return self._blocks * self._backbone.feature_dim

    @property
    def image_size(self) -> int:
        """Side of the backbone's input images."""
        return self._image_size

    def split(self, split: SplitName) -> Split:
        """The stored images of this split; row i of their features belongs to image i."""
        return self._splits[split]

    def labels(self, split: SplitName) -> Tensor:
        """The classes of a split's images, int64 [N], in the order of the features."""
        return self._splits[split].labels

    def perturbed(self, split: SplitName, perturbation: str) -> Tensor:
        """Features [N, width] of a split under a perturbation, float32 on the CPU, in stored order.

        Raises UserError when a feature is not finite.
        """

        def view(batch: ImageBatch) -> Tensor:
            return perturb(
                perturbation,
                batch.pixels,
                batch.sizes,
                image_size=self._image_size,
                resize_size=self._resize_size,
                mean=self._store.mean,
                std=self._store.std,
                seed=self._seed,
                indices=batch.indices,
                options=self._definition(perturbation),
            )

        def compute() -> Tensor:
            return self.extract(split, perturbation, view)

        if self._shared is None:
            return compute()
        definition = self._definition(perturbation)
        key = (split, perturbation, definition.canonical(), self._blocks, self._seed, self._extraction_key())
        return self._shared.get(self._backbone, key, compute)

    def _extraction_key(self) -> str:
        """All options that affect features. Workers only decode; the batch size affects the rounding of sums."""
        fields = set(ExtractionOptions.model_fields) - set(ProtocolOptions.model_fields) - {"workers"}
        return self._options.canonical(exclude=set(type(self._options).model_fields) - fields)

    def augmented(self, split: SplitName, version: int) -> Tensor:
        """Features of one augmented version of a split: a random resized crop and flip of every image.

        Shape, type and errors as `perturbed`. ``version`` is a number; each version has different crops.
        """
        # Crops are drawn image by image in stored order, so the batch size does not matter.
        generator = make_generator(self._seed, "probe views", split, version)

        def view(batch: ImageBatch) -> Tensor:
            return probe_views(
                batch.pixels,
                batch.sizes,
                generator,
                image_size=self._image_size,
                mean=self._store.mean,
                std=self._store.std,
            )

        return self.extract(split, f"augmented version {version}", view)

    def _definition(self, perturbation: str) -> PerturbationOptions:
        reference = self._options.elastic_reference_size if isinstance(self._options, FeatureOptions) else None
        return scaled_to(perturbation, self._image_size, reference)

    def extract(self, split: SplitName, name: str, view: Callable[[ImageBatch], Tensor]) -> Tensor:
        """Features of a split's images transformed by ``view``, averaged if the options say so.

        ``view`` takes a batch on the device, in stored order, and returns normalised images float32 [N, 3, image_size,
        image_size]; ``name`` describes them in messages and, like the split, seeds the randomness of averaging
        differently. Shape, type and errors as `perturbed`.
        """
        batches = self._loader(split)
        n = len(self._splits[split])
        features = torch.empty(n, self.width)
        interactive = sys.stderr.isatty()
        title = f"features {split} {name}"
        start = time.monotonic()
        was_training = self._backbone.training
        self._backbone.eval()
        try:
            with torch.no_grad():
                for batch in tqdm(
                    batches.epoch(0), desc=title, total=len(batches), disable=not interactive, leave=False
                ):
                    batch = batch.to(self._device)
                    features[batch.indices.cpu()] = self._features(view(batch), batch, split, name).cpu()
        finally:
            self._backbone.train(was_training)
        self._require_finite(features, f"{split} images ({name})")
        if not interactive:
            seconds = max(time.monotonic() - start, 1e-9)
            print(f"{title}: {n} images in {seconds:.1f} s ({n / seconds:.0f} images/s)", file=sys.stderr, flush=True)
        return features

    def stored_images(self, split: SplitName, rows: Tensor) -> Tensor:
        """Some images of a split, resized and cropped like unchanged test images, on the device.

        Args:
            rows: int64 [N] on the CPU.

        Returns:
            uint8 [N, 3, image_size, image_size].
        """
        stored, workers = self._splits[split], self._options.workers or available_cores()

        chunks = torch.split(rows, min(self._options.extraction_batch, _READ_ROWS))
        with ThreadPoolExecutor(workers) as readers:
            return torch.cat([self._unchanged(batch) for batch in readers.map(stored.images, chunks)])

    def _unchanged(self, batch: ImageBatch) -> Tensor:
        images = perturb(
            "orig",
            upload(batch.pixels, self._device),
            batch.sizes,
            image_size=self._image_size,
            resize_size=self._resize_size,
            mean=self._store.mean,
            std=self._store.std,
            seed=self._seed,
            indices=batch.indices,
        )
        return to_bytes(images, self._store.mean, self._store.std)

    def features_of(
        self,
        images: Tensor,
        what: str,
        change: Callable[..., Tensor] | None = None,
        per_image: Sequence[Tensor] = (),
        *,
        exact: bool = False,
    ) -> Tensor:
        """Features of transformed images, float32 [N, width] on the device. Nothing is averaged.

        Args:
            images: uint8 [N, 3, image_size, image_size] on the device, from `stored_images`.
            what: describes the transformed images in messages.
            change: takes some of the images, float32 in [0, 1], and their rows of every tensor of ``per_image``;
                returns equally many images of the same kind, whose values may leave [0, 1]. None: no change.
            per_image: tensors of N rows on the device.
            exact: compute in float32 whatever the options say, without TF32, which a GPU's convolutions use by default;
                for differences of almost equal features.

        Raises:
            UserError: a feature is not finite.
        """

        def batches() -> Iterator[Tensor]:
            for start in range(0, len(images), self._options.extraction_batch):
                rows = slice(start, start + self._options.extraction_batch)
                chunk = images[rows].float().div_(255.0)
                changed = chunk if change is None else change(chunk, *(tensor[rows] for tensor in per_image))
                yield normalise_(changed, self._store.mean, self._store.std)

        return self.features_of_batches(batches(), what, exact=exact)

    def features_of_batches(self, batches: Iterable[Tensor], what: str, *, exact: bool = False) -> Tensor:
        """Features of normalised images, given as batches float32 [n, 3, image_size, image_size].

        Result, ``exact`` and errors as for `features_of`; ``what`` describes the images.
        """
        found = []
        was_training = self._backbone.training
        self._backbone.eval()
        try:
            with torch.no_grad(), _float32() if exact else nullcontext():
                found = [self._forward(batch, exact=exact).float() for batch in batches]
        finally:
            self._backbone.train(was_training)
        features = torch.cat(found)
        self._require_finite(features, what)
        return features

    def _require_finite(self, features: Tensor, what: str) -> None:
        bad = int((~features.isfinite()).any(dim=1).sum())
        if bad:
            raise UserError(
                f"{self._run}: the features of {bad} of {len(features)} {what} are not finite: "
                "the backbone's weights are damaged or its training diverged"
            )

    def of_images(self, images: Images, name: str) -> Tensor:
        """Features of images that are not in the store, [N, width], float32 on the CPU.

        Args:
            images: uint8 [H, W, 3] each. The shorter side is resized to ``image_size``, then the centre is cropped.
            name: describes them in messages.

        Raises:
            UserError: a feature is not finite.
        """
        features = torch.empty(len(images), self.width)
        step = self._options.extraction_batch
        was_training = self._backbone.training
        self._backbone.eval()
        try:
            with torch.no_grad():
                for start in range(0, len(images), step):
                    view = self._view_of([images[place] for place in range(start, min(start + step, len(images)))])
                    features[start : start + step] = self._forward(view).float().cpu()
        finally:
            self._backbone.train(was_training)
        bad = int((~features.isfinite()).any(dim=1).sum())
        if bad:
            raise UserError(f"{self._run}: the features of {bad} of {len(images)} images ({name}) are not finite")
        return features

    def _view_of(self, images: list[NDArray[np.uint8]]) -> Tensor:
        """Normalised images on the device, float32 [N, 3, image_size, image_size]."""
        sizes = torch.tensor([image.shape[:2] for image in images])
        height, width = sizes.amax(0).tolist()
        pixels = torch.zeros(len(images), 3, height, width, dtype=torch.uint8)
        for place, image in enumerate(images):
            pixels[place, :, : image.shape[0], : image.shape[1]] = torch.tensor(image).permute(2, 0, 1)
        return perturb(
            "orig",
            pixels.to(self._device),
            sizes,
            image_size=self._image_size,
            resize_size=self._image_size,
            mean=self._store.mean,
            std=self._store.std,
            seed=self._seed,
            indices=torch.arange(len(images)),
            options=PERTURBATIONS["orig"],
        )

    def _features(self, images: Tensor, batch: ImageBatch, split: SplitName, name: str) -> Tensor:
        """Each image's feature or, if the options say so, its mean over fresh views: float32 [N, width]."""
        if self._fresh_views is None or self._averaging is None:
            return self._forward(images).float()
        count = self._averaging.count
        sizes = torch.full((len(images), 2), self._image_size)
        tables = self._fresh_views.draw(sizes, batch.indices.cpu(), count, self._seed, "feature averaging", split, name)
        pixels = to_bytes(images, self._store.mean, self._store.std)
        total = torch.zeros(len(images), self.width, dtype=torch.float64, device=self._device)
        for views in self._fresh_views.make(pixels, sizes, tables, count, batch.latents):
            total += self._forward(views)
        return (total / count).float()

    def _forward(self, images: Tensor, *, exact: bool = False) -> Tensor:
        shorter = self._options.precision == "bf16" and not exact
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=shorter):
            if self._blocks == 1:
                output: Tensor = self._backbone(images)
                return output
            return torch.cat(self._backbone.last_blocks(images, self._blocks), dim=1)

    def _loader(self, split: SplitName) -> Batches:
        """The split's batches in stored order, created once: pixels that fit stay on the device between passes."""
        if split not in self._batches:
            self._batches[split] = Batches(
                self._splits[split],
                self._options.extraction_batch,
                seed=self._seed,
                device=self._device,
                shuffle=False,
                drop_last=False,
                workers=self._options.workers,
            )
        return self._batches[split]

    def _check_labels(self) -> None:
        classes = self._store.classes
        if not self._store.labelled:
            raise UserError(f"{self._run}: the data have no labels, which this protocol needs")
        if len(classes) < 2:
            raise UserError(f"{self._run}: the data have {len(classes)} class: an evaluation needs at least two")
        counts = {name: torch.bincount(split.labels, minlength=len(classes)) for name, split in self._splits.items()}
        for name, count in counts.items():
            if len(count) > len(classes):
                raise UserError(
                    f"{self._run}: a {name} label is {len(count) - 1}, but there are {len(classes)} classes"
                )
        absent = [classes[index] for index in (counts["train"] == 0).nonzero()[:, 0].tolist()]
        if absent:
            raise UserError(
                f"{self._run}: {len(absent)} of {len(classes)} classes have no training image (first: {absent[0]!r}): "
                "raise train_limit or remove the class"
            )


@contextmanager
def _float32() -> Iterator[None]:
    """Use float32 instead of TF32 for a GPU's convolutions."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
