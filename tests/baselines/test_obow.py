"""OBoW's targets, loss and gradient against a float64 form with loops, its vocabulary and running mean of distances."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clever.baselines import HeadOutput, Samples
from clever.baselines import obow as module
from clever.baselines.obow import Obow, WordHead
from clever.baselines.options.obow import ObowOptions
from clever.data import Batches, Store
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

from ..tiny_methods import tiny_method

TINY = {"feature_maps": (0, 1), "vocabulary": 16, "hidden_dim": 12, "momentum": 0.9}
AS_WIDE_AS_ITS_INPUT = True

ROWS, WIDTH, WORDS, SHARPNESS, KAPPA = 4, 6, 9, 7.0, 3.0
WIDTHS = 5, 3
SIDES = 6, 2  # one map has a border; the other is too small for one


def obow(**settings: Any) -> Obow:
    options = {"feature_maps": (1, 2), "vocabulary": WORDS, "sharpness": SHARPNESS, "kappa": KAPPA, "hidden_dim": 7}
    baseline = Obow(ObowOptions.model_validate(options | settings))
    baseline.prepare(map_widths=(2, *WIDTHS))
    baseline.mean_distance.copy_(torch.tensor([2.0, 0.7]))
    return baseline


def make_head(baseline: Obow) -> WordHead:
    torch.manual_seed(0)
    return baseline.make_head(WIDTH)


def samples(rows: int = ROWS, seed: int = 0) -> Samples:
    draw = torch.Generator().manual_seed(seed)
    maps = [
        {n: torch.randn(rows, c, s, s, generator=draw) for n, c, s in zip((1, 2), WIDTHS, SIDES, strict=True)}
        for _ in range(2)
    ]
    indices = torch.arange(rows).repeat(2, 1)
    return Samples(indices, indices, maps=maps)


def inner_cells(grid: Tensor, side: int) -> list[Tensor]:
    """The cells of one map [C, S, S] that are used."""
    places = range(1, side - 1) if side >= 5 else range(side)
    return [grid[:, row, column].double() for row in places for column in places]


def bag(grid: Tensor, side: int, words: Tensor, mean_distance: float) -> Tensor:
    shares = []
    for cell in inner_cells(grid, side):
        logits = torch.stack([-((cell - word) ** 2).sum() * SHARPNESS / mean_distance for word in words])
        shares.append(logits.exp() / logits.exp().sum())
    strongest = torch.stack(shares).max(dim=0).values
    return strongest / strongest.sum()


def generated(head: WordHead, level: int, words: Tensor) -> Tensor:
    """Unit weights of all words: normalised, linear, BatchNorm with the vocabulary's moments, ReLU, linear."""
    first, norm, _, second = head.generators[level].double()  # type: ignore[operator]
    assert isinstance(norm, nn.BatchNorm1d)
    hidden = (words / words.norm(dim=1, keepdim=True).clamp_min(1e-12)) @ first.weight.T
    centred = hidden - hidden.mean(dim=0)
    hidden = centred / ((centred**2).mean(dim=0) + norm.eps).sqrt() * norm.weight + norm.bias
    made = hidden.clamp_min(0) @ second.weight.T + second.bias
    return made / made.norm(dim=1, keepdim=True)


def by_loops(baseline: Obow, head: WordHead, views: list[Tensor], known: Samples) -> Tensor:
    assert known.maps is not None
    total = {False: [], True: []}  # type: dict[bool, list[Tensor]]
    for level, number in enumerate((1, 2)):
        words, mean = baseline.words(level).double(), float(baseline.mean_distance[level])
        weights = generated(head, level, words)
        for source in range(2):
            targets = [bag(grid, SIDES[level], words, mean) for grid in known.maps[source][number]]
            for place, view in enumerate(views):
                if place == source:
                    continue
                loss = torch.zeros((), dtype=torch.float64)
                for features, target in zip(view, targets, strict=True):
                    scores = torch.stack([KAPPA * (features @ weight) for weight in weights])
                    predicted = scores - scores.exp().sum().log()
                    loss = loss + (target * (target.log() - predicted)).sum() / ROWS
                total[place >= 2].append(loss)
    return torch.stack([torch.stack(kind).mean() for kind in total.values() if kind]).sum()


