"""The samples that a baseline receives, for pairs of photographs and for chunks of an accumulated batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from clever.baselines import HeadOutput, Samples
from clever.baselines.supremix import COLUMNS, Supremix, supremix_loss
from clever.data import Batches, Store
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

from ..evaluation.objects import objects_store
from ..tiny_methods import tiny_method

VIT = {
    "name": "test_vit",
    "image_size": 16,
    "patch_size": 8,
}  # without BatchNorm, so images do not depend on each other

Seen = list[tuple[list[HeadOutput], Samples]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The arguments of supremix's loss, call by call."""
    calls: Seen = []
    original = Supremix.attract_samples

    def recorded(
        self: Supremix, student: Sequence[HeadOutput], teacher: Any, head: Any = None, samples: Samples | None = None
    ) -> torch.Tensor:
        assert samples is not None
        calls.append((list(student), samples))
        return original(self, student, teacher, head, samples)

    monkeypatch.setattr(Supremix, "attract_samples", recorded)
    return calls


def recipe_for(make_recipe: Any, target: str | None, parts: int, augmentation: dict[str, Any]) -> RunRecipe:
    optimisation = {"batch_size": 8, "accumulate": parts}
    whole = make_recipe(backbone=VIT, augmentation={"local_views": 0}, optimisation=optimisation).model_dump()
    method = tiny_method("supremix", "none")
    # BatchNorm in the head would make an image's projection depend on the other images of its part.
    method["baseline"] |= {"target": target, "unit": 0.1, "batch_norm_in_head": False}
    return RunRecipe.model_validate(
        whole | {"method": method} | ({"augmentation": augmentation} if augmentation else {})
    )


def one_step(recipe: RunRecipe, store: Store) -> tuple[Any, dict[str, torch.Tensor]]:
    assert recipe.augmentation is not None
    batches = Batches(store.split("train"), 8, seed=0, device="cpu", pairs=recipe.augmentation.pairs)
    batch = next(iter(batches.epoch(0)))
    return batch, Trainer(recipe, store.mean, store.std, 3, torch.device("cpu")).step(batch, 0)


@pytest.mark.parametrize("parts", [1, 2])
def test_each_photograph_of_an_object_has_its_latents(parts: int, seen: Seen, make_recipe: Any, tmp_path: Path) -> None:
    store = objects_store(tmp_path)
    split = store.split("train")
    _, values = one_step(recipe_for(make_recipe, "floor_hue", parts, {"name": "pairs", "global_size": 16}), store)
    assert split.latents is not None
    assert len(seen) == parts
    losses = []
    for views, samples in seen:
        assert samples.indices.shape == (2, 8 // parts)
        assert samples.latents is not None
        assert torch.equal(samples.latents, split.latents[samples.indices])
        assert torch.equal(samples.labels, split.labels[samples.indices])
        assert torch.equal(samples.labels[0], samples.labels[1])  # of one object
        assert not torch.equal(samples.latents[0], samples.latents[1])  # but of two photographs
        embeddings = torch.nn.functional.normalize(torch.cat([view.projection.detach() for view in views]), dim=1)
        hue = split.latents[samples.indices.flatten(), COLUMNS["floor_hue"]] / 0.1
        shares = torch.full((len(hue), len(hue)), 0.2)
        losses.append(supremix_loss(embeddings, hue, shares, 0.3, 3.0).item())
    # The shares are drawn, and their mean is 0.2.
    assert values["loss"].item() == pytest.approx(sum(losses) / parts, rel=0.05)


@pytest.mark.parametrize("views", ["augmented", "pairs"])
def test_rows_of_a_part_match_its_views(
    views: str, seen: Seen, make_recipe: Any, colourful_store: Store, tmp_path: Path
) -> None:
    found: dict[int, dict[tuple[int, int], torch.Tensor]] = {}
    for parts in (1, 2, 4):
        store = objects_store(tmp_path / str(parts)) if views == "pairs" else colourful_store
        augmentation = {"name": "pairs", "global_size": 16} if views == "pairs" else {}
        batch, _ = one_step(recipe_for(make_recipe, None, parts, augmentation), store)
        calls, seen[:] = seen[:], []
        assert len(calls) == parts
        found[parts] = {
            (view, int(row)): output.projection[place].detach()
            for outputs, samples in calls
            for view, output in enumerate(outputs)
            for place, row in enumerate(samples.indices[view])
        }
        expected = batch.indices.chunk(2) if views == "pairs" else (batch.indices, batch.indices)
        assert {(view, int(row)) for view, rows in enumerate(expected) for row in rows} == set(found[parts])
    for parts in (2, 4):
        for key, projection in found[1].items():
            torch.testing.assert_close(found[parts][key], projection, rtol=1e-4, atol=1e-5)
    assert torch.stack(list(found[1].values())).std(dim=0).min() > 1e-3  # images differ, so a mix-up would be detected
