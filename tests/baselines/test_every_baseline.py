"""Every baseline of the registry with every add-on: a few steps on tiny images, and where gradients go."""

from __future__ import annotations

import copy
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from clever.baselines import BASELINES, Head, Samples
from clever.baselines.mlp import PredictionHead, ProjectionHead
from clever.data import Batches, Store
from clever.equivariance import EQUIVARIANCES, Encoded, Heads, Objective, Term
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions, RunRecipe
from clever.pretraining.trainer import Trainer

from ..declared import declared
from ..tiny_methods import PAIRS, REJECTED, tiny_method

WIDTH, ROWS = 10, 6
MAP_WIDTHS = 3, 4
MAPS = [{n: torch.rand(ROWS, width, 6, 6).relu() for n, width in enumerate(MAP_WIDTHS)} for _ in range(2)]
SAMPLES = Samples(torch.arange(ROWS).repeat(2, 1), torch.arange(ROWS).repeat(2, 1) % 4)


@pytest.mark.parametrize(("baseline", "equivariance"), REJECTED)
def test_pairs_that_cannot_work_are_rejected(baseline: str, equivariance: str) -> None:
    with pytest.raises(ValueError, match=equivariance):
        MethodOptions.model_validate(tiny_method(baseline, equivariance))


@pytest.mark.parametrize(("baseline", "equivariance"), PAIRS)
def test_a_few_steps(baseline: str, equivariance: str, make_recipe: Any, colourful_store: Store) -> None:
    facts = BASELINES[baseline].options
    # Without weight decay, only parameters with a gradient change.
    whole = make_recipe(
        augmentation={"local_views": 2 if facts.accepts_local_views else 0},
        optimisation={"weight_decay": 0.0, "final_weight_decay": 0.0, "batch_size": 8},
    ).model_dump()
    recipe = RunRecipe.model_validate(whole | {"method": tiny_method(baseline, equivariance)})
    data, images = (colourful_store.mean, colourful_store.std), len(colourful_store.split("train"))
    trainer = Trainer(recipe, *data, 6, torch.device("cpu"), training_images=images)
    trainer.objective.start_epoch(0)
    before = {name: p.detach().clone() for name, p in trainer.student.named_parameters()}
    targets = [] if trainer.teacher is None else [p.detach().clone() for p in trainer.teacher.parameters()]

    terms = recorded_terms(trainer)
    batches = Batches(colourful_store.split("train"), 8, seed=0, device="cpu")
    for iteration, batch in zip(range(3), batches.epoch(0), strict=True):
        values = trainer.step(batch, iteration)
        named = {name.removeprefix("loss_"): value for name, value in values.items() if name.startswith("loss_")}
        assert named.keys() == terms.keys() >= {"contrast"}
        assert (len(terms) > 1) == (equivariance != "none")
        assert values["loss"].item() == pytest.approx(sum(terms[n].weight * named[n].item() for n in named), rel=1e-5)
        assert all(value.isfinite() for value in values.values()), values

    for name, parameter in trainer.student.named_parameters():
        assert parameter.isfinite().all(), name
        assert torch.equal(parameter, before[name]) is not parameter.requires_grad, name
    assert (trainer.teacher is not None) == facts.has_momentum_teacher
    if trainer.teacher is not None:
        assert all(p.grad is None and not p.requires_grad for p in trainer.teacher.parameters())
        followed = [not torch.equal(p, old) for p, old in zip(trainer.teacher.parameters(), targets, strict=True)]
        assert sum(followed) >= 0.9 * len(followed)  # DINO's row norms are constant
        assert trainer.objective.teacher_momentum(0) == pytest.approx(0.9)
        assert trainer.objective.teacher_momentum(1) == 1
    diagnosis = trainer.diagnose()
    assert all(torch.tensor(value).isfinite() for value in diagnosis.values())
    assert len(diagnosis) > len([name for name in diagnosis if name.startswith(("feature_", "effective_", "view_"))])


def recorded_terms(trainer: Trainer) -> dict[str, Term]:
    """The terms of the last batch; every batch replaces them."""
    found: dict[str, Term] = {}
    compute = trainer.objective.add_on.terms

    def recorded(batch: Any) -> dict[str, Term]:
        terms = compute(batch)
        found.clear()
        found.update(terms)
        return terms

    trainer.objective.add_on.terms = recorded  # type: ignore[method-assign]
    return found


def stop_gradients() -> set[str]:
    """The baselines that deliberately detach a part of their loss; their test files say which part."""
    files = {entry.kind.__module__.rpartition(".")[2] for entry in BASELINES.values()}
    return {name for file in files for name in declared("baselines", file, "STOPS_GRADIENTS") or {}}


WITH_WHOLE_GRADIENTS = [
    pair
    for pair in (
        *((baseline, "none") for baseline in BASELINES),
        *((baseline, add_on) for baseline in ("simclr", "dino") for add_on in EQUIVARIANCES if add_on != "none"),
    )
    if pair in PAIRS and pair[0] not in stop_gradients()
]
"""Every baseline, and every add-on with two baselines. If a part of the loss is detached, the gradient does not equal
the difference quotient; the baseline's own test derives it."""


