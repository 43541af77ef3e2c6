"""InterCLR's loss against a float64 form with the same draws, its memory and its pseudo-labels."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines import HeadOutput, Samples
from clever.baselines.interclr import Interclr
from clever.baselines.options.interclr import InterclrOptions
from clever.data import Batches, Store
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

from ..tiny_methods import tiny_method

TINY = {
    "queue_length": 16,
    "momentum": 0.9,
    "images_per_cluster": 6,
    "min_cluster": 2,
    "clustering_epoch": 0,
    "pool_share": 0.5,
    "negatives": 4,
}
JOINED = {"queue_length": 32, "images_per_cluster": 4, "min_cluster": 1, "clustering_epoch": 0}

ROWS, WIDTH, LENGTH, IMAGES = 4, 6, 20, 24
POOL, NEGATIVES, T, MARGIN = 12, 5, 0.3, -0.4
SETTINGS = {
    **{"hidden_dim": 12, "out_dim": WIDTH, "queue_length": LENGTH, "temperature": T, "clustering_epoch": 1},
    **{"images_per_cluster": 6, "min_cluster": 2, "pool_share": POOL / IMAGES, "negatives": NEGATIVES},
    **{"margin": MARGIN, "inter_weight": 0.3},
}


def interclr(**settings: Any) -> Interclr:
    baseline = Interclr(InterclrOptions.model_validate(SETTINGS | settings))
    baseline.prepare(IMAGES)
    baseline.start_epoch(1)
    return baseline


def samples(rows: list[int]) -> Samples:
    indices = torch.tensor(rows).repeat(2, 1)
    return Samples(indices, indices % 2)


def contrast(positive: Tensor, negatives: list[Tensor]) -> Tensor:
    logits = torch.stack([positive, *negatives]) / T
    return torch.logsumexp(logits, 0) - logits[0]


def between(baseline: Interclr, queries: Tensor, rows: list[int], draws: Tensor) -> Tensor:
    memory, labels = baseline.memory.double(), baseline.pseudo_labels.tolist()
    total = torch.zeros((), dtype=torch.float64)
    for i, row in enumerate(rows):
        q = queries[i] / queries[i].norm()
        alike = [image for image in range(IMAGES) if labels[image] == labels[row]]
        positive = q @ memory[alike[int(float(draws[i, 0]) * len(alike))]] - MARGIN
        pool = sorted(range(IMAGES), key=lambda image, q=q: -float(q.detach() @ memory[image]))[:POOL]
        keys = {image: float(draws[i, 1 + place]) for place, image in enumerate(pool) if labels[image] != labels[row]}
        chosen = sorted(keys, key=lambda image, keys=keys: -keys[image])[:NEGATIVES]
        total = total + contrast(positive, [q @ memory[image] for image in chosen]) / len(rows)
    return total


@pytest.mark.parametrize("symmetric", [True, False])
def test_loss_and_gradient(symmetric: bool, draw: Any, agree: Any) -> None:
    baseline, rows = interclr(symmetric=symmetric), [3, 17, 8, 21]
    keys = [tensor.double() for tensor in draw(2, ROWS, WIDTH, 1)]
    teacher = [HeadOutput(key.float()) for key in keys]
    queues = baseline.queue.double()
    assert len(set(baseline.pseudo_labels.tolist())) > 2

    def intra(queries: Tensor, of: int) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for i in range(ROWS):
            q, k = queries[i] / queries[i].norm(), keys[of][i] / keys[of][i].norm()
            total = total + contrast(q @ k, [q @ row for row in queues[of]]) / ROWS
        return total

    def reference(t: list[Tensor]) -> Tensor:
        torch.manual_seed(3)
        draws = [torch.rand(ROWS, 1 + POOL) for _ in range(2)]
        if not symmetric:
            return 0.7 * intra(t[0], 1) + 0.3 * between(baseline, t[0], rows, draws[0])
        inter = sum(between(baseline, t[v], rows, draws[v]) / 2 for v in range(2))
        return 0.7 * (intra(t[0], 1) + intra(t[1], 0)) / 2 + 0.3 * inter

    def mine(t: list[Tensor]) -> Tensor:
        torch.manual_seed(3)
        second = HeadOutput(t[1]) if symmetric else teacher[1]
        return baseline.attract_samples([HeadOutput(t[0]), second], teacher, None, samples(rows))

    agree(mine, reference, draw(2 if symmetric else 1, ROWS, WIDTH))


def test_before_the_first_clusters_the_loss_equals_moco(draw: Any) -> None:
    baseline = interclr()
    views = [HeadOutput(tensor.float()) for tensor in draw(2, ROWS, WIDTH)]
    later = baseline.attract_samples(views, views, None, samples([0, 1, 2, 3]))
    baseline.start_epoch(0)
    alone = baseline.attract_samples(views, views, None, samples([0, 1, 2, 3]))
    assert alone != later
    torch.testing.assert_close(alone, super(Interclr, baseline).attract(views, views))
    with pytest.raises(TypeError, match="attract_samples"):
        baseline.attract(views, views)


def test_a_query_without_negatives_in_its_pool_has_no_loss_between_images(draw: Any) -> None:
    baseline = interclr(inter_weight=1.0)
    baseline.pseudo_labels.zero_()
    views = [HeadOutput(tensor.float()) for tensor in draw(2, ROWS, WIDTH)]
    assert baseline.attract_samples(views, views, None, samples([0, 1, 2, 3])) == 0


def test_keys_replace_the_entries_and_labels_of_their_images(draw: Any) -> None:
    baseline, rows = interclr(), [3, 17, 8, 21]
    before, labels = baseline.memory.clone(), baseline.pseudo_labels.clone()
    keys = draw(2, ROWS, WIDTH)
    baseline.observe_samples([HeadOutput(key.float()) for key in keys], samples(rows))
    for place, row in enumerate(rows):
        key = keys[1][place] / keys[1][place].norm()  # of the second view
        torch.testing.assert_close(baseline.memory[row].double(), key, atol=1e-6, rtol=0)
        scores = [float(key @ centroid) for centroid in baseline.centroids.double()]
        assert baseline.pseudo_labels[row] == scores.index(max(scores))
    others = [row for row in range(IMAGES) if row not in rows]
    assert torch.equal(baseline.memory[others], before[others])
    assert torch.equal(baseline.pseudo_labels[others], labels[others])


def test_each_of_two_photographs_of_an_object_has_an_entry(draw: Any) -> None:
    baseline, keys = interclr(), draw(2, ROWS, WIDTH)
    rows = torch.tensor([[0, 2, 4, 6], [1, 3, 5, 7]])
    baseline.observe_samples([HeadOutput(key.float()) for key in keys], Samples(rows, rows))
    for view in range(2):
        torch.testing.assert_close(baseline.memory[rows[view]], F.normalize(keys[view].float(), dim=1))


def test_clusters_are_repaired_once_per_epoch() -> None:
    baseline = interclr()
    assert int(baseline.clustered_in) == 1
    baseline.pseudo_labels.copy_((torch.arange(IMAGES) >= IMAGES - 1).long())  # a cluster of one image
    moved = copy.deepcopy(baseline)
    baseline.start_epoch(1)  # a resumed run
    assert torch.equal(baseline.pseudo_labels, moved.pseudo_labels)
    baseline.start_epoch(2)
    sizes = torch.bincount(baseline.pseudo_labels)
    assert len(sizes) == len(baseline.centroids) == IMAGES // 6
    assert sizes.max() < 2 * sizes.median() + 6
    means = [baseline.memory[baseline.pseudo_labels == label].mean(0) for label in range(len(sizes))]
    torch.testing.assert_close(baseline.centroids, torch.stack(means).nan_to_num())


def test_the_number_of_training_images_is_needed(make_recipe: Any, colourful_store: Store) -> None:
    whole = make_recipe(augmentation={"local_views": 0}, optimisation={"batch_size": 8}).model_dump()
    recipe = RunRecipe.model_validate(whole | {"method": tiny_method("interclr", "none")})
    with pytest.raises(TypeError, match="give training_images"):
        Trainer(recipe, colourful_store.mean, colourful_store.std, 3, torch.device("cpu"))


def test_accumulated_parts_use_their_own_images(make_recipe: Any, colourful_store: Store) -> None:
    entries = {}
    for parts in (1, 2):
        whole = make_recipe(
            augmentation={"local_views": 0}, optimisation={"batch_size": 8, "accumulate": parts}
        ).model_dump()
        recipe = RunRecipe.model_validate(whole | {"method": tiny_method("interclr", "none")})
        data = colourful_store.mean, colourful_store.std
        trainer = Trainer(recipe, *data, 3, torch.device("cpu"), training_images=24)
        trainer.objective.start_epoch(0)
        start = trainer.objective.baseline("ALL").memory.clone()
        batch = next(iter(Batches(colourful_store.split("train"), 8, seed=0, device="cpu").epoch(0)))
        assert trainer.step(batch, 0)["loss"] > 0
        moved = (trainer.objective.baseline("ALL").memory != start).any(dim=1)
        assert sorted(batch.indices.tolist()) == torch.nonzero(moved).flatten().tolist()
        entries[parts] = trainer.objective.baseline("ALL").memory
    # The views and images are the same, but BatchNorm sees fewer images at a time.
    assert F.cosine_similarity(entries[1], entries[2]).min() > 0.5
