"""A step against equivalent variants: in parts, with recomputed activations, and with clipping of single tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clever.augmentation import Augmentation
from clever.data import Batches, ImageBatch, Store
from clever.pretraining.optimiser import clip_each
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer
from clever.randomness import make_generator

VIT = {"name": "test_vit", "image_size": 16, "patch_size": 8}


def one_batch(store: Store, size: int = 16) -> ImageBatch:
    return store.split("train").images(range(size))


def trainer_for(recipe: RunRecipe, store: Store) -> Trainer:
    return Trainer(recipe, store.mean, store.std, 6, torch.device("cpu"))


def first_gradients(trainer: Trainer, store: Store) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The losses, and the gradients of all parameters that have one."""
    values = trainer.compute_gradients(one_batch(store), 0)
    named = trainer.student.named_parameters()
    return values, {name: parameter.grad for name, parameter in named if parameter.grad is not None}


def buffers(trainer: Trainer) -> dict[str, Tensor]:
    modules = {"student": trainer.student, "objective": trainer.objective}
    return {f"{key}.{name}": value.clone() for key, module in modules.items() for name, value in module.named_buffers()}


def assert_same_step(trainer: Trainer, reference: Trainer, store: Store, tolerance: float) -> None:
    values, gradients = first_gradients(trainer, store)
    expected_values, expected_gradients = first_gradients(reference, store)
    torch.testing.assert_close(values, expected_values, rtol=tolerance, atol=0)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        atol = 10 * tolerance * gradient.abs().max().item()
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
    torch.testing.assert_close(buffers(trainer), buffers(reference), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("parts", [2, 4])
def test_an_accumulated_batch_gives_the_gradients_and_centres_of_the_whole(
    make_recipe: Any, digits_store: Store, parts: int
) -> None:
    # Uses no BatchNorm, which sees one part at a time.
    trainer = trainer_for(make_recipe(backbone=VIT, optimisation={"accumulate": parts}), digits_store)
    assert_same_step(trainer, trainer_for(make_recipe(backbone=VIT), digits_store), digits_store, tolerance=2e-6)


@pytest.mark.parametrize(
    "backbone",
    [
        VIT | {"drop_path": 0.5},  # recomputation must drop the same paths
        {"name": "resnet10t_half", "image_size": 16},  # recomputation must not update the running statistics again
        {"name": "pixels", "image_size": 8},  # not a timm backbone: recomputed as a whole
    ],
    ids=lambda backbone: backbone["name"],
)
def test_recomputed_activations_do_not_change_the_step(
    make_recipe: Any, digits_store: Store, backbone: dict[str, Any]
) -> None:
    views = {"global_size": 8, "local_views": 0} if backbone["name"] == "pixels" else {}
    trainers = [
        trainer_for(
            make_recipe(backbone=backbone, augmentation=views, optimisation={"checkpoint_activations": recompute}),
            digits_store,
        )
        for recompute in (True, False)
    ]
    assert_same_step(*trainers, digits_store, tolerance=1e-6)


def test_recomputation_runs_the_blocks_twice(make_recipe: Any, digits_store: Store) -> None:
    calls = []
    for recompute in (False, True):
        recipe = make_recipe(backbone=VIT, optimisation={"checkpoint_activations": recompute})
        trainer = trainer_for(recipe, digits_store)
        seen: list[int] = []
        network: Any = trainer.student.backbone.network
        network.blocks[0].mlp.register_forward_pre_hook(lambda *_, seen=seen: seen.append(1))
        first_gradients(trainer, digits_store)
        calls.append(len(seen))
    assert calls == [2, 4]  # once for the global and once for the local views


def test_views_equal_the_augmentation_s(make_recipe: Any, digits_store: Store) -> None:
    recipe = make_recipe(augmentation={"name": "caug_plus"})
    batch = one_batch(digits_store)
    views = trainer_for(recipe, digits_store).make_views(batch, 5)
    augmentation = Augmentation(recipe.augmentation, digits_store.mean, digits_store.std)
    expected = augmentation(batch.pixels, batch.sizes, make_generator(recipe.seed, "augmentation", 5))
    assert len(views) == len(expected) == 4
    for view, other in zip(views, expected, strict=True):
        torch.testing.assert_close(view.images, other.images)


def test_each_gradient_is_clipped_separately() -> None:
    parameters = [nn.Parameter(torch.zeros(n)) for n in (3, 4, 5)]
    gradients = [torch.tensor([3.0, 0.0, 4.0]), torch.full((4,), 0.5), torch.arange(5.0)]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    together = clip_each([*parameters, nn.Parameter(torch.zeros(2))], 3.0)
    assert together.item() == pytest.approx(sum(g.square().sum().item() for g in gradients) ** 0.5)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        reference = nn.Parameter(torch.zeros_like(gradient))
        reference.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([reference], 3.0)
        torch.testing.assert_close(parameter.grad, reference.grad)
    assert torch.equal(parameters[1].grad, gradients[1])  # already short: not even rounded


def test_without_clipping_gradients_are_unchanged() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([300.0, 400.0])
    assert clip_each([parameter], None).item() == pytest.approx(500)
    assert parameter.grad.tolist() == [300.0, 400.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("backbone", [VIT, {"name": "resnet10t_half", "image_size": 16}], ids=lambda b: b["name"])
def test_a_step_never_waits_for_the_device(make_recipe: Any, digits_store: Store, backbone: dict[str, Any]) -> None:
    recipe = make_recipe(backbone=backbone, augmentation={"name": "caug_plus"}, optimisation={"precision": "bf16"})
    device = torch.device("cuda")
    batches = Batches(digits_store.split("train"), 16, seed=0, device=device, placement="device")
    trainer = Trainer(recipe, digits_store.mean, digits_store.std, len(batches), device)
    for epoch in range(2):  # the first step creates persistent objects: streams, workspaces, the optimiser's state
        steps = enumerate(batches.epoch(epoch), start=epoch * len(batches))
        for iteration, batch in steps:
            torch.cuda.set_sync_debug_mode("error" if iteration > len(batches) else "default")
            try:
                trainer.step(batch, iteration)
            finally:
                torch.cuda.set_sync_debug_mode("default")
