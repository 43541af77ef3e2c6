"""A study against its prepared stores: a contradiction to store.json is rejected before anything trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from clever.cli import main
from clever.config import parse_study
from clever.crosschecks import refuse_for_stores
from clever.crosschecks.missing_data import missing_data
from clever.data import Batches, DataOptions, Store, prepare
from clever.data import loading as loading_module
from clever.data.counts import in_groups, most_training_images, stored_side
from clever.data.padding import BATCHES_IN_MEMORY, padding_refusal
from clever.data.registry import SOURCES
from clever.errors import UserError
from clever.spirograph import TRAIN_IMAGES
from clever.threediebench import VIEWS

STUDY = """
study: trial
data:
  photos: {source: image_folder, root: photos, format: encoded}
backbones:
  vit: {name: vit_micro, image_size: 32}
augmentations:
  two: {name: baug, global_size: 32, local_views: 0}
methods:
  dino: {baseline: {name: dino, out_dim: 64}}
pretrainings:
  - {data: photos, backbones: [vit], methods: [dino], augmentations: [two], optimisation: {batch_size: 4}}
evaluations:
  linear: {image_size: 32, extraction_batch: 2}
"""


def photographs(root: Path, classes: tuple[str, ...] = ("cat", "dog"), extreme: bool = False) -> None:
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for number in range(3):
                shape = (40, 48) if not extreme or number else ((8, 1000) if name == "cat" else (1000, 8))
                pixels = draw.integers(0, 256, (*shape, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")


def prepared(tmp_path: Path, **settings: Any) -> Path:
    photographs(tmp_path / "photos", **settings)
    folder = tmp_path / "results" / "trial" / "data" / "photos"
    options = DataOptions(source="image_folder", root=str(tmp_path / "photos"), format="encoded")
    prepare(options, folder, progress=False)
    return tmp_path / "results"


def study(**changes: Any) -> Any:
    content = yaml.safe_load(STUDY)
    content["pretrainings"][0]["optimisation"] |= changes
    return parse_study(content, "study.yaml")


def test_a_matching_store_gives_no_message(tmp_path: Path) -> None:
    refuse_for_stores(study(), prepared(tmp_path), "study.yaml")
    refuse_for_stores(study(), tmp_path / "nowhere", "study.yaml")


def test_a_batch_larger_than_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = prepared(tmp_path)
    expected = r"^study.yaml: pretrainings\.0\.optimisation\.batch_size: 8 exceeds the 6 training images of the store"
    with pytest.raises(UserError, match=expected):
        refuse_for_stores(study(batch_size=8), results, "study.yaml")
    # The command line finds the store in the study's results, and prints one line.
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY.replace("batch_size: 4", "batch_size: 8"))
    assert main(["check", "study.yaml"]) == 2


def test_a_store_of_one_class(tmp_path: Path) -> None:
    results = prepared(tmp_path, classes=("cat",))
    with pytest.raises(UserError, match=r"linear: the store of data\.photos has 1 class, but linear needs"):
        refuse_for_stores(study(batch_size=2), results, "study.yaml")


def test_a_damaged_store_or_one_with_other_options_gives_no_message(tmp_path: Path) -> None:
    results = prepared(tmp_path, classes=("cat",))
    path = results / "trial" / "data" / "photos" / "store.json"
    right = path.read_text()
    for text in (right.replace('"format": "encoded"', '"format": "pixels"'), right[:50], "[]", "{}"):
        path.write_text(text)
        refuse_for_stores(study(batch_size=2), results, "study.yaml")
    info = json.loads(right)
    del info["splits"]["train"]["largest"]
    path.write_text(json.dumps(info))
    refuse_for_stores(study(batch_size=2), results, "study.yaml")


def test_padding_is_computed_from_the_highest_and_the_widest_image() -> None:
    # One 64 x 8000 and one 8000 x 64 image in a batch of 512 make 98 GB per batch.
    assert padding_refusal(512, 8000, 8000, memory=10**12) is None
    reason = padding_refusal(512, 8000, 8000, memory=64 * 10**9)
    assert reason is not None
    assert "at worst 8000 x 8000 pixels" in reason
    assert f"{BATCHES_IN_MEMORY * 512 * 8000 * 8000 * 3 / 1e9:.0f} GB" in reason
    assert "the machine has 64 GB" in reason


@pytest.mark.parametrize("extreme", [False, True])
def test_extreme_shapes_are_rejected_by_the_check_and_when_batches_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extreme: bool
) -> None:
    from clever.crosschecks import prepared as checks

    results = prepared(tmp_path, extreme=extreme)
    for module in (checks, loading_module):
        monkeypatch.setattr(module, "machine_memory", lambda: (10**7, 10**7))
    split = Store.open(results / "trial" / "data" / "photos").split("train")
    if not extreme:  # and the batches are unchanged
        refuse_for_stores(study(), results, "study.yaml")
        [batch] = Batches(split, 6, seed=0, device="cpu", shuffle=False).epoch(0)
        assert torch.equal(batch.pixels, split.images(torch.arange(6)).pixels)
        return
    with pytest.raises(UserError, match=r"batch_size: 4 images are padded to one size, at worst 1000 x 1000 pixels"):
        refuse_for_stores(study(), results, "study.yaml")
    with pytest.raises(UserError, match=r"photos, train: 6 images are padded to one size, at worst 1000 x 1000"):
        Batches(split, 6, seed=0, device="cpu")


def test_counts_and_sides_match_the_sources() -> None:
    spirographs = SOURCES["spirograph"].drawn
    assert spirographs is not None
    assert most_training_images(DataOptions(source="spirograph")) == spirographs[0] == TRAIN_IMAGES
    assert most_training_images(DataOptions(source="spirograph", train_limit=9000)) == 9000
    objects = DataOptions(source="threediebench", root="r", image_size=16)
    assert in_groups(objects, 10 * VIEWS + 1, paired=True) == 10
    assert in_groups(objects, 10 * VIEWS + 1, paired=False) == 10 * VIEWS + 1
    digits = SOURCES["digits"].read(DataOptions(source="digits"))
    assert SOURCES["digits"].counts == tuple(len(digits.split(name).labels) for name in ("train", "test"))
    assert stored_side(DataOptions(source="digits")) == digits.split("train").read(0).shape[0]  # type: ignore[union-attr]
    assert most_training_images(DataOptions(source="digits", train_limit=100)) == 100
    assert most_training_images(DataOptions(source="cifar10", root="r", train_limit=60_000)) == 50_000
    assert most_training_images(DataOptions(source="arrays", root="r")) is None


def test_an_unlabelled_folder_without_val_is_refused_for_protocols_that_need_test_images(tmp_path: Path) -> None:
    content = yaml.safe_load(STUDY)
    content["data"]["photos"] |= {"root": str(tmp_path / "photos"), "labelled": False}
    content["evaluations"] = {"parameters": {"image_size": 32, "extraction_batch": 2}}
    content["paper"] = ["report"]
    unlabelled = parse_study(content, "study.yaml")
    photographs(tmp_path / "photos")
    results = tmp_path / "results"
    stores = results / "trial" / "data"
    assert list(missing_data(unlabelled, "", stores)) == []
    shutil.rmtree(tmp_path / "photos" / "val")
    [fault] = missing_data(unlabelled, "", stores)
    assert fault.startswith("evaluations.parameters: data.photos has no test images, on which parameters measures")
    prepare(unlabelled.data_options("photos"), stores / "photos")
    with pytest.raises(UserError, match=r"^study\.yaml: evaluations\.parameters: data\.photos has no test images"):
        refuse_for_stores(unlabelled, results, "study.yaml")
