"""Feature averaging against loops over single images, and against closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from clever import spirograph
from clever.augmentation import Augmentation, AugmentationOptions, perturb
from clever.augmentation.options.spirograph import SpirographViewOptions
from clever.augmentation.pixels import normalise_
from clever.augmentation.spirograph import SpirographViews
from clever.backbones import Backbone
from clever.data import DataOptions, Store, prepare
from clever.errors import UserError
from clever.evaluation import PROTOCOLS
from clever.evaluation.averaging import to_bytes
from clever.evaluation.features import FeatureExtractor
from clever.evaluation.options.averaging import AveragingOptions
from clever.evaluation.options.external import ExternalOptions
from clever.evaluation.options.features import ExtractionOptions, FeatureOptions
from clever.randomness import make_generator
from clever.spirograph_images import render

from .subjects import subject_of
from .toys import SIDE, TwoParts, coloured, store_of

CPU = torch.device("cpu")
FLIPS = {
    "name": "baug",
    "global_scale": (1.0, 1.0),
    "crop_ratio": (1.0, 1.0),
    "jitter_probability": 0.0,
    "grayscale_probability": 0.0,
    "blur_probability_global_1": 0.0,
}


class Bent(TwoParts):
    """A nonlinear backbone: the mean of features is not the feature of the mean image."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).relu()


def extractor(backbone: Backbone, store: Store, **options: object) -> FeatureExtractor:
    checked = FeatureOptions.model_validate(options)
    return FeatureExtractor(subject_of(backbone, store, seed=3), checked, blocks=1)


def test_an_average_over_flips_is_a_mixture_of_the_image_and_its_mirror(tmp_path: Path) -> None:
    store, count = coloured(tmp_path, 4), 5
    source = extractor(Bent(), store, averaging={"count": count, "augmentation": FLIPS})
    plain, split = extractor(Bent(), store), store.split("test")
    pixels = split.images(torch.arange(len(split))).pixels.float() / 255
    images = normalise_(pixels, store.mean, store.std)
    upright, mirrored = Bent()(images), Bent()(images.flip(3))
    torch.testing.assert_close(plain.perturbed("test", "orig"), upright, rtol=1e-5, atol=1e-5)
    found = source.perturbed("test", "orig")
    difference = upright - mirrored
    share = ((found - mirrored) * difference).sum(1) / (difference**2).sum(1)
    torch.testing.assert_close(found, mirrored + share[:, None] * difference, rtol=0, atol=1e-4)
    times = share * count
    torch.testing.assert_close(times, times.round(), rtol=0, atol=1e-3)
    # 60 images with 5 fair coin flips each: a mean of 2.5 with a standard error of 0.14, and a standard deviation of
    # 1.12.
    assert float(times.mean()) == pytest.approx(2.5, abs=0.6)
    assert 0.7 < float(times.std()) < 1.6


