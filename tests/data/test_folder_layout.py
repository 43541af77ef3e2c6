"""Image folders as downloaded: Tiny-ImageNet, a flat val, folders without labels, and other names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clever.data import DataOptions, Store, prepare
from clever.data.folder_layout import read_labels
from clever.data.image_folder import read_image_folder
from clever.doctor.stores import store_bytes
from clever.errors import UserError

from .conftest import FolderMaker, noise

CLASSES = ("n01443537", "n01629819", "n02281406")


def options(root: Path, **others: Any) -> DataOptions:
    return DataOptions(source="image_folder", root=str(root), **({"image_size": 8} | others))


def read(root: Path, **others: Any) -> Any:
    return read_image_folder(options(root, **others))


def refuses(root: Path, message: str, **others: Any) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read(root, **others)
    assert "\n" not in str(caught.value)


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, 8, 8)).save(path)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Tiny-ImageNet's layout: three classes with three training and two validation images each, and a test split
    without labels.

    The classes of the validation images alternate, so that no order of the files reveals their labels.
    """
    root = tmp_path / "tiny-imagenet-200"
    lines = []
    for label, name in enumerate(CLASSES):
        for number in range(3):
            draw(root / "train" / name / "images" / f"{name}_{number}.JPEG", 10 * label + number)
        (root / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t7\t7\n")
    for number in range(6):
        draw(root / "val" / "images" / f"val_{number}.JPEG", 100 + number)
        lines.append(f"val_{number}.JPEG\t{CLASSES[number % 3]}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    draw(root / "test" / "images" / "test_0.JPEG", 200)
    (root / "wnids.txt").write_text("\n".join(CLASSES))
    return root


def test_tiny_imagenet_is_read_as_it_is_downloaded(tiny: Path) -> None:
    source = read(tiny)
    assert source.classes == CLASSES
    assert source.train.paths[:2] == [f"train/{CLASSES[0]}/images/{CLASSES[0]}_{number}.JPEG" for number in (0, 1)]
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert source.test.paths == [f"val/images/val_{number}.JPEG" for number in range(6)]
    assert source.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert source.origin == "image folder, train and val by val_annotations.txt"


def test_it_gives_the_store_of_the_same_images_in_class_folders(tiny: Path, tmp_path: Path) -> None:
    """The expected result is the plain layout, sorted by hand; only the order of the validation images differs."""
    sorted_root = tmp_path / "sorted"
    shutil.copytree(tiny / "train", sorted_root / "train")
    for number in range(6):
        place = sorted_root / "val" / CLASSES[number % 3] / f"val_{number}.JPEG"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny / "val" / "images" / f"val_{number}.JPEG", place)
    found, plain = (prepare(options(root), tmp_path / f"store_{root.name}") for root in (tiny, sorted_root))
    assert found.mean == plain.mean
    by_image = []
    for store in (found, plain):
        split = store.split("test")
        batch = split.images(np.arange(6))
        pixels = [image.numpy().tobytes() for image in batch.pixels]
        by_image.append(sorted(zip(pixels, batch.labels.tolist(), strict=True)))
    assert by_image[0] == by_image[1]


def test_chosen_classes_leave_the_others_out(tiny: Path) -> None:
    source = read(tiny, classes=[CLASSES[2], CLASSES[0]])
    assert source.test.labels.tolist() == [0, 1, 0, 1]
    assert source.test.paths == [f"val/images/val_{number}.JPEG" for number in (0, 2, 3, 5)]


def test_images_without_labels_and_labels_without_images_are_named(tiny: Path) -> None:
    labels = tiny / "val" / "val_annotations.txt"
    text = labels.read_text()
    (tiny / "val" / "images" / "val_4.JPEG").unlink()
    assert read(tiny).test.unreadable == [("val/val_4", "is in val_annotations.txt, but there is no such image")]
    labels.write_text(text.replace("val_5.JPEG", "val_6.JPEG"))
    refuses(tiny, "val_annotations.txt: has no class for val/images/val_5.JPEG (1 such images)")
    labels.write_text(text.replace(CLASSES[1], "n09999999"))
    refuses(tiny, "val_annotations.txt: class n09999999 has no folder in train; list `classes`")
    labels.write_text(text + f"val_0.JPEG\t{CLASSES[1]}\t0\n")
    refuses(tiny, f"line 7: val_0.JPEG is {CLASSES[1]} here and {CLASSES[0]} before")
    labels.write_text("")
    refuses(tiny, "val_annotations.txt: names no image")


def test_the_doctor_counts_the_bytes_of_its_store(tiny: Path) -> None:
    # Pixels, label, and about 40 bytes for a file name.
    assert store_bytes(options(tiny)) == (9 + 6) * (8 * 8 * 3 + 8 + 40)


def flat(root: Path) -> list[str]:
    """Move the images of val out of their class folders; return their names with the class, sorted by name."""
    lines = []
    for path in sorted((root / "val").glob("*/*")):
        name = f"ILSVRC2012_val_{len(lines):08d}"
        path.rename(root / "val" / f"{name}.JPEG")
        lines.append(f"{name} {path.parent.name}")
    for folder in (root / "val").glob("*/"):
        folder.rmdir()
    return lines


def test_a_flat_val_is_recognised_and_the_message_says_what_is_needed(make_folder: FolderMaker) -> None:
    root = make_folder()
    flat(root)
    refuses(root, "val: has images but no class folders, like unpacked ILSVRC; their labels are needed: sort")
    refuses(root, "or set `test_labels` to a file with an image and its class per line")


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("", "{image} {label}"),
        ("", "val/{image}.JPEG\t{label}"),
        ("ImageId,PredictionString\n", "{image},{label} 85 1 499 272 {label} 131 0 499 254"),
        ("file, class\n", "{image}.JPEG, {label}"),
    ],
)
def test_a_flat_val_with_a_labels_file(make_folder: FolderMaker, head: str, line: str) -> None:
    root = make_folder()
    pairs = [text.split() for text in flat(root)]
    (root / "labels").mkdir()
    text = head + "".join(line.format(image=image, label=label) + "\n" for image, label in reversed(pairs))
    (root / "labels" / "val.csv").write_text(text)
    source = read(root, test_labels="labels/val.csv")
    assert [source.classes[label] for label in source.test.labels] == [label for _, label in pairs]
    refuses(root, "elsewhere.txt: cannot be read (No such file or directory)", test_labels="elsewhere.txt")


