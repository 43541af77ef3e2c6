"""Write a slice of a study's data that is small enough to carry to a machine without a network.

    python -m clever.gpu_check.slice --study workflow/studies/cifar10_gpu.yaml --data-root FOLDER --output gpu_data

The study's limits choose the images, so that a store prepared from the slice equals the store prepared from all of the
data: the same pixels, the same checksum. The slice is one compressed file, ``<data>.npz``, in a git-ignored folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from clever.config import load_study
from clever.data import Store, prepare
from clever.errors import UserError
from clever.files import replacing

SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")


def write_slice(store: Store, target: Path) -> None:
    """Pixels uint8 [N, H, W, 3] and labels int64 [N] of both splits, in stored order."""
    arrays = {}
    for name in SPLITS:
        split = store.split(name)
        arrays[f"{name}_images"] = split.images(list(range(len(split)))).pixels.permute(0, 2, 3, 1).contiguous().numpy()
        arrays[f"{name}_labels"] = split.labels.numpy()
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def unpack_slice(source: Path, folder: Path) -> None:
    """Write ``{train,test}_{images,labels}.npy`` to ``folder``, as the source ``cifar10`` reads them.

    Raises:
        UserError: the file is missing or is not a slice.
    """
    try:
        with np.load(source, allow_pickle=False) as arrays:
            folder.mkdir(parents=True, exist_ok=True)
            for split in SPLITS:
                for kind in ("images", "labels"):
                    np.save(folder / f"{split}_{kind}.npy", arrays[f"{split}_{kind}"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{source}: not a slice of a data set ({error}); run clever.gpu_check.slice") from error


def main() -> int:
    """Prepare the study's data and write the slice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data", default="cifar10", metavar="NAME", help="the data set's name in the study")
    parser.add_argument("--data-root", required=True, metavar="FOLDER", help="folder that its root is relative to")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    try:
        options = load_study(arguments.study).data_options(arguments.data, arguments.data_root)
        with tempfile.TemporaryDirectory() as folder:
            store = prepare(options, Path(folder) / "store", progress=False)
            write_slice(store, arguments.output / f"{arguments.data}.npz")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = (arguments.output / f"{arguments.data}.npz").stat().st_size
    print(f"{arguments.output / arguments.data}.npz: {size / 1e6:.1f} MB, data checksum {store.checksum[:16]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
