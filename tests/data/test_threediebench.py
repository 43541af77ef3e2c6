from __future__ import annotations

import colorsys
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clever.data import Batches, DataOptions, Source, Store, prepare
from clever.data.source import SPLITS
from clever.data.threediebench import read_threediebench
from clever.errors import UserError
from clever.threediebench import NAMES, VIEWS

CLASSES = {"02691156": 5, "02808440": 4, "03001627": 1}
"""Number of objects of each synset; a fifth of them, rounded, is 1, 1 and 0."""

Latents = dict[str, NDArray[np.float64]]


def photograph(latent: NDArray[np.float64], side: int = 12) -> Image.Image:
    """A bar in the light's hue, rotated about the line of sight, on a floor in the floor's hue."""

    def colour(hue: float, value: float) -> tuple[int, int, int]:
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.6, value))
        return red, green, blue

    image = Image.new("RGB", (side, side), colour(latent[3], 0.5))
    across, down = 0.4 * side * math.cos(latent[2]), 0.4 * side * math.sin(latent[2])
    ends = (side / 2 - across, side / 2 - down, side / 2 + across, side / 2 + down)
    ImageDraw.Draw(image).line(ends, fill=colour(latent[6], 0.9), width=3)
    return image


def photograph_all(root: Path, classes: dict[str, int] = CLASSES) -> Latents:
    """Write objects in 3DIEBench's layout; return the latents by the path of their image."""
    rng = np.random.default_rng(3)
    high = np.array([math.pi / 2] * 3 + [1, math.pi / 4, 2 * math.pi, 1])
    low = np.array([-math.pi / 2] * 3 + [0.0] * 4)
    latents: Latents = {}
    for synset, count in classes.items():
        for number in range(count):
            folder = root / synset / f"object{synset[-2:]}{number}"
            folder.mkdir(parents=True)
            for view in range(VIEWS):
                latent = rng.uniform(low, high)
                photograph(latent).save(folder / f"image_{view}.jpg", quality=95)
                np.save(folder / f"latent_{view}.npy", latent)
                latents[f"{synset}/{folder.name}/image_{view}.jpg"] = latent
    return latents


@pytest.fixture
def root(tmp_path: Path) -> Path:
    photograph_all(tmp_path / "3DIEBench")
    return tmp_path / "3DIEBench"


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Latents]:
    """Objects that no test changes, and their latents."""
    root = tmp_path_factory.mktemp("objects") / "3DIEBench"
    return root, photograph_all(root)


def options(root: Path, **more: Any) -> DataOptions:
    return DataOptions(source="threediebench", root=str(root), **({"image_size": 12} | more))


def read(root: Path, **more: Any) -> Any:
    return read_threediebench(options(root, **more))


def objects(paths: list[str]) -> set[str]:
    return {path.rpartition("/")[0] for path in paths}


@pytest.mark.parametrize("format", ["pixels", "encoded"])
def test_images_labels_latents_and_objects_belong_together(
    untouched: tuple[Path, Latents], tmp_path: Path, format: str
) -> None:
    root, latents = untouched
    source: Source = read(root)
    store = prepare(options(root, format=format), tmp_path / "store")
    store.verify()
    assert store.latent_names == NAMES
    assert list(store.classes) == sorted(CLASSES)
    assert store.info["origin"] == "3DIEBench, own split by object"
    for name in SPLITS:
        paths = list(source.split(name).paths)  # type: ignore[union-attr]
        split = store.split(name)
        assert len(split) == len(paths) == 50 * len(objects(paths))
        np.testing.assert_array_equal(split.latents, np.stack([latents[path] for path in paths]).astype(np.float32))
        assert [store.classes[label] for label in split.labels] == [path.split("/")[0] for path in paths]
        numbers = split.groups.tolist()  # type: ignore[union-attr]
        assert len(set(zip(numbers, [path.rpartition("/")[0] for path in paths], strict=True))) == len(set(numbers))
        for row in (0, 77, len(paths) - 1) if len(paths) > 77 else (0,):
            found = split.images([row]).pixels[0].permute(1, 2, 0).numpy()
            with Image.open(root / paths[row]) as image:
                np.testing.assert_array_equal(found, np.asarray(image))


