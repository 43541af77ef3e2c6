"""The linear probe: its training against float64 autograd, its accuracy against scikit-learn, its records."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import top_k_accuracy_score
from torch import Tensor, nn

from clever.backbones import BackboneOptions, build_backbone
from clever.errors import UserError
from clever.evaluation.features import FeatureExtractor
from clever.evaluation.linear import SoftmaxRegression, Standardisation, cosine_rate, evaluate, train_epoch
from clever.evaluation.options.linear import LinearOptions
from clever.evaluation.parts import Selection, part_selections
from clever.randomness import make_generator
from clever.results.records import Record, RunIdentity

from .subjects import subject_of
from .toys import Blocks, Columns, TwoParts, coloured, store_of

REHEARSALS = [
    ("vit_micro", {"training_views": "plain", "standardise": True, "epochs": 2}),
    ("resnet10t_half", {"training_views": "fresh", "epochs": 2, "precision": "bf16"}),
    ("resnet10t_half", {"training_views": 1, "epochs": 1, "averaging": {"count": 3}}),
]
WAITS = {
    "evaluation/linear.py:evaluate": "whether a classifier diverged, once an epoch",
    "evaluation/linear.py:evaluate.<locals>.<genexpr>": "labels",
    "evaluation/linear.py:_Views.__init__": "features go to the device",
    "evaluation/linear.py:_Views.__init__.<locals>.<listcomp>": "features go to the device",
    "evaluation/linear.py:_Views._scaled": "features go to the device",
    "evaluation/linear.py:SoftmaxRegression.initial": "weights that were drawn on the host",
    "evaluation/linear.py:train_epoch": "the order of an epoch",
    "evaluation/linear.py:_hits": "the accuracy of an epoch",
    "evaluation/accuracies.py:rank_accuracies": "scores",
}

CPU = torch.device("cpu")
RUN = RunIdentity("toy", "table", "dino+clever", "caug", 0, "abc", "digest", "sum")


def cloud(n: int, width: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(n) % classes
    return centres[labels] + 1.5 * torch.randn(n, width, generator=generator), labels


def initial(parts: dict[str, Selection], width: int, classes: int) -> dict[str, SoftmaxRegression]:
    row = torch.empty(1, width)
    return {
        part: SoftmaxRegression.initial(row[:, where].shape[1], classes, make_generator(3, part), CPU)
        for part, where in parts.items()
    }


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_training_equals_torch_sgd_with_a_cosine_schedule(weight_decay: float) -> None:
    """Compares the weights after several epochs with torch's SGD, scheduler and autograd in float64."""
    features, labels = cloud(70, 12, 4)
    options = LinearOptions(epochs=6, batch_size=32, learning_rate=0.8, weight_decay=weight_decay)
    parts = part_selections(12, 9)
    probes = initial(parts, 12, 4)
    references = {}
    for part, probe in probes.items():
        layer = nn.Linear(probe.weight.shape[1], 4, dtype=torch.float64)
        layer.load_state_dict({"weight": probe.weight.double(), "bias": probe.bias.double()})
        references[part] = layer
    for part, layer in references.items():
        optimiser = torch.optim.SGD(layer.parameters(), lr=0.8 * 32 / 256, momentum=0.9, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=6, eta_min=0.0)
        for epoch in range(6):
            order = torch.randperm(70, generator=make_generator(5, "linear", "order", epoch))
            for first in range(0, 70, 32):
                rows = order[first : first + 32]
                optimiser.zero_grad()
                inputs = features.double()[rows][:, parts[part]]
                nn.functional.cross_entropy(layer(inputs), labels[rows]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            schedule.step()
    for epoch in range(6):
        train_epoch(probes, parts, features, labels, epoch=epoch, options=options, seed=5)
    for part, layer in references.items():
        moved = (layer.weight - initial(parts, 12, 4)[part].weight).abs().max()
        assert moved > 0.05
        torch.testing.assert_close(probes[part].weight.double(), layer.weight.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(probes[part].bias.double(), layer.bias.detach(), rtol=1e-5, atol=1e-6)


def test_one_step_is_the_derivative_of_the_cross_entropy() -> None:
    """Compares one step from random weights with the formula written in numpy, in float64."""
    features, labels = cloud(9, 5, 3)
    probe = SoftmaxRegression.initial(5, 3, make_generator(0), CPU)
    weight, bias = probe.weight.double().numpy().copy(), probe.bias.double().numpy().copy()
    probe.step(features, labels, rate=0.5, momentum=0.9, weight_decay=0.0)
    x, y = features.double().numpy(), labels.numpy()
    logits = x @ weight.T + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    excess = probabilities - np.eye(3)[y]
    np.testing.assert_allclose(probe.weight.numpy(), weight - 0.5 * excess.T @ x / 9, rtol=0, atol=1e-6)
    np.testing.assert_allclose(probe.bias.numpy(), bias - 0.5 * excess.mean(axis=0), rtol=0, atol=1e-6)


def test_initial_weights_have_standard_deviation_0_01_and_no_bias() -> None:
    probe = SoftmaxRegression.initial(2000, 50, make_generator(1), CPU)
    assert float(probe.weight.std()) == pytest.approx(0.01, rel=0.02)
    assert abs(float(probe.weight.mean())) < 2e-4
    assert not probe.bias.any()


def test_the_learning_rate_falls_to_zero_epoch_by_epoch() -> None:
    rates = [cosine_rate(0.001, epoch, 100) for epoch in range(101)]
    assert rates[0] == 0.001
    assert rates[50] == pytest.approx(0.0005)
    assert rates[25] == pytest.approx(0.001 * (1 + 2**-0.5) / 2)
    assert rates[100] == pytest.approx(0.0, abs=1e-18)


def test_ranks_count_the_classes_before_the_right_one() -> None:
    """Compared with scikit-learn's top-k accuracy; equal logits favour the lower class."""
    features, labels = cloud(200, 6, 8, seed=2)
    probe = SoftmaxRegression.initial(6, 8, make_generator(4), CPU)
    ranks = probe.ranks(features, labels)
    logits = (features @ probe.weight.t()).numpy()
    for places in (1, 3, 5):
        assert float((ranks < places).double().mean()) == top_k_accuracy_score(labels.numpy(), logits, k=places)
    probe.weight.zero_()
    assert probe.ranks(features[:8], labels[:8]).tolist() == list(range(8))


def test_standardisation_equals_numpy_and_does_not_change_constants() -> None:
    features = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0)) * 1e-4 + 3.0
    features[:, 1] = 7.1
    features[:, 2] = 0.0
    views = [features[:3000], features[3000:]]
    found = Standardisation.of(views)
    stacked = features.double().numpy()
    np.testing.assert_allclose(found.mean.numpy(), stacked.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.scale.numpy()[[0, 3]], stacked.std(axis=0)[[0, 3]], rtol=1e-5)
    assert found.scale[1:3].tolist() == [1.0, 1.0]
    assert float(found(features)[:, 1:3].abs().max()) < 1e-6


