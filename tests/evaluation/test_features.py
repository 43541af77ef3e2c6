"""Feature extraction, the only place where an evaluation runs a network."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torchvision.transforms.functional import InterpolationMode, center_crop, normalize, resize

from clever.augmentation import perturb
from clever.augmentation.elastic import displacement
from clever.backbones import Backbone
from clever.data import Split, Store
from clever.errors import UserError
from clever.evaluation import PROTOCOLS
from clever.evaluation.features import FeatureExtractor
from clever.evaluation.options.features import FeatureOptions

from .subjects import RUN, subject_of
from .toys import SIDE, Blocks, TwoParts, coloured, store_of

CPU = torch.device("cpu")


def extractor(backbone: Backbone, store: Store, blocks: int = 1, seed: int = 0, **options: object) -> FeatureExtractor:
    checked = FeatureOptions.model_validate(options)
    return FeatureExtractor(subject_of(backbone, store, seed=seed), checked, blocks=blocks)


def normalised(store: Store, name: str) -> Tensor:
    """A split's stored images, normalised by hand."""
    split = store.split(name)  # type: ignore[arg-type]
    pixels = split.images(torch.arange(len(split))).pixels.float() / 255
    return (pixels - torch.tensor(store.mean).view(3, 1, 1)) / torch.tensor(store.std).view(3, 1, 1)


def test_features_equal_the_backbone_s_output_in_stored_order(tmp_path: Path) -> None:
    store, backbone = coloured(tmp_path, 4), TwoParts()
    features = extractor(backbone, store, extraction_batch=25).perturbed("test", "orig")
    assert (features.dtype, features.device, features.requires_grad) == (torch.float32, CPU, False)
    torch.testing.assert_close(features, backbone(normalised(store, "test")), rtol=1e-5, atol=1e-5)


def test_perturbed_features_do_not_depend_on_the_batches(tmp_path: Path) -> None:
    store, backbone = coloured(tmp_path, 4), TwoParts()
    split = store.split("test")
    images = split.images(torch.arange(len(split)))
    expected = backbone(
        perturb(
            "cj_rot",
            images.pixels,
            images.sizes,
            image_size=SIDE,
            resize_size=SIDE,
            mean=store.mean,
            std=store.std,
            seed=3,
            indices=images.indices,
        )
    )
    for batch in (7, 60, 500):
        features = extractor(backbone, store, seed=3, extraction_batch=batch).perturbed("test", "cj_rot")
        torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)
    other = extractor(backbone, store, seed=4).perturbed("test", "cj_rot")
    assert not torch.allclose(other, expected, atol=1e-2)


def test_augmented_versions_differ_and_repeat(tmp_path: Path) -> None:
    source = extractor(TwoParts(), coloured(tmp_path, 4))
    first, second = source.augmented("train", 0), source.augmented("train", 1)
    assert torch.equal(source.augmented("train", 0), first)
    # At 8 px a few crops coincide by chance.
    assert float(((first - second).abs().amax(dim=1) > 0.05).double().mean()) > 0.9
    plain = source.perturbed("train", "orig")
    assert float((first - plain).abs().amax(dim=1).median()) > 0.05


def test_augmented_versions_do_not_depend_on_the_batches(tmp_path: Path) -> None:
    store = coloured(tmp_path, 4)
    whole = extractor(TwoParts(), store).augmented("train", 3)
    torch.testing.assert_close(extractor(TwoParts(), store, extraction_batch=13).augmented("train", 3), whole)


