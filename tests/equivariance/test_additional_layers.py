"""Add-ons with extra views and additional layers (E-SSL, EquiMod, AugSelf), trained on tiny images."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from clever.data import Batches, ImageBatch, Store
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

ADD_ONS: dict[str, dict[str, Any]] = {
    "essl": {"name": "essl", "crop_size": 8, "hidden_dims": (12, 12)},
    "essl as large as the views": {"name": "essl", "crop_size": 16, "hidden_dims": (12,)},
    "equimod": {"name": "equimod", "hidden_dim": 12, "out_dim": 8, "parameter_dim": 6},
    "equimod between views": {
        "name": "equimod",
        "source": "other_view",
        "hidden_dim": 12,
        "out_dim": 8,
        "parameter_dim": 6,
    },
    "augself": {"name": "augself", "hidden_dim": 12},
}
BASELINES: dict[str, dict[str, Any]] = {
    "dino": {
        "name": "dino",
        "out_dim": 16,
        "hidden_dim": 12,
        "bottleneck_dim": 8,
        "freeze_last_layer_epochs": 0,
        "momentum": 0.9,
    },
    "simclr": {"name": "simclr", "hidden_dim": 12, "out_dim": 8},
}
VIT = {"name": "test_vit", "image_size": 16, "patch_size": 8}


@pytest.fixture
def trainer_for(make_recipe: Any, digits_store: Store) -> Any:
    """``trainer_for(equivariance, baseline, **settings)``, with the settings of ``make_recipe``."""

    def make(equivariance: dict[str, Any], baseline: str = "simclr", **settings: Any) -> Trainer:
        views = {"local_views": 2 if baseline == "dino" else 0} | settings.pop("augmentation", {})
        # Without weight decay, only parameters with a gradient change.
        steps = {"weight_decay": 0.0, "final_weight_decay": 0.0} | settings.pop("optimisation", {})
        whole = make_recipe(augmentation=views, optimisation=steps, **settings).model_dump()
        method = {"baseline": BASELINES[baseline], "equivariance": equivariance}
        recipe = RunRecipe.model_validate(whole | {"method": method})
        return Trainer(recipe, digits_store.mean, digits_store.std, 6, torch.device("cpu"))

    return make


@pytest.fixture(scope="module")
def data(digits_store: Store) -> list[ImageBatch]:
    return list(Batches(digits_store.split("train"), 16, seed=0, device="cpu").epoch(0))


@pytest.mark.parametrize("add_on", ADD_ONS)
def test_a_few_steps_with_a_teacher_and_local_views(add_on: str, trainer_for: Any, data: list[ImageBatch]) -> None:
    trainer = trainer_for(ADD_ONS[add_on], "dino")
    name = ADD_ONS[add_on]["name"]
    before = {key: p.detach().clone() for key, p in trainer.student.named_parameters()}
    assert any(key.startswith("layers.") for key in before)
    for iteration, batch in enumerate(data[:2]):
        values = trainer.step(batch, iteration)
        assert list(values) == ["loss", "loss_contrast", f"loss_{name}", "gradient_norm"]
        weight = 0.4 if name == "essl" else 1.0
        torch.testing.assert_close(values["loss"], values["loss_contrast"] + weight * values[f"loss_{name}"])
    for key, parameter in trainer.student.named_parameters():
        assert parameter.isfinite().all(), key
        assert torch.equal(parameter, before[key]) is not parameter.requires_grad, key
    assert trainer.teacher is not None
    assert not len(trainer.teacher.layers)
    assert all(p.grad is None and not p.requires_grad for p in trainer.teacher.parameters())
    assert any(key.startswith(f"{name}_") for key in trainer.diagnose())


@pytest.mark.parametrize("local_views", [0, 2])
@pytest.mark.parametrize("add_on", ADD_ONS)
def test_an_add_on_does_not_change_the_recipe_s_views(
    add_on: str, local_views: int, trainer_for: Any, data: list[ImageBatch]
) -> None:
    alone, more = (
        trainer_for(equivariance, "dino", augmentation={"local_views": local_views}).make_views(data[0], 3)
        for equivariance in ({"name": "none"}, ADD_ONS[add_on])
    )
    assert [view.kind for view in more[len(alone) :]] == ["extra"] * (len(more) - len(alone))
    assert (len(more) > len(alone)) == (add_on in ("essl", "essl as large as the views", "equimod"))
    for one, other in zip(alone, more, strict=False):
        assert torch.equal(one.images, other.images)
        assert all(torch.equal(column, other.parameters[name]) for name, column in one.parameters.items())


@pytest.mark.parametrize("add_on", ["essl", "augself"])
def test_an_accumulated_batch_gives_the_gradients_of_the_whole(
    add_on: str, trainer_for: Any, data: list[ImageBatch]
) -> None:
    """Uses no BatchNorm and no negatives, which see one part at a time; EquiMod has both, and a separate test."""
    parts, whole = (
        trainer_for(ADD_ONS[add_on], "dino", backbone=VIT, optimisation={"accumulate": count}) for count in (2, 1)
    )
    values, expected = (trainer.compute_gradients(data[0], 0) for trainer in (parts, whole))
    torch.testing.assert_close(values, expected, rtol=2e-6, atol=0)
    gradients = {name: p.grad for name, p in whole.student.named_parameters()}
    for name, parameter in parts.student.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = gradients[name].abs().max().item()
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize("add_on", ADD_ONS)
def test_a_resumed_run_has_the_same_bits_with_and_without_diagnosis(
    add_on: str, trainer_for: Any, data: list[ImageBatch]
) -> None:
    first, second = (trainer_for(ADD_ONS[add_on], optimisation={"accumulate": 2}) for _ in range(2))
    first.step(data[0], 0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    first.diagnose()
    torch.rand(5)
    expected = {name: value.item() for name, value in first.step(data[1], 1).items()}
    assert {name: value.item() for name, value in second.step(data[1], 1).items()} == expected
    theirs = first.student.state_dict()
    for name, mine in second.student.state_dict().items():
        assert torch.equal(mine, theirs[name]), name


@pytest.mark.parametrize("add_on", ADD_ONS)
def test_losses_are_float32_under_bf16(add_on: str, trainer_for: Any, data: list[ImageBatch]) -> None:
    name = f"loss_{ADD_ONS[add_on]['name']}"
    values = {}
    for precision in ("fp32", "bf16"):
        trainer = trainer_for(ADD_ONS[add_on], optimisation={"precision": precision})
        values[precision] = trainer.step(data[0], 0)[name]
        assert values[precision].dtype == torch.float32
        assert all(p.dtype == torch.float32 for p in trainer.student.parameters())
        assert all(torch.tensor(value).isfinite() for value in trainer.diagnose().values())
    # An eight-bit mantissa through some twenty layers.
    torch.testing.assert_close(values["bf16"], values["fp32"], rtol=0.03, atol=0.03)