def by_key(records: list[Record]) -> dict[tuple[str, str, str, str], Record]:
    found: dict[tuple[str, str, str, str], Record] = {
        (record.part, record.perturbation, record.metric, record.selection): record for record in records
    }
    assert len(found) == len(records)
    return found


FAST = LinearOptions(epochs=5, learning_rate=0.05, training_views="plain", perturbations=["orig", "cj", "rot180"])


def test_every_part_and_perturbation_is_recorded(tmp_path: Path) -> None:
    store = coloured(tmp_path, classes=6)
    records = by_key(evaluate(subject_of(TwoParts(), store, ir_dim=8, identity=RUN), FAST))
    assert set(records) == {
        (part, perturbation, metric, "last")
        for part in ("ALL", "IR", "EF")
        for perturbation in ("orig", "cj", "rot180")
        for metric in ("top1", "top5")
    } | {(part, "orig", metric, "best") for part in ("ALL", "IR", "EF") for metric in ("top1", "top5")}
    for (part, perturbation, metric, selection), record in records.items():
        assert (record.run, record.commit, record.data_checksum) == ("toy/table/dino+clever/caug/seed0", "abc", "sum")
        assert (record.protocol, record.n) == ("linear", len(store.split("test")))
        assert 0.0 <= record.value <= 100.0
        assert record.epoch == 5 if selection == "last" else 1 <= record.epoch <= 5
        if metric == "top5":
            assert record.value >= records[part, perturbation, "top1", selection].value
    for part in ("ALL", "IR", "EF"):
        assert records[part, "orig", "top1", "best"].value >= records[part, "orig", "top1", "last"].value


def test_parts_are_trained_independently(tmp_path: Path) -> None:
    """Probes of IR and EF trained together equal those on a backbone with just these columns."""
    store = coloured(tmp_path, classes=6)
    together = by_key(evaluate(subject_of(TwoParts(), store, ir_dim=8, identity=RUN), FAST))
    for part, columns in (("IR", slice(0, 8)), ("EF", slice(8, 12))):
        alone = by_key(evaluate(subject_of(Columns(columns), store, identity=RUN), FAST))
        for (_, perturbation, metric, selection), record in alone.items():
            assert together[part, perturbation, metric, selection].value == record.value
            assert together[part, perturbation, metric, selection].epoch == record.epoch


