"""The three lengths of the study, and the rule that chooses one."""

from __future__ import annotations

import pytest

from clever.gpu_check.study import in_order
from clever.gpu_check.variants import NAMES, choose, open_study, predicted_seconds, trained_images


def test_variants_differ_only_in_epochs() -> None:
    found = {name: open_study(name).model_dump() for name in NAMES}
    epochs = []
    for name, content in found.items():
        assert content.pop("study") == name
        epochs.append({block["optimisation"].pop("epochs") for block in content["pretrainings"]})
    assert epochs == [{80}, {40}, {20}]
    assert found[NAMES[0]] == found[NAMES[1]] == found[NAMES[2]]


def test_the_longest_variant_that_allows_three_seeds_is_chosen() -> None:
    studies = {name: open_study(name) for name in NAMES}
    assert [trained_images(study) for study in studies.values()] == [4 * 12000 * e for e in (80, 40, 20)]
    for name, study in studies.items():
        needed = predicted_seconds(3 * trained_images(study), 20000.0)
        assert choose(studies, 20000.0, needed + 1) == name
    assert choose(studies, 20000.0, 10.0) == "cifar10_gpu_short"


def test_all_methods_of_a_seed_come_before_the_next() -> None:
    recipes = list(open_study("cifar10_gpu").recipes().values())
    order = in_order(recipes, 0)
    assert [recipe.seed for recipe in order] == sorted(recipe.seed for recipe in order)
    assert [recipe.method_name for recipe in order[:6]] == [
        "simclr", "simclr+clever", "simsiam", "simsiam+clever", "untrained", "untrained",
    ]  # fmt: skip
    later = in_order(recipes, 2)
    assert {recipe.seed for recipe in later if recipe.backbone_name != "pixels"} == {2, 3, 4, 5}
    assert [recipe.seed for recipe in later[:4]] == [2, 2, 2, 2]


@pytest.mark.parametrize("method", ["simclr+clever", "simsiam+clever"])
def test_an_add_on_has_its_baseline_unchanged(method: str) -> None:
    methods = open_study("cifar10_gpu").methods
    assert methods[method].baseline == methods[method.removesuffix("+clever")].baseline
