"""Loggers get the numbers of metrics.csv, continue a resumed run, and can neither change nor stop a run."""

from __future__ import annotations

import csv
import os
import signal
import struct
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tensorboardX.proto import event_pb2

from clever.cli import LOG_TO, main
from clever.data import Store
from clever.errors import UserError
from clever.loggers import LOGGERS, require_loggers
from clever.pretraining.engine import pretrain
from clever.pretraining.interruption import Interrupted
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def recipe(make_recipe: Any) -> RunRecipe:
    plain = make_recipe(optimisation={"epochs": 3}, augmentation={"local_views": 0})
    probe = {"every": 2, "passes": 1}
    return RunRecipe.model_validate(plain.model_dump() | {"online_probe": probe})


def execution(**settings: Any) -> ExecutionOptions:
    return ExecutionOptions.model_validate({"device": "cpu", "threads": 1, **settings})


@pytest.fixture(scope="module")
def plain(recipe: RunRecipe, digits_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    pretrain(recipe, digits_store, folder, execution())
    return folder


def interrupted(
    recipe: RunRecipe, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, step: int, **settings: Any
) -> None:
    """Stop a run at a step, then resume it to its end."""
    original = Trainer.step

    def stopping(self: Trainer, batch: Any, iteration: int) -> Any:
        if iteration == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, iteration)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "step", stopping)
        with pytest.raises(Interrupted):
            pretrain(recipe, store, folder, execution(**settings))
    pretrain(recipe, store, folder, execution(**settings))


def numbers(folder: Path) -> dict[tuple[str, int], float]:
    """Every number of metrics.csv by name and epoch."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (name, int(row["epoch"])): float(text)
        for row in rows
        for name, text in row.items()
        if text and name not in ("epoch", "iteration", "health")
    }


def shown(folder: Path) -> dict[tuple[str, int], float]:
    """The scalars that TensorBoard shows, by name and step. It reads files in the order of their names, and a later
    file replaces steps."""
    found: dict[tuple[str, int], float] = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            if event.HasField("session_log") and event.session_log.status == event.session_log.START:
                found = {key: value for key, value in found.items() if key[1] < event.step}
            for value in event.summary.value:
                assert (value.tag, event.step) not in found
                found[value.tag, event.step] = value.simple_value
    return found


def test_tensorboard_shows_the_numbers_of_metrics_csv_after_a_resume(
    recipe: RunRecipe, digits_store: Store, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(recipe, digits_store, tmp_path, monkeypatch, 8, log_to=["tensorboard"])
    (place,) = (tmp_path / "tensorboard").iterdir()
    assert len(list(place.iterdir())) == 2
    expected = numbers(tmp_path)
    assert {name for name, _ in expected} >= {"loss", "learning_rate", "online_knn_all", "images_per_second"}
    assert shown(tmp_path / "tensorboard") == pytest.approx(expected, rel=1e-6)
    # The bits are the same as without a logger.
    assert (tmp_path / "backbone.safetensors").read_bytes() == (plain / "backbone.safetensors").read_bytes()
    kept = {key: value for key, value in expected.items() if key[0] != "images_per_second"}
    assert kept == {key: value for key, value in numbers(plain).items() if key[0] != "images_per_second"}


def test_a_resume_within_the_same_second_keeps_the_first_event_file(
    recipe: RunRecipe, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboardX import event_file_writer

    monkeypatch.setattr(event_file_writer.time, "time", lambda: 1_800_000_000.5)
    interrupted(recipe, digits_store, tmp_path, monkeypatch, 8, log_to=["tensorboard"])
    (place,) = (tmp_path / "tensorboard").iterdir()
    first, second = sorted(file.name for file in place.iterdir())
    assert first.endswith(".0000")
    assert second.endswith(".0001")
    assert set(shown(tmp_path / "tensorboard")) == set(numbers(tmp_path))


def test_epochs_that_are_trained_again_are_shown_once(
    recipe: RunRecipe, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second epoch is logged, but its state cannot be saved."""
    from clever.pretraining.state import StateFolder

    original = StateFolder.save

    def full(self: StateFolder, iteration: int, payload: Any) -> Path:
        if iteration == 12:
            raise UserError("the disk is full")
        return original(self, iteration, payload)

    with monkeypatch.context() as patched:
        patched.setattr(StateFolder, "save", full)
        with pytest.raises(UserError, match="disk is full"):
            pretrain(recipe, digits_store, tmp_path, execution(log_to=["tensorboard"]))
    assert {step for _, step in shown(tmp_path / "tensorboard")} == {0, 1}
    pretrain(recipe, digits_store, tmp_path, execution(log_to=["tensorboard"]))
    assert shown(tmp_path / "tensorboard") == pytest.approx(numbers(tmp_path), rel=1e-6)


