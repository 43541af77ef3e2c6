"""Feature maps and shared draws, each trained with a test double: an add-on that is not in the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from clever.augmentation import ExtraView, PairViewOptions, View, make_view_maker
from clever.augmentation.options.views import FIRST, SECOND
from clever.backbones import BackboneOptions, build_backbone
from clever.baselines.options.simsiam import SimsiamOptions
from clever.data import Batches, Store
from clever.equivariance import EQUIVARIANCES, Batch, Equivariance, EquivarianceOptions, Term
from clever.equivariance.batch import contrast
from clever.equivariance.equivariance import whole
from clever.errors import UserError
from clever.implementation import Registered
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer
from clever.randomness import make_generator

VIT = {"name": "test_vit", "patch_size": 8}


class MapOptions(EquivarianceOptions):
    name: Literal["maps"] = "maps"  # type: ignore[assignment]
    number: int = 1


class Maps(Equivariance):
    """Makes the first view's map similar to the teacher's map of the second view, cell by cell (SER without
    rotations)."""

    def __init__(self, options: MapOptions, feature_dim: int, space: Any = None) -> None:
        super().__init__(whole(feature_dim))
        self.number = options.number
        self.feature_maps = (options.number,)

    def make_layers(self, map_widths: Sequence[int] = ()) -> nn.ModuleDict:
        return nn.ModuleDict({"projector": nn.Conv2d(map_widths[self.number], 4, 1, bias=False)})

    def terms(self, batch: Batch) -> dict[str, Term]:
        projector = batch.layers["projector"]
        mine = projector(batch.student.maps[0][self.number])
        target = projector(batch.teacher.maps[1][self.number]).detach()
        return contrast(batch) | {"maps": Term((mine - target).square().mean(), 1.0)}


class ChunkOptions(EquivarianceOptions):
    name: Literal["chunks"] = "chunks"  # type: ignore[assignment]
    size: int = 4

    def extra_views(self) -> tuple[ExtraView, ...]:
        return tuple(ExtraView(name, size=8, scale=(0.3, 1.0), shared_draws=self.size) for name in ("one", "other"))


class Chunks(Equivariance):
    """CARE's term: within a chunk that shares a transformation, the cosines between images should not change."""

    def __init__(self, options: ChunkOptions, feature_dim: int, space: Any = None) -> None:
        super().__init__(whole(feature_dim))
        self.size = options.size

    def extra_images(self, views: Any) -> dict[str, Tensor]:
        return {name: views[name].images for name in ("one", "other")}

    def terms(self, batch: Batch) -> dict[str, Term]:
        units = (nn.functional.normalize(batch.student.extra[name].float(), dim=1) for name in ("one", "other"))
        one, other = (unit.unflatten(0, (-1, self.size)) for unit in units)
        change = one @ one.transpose(1, 2) - other @ other.transpose(1, 2)
        return contrast(batch) | {"chunks": Term(2 * change.square().sum(-1).mean(), 0.5)}


class SharedOptions(EquivarianceOptions):
    name: Literal["shared"] = "shared"  # type: ignore[assignment]

    @property
    def shared_draws(self) -> int:
        return 2


class Shared(Equivariance):
    """A batch as in STL: neighbouring images share the parameters of the augmentation's views."""

    def __init__(self, options: SharedOptions, feature_dim: int, space: Any = None) -> None:
        super().__init__(whole(feature_dim))

    def terms(self, batch: Batch) -> dict[str, Term]:
        changes = batch.student.features[1] - batch.student.features[0]
        return contrast(batch) | {"shared": Term((changes[::2] - changes[1::2]).square().mean(), 1.0)}


