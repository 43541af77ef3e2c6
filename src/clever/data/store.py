"""A prepared data set on disk: plain arrays, one description, checksums. No pickles."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clever.data.array_files import load_array
from clever.data.decoding import UnreadableError, bound_shorter_side, decode_rgb
from clever.data.links import LINKS, Links
from clever.data.moments import Triple
from clever.data.source import SPLITS, SplitName
from clever.data.verification import verify_file
from clever.errors import UserError
from clever.parsing import decode_json, foreign, read_json_object, read_text, require_kinds
from clever.sealed import KEY, check_seal

FORMAT = "clever-store"
VERSION = 1
DESCRIPTION = "store.json"
LAYOUTS = {
    "pixels": ("{}_images.npy", "{}_labels.npy"),
    "encoded": ("{}_bytes.bin", "{}_offsets.npy", "{}_sizes.npy", "{}_labels.npy"),
}


LATENTS = "{}_latents.npy"
GROUPS = "{}_groups.npy"
NAMES = "{}_names.json"
"""Name of the list with the path of each image below the source's root, in the order of the split's rows; only for
sources of image files. The list is not part of the content's checksum, because training does not depend on it."""


def file_names(layout: str, *, latents: bool = False, groups: bool = False, linked: bool = False) -> tuple[str, ...]:
    """Files of a store in addition to ``store.json``, by layout (``pixels`` or ``encoded``) and kind of latents.

    A ``linked`` store has the paths and checksums of the image files instead of the files' bytes.
    """
    images = [LINKS if linked and pattern == "{}_bytes.bin" else pattern for pattern in LAYOUTS[layout]]
    patterns = (*images, *([LATENTS] if latents else []), *([GROUPS] if groups else []))
    return tuple(pattern.format(split) for split in SPLITS for pattern in patterns)


ALL_FILES = frozenset(
    {
        DESCRIPTION,
        *(NAMES.format(split) for split in SPLITS),
        *(
            name
            for layout in LAYOUTS
            for linked in (False, True)
            for name in file_names(layout, latents=True, groups=True, linked=linked)
        ),
    }
)


@dataclass
class ImageBatch:
    """Images with labels and latents; row i of every tensor belongs to the same image; all are on one device.

    ``pixels`` uint8 [N, 3, H, W], contiguous, padded with 0 at the bottom and right if images differ in size; ``sizes``
    int64 [N, 2], height and width of each image; ``labels`` int64 [N]; ``indices`` int64 [N], rows of the split;
    ``latents`` float32 [N, L], the latents of each image (``Store.latent_names``), None if the store has none.
    """

    pixels: Tensor
    sizes: Tensor
    labels: Tensor
    indices: Tensor
    latents: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ImageBatch:
        """The same batch on ``device``."""
        tensors = (self.pixels, self.sizes, self.labels, self.indices)
        pixels, sizes, labels, indices = (tensor.to(device, non_blocking=non_blocking) for tensor in tensors)
        latents = None if self.latents is None else self.latents.to(device, non_blocking=non_blocking)
        return ImageBatch(pixels, sizes, labels, indices, latents)


