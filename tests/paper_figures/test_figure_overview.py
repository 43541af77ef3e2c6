"""The overview shows every term that training computes with its weight, for every add-on and baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import figure_overview
import pytest
import torch
from method_description import Description, describe

from clever.baselines import BASELINES
from clever.data import Batches, Store
from clever.equivariance import EQUIVARIANCES
from clever.errors import UserError
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

from ..tiny_methods import tiny_method


def weighed(equivariance: str) -> dict[str, Any]:
    """Small options with simclr, in which all weights of terms differ."""
    options = tiny_method("simclr", equivariance)
    named = [name for name in EQUIVARIANCES[equivariance].options.model_fields if name.endswith("_weight")]
    options["equivariance"] |= {option: 0.375 + 0.25 * number for number, option in enumerate(named)}
    return options


@pytest.mark.parametrize("equivariance", EQUIVARIANCES)
def test_terms_and_weights_match_a_training_step(equivariance: str, make_recipe: Any, colourful_store: Store) -> None:
    options = weighed(equivariance)
    whole = make_recipe(augmentation={"local_views": 0}, optimisation={"batch_size": 8}).model_dump()
    recipe = RunRecipe.model_validate(whole | {"method": options})
    trainer = Trainer(recipe, colourful_store.mean, colourful_store.std, 2, torch.device("cpu"))
    computed: dict[str, float] = {}
    terms = trainer.objective.add_on.terms

    def recorded(batch: Any) -> Any:
        found = terms(batch)
        computed.update({name: term.weight for name, term in found.items()})
        return found

    trainer.objective.add_on.terms = recorded  # type: ignore[method-assign]
    trainer.step(next(iter(Batches(colourful_store.split("train"), 8, seed=0, device="cpu").epoch(0))), 0)
    described = describe("method", options)
    assert {term.name: term.weight for term in described.terms} == computed
    assert described.heads == tuple(trainer.objective.parts)
    assert set(described.layers) == set(trainer.student.layers)
    split = trainer.objective.split
    width = trainer.student.backbone.feature_dim
    expected = {"ALL": 1.0} if split is None else {"IR": split.ir_dim / width, "EF": split.ef_dim / width}
    assert described.shares == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("baseline", BASELINES)
def test_every_baseline_is_drawn_with_its_teacher_and_predictor(baseline: str) -> None:
    described = describe("method", {"baseline": {"name": baseline}, "equivariance": {"name": "clever"}})
    facts = BASELINES[baseline].options
    assert described.has_teacher == facts.has_momentum_teacher
    assert described.evaluates_teacher == (facts.has_momentum_teacher and facts.evaluates_teacher)
    assert described.has_predictor == (facts.compares == "predictions")
    words = drawn(described)
    assert ("backbone\nteacher" in words) == described.has_teacher
    assert any("+ predictor" in text for text in words) == described.has_predictor
    assert {"head_norm × 0.001\ndifference of the heads' squared norms", "IR, 80 %"} <= set(words)


def drawn(method: Description) -> list[str]:
    """The words of a figure, after checking that all are inside it."""
    figure = figure_overview.draw(method)
    figure.draw_without_rendering()
    [axes] = figure.axes
    for text in axes.texts:
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0, text.get_text()
        assert box.x1 <= figure.bbox.x1, text.get_text()
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("equivariance", EQUIVARIANCES)
def test_every_add_on_is_drawn(equivariance: str) -> None:
    options = {"baseline": {"name": "simclr"}, "equivariance": {"name": equivariance}}
    described = describe("method", options)
    words = drawn(described)
    for term in described.terms:
        assert any(text.startswith(f"{term.name} × {term.weight:g}\n") for text in words)
    assert ("(a) Pre-training, method: simclr" in words) == (equivariance == "none")


def test_the_method_with_clever_is_drawn_unless_another_is_named(tmp_path: Path) -> None:
    methods: dict[str, Any] = {
        "dino": {"baseline": {"name": "dino"}, "equivariance": {"name": "none"}},
        "dino+ddcl": {"baseline": {"name": "dino"}, "equivariance": {"name": "ddcl"}},
        "dino+clever": {"baseline": {"name": "dino"}, "equivariance": {"name": "clever"}},
    }
    assert figure_overview.choose(methods) == "dino+clever"
    assert figure_overview.choose({name: methods[name] for name in ("dino", "dino+ddcl")}) == "dino+ddcl"
    with pytest.raises(UserError, match="--method byol: the study has dino, dino"):
        figure_overview.choose(methods, "byol")
    outputs = [tmp_path / f"{name}.pdf" for name in ("one", "two")]
    for output in outputs:
        figure_overview.main(["--methods", json.dumps(methods), "--method", "dino", "--output", str(output)])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
