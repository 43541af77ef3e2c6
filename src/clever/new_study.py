"""Write a commented study for a folder of the user's own images: ``clever study new``.

Every choice depends on the number of images, their size and the device, and the study says why. The recipe is that of
``workflow/studies/cifar10_simclr.yaml``, SimCLR alone and with CLeVER: it needs no large batch and no teacher, so it
works on a few hundred images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from clever.data.decoding import UnreadableError, decode_rgb
from clever.data.folder_layout import find_split, folders_in
from clever.data.image_files import EXTENSIONS, list_images
from clever.errors import UserError, one_line
from clever.evaluation import PROTOCOLS
from clever.files import expanded, replacing
from clever.study_file import read_study

FEWEST_IMAGES = 64
"""Folders with fewer training images are rejected, because two batches of 32 show nothing about a method."""

BUDGET = {"cpu": 30_000, "gpu": 4_000_000}
"""Number of images that a run processes, over all epochs.

On a CPU two minutes of one core at 64 px (121 to 136 s measured with 600 images of Caltech-101). On a GPU an estimate:
tens of minutes at 224 px. An H100 makes ten views each of 3,655 images of 256 px per second, which is 18 minutes for
this number; the network is not measured.
"""

EPOCHS = {"cpu": (5, 200), "gpu": (50, 800)}
"""Smallest and largest number of epochs."""

NEED_LABELS = tuple(
    name
    for name, protocol in PROTOCOLS.items()
    if protocol.needs_labels and not protocol.needs_earlier and name != "transfer"
)
"""Protocols that need the labels of the pre-training images; ``transfer`` needs the labels of another data set.
Protocols of a chain of runs are left out: a new study has none."""

Device = Literal["cpu", "gpu"]

COST = {
    "cpu": "# Cost: two minutes of one CPU core per run, measured with 600 images and the settings below.",
    "gpu": "# Cost: not measured on a GPU; estimated at tens of minutes a run.",
}
EXPECTED = (
    "# Expected: on unchanged images every method is above the untrained network. One that is not has learned too",
    "# little: train for more epochs.",
)


@dataclass(frozen=True)
class Folder:
    """A folder of images, as far as a study depends on it."""

    root: Path
    training: int
    """Number of training images."""
    test: int
    """Number of test images. 0: the folder has no ``val``, and nothing is evaluated."""
    classes: int
    """Number of classes. 0: the images have no labels."""
    side: int
    """Median of the shorter sides of some images, in pixels."""
    unlabelled: str = ""
    """The reason why the images are used without labels; empty if they have labels."""


def inspect(folder: Path) -> Folder:
    """Count the images of a folder and measure some of them.

    Without ``train``, all images of the folder are training images. Labels are used only if training and test images
    are sorted into the same classes.

    Raises:
        UserError: the folder does not exist, has test images but no ``train``, has fewer than ``FEWEST_IMAGES``
            training images, or none of the inspected images can be read.
    """
    root = expanded(folder)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of images")
    train, test = find_split(root, "train"), find_split(root, "test")
    if train is None and test is not None:
        raise UserError(f"{root}: has {test.name} but no train; put the training images into train, or all into {root}")
    found = list_images(train or root)
    if len(found.images) < FEWEST_IMAGES:
        raise UserError(
            f"{train or root}: {len(found.images)} images there or below, but pre-training needs at least "
            f"{FEWEST_IMAGES}; images end in {', '.join(EXTENSIONS)}"
        )
    tests = [] if test is None else list_images(test).images
    unlabelled = "there is no val" if train is None or test is None else _lacking_labels(train, test)
    classes = 0 if train is None or unlabelled else len(folders_in(train))
    return Folder(root, len(found.images), len(tests), classes, _side(found.images), unlabelled)


def _lacking_labels(train: Path, test: Path) -> str:
    """The reason why the folders of two splits do not give labels; empty if they do."""
    names, others = folders_in(train), folders_in(test)
    if len(names) < 2:
        return f"{train.name} has no class folders" if not names else f"{train.name} has one class"
    differing = sorted(set(names) ^ set(others))
    if not differing:
        return ""
    return f"class {one_line(differing[0])} is in {(train if differing[0] in names else test).name} alone"


def _side(images: Sequence[Path], sample: int = 25) -> int:
    """Median of the shorter sides of up to ``sample`` images, which are spread evenly over the folder."""
    sides, broken = [], ""
    for path in images[:: max(len(images) // sample, 1)][:sample]:
        try:
            sides.append(min(decode_rgb(path.read_bytes()).shape[:2]))
        except (OSError, UnreadableError) as error:
            broken = f"{path}: {error}"
    if not sides:
        raise UserError(f"none of {min(sample, len(images))} images can be read, the last is {broken}")
    return int(sorted(sides)[len(sides) // 2])


@dataclass(frozen=True)
class Choices:
    """The values of a study that depend on the folder and the device."""

    image_size: int
    backbone: str
    batch_size: int
    epochs: int
    warmup_epochs: int


def choose(folder: Folder, device: Device) -> Choices:
    """Choose image size, batch size and number of epochs for a folder; the study's comments repeat the reasons."""
    wanted = 64 if device == "cpu" else 224
    sizes = [size for size in (32, 64, 96, 128, 224) if size <= wanted]
    image_size = max((size for size in sizes if size <= folder.side), default=sizes[0])
    largest = 64 if device == "cpu" else 256
    batch = largest
    # At least eight steps per epoch.
    while batch > 16 and folder.training // batch < 8:
        batch //= 2
    fewest, most = EPOCHS[device]
    epochs = min(max(BUDGET[device] // folder.training, fewest), most)
    backbone = "resnet10t_half" if device == "cpu" else "resnet18" if folder.training < 50_000 else "resnet50"
    return Choices(image_size, backbone, batch, epochs, max(1, epochs // 10))


def study_text(folder: Folder, device: Device, name: str, file: str) -> str:
    """The study as commented YAML.

    Args:
        folder: the inspected folder.
        device: kind of device that it will be trained on.
        name: name of the study and its data set.
        file: the study's own path, for the commands in its head.
    """
    c = choose(folder, device)
    steps = c.epochs * (folder.training // c.batch_size)
    labelled = folder.classes > 0
    lines = [
        f"# CLeVER on the images of {one_line(folder.root.name)}: {described(folder)}.",
        f"# Written by `clever study new` for a {'CPU' if device == 'cpu' else 'GPU'}.",
        "#",
        f"#   clever check {one_line(file)}",
        f"#   snakemake --cores all --configfile {one_line(file)}",
        "#",
        "# Every value may be changed; `clever check` says what does not fit together. More: docs/own_images.md.",
        "#",
        COST[device],
        *(EXPECTED if labelled and folder.test else ()),
        f"study: {name}",
        "",
        "data:",
        f"  {name}:",
        "    source: image_folder",
        f"    root: {_quoted(str(folder.root))}",
        "    # The shorter side is resized to this, then the centre is cropped. Half of the images have "
        f"at least {folder.side} px;",
        f"    # {'a CPU affords 64 px' if device == 'cpu' else 'the paper uses 224 px'} at most.",
        f"    image_size: {c.image_size}",
    ]
    if not labelled:
        lines += [
            f"    # Without labels, because {folder.unlabelled}. Pre-training needs none; these evaluations do:",
            f"    # {', '.join(NEED_LABELS)}.",
            "    # For them, sort the images into train/<class>/ and val/<class>/, and remove this line.",
            "    labelled: false",
        ]
    reason = {
        "resnet10t_half": "1.2 million parameters: two minutes of one CPU core per run. Larger ones are for a GPU.",
        "resnet18": "11 million parameters; resnet50 pays from about 50,000 images on.",
        "resnet50": "23 million parameters, for 50,000 images and more.",
    }[c.backbone]
    lines += [
        "",
        "backbones:",
        f"  # {reason}",
        "  # With few images, start from released weights: init: timm:NAME (docs/studies.md).",
        f"  {c.backbone}: {{name: {c.backbone}, image_size: {c.image_size}}}",
        "",
        "# Two views of each image. Crops cover at least 20 % of it, as in SimSiam's paper: smaller ones often miss",
        "# the object. caug rotates by up to 90 degrees, which CLeVER's equivariant factor should encode. Use baug (no",
        "# rotation) if the orientation of your images matters.",
        "augmentations:",
        "  caug:",
        "    name: caug",
        f"    global_size: {c.image_size}",
        "    local_views: 0",
        "    global_scale: [0.2, 1.0]",
    ]
    if c.image_size <= 64:
        lines += [
            "    # Blur and solarisation remove too much of such a small image.",
            "    blur_probability_global_1: 0.0",
            "    blur_probability_global_2: 0.0",
            "    solarise_probability: 0.0",
        ]
    lines += [
        "",
        "# SimCLR works with small batches and has no momentum teacher, which few steps would hardly move. The same",
        "# with CLeVER shows what the equivariant factor adds.",
        "methods:",
        "  simclr:",
        "    # solo-learn's temperature for small data sets. A higher one treats all negatives alike.",
        f"    baseline: &simclr {{name: simclr, hidden_dim: {512 if device == 'cpu' else 2048}, "
        f"out_dim: {64 if device == 'cpu' else 256}, temperature: 0.2}}",
        "  simclr+clever:",
        "    baseline: *simclr",
        "    equivariance: {name: clever}",
        "",
        "pretrainings:",
        f"  - data: {name}",
        f"    backbones: [{c.backbone}]",
        "    methods: [simclr, simclr+clever]",
        "    augmentations: [caug]",
        "    # Seeds show the spread. Intervals of two are too wide to read; a claim about methods needs five or so.",
        "    seeds: [0, 1, 2]",
        "    optimisation:",
        f"      # {c.epochs} x {folder.training} images: {BUDGET[device]:,} if that is between {EPOCHS[device][0]} and "
        f"{EPOCHS[device][1]} epochs. {steps} steps.",
        f"      epochs: {c.epochs}",
        "      # A tenth of the epochs.",
        f"      warmup_epochs: {c.warmup_epochs}",
        f"      # {64 if device == 'cpu' else 256}, halved until an epoch has eight steps. "
        "The images of a batch are each other's negatives.",
        f"      batch_size: {c.batch_size}",
        "      # For AdamW, a small network and 256 images; scaled with the batch."
        if device == "cpu"
        else "      # For 256 images; scaled with the batch.",
        f"      learning_rate: {0.008 if device == 'cpu' else 0.002}",
        "      weight_decay: 0.01",
        "      final_weight_decay: null",
    ]
    if device == "gpu":
        lines += ["      # Half the memory and time of fp32 on a GPU.", "      precision: bf16"]
    if folder.test:
        lines += ["", "# The network as initialised: what training added.", "controls: [untrained]", ""]
    else:
        lines += ["", "# Controls are compared in evaluations, of which there are none.", "controls: []", ""]
    lines += _evaluations(folder)
    return "\n".join(lines) + "\n"


def _evaluations(folder: Folder) -> list[str]:
    if folder.classes:
        neighbours = min(20, max(folder.training // folder.classes, 1))
        return [
            "# On unchanged and on rotated test images.",
            "evaluations:",
            "  linear: {perturbations: [orig, cj_rot], training_views: plain, standardise: true, epochs: 50}",
            f"  # At most the images of a class, {folder.training // folder.classes} on average.",
            f"  knn: {{perturbations: [orig, cj_rot], neighbours: [{neighbours}]}}",
        ]
    if folder.test:
        return [
            "# Without labels: do the features hold the augmentation's parameters (the EF should, the IR should not)?",
            "evaluations:",
            "  parameters: {}",
            "",
            "paper: [figure_loss_terms, report]",
        ]
    return [
        "# Evaluations measure on images that were not trained on. With a folder val, `parameters: {}` works without",
        "# labels: do the features hold the augmentation's parameters (the EF should, the IR should not)?",
        "evaluations: {}",
        "",
        "# Tables and the report need evaluations.",
        "paper: [figure_loss_terms]",
    ]


def described(folder: Folder) -> str:
    """Numbers of images and classes of a folder, in a few words."""
    tests = f" and {folder.test} test" if folder.test else ""
    labels = f"of {folder.classes} classes" if folder.classes else "without labels"
    return f"{folder.training} training{tests} images {labels}"


def unlabelled_note(folder: Folder) -> str | None:
    """One line that lists the protocols that need labels or ``val``, for a folder without them; None if it has both."""
    if folder.classes:
        return None
    unmeasured = "" if folder.test else ", and nothing is evaluated"
    return one_line(
        f"{folder.root}: is used without labels{unmeasured}, because {folder.unlabelled}; labels in train/<class> and "
        f"val/<class> are needed for {', '.join(NEED_LABELS)}"
    )


def name_of(images: Path) -> str:
    """A name for a study: the folder's name in lower case, with underscores for characters that a name may not
    contain."""
    return re.sub(r"[^a-z0-9]+", "_", expanded(images).absolute().name.lower()).strip("_") or "images"


def write_study(images: Path, output: Path, device: Device, name: str) -> Folder:
    """Write a study for a folder of images, after checking that it is valid.

    Args:
        images: the folder.
        output: the file to write; it must not exist.
        device: kind of device that it will be trained on.
        name: name of the study and its data.

    Raises:
        UserError: see :func:`inspect`; or the file exists or cannot be written.
    """
    from clever.config import parse_study

    if output.exists():
        raise UserError(f"{output}: exists; name another file, or delete it")
    folder = inspect(images)
    text = study_text(replace(folder, root=folder.root.resolve()), device, name, str(output))
    with replacing(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
        parse_study(read_study(temporary), str(output))
    return folder


def _quoted(text: str) -> str:
    """A YAML scalar in double quotes."""
    return json.dumps(text, ensure_ascii=False)
