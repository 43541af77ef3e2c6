"""Write a folder atomically."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clever.errors import UserError, one_line
from clever.files import describe_failure, exchange, sync_folder
from clever.locks import is_alive, machine, unique_tag


@contextmanager
def whole_folder(folder: Path, replaceable: frozenset[str], needed_bytes: int) -> Iterator[Path]:
    """Yield a temporary sibling of ``folder``; when the block succeeds, it replaces ``folder``.

    On any failure or interruption the sibling is removed and ``folder`` does not change. An existing folder is replaced
    only if it is empty or every name in it is in ``replaceable``, so that no other files are deleted. Remains of a
    killed process on this machine are removed; remains from another machine, or from before a restart of this one, are
    reported.

    Raises :class:`UserError` if ``folder`` holds other files, ``needed_bytes`` exceed the free space, or a write fails
    (disk full, no permission).
    """
    partial = folder.parent / f".{folder.name}.{unique_tag()}.partial"
    try:
        _check_replaceable(folder, replaceable)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        free = shutil.disk_usage(folder.parent).free
        if needed_bytes > free:
            raise UserError(
                f"{folder}: about {needed_bytes / 1e9:.2f} GB are needed, but only {free / 1e9:.2f} GB are free there"
            )
        partial.mkdir()
        yield partial
        sync_folder(partial)
        _put_in_place(partial, folder)
    except OSError as error:
        why = describe_failure(error)
        raise UserError(
            f"{folder}: could not be written ({why}; about {needed_bytes / 1e9:.2f} GB are needed); nothing was kept"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class ArrayFile:
    """A ``.npy`` file written in blocks; the number of rows is known only at the end.

    Uses plain writes instead of a memory map: on a full disk, a write raises an exception, but writing to a map kills
    the process.
    """

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        self.rows = 0
        self._row_shape, self._dtype = row_shape, np.dtype(dtype)
        self._file = path.open("wb")
        self._header_length = self._file.write(self._header())

    def append(self, rows: NDArray[Any]) -> None:
        """Write ``rows`` [n, *row_shape]."""
        if rows.shape[1:] != self._row_shape or rows.dtype != self._dtype:
            raise ValueError(f"rows are {rows.dtype} {rows.shape[1:]}, the file holds {self._dtype} {self._row_shape}")
        self._file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def __enter__(self) -> ArrayFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                header = self._header()
                # numpy pads headers and leaves room for a longer count: 128 bytes for any count.
                if len(header) != self._header_length:
                    raise RuntimeError("the length of a .npy header changed with the number of rows")
                self._file.seek(0)
                self._file.write(header)
                sync(self._file)

    def _header(self) -> bytes:
        text = BytesIO()
        fields = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._row_shape),
        }
        np.lib.format.write_array_header_1_0(text, fields)
        return text.getvalue()


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one array and flush it to disk."""
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
        sync(file)


def sync(file: Any) -> None:
    """Flush ``file`` to disk."""
    file.flush()
    os.fsync(file.fileno())


def _check_replaceable(folder: Path, replaceable: frozenset[str]) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: is in the way; a prepared store is a folder")
    foreign = sorted({path.name for path in folder.iterdir()} - replaceable)
    if foreign:
        raise UserError(
            f"{folder}: holds {foreign[0]}, which no prepared store contains; choose an empty or new folder"
        )


def _remove_abandoned(folder: Path) -> None:
    pattern = re.compile(re.escape(f".{folder.name}.") + r"([0-9a-f]+)\.(\d+)\.[0-9a-f]+\.partial")
    for path in folder.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match is None:
            continue
        if match[1] == machine():
            if not is_alive(int(match[2])):
                shutil.rmtree(path, ignore_errors=True)
        else:
            # The process number in its name is meaningless here: the process may run in another container or on another
            # machine.
            note = f"note: {path}: left by another machine; delete it unless a preparation is running there"
            print(one_line(note), file=sys.stderr)


def _put_in_place(partial: Path, folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        # A rename cannot replace a folder that has files in it. If the kernel supports it, the two folders are
        # exchanged, so that one of them exists at every moment. Then `partial` is the old one, which is removed.
        if not exchange(partial, folder):
            aside = partial.with_name(f"{partial.name.removesuffix('.partial')}0.partial")
            folder.rename(aside)
            try:
                partial.rename(folder)
            except BaseException:
                aside.rename(folder)
                raise
            shutil.rmtree(aside, ignore_errors=True)
    else:
        partial.rename(folder)
    sync_folder(folder.parent)