def test_images_are_resized_and_cropped_as_torchvision_does(tmp_path: Path) -> None:
    """Resize(11) and CenterCrop(8) of 12-pixel images, bicubic and antialiased."""
    draw = np.random.default_rng(0)
    # Close enough to grey that the bicubic overshoot needs no clipping.
    images, labels = draw.integers(80, 176, (20, 12, 12, 3), dtype=np.uint8), np.arange(20) % 2
    store = store_of(tmp_path, images, labels, images, labels)
    features = extractor(TwoParts(), store, image_size=SIDE, resize_size=11).perturbed("test", "orig")
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    resized = resize(pixels, [11], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    expected = normalize(center_crop(resized, [SIDE]), list(store.mean), list(store.std))
    # Pixels may be rounded to 1/255 on the way, which is about 0.03 in these narrow images' normalised units; a feature
    # sums 192 of them with weights of about 1/16.
    torch.testing.assert_close(features, TwoParts()(expected), rtol=0, atol=0.08)


def test_the_elastic_shift_keeps_its_share_of_the_image(tmp_path: Path) -> None:
    """At 8 px with a reference of 16, alpha is a quarter and sigma a half, so the standard deviation of the shift
    halves."""
    source = extractor(TwoParts(), coloured(tmp_path, 4), elastic_reference_size=2 * SIDE)
    definition = source._definition("cj_rot_et")
    assert (definition.elastic_alpha, definition.elastic_sigma) == (25.0, 2.5)
    # Standard deviation of the shift in pixels, far from the border: alpha / 2 * (deviation of the noise) / (2 sigma
    # sqrt(pi)).
    seeds = torch.arange(64)
    large = displacement(seeds, 224, 100.0, 5.0) * 112
    small = displacement(seeds, 112, 25.0, 2.5) * 56
    assert float(small.std() / large.std()) == pytest.approx(0.5, rel=0.03)
    assert float(large.std()) == pytest.approx(50 * 3**-0.5 / (10 * math.pi**0.5), rel=0.05)


def test_blocks_are_concatenated_with_the_final_one_last(tmp_path: Path) -> None:
    store, backbone = coloured(tmp_path, 4), Blocks()
    source = extractor(backbone, store, blocks=3)
    features = source.perturbed("test", "orig")
    assert features.shape == (60, source.width) == (60, 36)
    images = normalised(store, "test")
    torch.testing.assert_close(features[:, 24:], backbone(images), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(features[:, :12], TwoParts(seed=2)(images), rtol=1e-5, atol=1e-5)


class Fickle(TwoParts):
    """Behaves differently in training mode, and keeps statistics there."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(12)
        self.gradients: set[bool] = set()

    def forward(self, images: Tensor) -> Tensor:
        self.gradients.add(torch.is_grad_enabled())
        output: Tensor = self.norm(super().forward(images))
        return output


def test_the_backbone_is_frozen_in_evaluation_mode_and_left_as_it_was(tmp_path: Path) -> None:
    backbone = Fickle()
    backbone.train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    features = extractor(backbone, coloured(tmp_path, 4)).perturbed("train", "orig")
    assert backbone.training
    assert backbone.gradients == {False}
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    # In training mode the batch normalisation would have given every feature mean 0.
    assert float(features.mean(dim=0).abs().max()) > 0.05


def test_bf16_is_close_to_and_not_the_same_as_fp32(tmp_path: Path) -> None:
    store = coloured(tmp_path, 4)
    exact = extractor(TwoParts(), store).perturbed("test", "orig")
    rough = extractor(TwoParts(), store, precision="bf16").perturbed("test", "orig")
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)


class Broken(TwoParts):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        features[:2, 3] = float("nan")
        return features


@pytest.mark.parametrize("protocol", ["linear", "knn"])
def test_features_that_are_not_finite_name_run_and_perturbation(protocol: str, tmp_path: Path) -> None:
    training: dict[str, object] = {"training_views": "plain"} if protocol == "linear" else {}
    options = PROTOCOLS[protocol].options(perturbations=["cj"], **training)  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        PROTOCOLS[protocol].evaluate(
            subject_of(Broken(), coloured(tmp_path, 3)),
            options,
        )
    assert f"{RUN.run}: the features of 2 of 96 train images (orig) are not finite" in str(caught.value)


class Altered:
    """A store with other labels or classes, which preparation would reject."""

    def __init__(self, store: Store, classes: int, train: Tensor | None = None, test: Tensor | None = None) -> None:
        self.classes = store.classes[:classes]
        self.labelled = store.labelled
        self._splits: dict[str, Split] = {"train": store.split("train"), "test": store.split("test")}
        for name, labels in (("train", train), ("test", test)):
            if labels is not None:
                self._splits[name].labels = labels

    def split(self, name: str) -> Split:
        return self._splits[name]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"classes": 4, "train": torch.tensor([0, 1, 3] * 32)},
            r"1 of 4 classes have no training image \(first: '2'\)",
        ),
        ({"classes": 1}, "the data have 1 class: an evaluation needs at least two"),
        ({"classes": 3}, "a train label is 3, but there are 3 classes"),
        ({"classes": 4, "test": torch.empty(0, dtype=torch.int64)}, "the test split has no images"),
    ],
)
def test_labels_that_cannot_be_learned_are_named(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{re.escape(RUN.run)}: {words}"):
        extractor(TwoParts(), Altered(coloured(tmp_path, 4), **change))  # type: ignore[arg-type]


def test_images_of_several_sizes_need_an_image_size(tmp_path: Path) -> None:
    store = Altered(coloured(tmp_path, 4), classes=4)
    store.split("test").image_size = None
    with pytest.raises(UserError, match=rf"{re.escape(RUN.run)}: the stored images have no common size"):
        extractor(TwoParts(), store)  # type: ignore[arg-type]


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValidationError, match="resize_size 200 must be at least image_size 224"):
        FeatureOptions(image_size=224, resize_size=200)


@pytest.mark.parametrize("name", ["jc", "Orig"])
def test_an_unknown_perturbation_is_named_with_the_nearest(name: str) -> None:
    with pytest.raises(ValidationError, match=rf"unknown perturbation '{name}': did you mean '(cj|orig)'\?"):
        FeatureOptions(perturbations=["orig", name])


def test_a_perturbation_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="'cj' is listed twice"):
        FeatureOptions(perturbations=["cj", "orig", "cj"])


def test_progress_is_one_line_when_not_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = extractor(TwoParts(), coloured(tmp_path, 4))
    capsys.readouterr()
    source.perturbed("test", "cj")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("features test cj: 60 images in ")