def test_side_by_side_training_gives_the_bits_of_training_alone() -> None:
    features, labels = cloud(70, 12, 4)
    parts = part_selections(4, 3, blocks=3)
    assert list(parts) == ["ALL", "IR", "EF", "IR_strict"]
    together = initial(parts, 12, 4)
    options = LinearOptions(epochs=3, batch_size=16, learning_rate=0.5)
    for epoch in range(3):
        train_epoch(together, parts, features, labels, epoch=epoch, options=options, seed=0)
    for part, where in parts.items():
        alone = initial({part: where}, 12, 4)
        for epoch in range(3):
            train_epoch(alone, {part: where}, features, labels, epoch=epoch, options=options, seed=0)
        assert torch.equal(alone[part].weight, together[part].weight)
        assert torch.equal(alone[part].bias, together[part].bias)


def test_transformers_give_the_last_blocks_and_the_strict_part(tmp_path: Path) -> None:
    store = coloured(tmp_path, classes=6)
    backbone = Blocks()
    options = FAST.model_copy(update={"last_blocks": 3})
    records = by_key(evaluate(subject_of(backbone, store, ir_dim=9, identity=RUN), options))
    assert {key[0] for key in records} == {"ALL", "IR", "EF", "IR_strict"}
    assert backbone.asked == {3}


def test_the_same_seed_gives_the_same_records_and_another_seed_others(tmp_path: Path) -> None:
    store = coloured(tmp_path, classes=6, noise=90)
    choices: list[Literal["fresh", "plain"] | int] = ["fresh", 2, "plain"]
    for views in choices:
        options = LinearOptions(epochs=3, learning_rate=0.05, training_views=views, perturbations=["orig", "cj_rot"])
        first = evaluate(subject_of(TwoParts(), store, ir_dim=8, identity=RUN, seed=4), options)
        assert evaluate(subject_of(TwoParts(), store, ir_dim=8, identity=RUN, seed=4), options) == first
        other = evaluate(subject_of(TwoParts(), store, ir_dim=8, identity=RUN, seed=5), options)
        assert [record.value for record in other] != [record.value for record in first]