def test_a_fifth_of_the_objects_of_every_class_is_in_the_test_split(untouched: tuple[Path, Latents]) -> None:
    root, _ = untouched
    source = read(root)
    train, test = objects(source.train.paths), objects(source.test.paths)
    assert not train & test
    assert len(train) + len(test) == 10
    assert sorted(name.split("/")[0] for name in test) == ["02691156", "02808440"]
    assert read(root, subset_seed=1).test.paths == source.test.paths


def test_the_release_s_lists_define_the_test_split(root: Path, tmp_path: Path) -> None:
    train = ["/02808440/object401", "/02691156/object563", "/02691156/object560"]
    np.save(root / "train_images.npy", np.array(train))
    np.save(root / "val_images.npy", np.array(["/02691156/object561"]))
    store = prepare(options(root), tmp_path / "store")
    assert store.info["origin"] == "3DIEBench, published split"
    assert store.classes == ("02691156", "02808440")
    assert store.info["splits"]["train"]["per_class"] == [100, 50]
    source = read(root)
    assert objects(source.train.paths) == {name[1:] for name in train}
    assert objects(source.test.paths) == {"02691156/object561"}
    assert source.train.labels.tolist() == [0] * 100 + [1] * 50


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (["/02691156/object560"], None, "holds train_images.npy but no val_images.npy"),
        (["/02691156/object560"] * 2, ["/02691156/object561"], "names 02691156/object560 twice"),
        (["/02691156/object560"], ["02691156/object560"], "names 02691156/object560 as train_images.npy does"),
        (["/02691156/object560"], ["/02808440/object400"], "val_images.npy: synset 02808440 has no object in train"),
        (["/02691156/object560"], ["/02691156/../../etc"], "'/02691156/../../etc' is not /SYNSET/OBJ"),
        ([1.0, 2.0], ["/02691156/object560"], "train_images.npy: must hold one string /SYNSET/OBJ per object"),
    ],
)
def test_contradictory_lists_are_rejected(tmp_path: Path, train: Any, val: Any, message: str) -> None:
    for name, entries in (("train", train), ("val", val)):
        if entries is not None:
            np.save(tmp_path / f"{name}_images.npy", np.array(entries))
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_pickled_lists_are_not_executed(tmp_path: Path) -> None:
    for name in ("train", "val"):
        np.save(tmp_path / f"{name}_images.npy", np.array(["/a/b"], dtype=object))
    with pytest.raises(UserError, match=r"train_images\.npy: not a complete \.npy array without pickles"):
        read(tmp_path)