class Double(ModuleType):
    """A stand-in for wandb that records its calls."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = ModuleSpec("wandb", None)
        self.runs: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished: list[int] = []
        self.fails_at: int | None = None

    def init(self, **settings: Any) -> Double:
        self.runs.append(settings)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        if step == self.fails_at:
            raise ConnectionError("the network\nis gone")
        self.logged.append((step, values))

    def finish(self, exit_code: int) -> None:
        self.finished.append(exit_code)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Double:
    double = Double()
    monkeypatch.setitem(sys.modules, "wandb", double)
    return double


def test_wandb_gets_the_same_run_id_after_a_resume_and_another_for_a_new_start(
    wandb: Double, recipe: RunRecipe, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(recipe, digits_store, tmp_path / "run", monkeypatch, 8, log_to=["wandb"])
    first, second = wandb.runs
    assert first == second
    assert (first["resume"], first["name"]) == ("allow", recipe.run)
    assert first["config"] == recipe.model_dump(mode="json")
    assert wandb.finished == [1, 0]
    assert [step for step, _ in wandb.logged] == [0, 1, 2]
    for step, values in wandb.logged:
        for name, value in values.items():
            assert numbers(tmp_path / "run")[name, step] == pytest.approx(value, rel=1e-7)
    pretrain(recipe, digits_store, tmp_path / "again", execution(log_to=["wandb"]))
    assert wandb.runs[2]["id"] != first["id"]


def test_a_logger_that_fails_is_reported_once_and_the_run_continues(
    wandb: Double,
    recipe: RunRecipe,
    digits_store: Store,
    plain: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wandb.fails_at = 1
    pretrain(recipe, digits_store, tmp_path, execution(log_to=["wandb", "tensorboard"]))
    said = capsys.readouterr().err
    assert said.count("the logger wandb failed and is switched off (the network is gone)") == 1
    assert [step for step, _ in wandb.logged] == [0]
    assert {step for _, step in shown(tmp_path / "tensorboard")} == {0, 1, 2}
    assert (tmp_path / "backbone.safetensors").read_bytes() == (plain / "backbone.safetensors").read_bytes()


def test_a_logger_that_cannot_start_ends_the_run_before_its_first_step(
    wandb: Double, recipe: RunRecipe, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb, "init", lambda **_: (_ for _ in ()).throw(RuntimeError("no API key")))
    with pytest.raises(UserError, match=r"the logger wandb could not start \(no API key\)"):
        pretrain(recipe, digits_store, tmp_path, execution(log_to=["wandb"]))
    assert not list((tmp_path / "state").glob("state-*.pt"))


@pytest.mark.parametrize("by", ["--log-to", LOG_TO])
def test_a_missing_package_gives_one_line_before_anything_else(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    arguments = ["pretrain", "--recipe", "not even read", "--store", "none", "--output", str(tmp_path / "run")]
    if by == LOG_TO:
        monkeypatch.setenv(LOG_TO, " wandb, ")
    else:
        arguments += ["--log-to", "wandb"]
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        f"error: {by}: wandb needs the package wandb, which is not installed: pip install '.[wandb]'; or train without "
        "it, metrics.csv has the same numbers\n"
    )
    assert not (tmp_path / "run").exists()


def test_an_unknown_logger_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="--log-to: there is no logger 'tensorbord'; did you mean 'tensorboard'"):
        require_loggers(["tensorbord"], "--log-to")


def test_every_logger_has_its_extra() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for name, (_, package) in LOGGERS.items():
        assert [text for text in project["optional-dependencies"][name] if text.startswith(package)]
