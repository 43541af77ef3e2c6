"""Tiny-ImageNet in its downloaded layout, from the folder to the report, on drawn images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from clever.data import Store

from .conftest import Snakemake

STUDY = "workflow/studies/tiny_imagenet_trial.yaml"


def draw(root: Path, classes: list[str]) -> list[str]:
    """Write 14 training and 4 validation images per class, one colour per class; return the classes of val by file."""
    rng = np.random.default_rng(0)

    def image(path: Path, label: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = np.array([40 * label, 250 - 40 * label, 128])
        Image.fromarray((colour + rng.integers(-6, 6, (64, 64, 3))).clip(0, 255).astype(np.uint8)).save(path)

    order = [classes[number % len(classes)] for number in range(4 * len(classes))]
    for label, name in enumerate(classes):
        for number in range(14):
            image(root / "train" / name / "images" / f"{name}_{number}.JPEG", label)
        (root / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t63\t63\n")
    for number, name in enumerate(order):
        image(root / "val" / "images" / f"val_{number}.JPEG", classes.index(name))
    lines = [f"val_{number}.JPEG\t{name}\t0\t0\t63\t63\n" for number, name in enumerate(order)]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    image(root / "test" / "images" / "test_0.JPEG", 0)
    return [order[number] for number in sorted(range(len(order)), key=lambda number: f"val_{number}.JPEG")]


def test_from_the_downloaded_folder_to_the_report(snakemake: Snakemake, project: Path, tmp_path: Path) -> None:
    classes = sorted(yaml.safe_load((project / STUDY).read_text())["data"]["tiny"]["classes"])
    order = draw(tmp_path / "tiny-imagenet-200", classes)
    done = snakemake("--cores", "1", "--configfile", STUDY, "--config", f"data_root={tmp_path}")
    assert done.returncode == 0, done.stdout
    results = project / "results" / "tiny_imagenet_trial"
    store = Store.open(results / "data" / "tiny")
    assert store.classes == tuple(classes)
    assert [store.classes[label] for label in store.split("test").labels.tolist()] == order
    records = pd.read_csv(results / "records.csv")
    pixels = records.query(
        "backbone == 'pixels' and protocol == 'linear' and perturbation == 'orig' and metric == 'top1'"
    )
    # With one colour per class, raw pixels suffice for classification if each image has the right label.
    assert pixels["value"].max() > 0.9
    assert "tiny" in (results / "paper" / "report.html").read_text(encoding="utf-8")