@pytest.mark.parametrize(("baseline", "equivariance"), WITH_WHOLE_GRADIENTS)
def test_a_small_gradient_step_lowers_the_loss_as_predicted(
    baseline: str, equivariance: str, make_recipe: Any, colourful_store: Store
) -> None:
    """To first order, a step of s / |g|^2 along -g lowers the loss by s.

    This fails if a term that contributes noticeably to the gradient is reported but not differentiated, differentiated
    but not reported, or weighted differently in the two. The test cannot detect a term with less than about 3 % of the
    squared gradient; ``test_a_few_steps`` checks that its layers are trained at all.
    """
    whole = make_recipe(augmentation={"local_views": 0}, optimisation={"batch_size": 8}).model_dump()
    recipe = RunRecipe.model_validate(whole | {"method": tiny_method(baseline, equivariance)})
    data, images = (colourful_store.mean, colourful_store.std), len(colourful_store.split("train"))
    trainer = Trainer(recipe, *data, 6, torch.device("cpu"), training_images=images)
    trainer.objective.start_epoch(0)
    batch = next(iter(Batches(colourful_store.split("train"), 8, seed=0, device="cpu").epoch(0)))
    state = copy.deepcopy(trainer.objective.state_dict())
    loss = trainer.compute_gradients(batch, 0)["loss"].item()
    moved = [(p, p.detach().clone(), p.grad.clone()) for p in trainer.student.parameters() if p.grad is not None]
    squared = sum(gradient.double().square().sum().item() for _, _, gradient in moved)

    def fall(size: float) -> float:
        """The decrease of the loss, as a share of the first-order prediction."""
        with torch.no_grad():
            for parameter, start, gradient in moved:
                parameter.copy_(start - size / squared * gradient)
        trainer.student.zero_grad()
        trainer.objective.load_state_dict(state)
        return (loss - trainer.compute_gradients(batch, 0)["loss"].item()) / size

    # For some methods, rounding dominates small steps; for others, curvature dominates large steps.
    falls = [fall(size) for size in (1e-3, 3e-3, 1e-2)]
    assert min(abs(value - 1) for value in falls) < 0.03, falls


class Batch:
    """Features that require a gradient, and the heads of student and teacher on them."""

    def __init__(self, baseline: str, equivariance: str) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            options = MethodOptions.model_validate(tiny_method(baseline, equivariance))
            self.objective: Objective = build_objective(options, WIDTH)
            self.objective.prepare(ROWS, MAP_WIDTHS)
            self.heads = self.objective.make_heads()
            self.teacher_heads = self.objective.make_heads().requires_grad_(False)
            first = torch.randn(ROWS, WIDTH)
            self.student = [(first + torch.randn(ROWS, WIDTH)).requires_grad_() for _ in range(2)]
            self.teacher = [(first + torch.randn(ROWS, WIDTH)).requires_grad_() for _ in range(2)]
        self.has_teacher = BASELINES[baseline].options.has_momentum_teacher

    def terms(self) -> dict[str, Tensor]:
        student = self._encode(self.student, self.heads)
        targets = self._encode(self.teacher, self.teacher_heads) if self.has_teacher else student
        batch = self.objective.batch(student, targets, samples=SAMPLES)
        return {name: term.value for name, term in self.objective.terms(batch).items()}

    def _encode(self, views: list[Tensor], heads: Heads) -> Encoded:
        outputs = {
            part: [heads[part](view[:, columns]) for view in views] for part, columns in self.objective.parts.items()
        }
        return Encoded(views, outputs, heads, maps=MAPS)


@pytest.mark.parametrize("baseline", BASELINES)
def test_gradients_stay_on_their_side(baseline: str) -> None:
    reached: dict[str, set[str]] = {}
    for term in ("contrast", "orthogonality", "head_norm"):
        batch = Batch(baseline, "clever")
        value = batch.terms()[term]
        assert value.ndim == 0
        if term != "contrast":
            assert value >= 0
        value.backward()
        ir, found = 8, set()
        for number, view in enumerate(batch.student):
            gradient = torch.zeros_like(view) if view.grad is None else view.grad
            found |= {f"IR of view {number}"} if gradient[:, :ir].any() else set()
            found |= {f"EF of view {number}"} if gradient[:, ir:].any() else set()
        for part, head in batch.heads.items():
            if any(p.grad is not None and p.grad.any() for p in head.parameters()):
                found.add(f"{part} head")
        others = [*batch.teacher, *batch.teacher_heads.parameters()]
        if any(tensor.grad is not None for tensor in others):
            found.add("teacher")
        reached[term] = found
    assert reached == {
        "contrast": {"IR of view 0", "IR of view 1", "IR head"},
        "orthogonality": {"EF of view 0", "EF of view 1", "EF head"},
        "head_norm": {"IR head", "EF head"},
    }


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_step_down_the_orthogonality_makes_the_views_less_similar(baseline: str) -> None:
    batch = Batch(baseline, "ddcl")
    value = batch.terms()["orthogonality"]
    gradients = torch.autograd.grad(value, batch.student)
    slope = sum(gradient.square().sum() for gradient in gradients)
    step = 1e-3 * value.detach() / slope
    with torch.no_grad():
        for view, gradient in zip(batch.student, gradients, strict=True):
            view -= step * gradient
    fall = (value - batch.terms()["orthogonality"]) / value
    # To first order 1e-3, except that SimSiam's and SwAV's detached targets move with the views.
    assert 5e-4 < fall.item() < 2e-3