def test_class_names_with_spaces_in_a_labels_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text("a.jpg\tgolden retriever\t3\nb.jpg\tcat\n")
    assert read_labels(path, ["golden retriever", "cat"]) == {"a": "golden retriever", "b": "cat"}


def test_the_devkits_numbers_are_refused_with_the_reason(make_folder: FolderMaker) -> None:
    root = make_folder()
    flat(root)
    (root / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n361\n171\n822\n")
    message = (
        "line 1 has no class; expected an image and its class; a number, as in ILSVRC's devkit, does not name an image"
    )
    refuses(root, message, test_labels="ILSVRC2012_validation_ground_truth.txt")


@pytest.mark.parametrize("second", ["val", "valid", "validation", "test", "Val", "VALID", "Test"])
def test_other_names_of_the_splits_are_read(make_folder: FolderMaker, second: str) -> None:
    root = make_folder(second=second)
    (root / "train").rename(root / "Train")
    source = read(root)
    assert source.train.paths[0] == "Train/cat/0.png"
    assert source.test.paths[0] == f"{second}/cat/0.png"


def test_folders_that_differ_in_case_only_are_named(make_folder: FolderMaker, capfd: Any) -> None:
    root = make_folder()
    (root / "Val").mkdir()
    refuses(root, "Val and val differ in case only; keep one of them")
    (root / "Val").rmdir()
    (root / "val" / "dog").rename(root / "val" / "Dog")
    refuses(root, "class Dog of val is called dog in train; give both one name, in the same case")
    (root / "val" / "Dog").rename(root / "val" / "dog")
    for split in ("train", "val"):
        shutil.copytree(root / split / "dog", root / split / "Dog")
    assert read(root).classes == ("Dog", "cat", "dog")
    assert "class folders Dog and dog differ in case only, and count as two classes" in capfd.readouterr().err


def test_a_root_that_is_one_folder_too_high_or_has_no_train(tiny: Path, make_folder: FolderMaker) -> None:
    refuses(tiny.parent, f"has no folder train, but its folder {tiny.name} has; set `root` to {tiny}")
    root = make_folder()
    refuses(root / "train", "has no folder train; expected train/<class>/* and val/<class>/* (or test/<class>/*)")
    refuses(root / "train", "found cat, dog")
    refuses(root / "train" / "cat", "has no folder train, but images; set `labelled: false`")


@pytest.mark.parametrize("layout", ["pixels", "encoded"])
def test_a_folder_without_labels_is_prepared_without_labels(tmp_path: Path, layout: str) -> None:
    root = tmp_path / "photos"
    for number, place in enumerate(("b.png", "a.png", "deep/er/c.png")):
        draw(root / place, number)
    refuses(root, "has no folder train, but images; set `labelled: false`")
    store = prepare(options(root, labelled=False, format=layout), tmp_path / "store")
    assert not store.labelled
    train, test = (store.split(name) for name in ("train", "test"))
    assert train.labels.tolist() == [-1, -1, -1]
    assert len(test) == 0
    expected = [np.asarray(Image.open(root / place)) for place in ("a.png", "b.png", "deep/er/c.png")]
    batch = train.images([0, 1, 2])
    np.testing.assert_array_equal(batch.pixels.permute(0, 2, 3, 1).numpy(), np.stack(expected))
    Store.open(store.folder).verify()


def test_without_labels_train_and_val_are_kept_apart(make_folder: FolderMaker) -> None:
    root = make_folder()
    source = read(root, labelled=False)
    assert source.classes == ()
    assert source.train.paths == [f"train/{name}/{number}.png" for name in ("cat", "dog") for number in range(3)]
    assert len(source.test.paths) == 4
    shutil.rmtree(root / "train")
    refuses(root, "has val but no train", labelled=False)
    (root / "train").mkdir()
    refuses(root, "train: no image there or below", labelled=False)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"source": "arrays", "labelled": False}, "`labelled` applies to source image_folder only"),
        (
            {"source": "cifar10", "root": "c", "test_labels": "a"},
            "`test_labels` applies to source image_folder only",
        ),
        ({"labelled": False, "classes": ["cat"]}, "leave `classes` out"),
        ({"labelled": False, "test_labels": "a.txt"}, "leave `test_labels` out"),
    ],
)
def test_options_that_do_not_fit_together(others: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        DataOptions.model_validate({"source": "image_folder", "root": "r", "image_size": 8} | others)
