"""Batches of uint8 images on the device, read from device memory, host memory or disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clever.data.padding import padding_refusal
from clever.data.pairs import Pairs
from clever.data.store import ImageBatch, Split
from clever.data.threads import available_cores
from clever.errors import UserError
from clever.memory import machine_memory
from clever.randomness import make_generator

Placement = Literal["device", "host", "stream"]

PREFETCH = 2
"""Number of batches that are read ahead."""


class Batches:
    """Yields the batches of a split for each epoch, from one of three placements, all of which give exactly the same
    batches.

    * ``device``: all pixels are on the device; a batch is gathered there in one operation.
    * ``host``: pixels stay in the memory-mapped file; a background thread gathers each batch into pinned memory and
      copies it to the device on a separate stream while the model trains on the previous batch.
    * ``stream``: like ``host``, with ``workers`` threads that read or decode the images of a batch. Encoded stores
      support only this placement.

    ``auto`` chooses ``device`` for decoded pixels on an accelerator if they fit into half of its free memory (or into
    ``limit_bytes``), ``host`` for other decoded pixels, and ``stream`` for encoded ones. The attribute ``placement``
    holds the choice, and ``reason`` explains it.

    ``batch_size`` counts all processes: rank r of w gets rows [r*b/w, (r+1)*b/w) of each global batch, so that any
    number of processes sees the same global batches. ``workers`` 0 uses all cores available to this process.

    ``pairs`` counts objects (``Split.groups``) instead of images. A batch of b objects holds 2 b images: the first
    image of every object, then the second image of every object in the same order. The two images of an object differ,
    are redrawn in every epoch from (seed, epoch), and are read by the same process.

    ``rows`` int64 [M] selects the images to read, each once; None: the whole split.

    ``groups`` int64 [N], a number for each image of the split: every batch has images of one group. Within a group the
    images are shuffled, and those that do not fill a batch are left out of the epoch.

    Raises :class:`UserError` for a batch size that ``world_size`` does not divide or that exceeds the split
    (``drop_last``), a placement that the split does not support, and ``pairs`` of a split without objects.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        seed: int,
        device: torch.device | str,
        shuffle: bool = True,
        drop_last: bool = True,
        placement: Literal["auto", "device", "host", "stream"] = "auto",
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        limit_bytes: int | None = None,
        pairs: bool = False,
        rows: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise UserError(f"batch_size {batch_size} must be a positive multiple of the {world_size} processes")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size} processes")
        self._pairs = Pairs(split) if pairs else None
        if pairs and rows is not None:
            raise ValueError("rows cannot be combined with pairs")
        if groups is not None and (pairs or rows is not None or not drop_last):
            raise ValueError("groups cannot be combined with pairs, rows, or incomplete batches")
        self._batch_images = batch_size * (2 if pairs else 1)
        self._chosen = torch.arange(len(split)) if rows is None else rows.cpu()
        self._count = len(self._chosen) if self._pairs is None else len(self._pairs)
        if drop_last and batch_size > self._count:
            counted = f"{self._count} {'objects' if pairs else 'images'}"
            raise UserError(
                f"batch_size {batch_size} exceeds the {counted} of the {split.name} split; lower batch_size"
            )
        self._groups = (
            None
            if groups is None
            else [torch.nonzero(groups == name).flatten() for name in sorted(set(groups.tolist()))]
        )
        self._batches_of_groups = sum(len(group) // batch_size for group in self._groups or [])
        if self._groups is not None and not self._batches_of_groups:
            raise UserError(
                f"batch_size {batch_size} exceeds the {max(map(len, self._groups))} images of the largest of "
                f"{len(self._groups)} groups; lower batch_size, or make fewer groups"
            )
        self.split, self.batch_size, self.seed = split, batch_size, seed
        self.shuffle, self.drop_last, self.rank, self.world_size = shuffle, drop_last, rank, world_size
        self.workers = workers or available_cores()
        self.device = _with_index(torch.device(device))
        free = torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else None
        self.placement, self.reason = choose_placement(
            placement, split.encoded, split.nbytes, self.device.type, free, limit_bytes
        )
        if split.encoded:
            self._refuse_padding()
        self._copies = _new_stream(self.device)
        if self.placement == "device":
            self._pixels = _upload(split, self.device)
            self._labels = split.labels.to(self.device)
            self._latents = None if split.latents is None else split.latents.to(self.device)

    def _refuse_padding(self) -> None:
        """Reject images of very different shapes before a padded batch of them exhausts the memory."""
        height, width = self.split.extent(np.arange(len(self.split)))
        images = min(self._batch_images, len(self.split)) // self.world_size
        reason = padding_refusal(images, height, width, machine_memory()[1])
        if reason is not None:
            raise UserError(f"{self.split.folder}, {self.split.name}: {reason}")

    def __len__(self) -> int:
        """Steps per epoch."""
        if self._groups is not None:
            return self._batches_of_groups
        whole, rest = divmod(self._count, self.batch_size)
        return whole if self.drop_last or rest == 0 else whole + 1

    def epoch(self, epoch: int, start: int = 0) -> Iterator[ImageBatch]:
        """The batches of one epoch on the device (``sizes`` on the host); the first ``start`` are not read.

        The order depends on (seed, epoch) alone. Without ``drop_last`` the last global batch may be smaller; it is
        divided as evenly as possible, and a process may get an empty batch, so that all processes take the same number
        of steps.
        """
        if not 0 <= start <= len(self):
            raise UserError(f"cannot start at step {start} of an epoch of {len(self)} steps")
        order = self._order(epoch)
        steps = [self._rows(order, step) for step in range(start, len(self))]
        return self._from_device(steps) if self.placement == "device" else self._from_host(steps)

    def _order(self, epoch: int) -> Tensor:
        """The rows of the epoch's images, int64 [images, 1], or those of its pairs, [objects, 2]."""
        if self._groups is not None:
            return self._order_by_group(self._groups, make_generator(self.seed, "batches", epoch)).unsqueeze(1)
        order = torch.arange(self._count)
        if self.shuffle:
            order = torch.randperm(self._count, generator=make_generator(self.seed, "batches", epoch))
        if self._pairs is None:
            return self._chosen[order].unsqueeze(1)
        return self._pairs.draw(make_generator(self.seed, "pairs", epoch))[order]

    def _order_by_group(self, groups: list[Tensor], generator: torch.Generator) -> Tensor:
        """Whole batches of one group each, one after the other, in random order."""
        batches: list[Tensor] = []
        for group in groups:
            shuffled = group[torch.randperm(len(group), generator=generator)]
            whole = len(group) // self.batch_size * self.batch_size
            batches += torch.split(shuffled[:whole], self.batch_size) if whole else []
        return torch.cat([batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()])

    def _rows(self, order: Tensor, step: int) -> Tensor:
        batch = order[step * self.batch_size : (step + 1) * self.batch_size]
        mine = batch[self.rank * len(batch) // self.world_size : (self.rank + 1) * len(batch) // self.world_size]
        return mine.T.reshape(-1)

    def _from_device(self, steps: list[Tensor]) -> Iterator[ImageBatch]:
        # One copy of all indices, so that no step waits for the host.
        on_device = torch.cat(steps).to(self.device) if steps else torch.empty(0)
        for rows in torch.split(on_device, [len(rows) for rows in steps]):
            # Crops are drawn on the host, which would have to wait if the sizes were on the device.
            sizes = torch.tensor([self._pixels.shape[2:]]).repeat(len(rows), 1)
            latents = None if self._latents is None else self._latents[rows]
            yield ImageBatch(self._pixels.index_select(0, rows), sizes, self._labels[rows], rows, latents)

    def _from_host(self, steps: list[Tensor]) -> Iterator[ImageBatch]:
        readers = ThreadPoolExecutor(self.workers if self.placement == "stream" else 1, "clever-read")
        # A single thread copies batches, so that they arrive in order and copying starts as soon as reading is done.
        sender = ThreadPoolExecutor(1, "clever-send")
        waiting: deque[Future[tuple[ImageBatch, torch.cuda.Event | None]]] = deque()
        ahead = iter(steps)

        def begin() -> None:
            rows = next(ahead, None)
            if rows is not None:
                buffer, parts = self._read(rows.numpy(), readers)
                waiting.append(sender.submit(self._send, rows, buffer, parts))

        try:
            for _ in range(PREFETCH):
                begin()
            while waiting:
                batch, copied = waiting.popleft().result()
                begin()
                if copied is not None:
                    current = torch.cuda.current_stream(self.device)
                    current.wait_event(copied)
                    for tensor in (batch.pixels, batch.labels, batch.indices, batch.latents):
                        # The memory belongs to the copying stream: keep it until the training stream has used it.
                        if tensor is not None:
                            tensor.record_stream(current)
                yield batch
        finally:
            readers.shutdown(wait=True, cancel_futures=True)
            sender.shutdown(wait=True, cancel_futures=True)

    def _read(self, rows: NDArray[np.int64], readers: ThreadPoolExecutor) -> tuple[Tensor, list[Future[None]]]:
        """Start reading ``rows`` into a buffer uint8 [N, H, W, 3], which is complete when all futures are done."""
        height, width = self.split.extent(rows)
        buffer = torch.empty(len(rows), height, width, 3, dtype=torch.uint8, pin_memory=self._copies is not None)
        pieces = min(len(rows), 4 * self.workers) if self.placement == "stream" else 1
        bounds = [len(rows) * piece // max(1, pieces) for piece in range(pieces + 1)]
        out = buffer.numpy()
        parts = [readers.submit(self.split.fill, rows[first:last], out[first:last]) for first, last in pairwise(bounds)]
        return buffer, parts

    def _send(
        self, rows: Tensor, buffer: Tensor, parts: list[Future[None]]
    ) -> tuple[ImageBatch, torch.cuda.Event | None]:
        for part in parts:
            part.result()
        sizes, labels = self.split.sizes(rows.numpy()), self.split.labels[rows]
        latents = None if self.split.latents is None else self.split.latents[rows]
        if self._copies is None:
            pixels = buffer.permute(0, 3, 1, 2).contiguous()
            return ImageBatch(pixels, sizes, labels, rows, latents).to(self.device), None
        with torch.cuda.device(self.device), torch.cuda.stream(self._copies):
            pixels, labels, rows = (
                tensor.to(self.device, non_blocking=True) for tensor in (buffer, labels.pin_memory(), rows.pin_memory())
            )
            if latents is not None:
                latents = latents.pin_memory().to(self.device, non_blocking=True)
            # The device permutes height x width x channel much faster than the host.
            batch = ImageBatch(pixels.permute(0, 3, 1, 2).contiguous(), sizes, labels, rows, latents)
            return batch, self._copies.record_event()


def choose_placement(
    requested: Literal["auto", "device", "host", "stream"],
    encoded: bool,
    nbytes: int,
    device_type: str,
    free_bytes: int | None,
    limit_bytes: int | None,
) -> tuple[Placement, str]:
    """Where to keep ``nbytes`` of images, and a short reason (``"device: 0.15 GB fit in 60.1 GB free"``).

    ``free_bytes`` is the free memory of the device, None if it is not an accelerator. Raises :class:`UserError` for
    encoded images with a placement other than ``stream``.
    """
    size = f"{nbytes / 1e9:.2f} GB"
    if encoded:
        if requested not in ("auto", "stream"):
            raise UserError(f"placement {requested} needs decoded pixels; use stream (or format: pixels)")
        return "stream", f"stream: {size} of encoded images, decoded while training"
    if requested != "auto":
        return requested, f"{requested}: {size}, as requested"
    if free_bytes is None:
        return "host", f"host: {size} read from memory-mapped files (device is {device_type})"
    room = free_bytes // 2 if limit_bytes is None else min(limit_bytes, free_bytes)
    if nbytes <= room:
        return "device", f"device: {size} fit in {free_bytes / 1e9:.1f} GB free"
    return "host", f"host: {size} exceed {room / 1e9:.1f} GB ({free_bytes / 1e9:.1f} GB free on the device)"


def _with_index(device: torch.device) -> torch.device:
    # Each thread has its own current device: in another thread, "cuda" alone would mean the first one.
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _new_stream(device: torch.device) -> torch.cuda.Stream | None:
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def _upload(split: Split, device: torch.device, chunk_bytes: int = 2**28) -> Tensor:
    """All pixels of a split as uint8 [N, 3, H, W] on ``device``, copied in chunks."""
    height, width = split.extent(np.arange(1))
    try:
        pixels = torch.empty(len(split), 3, height, width, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{split.nbytes / 1e9:.2f} GB of {split.name} pixels do not fit on {device}; use placement host"
        ) from error
    step = max(1, chunk_bytes // (height * width * 3))
    for start in range(0, len(split), step):
        rows = np.arange(start, min(start + step, len(split)))
        buffer = np.empty((len(rows), height, width, 3), dtype=np.uint8)
        split.fill(rows, buffer)
        pixels[start : start + len(rows)] = torch.from_numpy(buffer).to(device).permute(0, 3, 1, 2)
    return pixels
