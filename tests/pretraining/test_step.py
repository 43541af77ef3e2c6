"""The effects of a training step on last layers, teacher, centres, statistics and random numbers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from clever.data import Batches, ImageBatch, Store
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

STEPS = 6


def trainer_for(recipe: RunRecipe, store: Store) -> Trainer:
    return Trainer(recipe, store.mean, store.std, STEPS, torch.device("cpu"))


def batches(store: Store, count: int) -> list[ImageBatch]:
    source = Batches(store.split("train"), 16, seed=0, device="cpu")
    return [batch for epoch in range(2) for batch in source.epoch(epoch)][:count]


def snapshot(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def moved(module: torch.nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}


@pytest.fixture
def trainer(make_recipe: Any, digits_store: Store) -> Trainer:
    return trainer_for(make_recipe(optimisation={"weight_decay": 0.5}), digits_store)


def test_the_last_layers_are_frozen_in_epoch_0_and_trained_in_epoch_1(trainer: Trainer, digits_store: Store) -> None:
    start = snapshot(trainer.student)
    last = {name for name in start if "last_layer" in name}
    row_norms = {name for name in last if name.endswith("original0")}
    assert len(last) == 4
    assert len(row_norms) == 2
    data = batches(digits_store, STEPS + 1)
    for iteration, batch in enumerate(data):
        trainer.step(batch, iteration)
        if iteration < STEPS:
            # Not even weight decay changes them.
            assert moved(trainer.student, start) == set(start) - last, iteration
    assert moved(trainer.student, start) == set(start) - row_norms


def test_the_teacher_changes_only_by_its_momentum_update(trainer: Trainer, digits_store: Store) -> None:
    assert trainer.teacher is not None
    for iteration, batch in enumerate(batches(digits_store, 3)):
        before = {name: p.double() for name, p in snapshot(trainer.teacher).items()}
        trainer.step(batch, iteration)
        momentum = trainer.schedule(iteration).momentum
        assert momentum is not None
        for (name, mine), student in zip(trainer.teacher.named_parameters(), trainer.student.parameters(), strict=True):
            expected = momentum * before[name] + (1 - momentum) * student.detach().double()
            torch.testing.assert_close(mine.double(), expected, rtol=1e-6, atol=1e-7)
            assert mine.grad is None
            assert not mine.requires_grad


def test_the_teacher_starts_as_the_student_and_normalises_with_its_own_batches(
    trainer: Trainer, digits_store: Store
) -> None:
    assert trainer.teacher is not None
    for mine, theirs in zip(trainer.teacher.state_dict().values(), trainer.student.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    trainer.step(batches(digits_store, 1)[0], 0)
    assert trainer.teacher.training
    statistics = {name: value for name, value in trainer.student.named_buffers() if "running_mean" in name}
    assert statistics
    for name, mine in trainer.teacher.named_buffers():
        if name in statistics:
            assert mine.abs().sum() > 0  # it has processed a batch
            assert not torch.equal(mine, statistics[name])  # from global views only; the student has local ones too


def test_the_centres_move_to_the_mean_of_the_teacher_s_outputs(trainer: Trainer, digits_store: Store) -> None:
    batch = batches(digits_store, 1)[0]
    seen: list[Any] = []
    observe = trainer.objective.observe
    trainer.objective.observe = lambda teachers, *more: (seen.extend(teachers), observe(teachers, *more))[1]  # type: ignore[method-assign]
    trainer.step(batch, 0)
    (teacher,) = seen
    for part in ("IR", "EF"):
        mean = torch.cat([view.projection for view in teacher.outputs[part]]).mean(0, keepdim=True)
        assert len(teacher.outputs[part]) == 2
        torch.testing.assert_close(trainer.objective.baseline(part).get_buffer("centre"), 0.1 * mean)


def test_the_loss_is_the_weighted_sum_of_its_terms(make_recipe: Any, digits_store: Store) -> None:
    weights = {"name": "clever", "orthogonality_weight": 0.25, "head_norm_weight": 0.03}
    values = trainer_for(make_recipe(equivariance=weights), digits_store).step(batches(digits_store, 1)[0], 0)
    assert list(values) == ["loss", "loss_contrast", "loss_orthogonality", "loss_head_norm", "gradient_norm"]
    total = values["loss_contrast"] + 0.25 * values["loss_orthogonality"] + 0.03 * values["loss_head_norm"]
    torch.testing.assert_close(values["loss"], total)


def test_the_baseline_alone_has_one_term(make_recipe: Any, digits_store: Store) -> None:
    values = trainer_for(make_recipe(equivariance="none"), digits_store).step(batches(digits_store, 1)[0], 0)
    assert list(values) == ["loss", "loss_contrast", "gradient_norm"]
    assert torch.equal(values["loss"], values["loss_contrast"])


def test_a_step_is_a_function_of_state_batch_and_iteration(make_recipe: Any, digits_store: Store) -> None:
    """A trainer that takes over in the middle of a run takes the same steps, whatever the global random state is."""
    recipe = make_recipe(backbone={"drop_path": 0.3})
    data = batches(digits_store, 3)
    first, second = trainer_for(recipe, digits_store), trainer_for(recipe, digits_store)
    for iteration in (0, 1):
        first.step(data[iteration], iteration)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    torch.manual_seed(999)
    expected = {name: value.item() for name, value in first.step(data[2], 2).items()}
    torch.rand(17)
    assert {name: value.item() for name, value in second.step(data[2], 2).items()} == expected
    for mine, theirs in zip(second.student.parameters(), first.student.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_each_step_and_each_seed_draws_different_views(make_recipe: Any, digits_store: Store) -> None:
    batch = batches(digits_store, 1)[0]
    trainers = [trainer_for(make_recipe(seed=seed), digits_store) for seed in (0, 0, 1)]
    losses = [t.compute_gradients(batch, i)["loss_contrast"].item() for t, i in zip(trainers, (0, 0, 0), strict=True)]
    assert losses[0] == losses[1] != losses[2]
    first, second = (trainers[0].make_views(batch, iteration)[0].images for iteration in (0, 1))
    assert not torch.equal(first, second)


def test_bf16_keeps_parameters_and_losses_in_fp32(make_recipe: Any, digits_store: Store) -> None:
    batch = batches(digits_store, 1)[0]
    losses = {}
    for precision in ("fp32", "bf16"):
        # No convolutions: on 1x1 maps, oneDNN writes garbage into the bf16 weight gradients of convolutions with stride
        # 2.
        vit = {"name": "test_vit", "image_size": 16, "patch_size": 8}
        trainer = trainer_for(make_recipe(backbone=vit, optimisation={"precision": precision}), digits_store)
        values = trainer.step(batch, 0)
        assert all(value.dtype == torch.float32 for value in values.values())
        assert all(p.dtype == torch.float32 for p in trainer.student.parameters())
        assert all(torch.isfinite(p).all() for p in trainer.student.parameters())
        losses[precision] = values["loss_contrast"].item()
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    assert losses["bf16"] != losses["fp32"]


def test_diagnosis_names_the_parts_of_the_representation(make_recipe: Any, digits_store: Store) -> None:
    batch = batches(digits_store, 1)[0]
    teacher = {"teacher_entropy_ratio", "teacher_student_divergence", "teacher_student_divergence_ratio"}
    for equivariance, parts in (("clever", ("all", "ir", "ef")), ("none", ("all",))):
        trainer = trainer_for(make_recipe(equivariance=equivariance), digits_store)
        trainer.step(batch, 0)
        expected = {f"{kind}_{part}" for kind in ("feature_std", "effective_rank", "view_cosine") for part in parts}
        assert set(trainer.diagnose()) == expected | teacher


def test_training_lowers_the_loss(make_recipe: Any, digits_store: Store) -> None:
    """One batch is repeated, with views that hardly differ: the contrast must fall well below its initial value."""
    trainer = trainer_for(make_recipe(optimisation={"epochs": 8, "learning_rate": 0.05}), digits_store)
    batch = batches(digits_store, 1)[0]
    losses = [trainer.step(batch, iteration)["loss_contrast"].item() for iteration in range(24)]
    assert sum(losses[-4:]) / 4 < 0.97 * sum(losses[:4]) / 4
