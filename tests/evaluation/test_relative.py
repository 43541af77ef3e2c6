"""Heads on pairs of photographs: targets against SciPy, scores against loops, and the parts' predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.spatial.transform import Rotation

from clever.data import Store
from clever.errors import UserError
from clever.evaluation import PROTOCOLS
from clever.evaluation.options.relative import RelativeOptions
from clever.evaluation.relative import make_head, pooled_r2
from clever.evaluation.relative_colour import relative_colour
from clever.evaluation.relative_rotation import relative_rotation
from clever.results.records import Record, RunIdentity

from .objects import HIGH, IR_DIM, LOW, BlockColours, objects_store
from .subjects import subject_of
from .toys import TwoParts, coloured

REHEARSALS = [("resnet10t_half", {"epochs": 2})]
WAITS = {
    "evaluation/relative.py:_Pairs.draw": "the pairs of an epoch",
    "evaluation/relative.py:evaluate_relative": "the order of an epoch; whether a head diverged",
    "evaluation/relative.py:pooled_r2": "a score",
    "evaluation/relative_colour.py:_scores": "scores",
}

RUN = RunIdentity("objects", "blocks", "sie", "pairs", 0)
FAST = {"epochs": 25, "hidden_dim": 64, "learning_rate": 1e-2, "batch_size": 256}
FAST |= {"pairs_an_object": 160, "test_pairs_an_object": 50}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return objects_store(tmp_path_factory.mktemp("objects"))


def run(store: Store, protocol: str, ir_dim: int | None = IR_DIM, **options: object) -> dict[tuple[str, ...], Record]:
    chosen = PROTOCOLS[protocol].options.model_validate(options)
    records = PROTOCOLS[protocol].evaluate(subject_of(BlockColours(), store, ir_dim=ir_dim, identity=RUN), chosen)
    last = [record for record in records if record.selection == "last"]
    found = {(record.part, record.perturbation, record.metric): record for record in last}
    assert len(found) == len(last)
    return found


def random_latents(count: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(LOW, HIGH, (count, 7))).float()


def test_the_target_equals_scipy_s_relative_rotation() -> None:
    first, second = random_latents(200, 0), random_latents(200, 1)
    rotations = [Rotation.from_euler("xyz", latents[:, :3].double().numpy()) for latents in (first, second)]
    expected = (rotations[0].inv() * rotations[1]).as_quat()
    np.testing.assert_allclose(relative_rotation(first, second).numpy(), expected, atol=1e-6)


def test_the_colour_target_is_the_change_of_both_hues() -> None:
    first, second = random_latents(5, 0), random_latents(5, 1)
    for row, (floor, light) in enumerate(relative_colour(first, second).tolist()):
        assert floor == pytest.approx(float(second[row, 3]) - float(first[row, 3]), abs=1e-6)
        assert light == pytest.approx(float(second[row, 6]) - float(first[row, 6]), abs=1e-6)


def test_r2_has_one_mean_for_all_components() -> None:
    generator = torch.Generator().manual_seed(0)
    predictions, targets = (torch.randn(30, 4, generator=generator) + torch.arange(4) for _ in range(2))
    values = [float(value) for value in targets.flatten()]
    mean = sum(values) / len(values)
    missed = sum((t - float(o)) ** 2 for t, o in zip(values, predictions.flatten(), strict=True))
    assert pooled_r2(predictions, targets) == pytest.approx(1 - missed / sum((t - mean) ** 2 for t in values))
    # If components have different means, it is larger than the mean of their R2.
    assert pooled_r2(targets.mean(0).expand(30, 4), targets) > 0.3


def test_rotation_is_predicted_by_the_part_that_shows_it(objects: Store) -> None:
    records = run(objects, "relative_rotation", **FAST)
    assert set(records) == {(part, "orig", "r2_rotation") for part in ("ALL", "IR", "EF")}
    # Two test objects with 50 pairs each.
    assert {(r.protocol, r.n, r.epoch, r.selection) for r in records.values()} == {
        ("relative_rotation", 100, 25, "last")
    }
    assert records["EF", "orig", "r2_rotation"].value > 0.9
    assert records["ALL", "orig", "r2_rotation"].value > 0.8
    # Predicting each component's mean is better than one common mean, because w has a mean far from x, y and z.
    targets = relative_rotation(random_latents(4000, 2), random_latents(4000, 3))
    ignorant = pooled_r2(targets.mean(0).expand_as(targets), targets)
    assert records["IR", "orig", "r2_rotation"].value < ignorant + 0.15 < 0.7


def test_colour_is_predicted_by_a_linear_head(objects: Store) -> None:
    records = run(objects, "relative_colour", head="linear", perturbations=["orig", "cj"], **FAST | {"epochs": 60})
    assert {key[1:] for key in records} == {
        (perturbation, metric)
        for perturbation in ("orig", "cj")
        for metric in ("r2_colour", "r2_floor_hue", "r2_light_hue")
    }
    for metric in ("r2_colour", "r2_floor_hue", "r2_light_hue"):
        assert records["EF", "orig", metric].value > 0.95
        assert records["IR", "orig", metric].value < 0.2
        assert records["EF", "cj", metric].value < records["EF", "orig", metric].value


def test_parts_are_trained_independently_and_reproducibly(objects: Store) -> None:
    options = FAST | {"epochs": 3}
    together = run(objects, "relative_rotation", **options)
    assert run(objects, "relative_rotation", **options) == together
    alone = run(objects, "relative_rotation", ir_dim=None, **options)
    assert alone["ALL", "orig", "r2_rotation"] == together["ALL", "orig", "r2_rotation"]
    again = PROTOCOLS["relative_rotation"].evaluate(
        subject_of(BlockColours(), objects, ir_dim=IR_DIM, identity=RUN, seed=1),
        PROTOCOLS["relative_rotation"].options.model_validate(options),
    )
    assert again[0].value != together["ALL", "orig", "r2_rotation"].value


def test_the_head_has_two_hidden_layers_or_none() -> None:
    head = make_head(24, 4, RelativeOptions())
    assert [tuple(p.shape) for p in head.parameters()] == [(1024, 24), (1024,), (1024, 1024), (1024,), (4, 1024), (4,)]
    assert [tuple(p.shape) for p in make_head(24, 4, RelativeOptions(head="linear")).parameters()] == [(4, 24), (4,)]
    options = RelativeOptions()
    assert (options.epochs, options.learning_rate, options.batch_size) == (300, 1e-3, 256)


def test_the_linear_and_knn_protocols_classify_photographs_of_objects(objects: Store) -> None:
    for protocol, options in (
        ("linear", {"epochs": 30, "learning_rate": 0.5, "training_views": "plain"}),
        ("knn", {"neighbours": [20]}),
    ):
        records = run(objects, protocol, perturbations=["orig"], **options)
        assert records["IR", "orig", "top1"].value > 95
        assert records["EF", "orig", "top1"].value < 75


@pytest.mark.parametrize("protocol", ["relative_rotation", "relative_colour"])
def test_other_data_are_refused(protocol: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"objects/blocks/.*: the protocol {protocol} needs .* source threediebench"):
        PROTOCOLS[protocol].evaluate(
            subject_of(TwoParts(), coloured(tmp_path, 3), identity=RUN), PROTOCOLS[protocol].options()
        )


def test_a_diverging_head_is_named(objects: Store) -> None:
    with pytest.raises(UserError, match=r"head of relative_rotation on ALL diverged: lower learning_rate \(1e\+30\)"):
        run(objects, "relative_rotation", **FAST | {"epochs": 3, "learning_rate": 1e30})


@pytest.mark.parametrize("wrong", [{"head": "cnn"}, {"epochs": 0}, {"test_pairs_an_object": 0}])
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RelativeOptions.model_validate(wrong)