@pytest.mark.parametrize(
    ("views", "plain", "versions"), [("fresh", 0, [0, 1, 2, 3]), (3, 0, [0, 1, 2]), ("plain", 1, [])]
)
def test_training_views_are_computed_as_often_as_configured(
    views: Literal["fresh", "plain"] | int,
    plain: int,
    versions: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []
    augmented, perturbed = FeatureExtractor.augmented, FeatureExtractor.perturbed

    def watched_augmented(self: FeatureExtractor, split: Literal["train", "test"], version: int) -> Tensor:
        asked.append(version)
        return augmented(self, split, version)

    def watched_perturbed(self: FeatureExtractor, split: Literal["train", "test"], name: str) -> Tensor:
        asked.append(split)
        return perturbed(self, split, name)

    monkeypatch.setattr(FeatureExtractor, "augmented", watched_augmented)
    monkeypatch.setattr(FeatureExtractor, "perturbed", watched_perturbed)
    options = LinearOptions(epochs=4, learning_rate=0.01, training_views=views, perturbations=["orig"])
    evaluate(subject_of(TwoParts(), coloured(tmp_path, classes=3), ir_dim=8, identity=RUN), options)
    assert asked.count("train") == plain
    assert asked.count("test") == 1
    assert [item for item in asked if isinstance(item, int)] == versions


def test_accuracy_on_digits_equals_logistic_regression(tmp_path: Path) -> None:
    grey, labels = load_digits(return_X_y=True)
    images = np.repeat(np.round(grey.reshape(-1, 8, 8, 1) * (255 / 16)), 3, axis=3).astype(np.uint8)
    labels = labels.astype(np.int64)
    store = store_of(tmp_path, images[:1437], labels[:1437], images[1437:], labels[1437:])
    pixels = build_backbone(BackboneOptions(name="pixels", image_size=8), seed=None)
    options = LinearOptions(epochs=60, learning_rate=0.05, training_views="plain", perturbations=["orig"])
    records = by_key(evaluate(subject_of(pixels, store, identity=RUN), options))
    oracle = LogisticRegression(max_iter=2000).fit(grey[:1437] / 16, labels[:1437])
    expected = 100 * oracle.score(grey[1437:] / 16, labels[1437:])
    assert expected > 88
    assert records["ALL", "orig", "top1", "last"].value == pytest.approx(expected, abs=2.0)


def test_standardising_makes_the_scale_of_features_irrelevant(tmp_path: Path) -> None:
    store = coloured(tmp_path, classes=6, noise=90)
    options = LinearOptions(
        epochs=5, learning_rate=0.05, training_views="plain", perturbations=["orig", "cj"], standardise=True
    )
    small, large = (
        evaluate(subject_of(TwoParts(scale), store, ir_dim=8, identity=RUN), options) for scale in (1.0, 1024.0)
    )
    assert [record.value for record in small] == [record.value for record in large]
    raw = options.model_copy(update={"standardise": False})
    plain, shrunk = (evaluate(subject_of(TwoParts(scale), store, ir_dim=8, identity=RUN), raw) for scale in (1.0, 1e-6))
    assert [record.value for record in plain] != [record.value for record in shrunk]


def test_test_features_are_standardised_like_training_features(tmp_path: Path) -> None:
    store = coloured(tmp_path, classes=6)
    options = FAST.model_copy(update={"standardise": True, "epochs": 20})
    near, far = (
        by_key(evaluate(subject_of(TwoParts(shift=shift), store, ir_dim=8, identity=RUN), options))
        for shift in (0.0, 64.0)
    )
    assert near["ALL", "orig", "top1", "last"].value > 80
    for key, record in near.items():
        # Not bit for bit: the offset of 64 costs the features some precision.
        assert far[key].value == pytest.approx(record.value, abs=5.0)


def test_the_best_epoch_is_the_first_of_equals_and_counts_from_one(tmp_path: Path) -> None:
    """Without noise, a single step towards the class means already classifies every image correctly."""
    options = FAST.model_copy(update={"learning_rate": 10.0})
    store = coloured(tmp_path, classes=3, noise=0)
    records = by_key(evaluate(subject_of(TwoParts(), store, ir_dim=8, identity=RUN), options))
    best, last = records["ALL", "orig", "top1", "best"], records["ALL", "orig", "top1", "last"]
    assert (best.value, best.epoch) == (100.0, 1)
    assert (last.value, last.epoch) == (100.0, 5)


def test_cached_versions_are_used_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def watched(*arguments: Any, **_: Any) -> None:
        seen.append(arguments[2])

    monkeypatch.setattr("clever.evaluation.linear.train_epoch", watched)
    options = LinearOptions(epochs=4, training_views=3, perturbations=["orig"])
    evaluate(subject_of(TwoParts(), coloured(tmp_path, classes=3), ir_dim=8, identity=RUN), options)
    first, second, third, again = seen
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, third)
    assert not torch.equal(second, third)


def test_top5_is_left_out_below_five_classes(tmp_path: Path) -> None:
    store = coloured(tmp_path, classes=4)
    records = evaluate(subject_of(TwoParts(), store, ir_dim=8, identity=RUN), FAST)
    assert {record.metric for record in records} == {"top1"}


def test_without_clean_images_there_is_no_best_epoch(tmp_path: Path) -> None:
    options = FAST.model_copy(update={"perturbations": ["cj"]})
    records = evaluate(subject_of(TwoParts(), coloured(tmp_path, classes=3), ir_dim=8, identity=RUN), options)
    assert {(record.perturbation, record.selection) for record in records} == {("cj", "last")}


def test_a_diverging_classifier_is_named(tmp_path: Path) -> None:
    options = FAST.model_copy(update={"learning_rate": 1e30, "momentum": 1e10})
    with pytest.raises(UserError, match=r"toy/table/.* linear probe of ALL diverged in epoch \d; lower learning_rate"):
        evaluate(subject_of(TwoParts(1e6), coloured(tmp_path, classes=3), ir_dim=8, identity=RUN), options)


@pytest.mark.parametrize(
    "wrong", [{"training_views": 0}, {"training_views": "sometimes"}, {"epochs": 0}, {"learning_rate": -1.0}]
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LinearOptions.model_validate(wrong)


def test_the_defaults_match_the_paper() -> None:
    options = LinearOptions()
    assert (options.epochs, options.batch_size, options.learning_rate) == (100, 256, 0.001)
    assert (options.momentum, options.weight_decay, options.last_blocks) == (0.9, 0.0, 4)
    assert (options.training_views, options.standardise) == ("fresh", False)
    assert options.perturbations == ["orig", "cj", "cj_flip", "cj_rot", "cj_rot_et"]
