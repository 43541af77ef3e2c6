"""A run's predictor on disk: loading restores exactly the trained layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clever.data import Batches, Store
from clever.equivariance import Predictor, load_predictor
from clever.equivariance.predictor import PREDICTOR_FILE, PredictorShape, find_predictor
from clever.errors import UserError
from clever.files import write_json
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer
from clever.randomness import make_generator, seeded

SHAPE = {"feature_dim": 6, "ir_dim": 2, "hidden_dim": 5, "out_dim": 3, "relative_names": ("x", "y")}


def predictor_of(*, adds_one: bool = True, seed: int = 1) -> Predictor:
    """A predictor that has seen a batch, so that its running statistics are not the initial ones."""
    with seeded(seed):
        predictor = Predictor(PredictorShape.model_validate({**SHAPE, "adds_one": adds_one}))
    predictor.embed(torch.randn(8, 6, generator=make_generator(seed, "predictor")))
    return predictor


@pytest.fixture
def write_run(make_recipe: Any, describe_run: Any) -> Callable[[Path, Predictor], None]:
    """Writes a predictor and the run.json that names it."""

    def write(folder: Path, predictor: Predictor) -> None:
        digest = predictor.save(folder / PREDICTOR_FILE)
        write_json(folder / "run.json", describe_run(make_recipe(), predictor_sha256=digest))

    return write


def example() -> tuple[Tensor, Tensor]:
    draw = make_generator(7, "predictor")
    return torch.randn(4, 6, generator=draw), torch.randn(4, 2, generator=draw)


@pytest.mark.parametrize("adds_one", [True, False])
def test_a_loaded_predictor_gives_the_same_predictions(
    tmp_path: Path, write_run: Callable[[Path, Predictor], None], adds_one: bool
) -> None:
    saved = predictor_of(adds_one=adds_one)
    write_run(tmp_path, saved)
    loaded = load_predictor(tmp_path)
    assert loaded is not None
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    for mine, theirs in zip(loaded(*example()), saved.eval()(*example()), strict=True):
        assert mine.shape == (4, 3)
        assert torch.equal(mine, theirs)


def test_equal_layers_give_equal_files(tmp_path: Path, write_run: Callable[[Path, Predictor], None]) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, predictor_of())
    assert (tmp_path / "a" / PREDICTOR_FILE).read_bytes() == (tmp_path / "b" / PREDICTOR_FILE).read_bytes()


def test_the_ir_has_no_influence() -> None:
    predictor = predictor_of().eval()
    features, relative = example()
    other = features.clone()
    other[:, :2] += 1
    assert torch.equal(predictor.embed(other), predictor.embed(features))
    other[:, 2:] += 1
    assert not torch.equal(predictor(other, relative)[1], predictor(features, relative)[1])


def test_the_constant_has_a_separate_matrix() -> None:
    """For the identity, all other parameters are 0, so only this matrix determines the prediction."""
    predictor = predictor_of().eval()
    embedding = predictor.embed(example()[0])
    expected = embedding @ predictor.hypernetwork.weight[-1].T
    torch.testing.assert_close(predictor.predict(embedding, torch.zeros(4, 2)), expected)
    without = predictor_of(adds_one=False).eval()
    assert len(without.hypernetwork.weight) == 2
    assert not without.predict(embedding, torch.zeros(4, 2)).any()


def test_a_wrong_number_of_parameters_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"needs \('x', 'y'\), not 3 columns"):
        predictor_of().predict(torch.zeros(4, 3), torch.zeros(4, 3))


def test_a_run_without_a_predictor(tmp_path: Path, make_recipe: Any, describe_run: Any) -> None:
    assert find_predictor(nn.ModuleDict({"other": nn.Linear(1, 1)})) is None
    write_json(tmp_path / "run.json", describe_run(make_recipe(), predictor_sha256=None))
    assert load_predictor(tmp_path) is None
    write_json(tmp_path / "run.json", describe_run(make_recipe()))  # as written by earlier versions
    assert load_predictor(tmp_path) is None


def test_another_run_s_file_is_refused(tmp_path: Path, write_run: Callable[[Path, Predictor], None]) -> None:
    write_run(tmp_path, predictor_of(seed=1))
    predictor_of(seed=2).save(tmp_path / PREDICTOR_FILE)
    with pytest.raises(UserError, match=r"predictor\.safetensors: is not the predictor of digits/tiny/tiny/tiny/seed0"):
        load_predictor(tmp_path)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path, write_run: Callable[[Path, Predictor], None]) -> None:
    with pytest.raises(UserError, match=r"run\.json: missing; the run has not finished"):
        load_predictor(tmp_path)
    write_run(tmp_path, predictor_of())
    path = tmp_path / PREDICTOR_FILE
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"predictor\.safetensors: is not the predictor of"):
        load_predictor(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"predictor\.safetensors: cannot be read \(No such file or directory\)"):
        load_predictor(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(UserError, match=r"run\.json: damaged"):
        load_predictor(tmp_path)


def test_a_trained_run_leaves_the_student_s_predictor(make_recipe: Any, digits_store: Store, tmp_path: Path) -> None:
    equivariance = {"name": "sie", "hidden_dim": 16, "out_dim": 8}
    recipe: RunRecipe = make_recipe(equivariance=equivariance, optimisation={"epochs": 1})
    pretrain(recipe, digits_store, tmp_path, ExecutionOptions(device="cpu"))
    loaded = load_predictor(tmp_path)
    assert loaded is not None
    assert json.loads((tmp_path / "run.json").read_text())["ir_dim"] == loaded.shape.ir_dim

    batches = Batches(digits_store.split("train"), 16, seed=0, device="cpu")
    trainer = Trainer(recipe, digits_store.mean, digits_store.std, len(batches), torch.device("cpu"))
    trainer.objective.start_epoch(0)
    for iteration, batch in enumerate(batches.epoch(0)):
        trainer.step(batch, iteration)
    trained = find_predictor(trainer.student.layers)
    assert trained is not None
    assert loaded.shape == trained.shape
    for name, value in trained.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_run_that_trains_no_predictor_records_this(make_recipe: Any, digits_store: Store, tmp_path: Path) -> None:
    pretrain(make_recipe(optimisation={"epochs": 1}), digits_store, tmp_path, ExecutionOptions(device="cpu"))
    assert json.loads((tmp_path / "run.json").read_text())["predictor_sha256"] is None
    assert not (tmp_path / PREDICTOR_FILE).exists()
    assert load_predictor(tmp_path) is None