@pytest.mark.parametrize("baseline", BASELINES)
def test_name_and_options_belong_together(baseline: str) -> None:
    options = BASELINES[baseline].options
    assert get_args(options.model_fields["name"].annotation) == (baseline,)
    built = options()
    assert built.name == baseline
    assert isinstance(options.has_momentum_teacher, bool)
    assert isinstance(options.accepts_local_views, bool)
    assert options.model_fields.keys() - options.field_docstrings().keys() <= {"name"}, "an option has no docstring"


@pytest.mark.parametrize("baseline", BASELINES)
def test_norm_groups_contain_every_parameter_once(baseline: str) -> None:
    batch = Batch(baseline, "none")
    head = batch.heads["ALL"]
    groups = head.norm_groups()
    assert sorted(id(p) for group in groups for p in group) == sorted(id(p) for p in head.parameters())
    assert len(groups) == (2 if isinstance(head, PredictionHead) else 1)
    # Only a predictor may keep its learning rate (test_simsiam).
    constant = {id(p) for p in batch.objective.baseline("ALL").constant_rate_parameters(head)}
    assert constant in (set(), {id(p) for p in head.prediction_parameters()})


def made_head(baseline: str, **changed: int) -> tuple[Head, int]:
    """A head of the baseline, and the width of the outputs that its loss compares."""
    kind, options = BASELINES[baseline].kind, BASELINES[baseline].options
    made = kind(options.model_validate(tiny_method(baseline, "none")["baseline"] | changed))
    made.prepare(ROWS, MAP_WIDTHS)
    head = made.make_head(WIDTH)
    output = head(torch.randn(ROWS, WIDTH))
    return head, (output.projection if output.prediction is None else output.prediction).shape[1]


def width_option(baseline: str) -> str:
    """The option that sets the width of the outputs that the loss compares: the option that changes this width."""
    _, width = made_head(baseline)
    chosen = BASELINES[baseline].options.model_validate(tiny_method(baseline, "none")["baseline"])
    for option in ("out_dim", *type(chosen).model_fields):
        if getattr(chosen, option, None) == width and made_head(baseline, **{option: 2 * width})[1] == 2 * width:
            return option
    raise AssertionError(f"no option of {baseline} sets the width of its outputs")


OF_A_CHOSEN_WIDTH = [name for name in BASELINES if not declared("baselines", name, "AS_WIDE_AS_ITS_INPUT")]
"""The heads of all others return the representation itself; their own tests check this and their last layers."""


@pytest.mark.parametrize("baseline", OF_A_CHOSEN_WIDTH)
def test_the_last_layers_are_the_parameters_with_a_row_for_each_output(baseline: str) -> None:
    head, width = made_head(baseline)
    wide, _ = made_head(baseline, **{width_option(baseline): 2 * width})
    shapes = {name: p.shape for name, p in wide.named_parameters()}
    expected = {name for name, p in head.named_parameters() if shapes[name][0] == 2 * width and len(p) == width}
    names = {id(p): name for name, p in head.named_parameters()}
    last = [names[id(p)] for p in head.last_layer_parameters()]
    assert sorted(last) == sorted(expected)
    assert expected


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_declared_comparison_matches_the_head_s_outputs(baseline: str) -> None:
    compared = BASELINES[baseline].options.compares
    head, _ = made_head(baseline)
    if compared == "projections":
        assert isinstance(head, ProjectionHead)
    elif compared == "predictions":
        assert isinstance(head, PredictionHead)
    else:
        assert not isinstance(head, ProjectionHead | PredictionHead)


@pytest.mark.parametrize("baseline", OF_A_CHOSEN_WIDTH)
def test_without_the_last_layers_the_head_norm_does_not_depend_on_the_output_width(baseline: str) -> None:
    width = width_option(baseline)
    values = {}
    for counted in (True, False):
        options = tiny_method(baseline, "clever")
        options["equivariance"] |= {"head_norm_last_layer": counted, "ef_baseline": {width: 512}}
        # IR and EF are equally wide, so the heads differ only in their outputs.
        options["equivariance"]["separation_ratio"] = 0.5
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            objective = build_objective(MethodOptions.model_validate(options), WIDTH)
            objective.prepare(ROWS, MAP_WIDTHS)
            heads = objective.make_heads()
            views = [torch.randn(ROWS, WIDTH) for _ in range(2)]
        outputs = {part: [heads[part](v[:, columns]) for v in views] for part, columns in objective.parts.items()}
        encoded = Encoded(views, outputs, heads, maps=MAPS)
        values[counted] = objective.terms(objective.batch(encoded, encoded, samples=SAMPLES))["head_norm"].value.item()
    assert values[True] > 100
    assert values[False] < 0.05 * values[True]
