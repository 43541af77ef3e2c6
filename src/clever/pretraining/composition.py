"""Compose a run: backbone, heads, teacher, objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clever.augmentation import ParameterSpace, parameter_space
from clever.backbones import Backbone, BackboneOptions, build_backbone
from clever.backbones.initial_weights import InitialWeights, load_initial_weights
from clever.baselines import BASELINES, AnyBaseline
from clever.equivariance import EQUIVARIANCES, Equivariance, Objective
from clever.options import parse
from clever.pretraining.network import Network
from clever.pretraining.recipe import MethodOptions, RunRecipe
from clever.randomness import derive_seed, seeded


@dataclass(frozen=True)
class Composition:
    """The trainable parts of a run."""

    student: Network
    teacher: Network | None
    """The momentum teacher; None if the baseline has none and the student is its own target."""
    objective: Objective
    initial_weights: InitialWeights | None = None
    """What was loaded into the backbone before training; None if it starts from random weights."""


def initial_backbone(recipe: RunRecipe) -> tuple[Backbone, InitialWeights | None]:
    """Build the backbone that a run starts from, with its initial weights; a control run consists of this backbone
    alone.

    Raises:
        UserError: the initial weights cannot be loaded, or more layers are to be frozen than the backbone has.
    """
    backbone = build_backbone(recipe.backbone, seed=recipe.seed)
    loaded = None if recipe.backbone.init is None else load_initial_weights(backbone, recipe.backbone.init)
    if recipe.backbone.frozen_depth:
        backbone.freeze(recipe.backbone.frozen_depth)
    return backbone, loaded


def compose(recipe: RunRecipe, training_images: int | None = None) -> Composition:
    """Build a run's networks and objective on the CPU; every parameter is a pure function of the recipe.

    A momentum teacher starts as a copy of the student. Its backbone has its own drop path (the paper's teacher has
    none), and it stays in training mode, so that its BatchNorm normalises with its own batches (main_dino.py:262-269).
    A baseline that keeps state for each image needs ``training_images``, their number.
    """
    assert recipe.method is not None
    assert recipe.optimisation is not None
    backbone, initial_weights = initial_backbone(recipe)
    assert recipe.augmentation is not None
    space = parameter_space(recipe.augmentation)
    objective = build_objective(recipe.method, backbone.feature_dim, space)
    of_student, of_teacher = feature_maps(objective)
    backbone.require_maps(of_teacher)
    objective.prepare(training_images, backbone.feature_map_widths)
    with seeded(derive_seed(recipe.seed, "heads")):
        heads = objective.make_heads()
    with seeded(derive_seed(recipe.seed, "layers")):
        layers = objective.add_on.make_layers(backbone.feature_map_widths)
    student = Network(backbone, heads, objective.parts, objective.views_apart, layers, of_student)
    return Composition(student, _momentum_teacher(recipe, student, objective), objective, initial_weights)


def feature_maps(objective: Objective) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the indices of the feature maps that the student and the network that provides the targets return."""
    of_add_on = objective.add_on.feature_maps
    everything = tuple(sorted({*of_add_on, *objective.feature_maps}))
    return of_add_on if objective.has_momentum_teacher else everything, everything


def build_objective(method: MethodOptions, feature_dim: int, space: ParameterSpace | None = None) -> Objective:
    """Build a method's equivariance add-on and its baselines, for a representation with ``feature_dim`` entries.

    ``space`` holds the parameters of the views; an add-on that reads none can be built without it.
    """
    baseline = BASELINES[method.baseline.name]
    equivariance_kind = EQUIVARIANCES[method.equivariance.name].kind

    def make_baseline(replaced: Mapping[str, object]) -> AnyBaseline:
        options = parse(baseline.options, method.baseline.model_dump() | dict(replaced), "equivariance.ef_baseline")
        return baseline.kind(options)

    add_on: Equivariance = equivariance_kind(method.equivariance, feature_dim, space)  # type: ignore[arg-type, call-arg]
    add_on.output_dim = getattr(method.baseline, "out_dim", None)
    return Objective(add_on, make_baseline)


def _momentum_teacher(recipe: RunRecipe, student: Network, objective: Objective) -> Network | None:
    if not objective.has_momentum_teacher:
        return None
    assert recipe.optimisation is not None
    options: BackboneOptions = recipe.backbone.model_copy(update={"drop_path": recipe.optimisation.teacher_drop_path})
    heads = objective.make_heads()
    backbone = build_backbone(options, seed=None)
    if options.frozen_depth:
        backbone.freeze(options.frozen_depth)
    teacher = Network(
        backbone,
        heads,
        objective.parts,
        objective.views_apart,
        feature_maps=feature_maps(objective)[1],
    )
    # The student's extra layers, which the objective applies only to the student, have no counterpart.
    shared = {name: value for name, value in student.state_dict().items() if not name.startswith("layers.")}
    teacher.load_state_dict(shared)
    return teacher.requires_grad_(False)