@pytest.fixture
def recipe_for(make_recipe: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``recipe_for(options, **settings)``: a recipe whose add-on is a test double, with the settings of
    ``make_recipe``."""
    for kind, options in ((Maps, MapOptions), (Chunks, ChunkOptions), (Shared, SharedOptions)):
        monkeypatch.setitem(EQUIVARIANCES, options().name, Registered(options, f"{__name__}:{kind.__name__}"))

    def make(options: EquivarianceOptions, **settings: Any) -> RunRecipe:
        steps = {"weight_decay": 0.0, "final_weight_decay": 0.0, "batch_size": 8} | settings.pop("optimisation", {})
        plain: RunRecipe = make_recipe(equivariance="none", optimisation=steps, **settings)
        assert plain.method is not None
        method = plain.method.model_copy(update={"equivariance": options})
        return plain.model_copy(update={"method": method})

    return make


def trainer_for(recipe: RunRecipe, store: Store) -> Trainer:
    return Trainer(recipe, store.mean, store.std, 3, torch.device("cpu"))


def train(trainer: Trainer, store: Store) -> list[dict[str, float]]:
    batches = Batches(store.split("train"), 8, seed=0, device="cpu").epoch(0)
    return [
        {name: value.item() for name, value in trainer.step(batch, number).items()}
        for number, batch in enumerate(batches)
    ]


def box(view: View) -> Tensor:
    return torch.stack([view.parameters[f"crop_{side}"].float() for side in ("top", "left", "height", "width")], 1)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("backbone", [{}, VIT], ids=["resnet", "vit"])
def test_an_add_on_trains_on_feature_maps(
    backbone: dict[str, Any], apart: bool, recipe_for: Any, colourful_store: Store
) -> None:
    recipe = recipe_for(MapOptions(), backbone=backbone, augmentation={"local_views": 0 if apart else 2})
    if apart:
        siamese = SimsiamOptions(hidden_dim=12, out_dim=12, predictor_dim=6)
        recipe = recipe.model_copy(update={"method": recipe.method.model_copy(update={"baseline": siamese})})
    trainer = trainer_for(recipe, colourful_store)
    values = train(trainer, colourful_store)
    assert all(row["loss_maps"] > 0 for row in values)
    assert all(torch.tensor(row["loss_maps"]).isfinite() for row in values)
    assert trainer._last is not None
    student, teacher = trainer._last.student, trainer._last.teacher
    assert len(student.maps) == (2 if apart else 4)
    assert len(teacher.maps) == 2
    side = 2 if backbone else 4
    assert student.maps[0][1].shape[0] == 8
    assert student.maps[0][1].shape[2:] == (side, side)


@pytest.mark.parametrize("backbone", ["resnet10t_half", "test_vit"])
def test_a_map_is_the_layer_s_output_and_the_features_are_unchanged(backbone: str) -> None:
    options = BackboneOptions(name=backbone, image_size=16, patch_size=8 if backbone == "test_vit" else None)
    built = build_backbone(options, seed=0).eval()
    network: Any = built.network
    seen: list[Tensor] = []
    layer = network.layer2 if backbone == "resnet10t_half" else network.blocks[2]
    layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    images = torch.randn(3, 3, 16, 16, generator=make_generator(0, "images"))
    with torch.no_grad():
        features, maps = built.forward_with_maps(images, [2])
        expected = built(images)
    hooked = seen[0]
    if backbone == "test_vit":  # [N, prefix + 4, D] tokens to a grid of 2 x 2
        tokens = hooked[:, network.num_prefix_tokens :]
        hooked = torch.stack([torch.stack([tokens[:, 2 * row + c] for c in range(2)], -1) for row in range(2)], -2)
    torch.testing.assert_close(maps[2], hooked, rtol=0, atol=0)
    torch.testing.assert_close(features, expected, rtol=0, atol=0)


def test_the_term_reaches_the_layers_up_to_its_map_and_no_others(recipe_for: Any, colourful_store: Store) -> None:
    trainer = trainer_for(recipe_for(MapOptions(number=2)), colourful_store)
    batch = next(iter(Batches(colourful_store.split("train"), 8, seed=0, device="cpu").epoch(0)))
    trainer.compute_gradients(batch, 0)
    trainer.student.zero_grad()
    views = dict(zip(trainer.view_maker.names, trainer.make_views(batch, 0), strict=True))
    encoded = trainer.student([view.images for view in views.values()])
    assert trainer.teacher is not None
    targets = trainer.teacher([views[FIRST].images, views[SECOND].images])
    trainer.objective.terms(trainer.objective.batch(encoded, targets, views))["maps"].value.backward()
    reached = {name for name, p in trainer.student.named_parameters() if p.grad is not None and p.grad.any()}
    stages = {name.split(".")[2] for name in reached if name.startswith("backbone.network.layer")}
    assert stages == {"layer1", "layer2"}
    assert "layers.projector.weight" in reached


def test_a_backbone_without_such_a_map_is_refused(recipe_for: Any, colourful_store: Store) -> None:
    with pytest.raises(UserError, match="resnet10t_half has 5 feature maps: map 7 is not among them"):
        trainer_for(recipe_for(MapOptions(number=7)), colourful_store)


def test_an_add_on_trains_on_chunks_that_share_a_transformation(recipe_for: Any, colourful_store: Store) -> None:
    trainer = trainer_for(recipe_for(ChunkOptions()), colourful_store)
    assert all(row["loss_chunks"] > 0 for row in train(trainer, colourful_store))
    batch = next(iter(Batches(colourful_store.split("train"), 8, seed=0, device="cpu").epoch(0)))
    views = dict(zip(trainer.view_maker.names, trainer.make_views(batch, 0), strict=True))
    assert list(views) == ["global_1", "global_2", "local_1", "local_2", "one", "other"]
    for name in ("one", "other"):
        boxes = box(views[name])
        for chunk in boxes.split(4):
            assert (chunk == chunk[0]).all()
        assert not torch.equal(boxes[0], boxes[4])
    assert not torch.equal(box(views["one"]), box(views["other"]))
    assert len(box(views[FIRST]).unique(dim=0)) > 4


def test_neighbours_share_the_recipe_s_views(recipe_for: Any, colourful_store: Store) -> None:
    trainer = trainer_for(recipe_for(SharedOptions()), colourful_store)
    assert all(row["loss_shared"] > 0 for row in train(trainer, colourful_store))
    batch = next(iter(Batches(colourful_store.split("train"), 8, seed=0, device="cpu").epoch(0)))
    for view in trainer.make_views(batch, 0):
        for name, column in view.parameters.items():
            assert torch.equal(column[::2], column[1::2]), name
        assert len(box(view).unique(dim=0)) > 1


def test_shared_draws_are_the_same_on_any_number_of_processes(recipe_for: Any) -> None:
    recipe = recipe_for(ChunkOptions())
    options = recipe.method.equivariance
    maker = make_view_maker(recipe.augmentation, (0.5,) * 3, (0.25,) * 3, extra=options.extra_views(), shared_draws=2)
    sizes = torch.full((8, 2), 16)
    alone = maker.draw(sizes, make_generator(0, "views"))
    halves = [maker.draw(sizes[:4], make_generator(0, "views"), share, 2) for share in range(2)]
    for number, table in enumerate(alone):
        for name, column in table.items():
            assert torch.equal(column, torch.cat([half[number][name] for half in halves])), name


def test_groups_that_do_not_fit_are_refused(recipe_for: Any, colourful_store: Store) -> None:
    with pytest.raises(UserError, match=r"chunks lets 3 images share .* do not divide into such groups"):
        trainer_for(recipe_for(ChunkOptions(size=3)), colourful_store)
    with pytest.raises(UserError, match=r"chunks lets 8 images share .* accumulate 2\) do not divide"):
        trainer_for(recipe_for(ChunkOptions(size=8), optimisation={"accumulate": 2}), colourful_store)
    with pytest.raises(UserError, match="augmentation pairs cannot share view parameters among 2 images"):
        make_view_maker(PairViewOptions(), (0.5,) * 3, (0.25,) * 3, shared_draws=2)
