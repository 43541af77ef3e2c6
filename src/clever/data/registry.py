"""The sources by name."""

from __future__ import annotations

from collections.abc import Callable

from clever.data.arrays import read_arrays
from clever.data.cifar import read_cifar
from clever.data.digits import read_digits
from clever.data.image_folder import read_image_folder
from clever.data.options import DataOptions
from clever.data.source import Source
from clever.data.spirograph import read_spirograph
from clever.data.threediebench import read_threediebench

SOURCES: dict[str, Callable[[DataOptions], Source]] = {
    "digits": read_digits,
    "cifar10": read_cifar,
    "cifar100": read_cifar,
    "arrays": read_arrays,
    "image_folder": read_image_folder,
    "spirograph": read_spirograph,
    "threediebench": read_threediebench,
}
"""The function that reads each value of ``DataOptions.source``."""
