"""Prepare a store from a source, atomically."""

from __future__ import annotations

import hashlib
import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from clever.data.decoding import UnreadableError, bound_shorter_side, decode, resize_square
from clever.data.links import LINKS
from clever.data.moments import Moments, Triple, moments
from clever.data.notes import SixteenBit, notes_on
from clever.data.options import DataOptions
from clever.data.registry import SOURCES
from clever.data.repeats import Known, find_repeats, pixel_digest
from clever.data.source import SPLITS, ArraySplit, FileSplit, Latent, Source, SplitName
from clever.data.store import (
    ALL_FILES,
    DESCRIPTION,
    FORMAT,
    GROUPS,
    LATENTS,
    NAMES,
    VERSION,
    Store,
    content_checksum,
    file_names,
)
from clever.data.subset import balanced_subset, whole_groups
from clever.data.threads import available_cores, ordered_map
from clever.data.verification import file_sha256
from clever.data.writing import ArrayFile, sync, whole_folder, write_array
from clever.errors import UserError, one_line
from clever.sealed import sealed

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)

CHUNK_BYTES = 4_000_000
"""Approximate number of bytes of decoded pixels per task of the thread pool."""

NAMED_AT_MOST = 20


def prepare(options: DataOptions, folder: Path, progress: bool | None = None) -> Store:
    """Read the source of ``options`` and write a store to ``folder``; returns it opened.

    The store is built in a temporary sibling and renamed at the end: a failure leaves nothing half-written, and an
    older store stays complete. The same source and options give the same bytes on every machine (with the same Pillow).
    ``progress`` None shows a bar on a terminal and one line elsewhere; True forces the bar, False the line.

    Raises :class:`UserError` for errors of the source (see its reader), more unreadable images than
    ``unreadable_limit``, limits too small to keep every class, and a folder that cannot be written.
    """
    started = time.perf_counter()
    folder = Path(folder)
    source = SOURCES[options.source].read(options)
    rows = {name: _chosen_rows(options, source, name) for name in SPLITS}
    side = options.image_size if options.format == "encoded" else _square_side(options, source)
    needed = _needed_bytes(options, source, rows, side)
    show_bar = sys.stderr.isatty() if progress is None else progress

    with whole_folder(folder, ALL_FILES, needed) as partial_folder:
        reports: dict[SplitName, _Report] = {}
        left_out = [(name, item) for name in SPLITS for item in source.split(name).unreadable]
        total = sum(len(chosen) for chosen in rows.values())
        with tqdm(total=total, desc=f"prepare {folder.name}", unit="image", disable=not show_bar) as bar:
            for name in SPLITS:
                writer = _SplitWriter(partial_folder, name, options, side, source.latent_names)
                reports[name] = writer.write(
                    source.split(name), rows[name], options.unreadable_limit - len(left_out), bar
                )
                left_out += [(name, item) for item in reports[name].unreadable]
        _check_unreadable(options, left_out)
        _check_classes(source.classes, reports, options)
        repeats = find_repeats({name: reports[name].known(source.split(name)) for name in SPLITS})
        notes = notes_on(source, {name: reports[name].sixteen_bit for name in SPLITS}, repeats)
        info = _describe(options, source, reports, left_out, side, partial_folder)
        info |= {"notes": notes, "repeats": vars(repeats)}
        with (partial_folder / DESCRIPTION).open("w", encoding="utf-8") as file:
            file.write(json.dumps(sealed(info), indent=1, sort_keys=True) + "\n")
            sync(file)

    seconds = time.perf_counter() - started
    line = (
        f"{folder.name}: prepared {len(reports['train'].labels)} training and {len(reports['test'].labels)} test "
        f"images {f'of {len(source.classes)} classes' if source.classes else 'without labels'} in {seconds:.1f} s"
    )
    if left_out:
        line += f"; left out {len(left_out)} unreadable images, listed in {DESCRIPTION}"
    store = Store.open(folder)
    if options.format == "encoded":
        nbytes = sum(store.split(name).nbytes for name in SPLITS)
        size = f"{nbytes / 1e9:.3g} GB" if nbytes >= 1e7 else f"{nbytes} bytes"
        line += (
            f"; the store links to {size} of images in {store.info['linked_root']}, which must stay there"
            if options.linked
            else f"; the store has its own copy of the images, {size} (`linked: true` avoids the copy)"
        )
    print(one_line(line), file=sys.stderr)
    for note in notes:
        print(one_line(f"{folder.name}: note: {note}"), file=sys.stderr)
    return store


