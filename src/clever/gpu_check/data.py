"""Prepare the study's store from the slice of its data; in a rehearsal, from noise."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from clever.config import load_study
from clever.data import prepare
from clever.gpu_check.findings import Findings, step_parser
from clever.gpu_check.slice import unpack_slice


def write_noise(folder: Path, train: int = 40, test: int = 20) -> None:
    """Write images of coloured blocks in ten classes, in the format of a slice's arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        coarse = generator.integers(0, 256, (count, 8, 8, 3), np.uint8)
        np.save(folder / f"{split}_images.npy", coarse.repeat(4, axis=1).repeat(4, axis=2))
        np.save(folder / f"{split}_labels.npy", np.arange(count) % 10)


def main() -> int:
    """Unpack the slice and prepare the store."""
    parser = step_parser(__doc__)
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--slice", type=Path, help="the slice, an .npz; noise if omitted")
    parser.add_argument("--root", type=Path, required=True, help="folder for the arrays, used as the study's data_root")
    parser.add_argument("--store", type=Path, required=True)
    arguments = parser.parse_args()
    findings = Findings(arguments.findings)
    if arguments.slice:
        unpack_slice(arguments.slice, arguments.root / "cifar10")
    else:
        write_noise(arguments.root / "cifar10")
    study = load_study(arguments.study)
    store = prepare(study.data_options("cifar10", str(arguments.root)), arguments.store, progress=False)
    findings.row("training images of the store", len(store.split("train")), "images", store.checksum[:16])
    findings.row("test images of the store", len(store.split("test")), "images", store.checksum[:16])
    return 0


if __name__ == "__main__":
    sys.exit(main())