def damage(root: Path) -> dict[str, str]:
    """Introduce one fault of every kind; return a word of the expected reason for each."""
    first = root / "02691156"
    (first / "object560" / "image_3.jpg").unlink()
    (first / "object560" / "latent_4.npy").unlink()
    np.save(first / "object560" / "latent_5.npy", np.zeros(9))
    np.save(first / "object560" / "latent_6.npy", np.array([0.0, 0, 0, math.inf, 0, 0, 0]))
    np.save(first / "object560" / "latent_7.npy", np.array([None] * 7))
    (first / "object560" / "latent_8.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.save(first / "object560" / "latent_9.npy", np.array(["0"] * 7))
    (first / "object561" / "image_0.jpg").write_text("no image")
    (first / "object562" / "image_50.jpg").write_bytes((first / "object562" / "image_49.jpg").read_bytes())
    for file in (root / "02808440" / "object400").iterdir():
        file.unlink()
    copy = root / "03001627" / "object563"
    copy.mkdir()
    return {
        "02691156/object560/image_3.jpg": "no such file",
        "02691156/object560/image_4.jpg": "latent_4.npy is missing",
        "02691156/object560/image_5.jpg": "latents of float64 [9]; they must be 7 finite numbers",
        "02691156/object560/image_6.jpg": "inf",
        "02691156/object560/image_7.jpg": "latent_7.npy: not a complete .npy array without pickles",
        "02691156/object560/image_8.jpg": "latent_8.npy: not a complete .npy array without pickles",
        "02691156/object560/image_9.jpg": "they must be 7 finite numbers",
        "02691156/object561/image_0.jpg": "not an image",
        "02691156/object562/image_50.jpg": "not one of the views 0 to 49",
        "02808440/object400": "holds none of image_0.jpg to image_49.jpg",
        "03001627/object563": "the same object as 02691156/object563",
    }


@pytest.mark.parametrize("format", ["pixels", "encoded"])
def test_faults_are_each_named_and_within_the_limit_left_out(tmp_path: Path, format: str) -> None:
    root = tmp_path / "3DIEBench"
    latents = photograph_all(root)
    faults = damage(root)
    with pytest.raises(UserError, match="11 unreadable, unreadable_limit is 10") as caught:
        prepare(options(root, format=format, unreadable_limit=10), tmp_path / "store")
    for name, reason in faults.items():
        assert f"{name} (" in str(caught.value)
        assert reason in str(caught.value)
    store = prepare(options(root, format=format, unreadable_limit=11), tmp_path / "store")
    recorded = {item["name"] for name in ("train", "test") for item in store.info["splits"][name]["unreadable"]}
    assert recorded == set(faults)
    source = read(root)
    for name in SPLITS:
        paths = [path for path in source.split(name).paths if path not in faults]
        split = store.split(name)
        np.testing.assert_array_equal(split.latents, np.stack([latents[path] for path in paths]).astype(np.float32))


def test_latents_that_are_not_a_small_regular_file_are_not_read(root: Path) -> None:
    source = read(root)
    folder = root / source.train.paths[0].rpartition("/")[0]
    (folder / "latent_0.npy").unlink()
    (folder / "latent_0.npy").symlink_to(folder)
    with (folder / "latent_1.npy").open("ab") as file:
        file.truncate(2**17)
    for row, reason in ((0, "latent_0.npy: not a regular file"), (1, "latent_1.npy: 0.1 MB, more than")):
        with pytest.raises(Exception, match=reason):
            source.train.latent(row)


def test_limits_keep_whole_objects(untouched: tuple[Path, Latents], tmp_path: Path) -> None:
    root, _ = untouched
    store = prepare(options(root, train_limit=220), tmp_path / "store")
    split = store.split("train")
    _, counts = split.groups.unique(return_counts=True)  # type: ignore[union-attr]
    assert counts.tolist() == [50] * 4
    assert sorted(store.info["splits"]["train"]["per_class"]) == [50, 50, 100]
    with pytest.raises(
        UserError, match="train_limit 149 cannot keep all 3 classes with a whole object each; set it to 150"
    ):
        prepare(options(root, train_limit=149), tmp_path / "other")


def test_folders_that_hold_something_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no class folders; expected SYNSET/OBJ"):
        read(tmp_path)
    (tmp_path / "02691156").mkdir()
    with pytest.raises(UserError, match="02691156: has no object folders"):
        read(tmp_path)
    (tmp_path / "02691156" / "one").mkdir()
    with pytest.raises(UserError, match="too few objects to split"):
        read(tmp_path)


def test_batches_of_pairs_show_an_object_twice(untouched: tuple[Path, Latents], tmp_path: Path) -> None:
    root, _ = untouched
    store: Store = prepare(options(root), tmp_path / "store")
    split = store.split("train")
    batches = Batches(split, 4, seed=0, device="cpu", pairs=True)
    assert len(batches) == 2
    for batch in batches.epoch(0):
        groups = split.groups[batch.indices]  # type: ignore[index]
        assert torch.equal(groups[:4], groups[4:])
        assert len(groups.unique()) == 4
        assert not torch.equal(batch.latents[:4], batch.latents[4:])  # type: ignore[index]