class Split:
    """The training or test images of a store.

    ``labels`` int64 [N] in memory; images stay on disk (memory-mapped) until they are read. ``image_size`` is the side
    of the squares, or None for an encoded store, whose images keep their sizes; ``nbytes`` counts the image bytes.
    ``latents`` float32 [N, L] and ``groups`` int64 [N], the object that each image shows, are also in memory; None if
    the store has none. Several threads may read at the same time.
    """

    def __init__(self, store: Store, name: SplitName) -> None:
        self.name = name
        self.folder = store.folder
        self.encoded = store.info["layout"] == "encoded"
        self.image_size: int | None = None
        self._bound: int | None = store.info["image_size"]
        count = store.info["splits"][name]["count"]
        labels = self._load("labels", np.int64, (count,))
        self.labels = torch.from_numpy(np.array(labels))
        self.latents: Tensor | None = None
        if store.latent_names:
            shape = (count, len(store.latent_names))
            self.latents = torch.from_numpy(np.array(self._load("latents", np.float32, shape)))
        self.groups: Tensor | None = None
        if GROUPS.format(name) in store.info["files"]:
            self.groups = torch.from_numpy(np.array(self._load("groups", np.int64, (count,))))
        if self.encoded:
            self._offsets = np.array(self._load("offsets", np.int64, (count + 1,)))
            self._sizes = np.array(self._load("sizes", np.int64, (count, 2)))
            self._links = None if store.linked_root is None else Links(store.linked_root, self.folder, name, count)
            self._blob = None if self._links is not None else self._map_bytes()
            self.nbytes = int(self._offsets[-1])
        else:
            self.image_size = store.info["image_size"]
            self._images = self._load("images", np.uint8, (count, self.image_size, self.image_size, 3))
            self.nbytes = self._images.nbytes

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: Tensor | NDArray[np.int64] | list[int]) -> ImageBatch:
        """The images of these rows, in this order, on the CPU. Raises IndexError for rows outside the split."""
        rows = np.asarray(indices, dtype=np.int64).reshape(-1)
        buffer = np.empty((len(rows), *self.extent(rows), 3), dtype=np.uint8)
        self.fill(rows, buffer)
        return ImageBatch(
            pixels=torch.from_numpy(buffer).permute(0, 3, 1, 2).contiguous(),
            sizes=self.sizes(rows),
            labels=self.labels[rows],
            indices=torch.from_numpy(rows.copy()),
            latents=None if self.latents is None else self.latents[rows],
        )

    def sizes(self, rows: NDArray[np.int64]) -> Tensor:
        """Height and width of these images: int64 [N, 2]."""
        if self.encoded:
            return torch.from_numpy(self._sizes[rows])
        return torch.tensor([self._images.shape[1:3]], dtype=torch.int64).repeat(len(rows), 1)

    def extent(self, rows: NDArray[np.int64]) -> tuple[int, int]:
        """The smallest height and width that hold each of these images."""
        if not self.encoded:
            return self._images.shape[1], self._images.shape[2]
        if len(rows) == 0:
            return 0, 0
        height, width = self._sizes[rows].max(axis=0)
        return int(height), int(width)

    def fill(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Write these images to ``out`` uint8 [N, H, W, 3], with 0 beyond their edges."""
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of a split of {len(self)} images")
        if not self.encoded:
            # mode="clip" writes straight into `out`; the rows were checked above.
            np.take(self._images, rows, axis=0, out=out, mode="clip")
            return
        for row, target in zip(rows.tolist(), out, strict=True):
            pixels = self._decode(row)
            height, width = pixels.shape[:2]
            target[:height, :width] = pixels
            target[height:] = 0
            target[:height, width:] = 0

    def verify_links(self, *, content: bool) -> None:
        """Compare the image files of a linked store with their recorded sizes, and optionally their checksums.

        Raises:
            UserError: a file is missing or has changed; the message names it.
        """
        if self._links is not None:
            for row, size in enumerate(np.diff(self._offsets).tolist()):
                self._links.check(row, size)
                if content:
                    self._links.read(row)

    def _decode(self, row: int) -> NDArray[np.uint8]:
        if self._links is not None:
            data = self._links.read(row)
        else:
            assert self._blob is not None
            data = self._blob[self._offsets[row] : self._offsets[row + 1]].tobytes()
        try:
            pixels = bound_shorter_side(decode_rgb(data), self._bound)
        except UnreadableError as error:
            raise UserError(f"{self.folder}: {self.name} image {row} is damaged ({error}); prepare it again") from error
        if pixels.shape[:2] != tuple(self._sizes[row]):
            raise UserError(f"{self.folder}: {self.name} image {row} has changed its size; prepare it again")
        return pixels

    def _load(self, what: str, dtype: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
        path = self.folder / f"{self.name}_{what}.npy"
        array: NDArray[Any] = load_array(path, memory_mapped=True, advice="prepare the data set again")
        if array.dtype != dtype or array.shape != shape:
            raise UserError(f"{path}: holds {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}")
        return array

    def _map_bytes(self) -> NDArray[np.uint8]:
        path = self.folder / f"{self.name}_bytes.bin"
        if len(self) == 0 and path.is_file() and path.stat().st_size == 0:  # an empty file cannot be mapped
            return np.empty(0, dtype=np.uint8)
        monotonic = self._offsets[0] == 0 and bool((np.diff(self._offsets) > 0).all())
        if not path.is_file() or not monotonic or path.stat().st_size != self._offsets[-1]:
            raise UserError(f"{path}: does not match its offsets; prepare the data set again")
        with foreign(path, "cannot be mapped", "prepare the data set again"):
            return np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))


@dataclass(frozen=True)
class Store:
    """A prepared data set.

    ``classes`` in label order; ``mean`` and ``std`` per channel on the [0, 1] scale, for normalisation; ``checksum`` a
    sha256 over all content (files, classes, mean, std, image size, names of latents), independent of the machine;
    ``info`` all of ``store.json``: counts, counts per class, unreadable images, files with their sizes and sha256.
    """

    folder: Path
    classes: tuple[str, ...]
    mean: Triple
    std: Triple
    checksum: str
    info: dict[str, Any] = field(repr=False)

    @classmethod
    def open(cls, folder: Path | str) -> Store:
        """Open a prepared store, checking its description and the length of its files (their content: ``verify``).

        Raises :class:`UserError` if there is no store, it has another format or version, its description was changed,
        or a file is missing or has changed its length.
        """
        folder = Path(folder)
        info = _read_description(folder / DESCRIPTION)
        for name, recorded in info["files"].items():
            path = folder / name
            if not path.is_file():
                raise UserError(f"{path}: is missing from the store; prepare the data set again")
            if path.stat().st_size != recorded["bytes"]:
                raise UserError(
                    f"{path}: has {path.stat().st_size} bytes, {recorded['bytes']} were written; "
                    "it is truncated or changed; prepare the data set again"
                )
        mean, std = tuple(info["mean"]), tuple(info["std"])
        return cls(folder, tuple(info["classes"]), mean, std, info["checksum"], info)

    @property
    def labelled(self) -> bool:
        """Whether the images have labels; without labels, ``classes`` is empty and every label is -1."""
        return bool(self.classes)

    @property
    def linked_root(self) -> Path | None:
        """The folder of the image files that a linked store reads; None if the store has its own images."""
        root = self.info.get("linked_root")
        return None if root is None else Path(root)

    @property
    def latent_names(self) -> tuple[str, ...]:
        """Names of the columns of the latents; empty if the store has none."""
        return tuple(self.info.get("latent_names", ()))

    def split(self, name: SplitName) -> Split:
        """The training or the test images."""
        if name not in SPLITS:
            raise UserError(f"{self.folder}: no split {name}; a store has train and test")
        return Split(self, name)

    def names(self, name: SplitName) -> list[str]:
        """The path of each image of a split below the source's root, with forward slashes, in the order of its rows.

        Raises:
            UserError: the source has no image files, the store was prepared by a version that did not keep their
                names, or the list is damaged.
        """
        path = self.folder / NAMES.format(name)
        recorded = self.info.get("names", {}).get(path.name)
        if recorded is None:
            raise UserError(
                f"{self.folder}: keeps no file names; use a source of image files, or prepare the data set again"
            )
        verify_file(path, recorded["sha256"], remember=False)
        with foreign(path, "damaged", "prepare the data set again"):
            found: list[str] = decode_json(read_text(path), path)
        return found

    def verify(self, *, remember: bool = False) -> None:
        """Compare the content of every file with its recorded checksum.

        Args:
            remember: read large files once per machine, as jobs do (see ``clever.data.verification``). False: read
                every byte. Of a linked store's images, only the sizes are compared here; each file is compared with its
                checksum when it is read.

        Raises:
            UserError: a file differs; the message names it.
        """
        for name, recorded in (self.info["files"] | self.info.get("names", {})).items():
            verify_file(self.folder / name, recorded["sha256"], remember=remember)
        if self.linked_root is not None:
            for split in SPLITS:
                self.split(split).verify_links(content=not remember)


def content_checksum(info: dict[str, Any]) -> str:
    """One sha256 over everything in a store that affects training: its files and how they are read and normalised."""
    seen = {key: info[key] for key in ("format", "version", "layout", "image_size", "classes", "mean", "std")}
    # Included only if there are latents, so that a store without latents keeps its earlier checksum.
    seen |= {key: info[key] for key in ("latent_names",) if key in info}
    seen["files"] = {name: recorded["sha256"] for name, recorded in info["files"].items()}
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def _read_description(path: Path) -> dict[str, Any]:
    again = "prepare the data set again"
    if not path.exists():
        raise UserError(f"{path.parent}: not a prepared store (no {path.name}); prepare the data set first")
    info = read_json_object(path, absent="prepare the data set first", advice=again)
    if info.get("format") != FORMAT:
        raise UserError(f"{path}: not the description of a {FORMAT}; point to a folder that was prepared by clever")
    if info.get("version") != VERSION:
        raise UserError(
            f"{path}: store version {info.get('version')}, this program reads version {VERSION}; prepare it again"
        )
    require_kinds(info, _KINDS, path, again)
    with foreign(path, "damaged", again):
        for name in SPLITS:
            require_kinds(info["splits"].get(name, {}), {"count": int, "largest": list, "per_class": list}, path, again)
        for recorded in info["files"].values():
            require_kinds(recorded, {"bytes": int, "sha256": str}, path, again)
        numbers = [*info["mean"], *info["std"]]
        triples = len(info["mean"]) == len(info["std"]) == 3 and all(math.isfinite(number) for number in numbers)
        computed = content_checksum(info)
    if info["layout"] not in LAYOUTS or not triples or not _files_fit(info):
        raise UserError(f"{path}: is incomplete; prepare the data set again")
    if computed != info["checksum"]:
        raise UserError(f"{path}: does not match its checksum; it was changed or damaged; prepare the data set again")
    if KEY in info:  # covers what the content's checksum excludes (counts, notes); older stores lack it
        check_seal(info, path, "prepare the data set again")
    return info


_KINDS: dict[str, type | tuple[type, ...]] = {
    "layout": str,
    "image_size": (int, type(None)),
    "classes": list,
    "mean": list,
    "std": list,
    "splits": dict,
    "files": dict,
    "checksum": str,
}


def _files_fit(info: dict[str, Any]) -> bool:
    names = info.get("latent_names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return False
    groups = any(GROUPS.format(split) in info["files"] for split in SPLITS)
    linked = "linked_root" in info
    if linked and (info["layout"] != "encoded" or not isinstance(info["linked_root"], str)):
        return False
    return set(info["files"]) == set(file_names(info["layout"], latents=bool(names), groups=groups, linked=linked))