@pytest.mark.parametrize("elements", [2**26, 2 * 16 * WORDS])
@pytest.mark.parametrize("local", [0, 1])
def test_loss_and_gradient(local: int, elements: int, draw: Any, agree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ELEMENTS", elements)  # all images at once, and two at a time
    baseline, known = obow(), samples()

    def mine(t: list[Tensor]) -> Tensor:
        views = [HeadOutput(tensor) for tensor in t]
        return baseline.attract_samples(views, views[:2], make_head(baseline), known)

    agree(mine, lambda t: by_loops(baseline, make_head(baseline), t, known), draw(2 + local, ROWS, WIDTH))


def test_the_generators_gradient_equals_the_loops(draw: Any) -> None:
    baseline, known, views = obow(), samples(), draw(2, ROWS, WIDTH)
    single, double = make_head(baseline), make_head(baseline)
    outputs = [HeadOutput(view.float()) for view in views]
    baseline.attract_samples(outputs, outputs, single, known).backward()
    by_loops(baseline, double, views, known).backward()
    for (name, parameter), expected in zip(single.named_parameters(), double.parameters(), strict=True):
        assert parameter.grad is not None
        assert expected.grad is not None
        scale = expected.grad.abs().max()
        assert scale > 1e-6, name
        torch.testing.assert_close(
            parameter.grad.double(),
            expected.grad,
            rtol=1e-3,
            atol=2e-5 * scale.item(),
            msg=lambda m, n=name: f"{n}: {m}",
        )


def test_the_similarity_is_the_cosine_of_scores(draw: Any) -> None:
    baseline, views = obow(), draw(4, ROWS, WIDTH)
    head = make_head(baseline)
    student, teacher = ([HeadOutput(view.float()) for view in part] for part in (views[:2], views[2:]))
    found = baseline.similarity(student, teacher, head)
    double = make_head(baseline)
    cosines = []
    for level in range(2):
        weights = generated(double, level, baseline.words(level).double())
        for mine, other in ((views[0], views[3]), (views[1], views[2])):
            for one, two in zip(mine @ weights.T, other @ weights.T, strict=True):
                cosines.append(one @ two / (one.norm() * two.norm()))
    torch.testing.assert_close(found.double(), torch.stack(cosines).mean().abs(), rtol=1e-4, atol=1e-6)


def test_the_vocabulary_holds_the_newest_local_features() -> None:
    baseline, known = obow(), samples()
    assert known.maps is not None
    before = [baseline.words(level).clone() for level in range(2)]
    torch.manual_seed(2)
    baseline.observe_samples([], known)
    for level, number in enumerate((1, 2)):
        words, grid, side = baseline.words(level), known.maps[0][number], SIDES[level]
        assert torch.equal(words[ROWS:], before[level][: WORDS - ROWS])
        for image in range(ROWS):
            if side >= 5:  # 4 x 4 cells inside the border give 2 x 2 means over 3 x 3 cells
                corners = [(row, column) for row in (1, 2) for column in (1, 2)]
                possible = [grid[image, :, r : r + 3, c : c + 3].mean((1, 2)) for r, c in corners]
            else:
                possible = [grid[image, :, r, c] for r in range(side) for c in range(side)]
            assert any(torch.allclose(words[image], cell, atol=1e-6) for cell in possible)


def test_the_mean_distance_follows_the_distances_to_the_nearest_words() -> None:
    baseline, known = obow(), samples()
    assert known.maps is not None
    expected = []
    for level, number in enumerate((1, 2)):
        words = baseline.words(level).double()
        near = [
            min(float(((cell - word) ** 2).sum()) for word in words)
            for maps in known.maps
            for grid in maps[number]
            for cell in inner_cells(grid, SIDES[level])
        ]
        expected.append(0.99 * float(baseline.mean_distance[level]) + 0.01 * sum(near) / len(near))
    baseline.observe_samples([], known)
    assert baseline.mean_distance.tolist() == pytest.approx(expected, rel=1e-5)


def test_the_last_layers_make_the_weights() -> None:
    head = make_head(obow())
    names = {id(p): name for name, p in head.named_parameters()}
    expected = {f"generators.{level}.3.{name}" for level in range(2) for name in ("weight", "bias")}
    assert {names[id(p)] for p in head.last_layer_parameters()} == expected


def test_feature_maps_are_required(draw: Any) -> None:
    views = [HeadOutput(tensor.float()) for tensor in draw(2, ROWS, WIDTH)]
    with pytest.raises(TypeError, match="attract_samples"):
        obow().attract(views, views, make_head(obow()))
    assert ObowOptions(feature_maps=(2, 5)).needed_maps() == (2, 5)
    with pytest.raises(ValueError, match="at least 1 item"):
        ObowOptions.model_validate({"feature_maps": ()})


@pytest.mark.parametrize("local_views", [0, 2])
def test_only_the_teacher_keeps_maps_and_parts_are_joined(
    local_views: int, make_recipe: Any, colourful_store: Store
) -> None:
    vocabularies = {}
    for parts in (1, 2):
        whole = make_recipe(
            backbone={"name": "test_vit", "patch_size": 8},  # without BatchNorm
            augmentation={"local_views": local_views},
            optimisation={"batch_size": 8, "accumulate": parts},
        ).model_dump()
        recipe = RunRecipe.model_validate(whole | {"method": tiny_method("obow", "none")})
        trainer = Trainer(recipe, colourful_store.mean, colourful_store.std, 3, torch.device("cpu"))
        assert trainer.student.feature_maps == ()
        assert trainer.teacher is not None
        assert trainer.teacher.feature_maps == (0, 1)
        batch = next(iter(Batches(colourful_store.split("train"), 8, seed=0, device="cpu").epoch(0)))
        assert trainer.step(batch, 0)["loss"] > 0
        baseline = trainer.objective.baseline("ALL")
        assert isinstance(baseline, Obow)
        vocabularies[parts] = baseline.words(1)
        assert len(vocabularies[parts][:8].unique(dim=0)) == 8
    if not local_views:  # draw equally many random numbers first
        torch.testing.assert_close(vocabularies[1], vocabularies[2])
