"""A baseline's requests to the trainer: separate views, a constant learning rate, the backbone, two views."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clever.config import parse_study
from clever.data import Batches, Store
from clever.errors import UserError
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

SIMSIAM = {"name": "simsiam", "hidden_dim": 12, "out_dim": 12, "predictor_dim": 6}
BYOL = {"name": "byol", "hidden_dim": 12, "out_dim": 8}
SIMCLR = {"name": "simclr", "hidden_dim": 12, "out_dim": 8}


def trainer_for(baseline: dict[str, Any], make_recipe: Any, store: Store, **optimisation: Any) -> Trainer:
    whole = make_recipe(augmentation={"local_views": 0}, optimisation=optimisation).model_dump()
    method = {"baseline": baseline, "equivariance": {"name": "clever"}}
    recipe = RunRecipe.model_validate(whole | {"method": method})
    return Trainer(recipe, store.mean, store.std, 6, torch.device("cpu"))


def random_views(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    # The second view is brighter, so the statistics of one view and of both views differ.
    return [number + torch.randn(8, 3, 16, 16, generator=generator) for number in range(count)]


@pytest.mark.parametrize(("baseline", "apart"), [(SIMSIAM, True), (BYOL, True), (SIMCLR, False)])
def test_batch_norm_sees_one_view_at_a_time_if_the_baseline_requests_it(
    baseline: dict[str, Any], apart: bool, make_recipe: Any, digits_store: Store
) -> None:
    student = trainer_for(baseline, make_recipe, digits_store).student
    views = random_views(2)
    together, alone = student(views), [student([view]) for view in views]
    for number in (0, 1):
        same = torch.allclose(together.features[number], alone[number].features[0], atol=1e-5)
        assert same is apart
        for part in ("IR", "EF"):
            for mine, single in zip(together.outputs[part][number], alone[number].outputs[part][0], strict=True):
                assert (mine is None) == (single is None)
                assert mine is None or torch.allclose(mine, single, atol=1e-4) is apart


def test_predictors_keep_their_learning_rate_after_the_warm_up(make_recipe: Any, digits_store: Store) -> None:
    trainer = trainer_for(SIMSIAM, make_recipe, digits_store, epochs=4, warmup_epochs=1)
    predictors = {id(p) for name, p in trainer.student.named_parameters() if ".predictor." in name}
    assert len(predictors) == 10
    peak = 0.01 * 16 / 256
    batch = next(iter(Batches(digits_store.split("train"), 16, seed=0, device="cpu").epoch(0)))
    for iteration, expected in ((3, (0.6 * peak, 0.6 * peak)), (6, (peak, peak)), (20, (None, peak))):
        trainer.step(batch, iteration)
        schedule = trainer.schedule(iteration)
        for group in trainer.optimiser.param_groups:
            for parameter in group["params"]:
                rate = schedule.learning_rate if expected[0] is None else expected[0]
                assert group["lr"] == pytest.approx(expected[1] if id(parameter) in predictors else rate)
    assert trainer.schedule(20).learning_rate < 0.3 * peak
    grouped = [id(p) for group in trainer.optimiser.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in trainer.student.parameters() if p.requires_grad)


def test_the_backbone_to_evaluate(make_recipe: Any, digits_store: Store) -> None:
    byol = trainer_for(BYOL, make_recipe, digits_store)
    assert byol.teacher is not None
    assert byol.trained_backbone() is byol.student.backbone
    dino = Trainer(make_recipe(), digits_store.mean, digits_store.std, 6, torch.device("cpu"))
    assert dino.teacher is not None
    assert dino.trained_backbone() is dino.teacher.backbone


def test_local_views_are_refused_before_anything_runs() -> None:
    study = {
        "study": "trial",
        "data": {"digits": {"source": "digits", "image_size": 32}},
        "backbones": {"small": {"name": "resnet10t_half", "image_size": 32}},
        "augmentations": {"caug": {"name": "caug", "global_size": 32, "local_size": 16, "local_views": 4}},
        "methods": {"one": {"baseline": SIMSIAM}},
        "pretrainings": [{"data": "digits", "backbones": ["small"], "methods": ["one"], "augmentations": ["caug"]}],
        "evaluations": {"linear": {"perturbations": ["orig"]}},
    }
    message = (
        r"methods\.one: simsiam compares exactly two views, but augmentations\.caug\.local_views is 4; set it to 0"
    )
    with pytest.raises(UserError, match=message):
        parse_study(study, "study.yaml")
    study["augmentations"]["caug"]["local_views"] = 0  # type: ignore[index]
    parse_study(study, "study.yaml")