@dataclass
class _Report:
    """The result of preparing one split."""

    is_test: bool
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    digests: NDArray[np.uint64]
    moments: Moments
    unreadable: list[tuple[str, str]]
    largest: tuple[int, int]
    sixteen_bit: SixteenBit

    def known(self, split: ArraySplit | FileSplit) -> Known:
        """The facts about the images of ``split`` that were kept."""
        # The names of array rows need their split; the path of a file already includes it.
        where = " of test" if self.is_test and isinstance(split, ArraySplit) else ""
        return Known(self.digests, self.labels, lambda place: split.name(int(self.rows[place])) + where)


@dataclass(frozen=True)
class _Piece:
    """A few images of a split, in order: their rows, their stored form, and those that could not be read."""

    rows: list[int]
    pixels: list[NDArray[np.uint8]]
    encoded: list[bytes]
    sizes: list[tuple[int, int]]
    latents: list[NDArray[np.float32]]
    digests: list[int]
    moments: Moments
    unreadable: list[tuple[str, str]]
    brightest: list[int]
    """Facts about the 16-bit images among them."""


class _SplitWriter:
    """Writes the files of one split as its images are decoded."""

    def __init__(
        self, folder: Path, name: SplitName, options: DataOptions, side: int | None, latent_names: tuple[str, ...]
    ) -> None:
        self.folder, self.name, self.layout, self.linked, self.side = folder, name, options.format, options.linked, side
        self.latent_names = latent_names

    def write(self, split: ArraySplit | FileSplit, rows: NDArray[np.int64], may_fail: int, bar: tqdm[Any]) -> _Report:
        """Decode, measure and store ``rows``; stop storing when more than ``may_fail`` images are unreadable."""
        kept: list[int] = []
        unreadable: list[tuple[str, str]] = []
        sizes: list[tuple[int, int]] = []
        lengths: list[int] = []
        sha256s: list[str] = []
        latents: list[NDArray[np.float32]] = []
        digests: list[int] = []
        brightest: list[int] = []
        measured = Moments()
        with ExitStack() as stack:
            blob = None
            if self.layout == "pixels":
                assert self.side is not None
                path = self.folder / f"{self.name}_images.npy"
                images = stack.enter_context(ArrayFile(path, (self.side, self.side, 3), np.uint8))
            elif not self.linked:
                blob = stack.enter_context((self.folder / f"{self.name}_bytes.bin").open("wb"))
            for piece in self._pieces(split, rows):
                kept += piece.rows
                digests += piece.digests
                brightest += piece.brightest
                sizes += piece.sizes
                if piece.latents:
                    latents.append(np.stack(piece.latents))
                unreadable += piece.unreadable
                measured += piece.moments
                # Above the limit, the remaining images are only read so that all unreadable images can be listed at
                # once.
                if len(unreadable) <= may_fail and piece.rows:
                    if self.layout == "pixels":
                        images.append(np.stack(piece.pixels))
                    else:
                        if blob is not None:
                            blob.write(b"".join(piece.encoded))
                        sha256s += [hashlib.sha256(data).hexdigest() for data in piece.encoded if self.linked]
                        lengths += [len(data) for data in piece.encoded]
                bar.update(len(piece.rows) + len(piece.unreadable))
            if blob is not None:
                sync(blob)
        rows = np.asarray(kept, dtype=np.int64)
        labels = split.labels[rows]
        write_array(self.folder / f"{self.name}_labels.npy", labels)
        if isinstance(split, FileSplit):
            with (self.folder / NAMES.format(self.name)).open("w", encoding="utf-8") as file:
                json.dump([split.name(row) for row in kept], file, indent=0)
                sync(file)
        if self.latent_names:
            none = np.empty((0, len(self.latent_names)), dtype=np.float32)
            write_array(self.folder / LATENTS.format(self.name), np.concatenate([none, *latents]))
        if split.groups is not None:
            write_array(self.folder / GROUPS.format(self.name), split.groups[rows])
        if self.layout == "encoded":
            offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
            write_array(self.folder / f"{self.name}_offsets.npy", offsets)
            if self.linked:
                links = [[split.name(row), digest] for row, digest in zip(kept, sha256s, strict=False)]
                with (self.folder / LINKS.format(self.name)).open("w", encoding="utf-8") as file:
                    json.dump(links, file, indent=0)
                    sync(file)
            write_array(self.folder / f"{self.name}_sizes.npy", np.asarray(sizes, dtype=np.int64).reshape(-1, 2))
        height, width = np.max(sizes, axis=0) if sizes else (0, 0)
        return _Report(
            self.name == "test",
            rows,
            labels,
            np.asarray(digests, dtype=np.uint64),
            measured,
            unreadable,
            (int(height), int(width)),
            SixteenBit(len(brightest), max(brightest, default=0)),
        )

    def _pieces(self, split: ArraySplit | FileSplit, rows: NDArray[np.int64]) -> Iterator[_Piece]:
        # The sizes of photographs are unknown: assume 0.5 MB each.
        image_bytes = 500_000 if self.side is None or self.layout == "encoded" else self.side**2 * 3
        step = max(1, min(1024, CHUNK_BYTES // image_bytes))
        chunks = [rows[start : start + step] for start in range(0, len(rows), step)]
        workers = available_cores()
        with _bombs_are_errors():
            yield from ordered_map(partial(self._piece, split), chunks, workers, ahead=2 * workers)

    def _piece(self, split: ArraySplit | FileSplit, rows: NDArray[np.int64]) -> _Piece:
        piece = _Piece([], [], [], [], [], [], Moments(), [], [])
        images: list[NDArray[np.uint8]] = []
        for row in rows.tolist():
            try:
                latent = _checked_latent(split.latent(row), self.latent_names) if self.latent_names else None
                found = split.read(row)
                pixels, brightest = decode(found) if isinstance(found, bytes) else (found, None)
                if self.layout == "encoded":
                    pixels = bound_shorter_side(pixels, self.side)
                elif self.side is not None:
                    pixels = resize_square(pixels, self.side)
            except UnreadableError as error:
                piece.unreadable.append((split.name(row), str(error)))
                continue
            piece.rows.append(row)
            piece.digests.append(pixel_digest(pixels))
            if brightest is not None:
                piece.brightest.append(brightest)
            if latent is not None:
                piece.latents.append(latent)
            piece.sizes.append((pixels.shape[0], pixels.shape[1]))
            if self.layout == "encoded":
                assert isinstance(found, bytes)
                piece.encoded.append(found)
            images.append(pixels)
        measured = Moments()
        if self.name == "train":  # normalisation uses training pixels only
            whole = [np.stack(images)] if self.layout == "pixels" and images else images
            for pixels in whole:
                measured += moments(pixels)
        kept = images if self.layout == "pixels" else []
        return replace(piece, pixels=kept, moments=measured)


def _checked_latent(found: Latent, names: tuple[str, ...]) -> NDArray[np.float32]:
    wanted = f"they must be {len(names)} finite numbers ({', '.join(names)})"
    if found.shape != (len(names),) or found.dtype.kind not in "fiu":
        raise UnreadableError(f"latents of {found.dtype} {list(found.shape)}; {wanted}")
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and are rejected
        latent: NDArray[np.float32] = found.astype(np.float32)
    if not np.isfinite(latent).all():
        raise UnreadableError(f"latents {found.tolist()}; {wanted}")
    return latent


@contextmanager
def _bombs_are_errors() -> Iterator[None]:
    # Pillow only warns of an image between once and twice its limit. All threads share the warning filters, so they are
    # changed once around the pool rather than in each task.
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _chosen_rows(options: DataOptions, source: Source, name: SplitName) -> NDArray[np.int64]:
    limit = options.train_limit if name == "train" else options.test_limit
    split = source.split(name)
    present = len(np.unique(split.labels))
    if split.groups is None:
        least = present
        rows = balanced_subset(split.labels, limit, options.subset_seed, name)
    else:
        rows, least = whole_groups(split.labels, split.groups, limit, options.subset_seed, name)
    if limit is not None and limit < least:
        whole = "" if split.groups is None else " with a whole object each"
        raise UserError(f"{name}_limit {limit} cannot keep all {present} classes{whole}; set it to {least} or more")
    return rows


def _square_side(options: DataOptions, source: Source) -> int:
    if options.image_size is not None:
        return options.image_size
    assert isinstance(source.train, ArraySplit)  # DataOptions requires image_size with files
    return int(source.train.images.shape[1])


def _needed_bytes(
    options: DataOptions, source: Source, rows: dict[SplitName, NDArray[np.int64]], side: int | None
) -> int:
    known = 4 * len(source.latent_names) + (0 if source.train.groups is None else 8)
    if options.format == "pixels":
        assert side is not None
        return sum(len(chosen) for chosen in rows.values()) * (side**2 * 3 + 8 + known)
    needed = 0.0
    for name, chosen in rows.items():
        split = source.split(name)
        assert isinstance(split, FileSplit)  # DataOptions allows encoded only for files
        needed += len(chosen) * ((200 if options.linked else split.bytes_an_image(chosen)) + known)
    return int(needed)


def _check_unreadable(options: DataOptions, left_out: list[tuple[SplitName, tuple[str, str]]]) -> None:
    if len(left_out) <= options.unreadable_limit:
        return
    named = ", ".join(f"{name} ({reason})" for _, (name, reason) in left_out[:NAMED_AT_MOST])
    if len(left_out) > NAMED_AT_MOST:
        named += f" and {len(left_out) - NAMED_AT_MOST} more"
    raise UserError(
        f"{options.root}: {len(left_out)} unreadable, unreadable_limit is {options.unreadable_limit}: {named}; "
        "repair or remove them, or raise unreadable_limit"
    )


def _check_classes(classes: tuple[str, ...], reports: dict[SplitName, _Report], options: DataOptions) -> None:
    if not options.labelled:
        if len(reports["train"].labels) == 0:
            raise UserError(f"{options.root}: no readable training image")
        return
    counts = np.bincount(reports["train"].labels, minlength=len(classes))
    empty = [classes[label] for label in np.flatnonzero(counts == 0)]
    if empty:
        raise UserError(f"{options.root}: no readable training image of class {', '.join(empty[:NAMED_AT_MOST])}")
    if len(reports["test"].labels) == 0:
        raise UserError(f"{options.root}: no readable test image")


def _described_file(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def _describe(
    options: DataOptions,
    source: Source,
    reports: dict[SplitName, _Report],
    left_out: list[tuple[SplitName, tuple[str, str]]],
    side: int | None,
    folder: Path,
) -> dict[str, Any]:
    measured = reports["train"].moments
    mean, std = measured.mean(), measured.std()
    if options.normalisation == "data" and min(std) == 0:
        raise UserError(
            f"{options.root}: a colour channel is the same in every training pixel (std {std}), which cannot be "
            "normalised; set normalisation: imagenet"
        )
    imagenet = options.normalisation == "imagenet"
    info: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "origin": source.origin,
        # The root is left out, so that the same data set prepared elsewhere gets the same description.
        "options": options.model_dump(exclude={"root"}),
        "layout": options.format,
        "image_size": side,
        "classes": list(source.classes),
        "mean": list(IMAGENET_MEAN if imagenet else mean),
        "std": list(IMAGENET_STD if imagenet else std),
        "measured_mean": list(mean),
        "measured_std": list(std),
        "splits": {
            name: {
                "count": len(report.labels),
                "per_class": np.bincount(report.labels, minlength=len(source.classes)).tolist()
                if source.classes
                else [],
                "largest": list(report.largest),
                "passed_over": dict(sorted(source.split(name).passed_over.items())),
                "sixteen_bit": vars(report.sixteen_bit),
                "unreadable": [{"name": item, "reason": why} for split, (item, why) in left_out if split == name],
            }
            for name, report in reports.items()
        },
        "files": {
            name: _described_file(folder / name)
            for name in file_names(
                options.format,
                latents=bool(source.latent_names),
                groups=source.train.groups is not None,
                linked=options.linked,
            )
        },
    }
    if isinstance(source.train, FileSplit):
        info["names"] = {name: _described_file(folder / name) for name in map(NAMES.format, SPLITS)}
    if options.linked:
        # Excluded from the checksum, because the same files in another place are the same content.
        assert isinstance(source.train, FileSplit)
        info["linked_root"] = str(source.train.root.absolute())
    if source.latent_names:
        info["latent_names"] = list(source.latent_names)
    info["checksum"] = content_checksum(info)
    return info
