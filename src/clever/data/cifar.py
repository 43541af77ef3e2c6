"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009)."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clever.data.arrays import class_names, read_arrays_in
from clever.data.downloads import nothing_leaves_the_folder
from clever.data.source import ArraySplit, Source
from clever.errors import UserError
from clever.files import expanded

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

    from clever.data.options import DataOptions

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_cifar(options: DataOptions) -> Source:
    """CIFAR from ``root``: arrays ``{train,test}_{images,labels}.npy`` if present, else torchvision's copy.

    ``download: true`` lets torchvision fetch the archive (170 MB), check its md5 and unpack it into ``root``. The
    batches inside are Python pickles, which could run any code; torchvision unpickles them only if their md5 matches
    the published one, and we accept that.

    Raises :class:`UserError` if the data is missing, damaged or cannot be downloaded.
    """
    assert options.root is not None
    root = expanded(options.root)
    if (root / "train_images.npy").exists():
        return _from_arrays(options, root)
    return _from_torchvision(options, root)


def _from_arrays(options: DataOptions, root: Path) -> Source:
    count = 10 if options.source == "cifar10" else 100
    names = class_names(root)
    if names is None:
        names = CIFAR10_CLASSES if count == 10 else tuple(str(label) for label in range(count))
    if len(names) != count:
        raise UserError(f"{root / 'classes.txt'}: {len(names)} class names; {options.source} has {count} classes")
    source = read_arrays_in(root, names, square=options.image_size is None)
    assert isinstance(source.train, ArraySplit)
    if source.train.images.shape[1:3] != (32, 32):
        raise UserError(
            f"{root / 'train_images.npy'}: not 32 x 32 images; use source arrays for anything but {options.source}"
        )
    return source


def _from_torchvision(options: DataOptions, root: Path) -> Source:
    from torchvision.datasets import CIFAR10, CIFAR100

    family = CIFAR10 if options.source == "cifar10" else CIFAR100
    if not options.download and not (root / family.base_folder).is_dir():
        raise UserError(
            f"{root}: holds neither train_images.npy nor {family.base_folder}; "
            f"set `download: true` to let torchvision fetch {options.source}, or correct `root`"
        )
    if not options.download:
        _check_files(root / family.base_folder, family)
    try:
        with nothing_leaves_the_folder():
            train = family(str(root), train=True, download=options.download)
        test = family(str(root), train=False, download=False)
    except (RuntimeError, OSError, tarfile.TarError) as error:  # URLError is an OSError
        what = "torchvision could not download" if options.download else "torchvision could not read"
        raise UserError(f"{root}: {what} {options.source} ({' '.join(str(error).split())})") from error
    return Source(
        classes=tuple(train.classes),
        train=ArraySplit(train.data, np.asarray(train.targets, dtype=np.int64)),
        test=ArraySplit(test.data, np.asarray(test.targets, dtype=np.int64)),
        origin=f"torchvision {family.__name__}",
    )


def _check_files(folder: Path, family: type[CIFAR10]) -> None:
    """Name the first file that is missing or differs from the published one; torchvision only reports that such a file
    exists.

    The keys of ``meta`` in torchvision's classes are ``filename`` and ``md5``.
    """
    published = [*family.train_list, *family.test_list, [family.meta["filename"], family.meta["md5"]]]
    for name, wanted in published:
        path = folder / name
        again = f"unpack {family.filename} again, or set `download: true`"
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); {again}") from error
        if found != wanted:
            raise UserError(f"{path}: md5 is {found}, not the published {wanted}: damaged or changed; {again}")
