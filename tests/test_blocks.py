"""Axes of an ablation: the runs that a line of YAML gives, their ids, and their options."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from clever.cli import main
from clever.config import Study, parse_study
from clever.errors import UserError
from clever.pretraining.recipe import RunRecipe
from clever.results.run_id import RunId, setting, unvaried, varied

TABLE = yaml.safe_load((Path(__file__).parents[1] / "faults" / "wrong_studies.yaml").read_text(encoding="utf-8"))
MAIN = {"data": "digits", "backbones": ["small"], "methods": ["dino", "dino+clever"], "augmentations": ["baug"]}
OPTIMISATION = {"epochs": 20, "batch_size": 64, "warmup_epochs": 2}


def content(*blocks: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = copy.deepcopy(yaml.safe_load(TABLE["right"]))
    whole["pretrainings"] = [{**MAIN, "optimisation": OPTIMISATION, **block} for block in blocks]
    whole["controls"] = []
    return whole


def study(*blocks: dict[str, Any]) -> Study:
    return parse_study(content(*blocks), "study.yaml")


def of(recipe: RunRecipe, *path: str) -> object:
    inner: Any = recipe.model_dump()
    for key in path:
        inner = inner[key]
    return inner


def test_a_method_axis_gives_one_run_per_value_and_changes_only_that_option() -> None:
    ratios = [0.5, 0.6, 0.7, 0.8, 0.9]
    axis = {"methods": ["dino+clever"], "axes": {"equivariance.separation_ratio": ratios}}
    recipes = study({}, axis).recipes()
    varied_runs = [f"digits/small/dino+clever@separation_ratio={ratio}/baug/seed0" for ratio in (0.5, 0.6, 0.7, 0.9)]
    plain = ["digits/small/dino/baug/seed0", "digits/small/dino+clever/baug/seed0"]
    # 0.8 is the method's default, so it gives the plain run, which the first block also lists.
    assert list(recipes) == [*plain, *varied_runs]
    own = recipes["digits/small/dino+clever/baug/seed0"].model_dump()
    for run, ratio in zip(varied_runs, (0.5, 0.6, 0.7, 0.9), strict=True):
        found = recipes[run].model_dump()
        assert found.pop("method_name") == RunId.parse(run).method
        assert found["method"]["equivariance"].pop("separation_ratio") == ratio
        rest = copy.deepcopy(own)
        rest.pop("method_name")
        rest["method"]["equivariance"].pop("separation_ratio")
        assert found == rest


def test_axes_vary_one_option_at_a_time_for_every_seed() -> None:
    axes = {
        "equivariance.head_norm_weight": [0, "1e-3", 0.01],
        "equivariance.ef_baseline.out_dim": [16, 64],
        "equivariance.head_norm_last_layer": [False],
        "baseline.teacher_temperature": [0.07],
    }
    recipes = study({"methods": ["dino+clever"], "seeds": [0, 1], "axes": axes}).recipes()
    # The head's 64 outputs and the weight 0.001 are the method's defaults.
    assert sorted({recipe.method_name for recipe in recipes.values()}) == [
        "dino+clever",
        "dino+clever@ef_baseline.out_dim=16",
        "dino+clever@head_norm_last_layer=false",
        "dino+clever@head_norm_weight=0",
        "dino+clever@head_norm_weight=0.01",
        "dino+clever@teacher_temperature=0.07",
    ]
    assert len(recipes) == 12
    narrow = recipes["digits/small/dino+clever@ef_baseline.out_dim=16/baug/seed1"]
    assert of(narrow, "method", "equivariance", "ef_baseline") == {"out_dim": 16}
    assert of(narrow, "method", "baseline", "out_dim") == 64


def test_a_schedule_axis_is_shared_by_the_methods_and_its_value_is_in_the_id() -> None:
    recipes = study({}, {"axes": {"optimisation.epochs": [10, 20, 40]}}).recipes()
    assert {run: of(recipe, "optimisation", "epochs") for run, recipe in recipes.items()} == {
        f"digits/small/{method}/{augmentation}/seed0": epochs
        for method in ("dino", "dino+clever")
        for augmentation, epochs in (("baug", 20), ("baug@epochs=10", 10), ("baug@epochs=40", 40))
    }


def test_values_need_not_contain_the_method_s_default() -> None:
    recipes = study({"methods": ["dino+clever"], "axes": {"equivariance.separation_ratio": [0.5]}}).recipes()
    assert list(recipes) == ["digits/small/dino+clever@separation_ratio=0.5/baug/seed0"]


def test_a_plain_run_shared_by_two_axes_is_one_run() -> None:
    axes = {"equivariance.separation_ratio": [0.8], "optimisation.epochs": [20]}
    assert list(study({"methods": ["dino+clever"], "axes": axes}).recipes()) == ["digits/small/dino+clever/baug/seed0"]


def test_an_expanded_method_is_checked_like_any_other() -> None:
    with pytest.raises(UserError, match=r"pretrainings\.0\.optimisation\.batch_size: 4096 exceeds the 1437 training"):
        study({"axes": {"optimisation.batch_size": [4096]}})
    wide = {"methods": ["dino+clever"], "axes": {"equivariance.ef_baseline.out_dim": [2**31 - 1]}}
    with pytest.raises(UserError, match=r"methods\.dino\+clever@ef_baseline\.out_dim=2147483647: its heads have"):
        study(wide)


def test_values_that_cannot_be_part_of_an_id_are_rejected() -> None:
    with pytest.raises(UserError, match=r"optimisation\.precision: 'a/b' is not a number, word or null"):
        study({"axes": {"optimisation.precision": ["a/b"]}})


def test_check_lists_the_runs_of_an_axis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "study.yaml"
    axis = {"methods": ["dino+clever"], "axes": {"equivariance.separation_ratio": [0.5]}}
    path.write_text(yaml.safe_dump(content(axis)), encoding="utf-8")
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out.startswith("digits/small/dino+clever@separation_ratio=0.5/baug/seed0  ")


def test_names_and_their_settings() -> None:
    name = varied("dino+clever", "separation_ratio", "0.5")
    assert (unvaried(name), setting(name)) == ("dino+clever", ("separation_ratio", "0.5"))
    assert (unvaried("dino"), setting("dino")) == ("dino", None)