@pytest.mark.parametrize("count", [1, 4, 5])
def test_a_feature_is_the_mean_over_views_of_the_rounded_perturbed_image(tmp_path: Path, count: int) -> None:
    """Computed image by image, with a separate generator, in float64, independent of the batches."""
    store = coloured(tmp_path, 4, test=20)
    augmentation = {"name": "caug", "blur_radius": (0.1, 0.6), "global_size": 99, "local_size": 5, "local_views": 3}
    split = store.split("test")
    batch = split.images(torch.arange(len(split)))
    perturbed = perturb(
        "cj", batch.pixels, batch.sizes, image_size=SIDE, resize_size=SIDE, mean=store.mean, std=store.std, seed=3,
        indices=batch.indices,
    )  # fmt: skip
    mean, std = torch.tensor(store.mean).view(3, 1, 1), torch.tensor(store.std).view(3, 1, 1)
    pixels = ((perturbed * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    # The second global view is blurred less, and solarised; averaging uses only the first view's distribution.
    alike = {"blur_probability_global_2": 1.0, "solarise_probability": 0.0}
    options = AugmentationOptions.model_validate(augmentation | alike | {"global_size": SIDE, "local_views": 0})
    maker = Augmentation(options, store.mean, store.std)
    expected = []
    for index in range(len(split)):
        generator = make_generator(3, "feature averaging", "test", "cj", index)
        passes = (count + 1) // 2
        tables = maker.draw(torch.full((passes, 2), SIDE), generator)
        features: list[Tensor] = []
        for number in range(passes):
            row = [{name: column[number : number + 1] for name, column in table.items()} for table in tables]
            views = maker.apply(pixels[index : index + 1], torch.full((1, 2), SIDE), row)
            features += [Bent()(view.images)[0].double() for view in views]
        expected.append(torch.stack(features[:count]).mean(0))
    for size in (7, 64):
        source = extractor(
            Bent(), store, averaging={"count": count, "augmentation": augmentation}, extraction_batch=size
        )
        found = source.perturbed("test", "cj")
        torch.testing.assert_close(found, torch.stack(expected).float(), rtol=1e-4, atol=1e-4)
    assert float((found - Bent()(perturbed)).abs().max()) > 0.1


def test_training_and_test_features_are_averaged_with_separate_draws(tmp_path: Path) -> None:
    store = coloured(tmp_path, 4)
    averaged = extractor(TwoParts(), store, averaging={"count": 2})
    plain = extractor(TwoParts(), store)
    for split in ("train", "test"):
        assert not torch.allclose(averaged.perturbed(split, "orig"), plain.perturbed(split, "orig"), atol=0.05)
        assert torch.equal(averaged.perturbed(split, "orig"), averaged.perturbed(split, "orig"))
    assert not torch.allclose(averaged.augmented("train", 0), plain.augmented("train", 0), atol=0.05)
    # The same images twice.
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (12, SIDE, SIDE, 3), dtype=np.uint8), np.arange(12) % 2
    both = extractor(TwoParts(), store_of(tmp_path / "both", images, labels, images, labels), averaging={"count": 2})
    assert not torch.allclose(both.perturbed("train", "orig"), both.perturbed("test", "orig"), atol=0.05)


def test_more_transformations_reduce_the_variance(tmp_path: Path) -> None:
    """The difference between two seeds falls in proportion to 1 / sqrt(number of transformations)."""
    store = coloured(tmp_path, 4, test=30)

    def spread(count: int) -> float:
        options = FeatureOptions.model_validate({"averaging": {"count": count}})
        first, second = (
            FeatureExtractor(subject_of(TwoParts(), store, seed=seed), options, blocks=1).perturbed("test", "orig")
            for seed in (0, 1)
        )
        return float((first - second).std())

    assert spread(2) / spread(32) == pytest.approx(4.0, rel=0.25)


def test_pixels_survive_normalisation_and_return() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    mean, std = (0.5016, 0.2, 0.9), (0.1030, 0.7, 0.01)
    images = normalise_(pixels.float() / 255, mean, std)
    assert torch.equal(to_bytes(images, mean, std), pixels)
    grey = torch.tensor([-3.0, 0.4, 0.6, 99.5001, 300.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5) / 255
    assert to_bytes(grey, (0.0,) * 3, (1.0,) * 3)[0, 0, 0].tolist() == [0, 0, 1, 100, 255]


@pytest.mark.parametrize("wrong", [{"count": 0}, {}, {"count": 2, "augmentation": {"name": "pairs"}}])
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ExtractionOptions.model_validate({"averaging": wrong})


WITHOUT_AVERAGING = ("equivariance", "quality")
"""Protocols that measure how features change with an image's views, which averaging would hide."""
REQUIRED = {"transfer": {"data": ["pets"]}}


def test_every_protocol_of_the_store_has_the_option_and_it_is_off_by_default() -> None:
    for name, protocol in PROTOCOLS.items():
        if issubclass(protocol.options, ExternalOptions) or name in WITHOUT_AVERAGING:
            assert "averaging" not in protocol.options.model_fields, name
            continue
        required = REQUIRED.get(name, {})
        assert protocol.options.model_validate(required).averaging is None, name  # type: ignore[attr-defined]
        asked = protocol.options.model_validate(required | {"averaging": {"count": 3}})
        assert isinstance(asked.averaging, AveragingOptions), name  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def spirographs(tmp_path_factory: pytest.TempPathFactory) -> Store:
    options = DataOptions(source="spirograph", train_limit=24, test_limit=12)
    return prepare(options, tmp_path_factory.mktemp("spirograph") / "store", progress=False)


class Seen(Backbone):
    """Returns the image itself."""

    def __init__(self) -> None:
        super().__init__("seen", 3 * 32 * 32)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def test_spirographs_are_rendered_again_with_fresh_nuisances(spirographs: Store) -> None:
    options = ExtractionOptions.model_validate({"averaging": {"count": 3, "augmentation": {"name": "spirograph"}}})
    source = FeatureExtractor(subject_of(Seen(), spirographs), options, blocks=1, labelled=False)
    found = source.perturbed("test", "orig")
    latents = spirographs.split("test").latents
    assert latents is not None
    maker = SpirographViews(SpirographViewOptions(), spirographs.mean, spirographs.std)
    for index in range(len(latents)):
        generator = make_generator(0, "feature averaging", "test", "orig", index)
        tables = maker.draw(torch.full((2, 2), 32), generator)
        images = []
        for number, view in ((0, 0), (0, 1), (1, 0)):
            parameters = latents[index].double().clone()
            for name, column in tables[view].items():
                parameters[spirograph.NAMES.index(name)] = column[number]  # type: ignore[arg-type]
            images.append(render(parameters[None])[0])
        mean = torch.stack(images).mean(0).float()
        expected = normalise_(mean[None], spirographs.mean, spirographs.std).flatten()
        torch.testing.assert_close(found[index], expected, rtol=1e-3, atol=1e-3)


RENDERED = {"averaging": {"count": 1, "augmentation": {"name": "spirograph"}}}


@pytest.mark.parametrize(
    ("protocol", "options", "words"),
    [
        ("knn", {}, r"augmentation spirograph renders .* removes the perturbation: set perturbations to \[orig\]"),
        ("latents", {"perturbations": ["orig", "cj"]}, "removes the perturbation"),
        ("linear", {"perturbations": ["orig"], "training_views": 3}, "removes any crop: set training_views to plain"),
        ("parameters", {}, "removes the views whose parameters are predicted"),
    ],
)
def test_operations_that_rendering_would_remove_are_rejected(
    protocol: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        PROTOCOLS[protocol].options.model_validate(RENDERED | options)


def test_data_that_cannot_be_rendered_are_rejected(spirographs: Store, tmp_path: Path) -> None:
    def made(store: Store, **options: object) -> FeatureExtractor:
        checked = FeatureOptions.model_validate(RENDERED | {"perturbations": ["orig"]} | options)
        return FeatureExtractor(subject_of(Seen(), store), checked, blocks=1, labelled=False)

    with pytest.raises(UserError, match=r"renders images of 32 px: .* not 16"):
        made(spirographs, image_size=16)
    with pytest.raises(UserError, match=r"renders images of 32 px: .* not 8"):
        made(coloured(tmp_path, 3))
    with pytest.raises(UserError, match="needs latents"):
        made(coloured(tmp_path / "other", 3), image_size=32).perturbed("test", "orig")


def test_protocols_take_averaged_features(tmp_path: Path) -> None:
    store = coloured(tmp_path, 3, noise=20)
    options = PROTOCOLS["knn"].options.model_validate(
        {"neighbours": [5], "perturbations": ["orig"], "averaging": {"count": 4, "augmentation": FLIPS}}
    )
    (record,) = PROTOCOLS["knn"].evaluate(subject_of(TwoParts(), store), options)
    assert record.value > 80
