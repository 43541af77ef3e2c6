"""The online probe: how well the features separate the classes while a run trains.

Every few epochs, the backbone to be evaluated encodes the same training and test images without augmentation, frozen
and in evaluation mode. A linear classifier and nearest neighbours on these features give two accuracies for each part
of the representation. The run does not depend on the probe: the probe has its own generators and layers, and it leaves
the modes and buffers of the backbone as they were. Its classifiers keep learning from one measurement to the next, so
they are part of the training state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from clever.augmentation import perturb
from clever.augmentation.perturbations import perturbation_parameters
from clever.augmentation.tables import take, upload
from clever.backbones import Backbone
from clever.collectives import gather_rows, process_count, process_rank
from clever.data import Batches, Store
from clever.data.source import SplitName
from clever.data.subset import balanced_subset
from clever.errors import UserError
from clever.pretraining.online_probe_needs import probe_refusal
from clever.pretraining.options import OnlineProbeOptions
from clever.randomness import make_generator
from clever.voting import vote

SEED = 0
"""Seed for choosing and ordering the images; the same for all runs, so that runs are comparable."""
BATCH = 256
"""Number of images in a forward pass of the backbone, and in a step of the classifier."""
CHANGE = "orig"
"""The test images are only resized, cropped and normalised."""


class OnlineProbe:
    """The probe of one run, with its state.

    With several processes, each process encodes its share of the images. Afterwards all of them have the same features
    and compute the same accuracies.

    Args:
        options: how to measure.
        store: the run's prepared data.
        parts: columns of the representation by the part's name in metrics.csv.
        width: columns of the representation.
        image_size: side of the images that the backbone sees.
        device: where everything is computed.
        bf16: encode under autocast, as the run does.
        workers: threads that decode encoded images.

    Raises:
        UserError: the data have no labels, fewer than two classes or no test images.
    """

    def __init__(
        self,
        options: OnlineProbeOptions,
        store: Store,
        parts: Mapping[str, slice],
        width: int,
        image_size: int,
        device: torch.device,
        bf16: bool = False,
        workers: int = 0,
    ) -> None:
        reason = probe_refusal(store.labelled, len(store.classes), len(store.split("test")))
        if reason is not None:
            raise UserError(f"{store.folder}: online_probe: {reason}")
        self.options, self.device, self._bf16, self._image_size = options, device, bf16, image_size
        self._parts, self._classes, self._mean, self._std = dict(parts), len(store.classes), store.mean, store.std
        self._images = {name: _Images(store, name, options.images, device, workers) for name in _SPLITS}
        # Without initialisation, which would draw from the global generator.
        self._classifiers = nn.ModuleDict(
            {
                name: skip_init(nn.Linear, _width(part, width), self._classes)  # type: ignore[no-untyped-call]
                for name, part in parts.items()
            }
        )
        for parameter in self._classifiers.parameters():
            nn.init.zeros_(parameter)
        self._classifiers.to(device)
        self._optimiser = torch.optim.SGD(self._classifiers.parameters(), lr=options.learning_rate, momentum=0.9)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all values in metrics.csv."""
        return tuple(f"online_{kind}_{part}" for kind in ("linear", "knn") for part in self._parts)

    def is_due(self, epoch: int, epochs: int) -> bool:
        """Whether to measure at the end of an epoch, counted from 0, of a run of ``epochs``."""
        return (epoch + 1) % self.options.every == 0 or epoch + 1 == epochs

    def measure(self, backbone: Backbone, epoch: int) -> dict[str, float]:
        """Train the classifier further on the current features, and return the accuracies on the test images in
        percent.

        Args:
            backbone: on the device; its modes and buffers are unchanged afterwards.
            epoch: counted from 0; the order of the classifier's images depends on it.

        Returns:
            A value for each of ``columns``. If a feature is not finite, all values are NaN and the classifier is not
            trained.
        """
        train, test = (self._encode(backbone, self._images[name]) for name in _SPLITS)
        if not bool((train.isfinite().all() & test.isfinite().all()).item()):
            return dict.fromkeys(self.columns, math.nan)
        labels, right = self._images["train"].labels, self._images["test"].labels
        predictions: list[Tensor] = []
        for name, part in self._parts.items():
            inputs, queries = _standardised(train[:, part], test[:, part])
            self._learn(name, inputs, labels, epoch)
            with torch.no_grad():
                predictions.append(self._classifiers[name](queries).argmax(dim=1))
        options = self.options
        for part in self._parts.values():
            voted = vote(
                train[:, part], labels, test[:, part], [options.neighbours], options.temperature, self._classes
            )
            predictions.append(voted[0])
        hits: Sequence[int] = (torch.stack(predictions) == right).sum(dim=1).tolist()
        return {name: 100.0 * count / len(right) for name, count in zip(self.columns, hits, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """The state that later measurements depend on."""
        return {"classifiers": self._classifiers.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict``."""
        self._classifiers.load_state_dict(state["classifiers"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _learn(self, part: str, inputs: Tensor, labels: Tensor, epoch: int) -> None:
        for number in range(self.options.passes):
            draw = make_generator(SEED, "online probe", part, epoch, number)
            order = upload(torch.randperm(len(inputs), generator=draw), self.device)
            for rows in torch.split(order, BATCH):
                loss = F.cross_entropy(self._classifiers[part](inputs[rows]), labels[rows])
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimiser.step()
                self._optimiser.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _encode(self, backbone: Backbone, images: _Images) -> Tensor:
        """Features float32 [images, width] on the device."""
        found = []
        with _evaluating(backbone), torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            for place, batch in enumerate(images.batches.epoch(0)):
                rows = torch.arange(place * BATCH, place * BATCH + len(batch.pixels))
                views = perturb(
                    CHANGE,
                    batch.pixels,
                    batch.sizes,
                    image_size=self._image_size,
                    resize_size=self._image_size,
                    mean=self._mean,
                    std=self._std,
                    seed=SEED,
                    indices=rows,
                    parameters=take(images.parameters, rows),
                )
                # Not the backbone itself: if it is compiled, each of its graphs would be compiled again for evaluation
                # mode.
                found.append(backbone.forward(views).float())
        return gather_rows(torch.cat(found))[: len(images.labels)]


class _Images:
    """The images of a split that the probe uses; this process encodes its share of them."""

    def __init__(self, store: Store, name: SplitName, most: int, device: torch.device, workers: int) -> None:
        split = store.split(name)
        rows = torch.from_numpy(balanced_subset(split.labels.numpy(), most, SEED, f"online probe {name}"))
        self.labels = split.labels[rows].to(device)
        share = math.ceil(len(rows) / process_count())
        # Gathering needs equal shares, so the last share repeats the last image.
        mine = torch.arange(process_rank() * share, (process_rank() + 1) * share).clamp(max=len(rows) - 1)
        self.batches = Batches(
            split,
            BATCH,
            seed=SEED,
            device=device,
            shuffle=False,
            drop_last=False,
            # A second copy of all pixels on the device would be wasteful for a few images.
            placement="stream" if split.encoded else "host",
            workers=workers,
            rows=rows[mine],
        )
        self.parameters = perturbation_parameters(CHANGE, seed=SEED, indices=mine)


_SPLITS: tuple[SplitName, SplitName] = ("train", "test")


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and restore the mode of each of its submodules afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Standardise both with the training features' mean and standard deviation, and divide by the root of the number of
    features.

    One learning rate then suits any width. A feature that is constant up to rounding is only shifted.
    """
    whole = train.double()
    mean, deviation = whole.mean(dim=0), whole.std(dim=0, correction=0)
    scale = torch.where(deviation <= 1e-6 * mean.abs(), 1.0, deviation) * train.shape[1] ** 0.5
    return ((train - mean) / scale).float(), ((test - mean) / scale).float()


def _width(part: slice, whole: int) -> int:
    return len(range(*part.indices(whole)))
