"""Whole runs on real digits: the bits are the same when repeated, after a kill, after a warning signal, and after a
fault."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file

import clever
from clever.backbones import build_backbone, load_backbone
from clever.data import Store
from clever.equivariance import Term
from clever.equivariance.clever import Clever
from clever.errors import UserError
from clever.execution.ancestry import Ancestor
from clever.pretraining.composition import compose
from clever.pretraining.engine import pretrain
from clever.pretraining.interruption import REQUEUE_STATUS, Interrupted
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.state import StateFolder
from clever.pretraining.trainer import Trainer

EPOCHS, STEPS = 3, 6
OUTPUTS = ["backbone.safetensors", "metrics.csv", "run.json"]


@pytest.fixture(scope="module")
def recipe(make_recipe: Any) -> RunRecipe:
    made: RunRecipe = make_recipe(optimisation={"epochs": EPOCHS, "warmup_epochs": 1})
    return made


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A run sets the number of threads for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def execution(**settings: Any) -> ExecutionOptions:
    return ExecutionOptions.model_validate({"device": "cpu", "threads": 1, **settings})


@pytest.fixture(scope="module")
def uninterrupted(recipe: RunRecipe, digits_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    pretrain(recipe, digits_store, folder, execution())
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_result(folder: Path, other: Path) -> None:
    """Assert that weights are equal bit for bit, and metrics are equal except for the speed."""
    assert (folder / "backbone.safetensors").read_bytes() == (other / "backbone.safetensors").read_bytes()
    speed = [{key: value for key, value in row.items() if key != "images_per_second"} for row in rows(folder)]
    assert speed == [{key: value for key, value in row.items() if key != "images_per_second"} for row in rows(other)]


def test_a_run_leaves_three_files_and_no_state(uninterrupted: Path, recipe: RunRecipe, digits_store: Store) -> None:
    assert sorted(path.name for path in uninterrupted.iterdir() if path.is_file()) == OUTPUTS
    assert {path.name for path in (uninterrupted / "state").iterdir()} <= {"lock", "gate"}
    run = json.loads((uninterrupted / "run.json").read_text())
    assert run["run"] == recipe.run
    assert RunRecipe.model_validate(run["recipe"]) == recipe
    assert run["recipe_digest"] == recipe.digest
    assert (run["feature_dim"], run["ir_dim"]) == (256, 204)
    assert (run["epochs"], run["iterations"]) == (EPOCHS, EPOCHS * STEPS)
    assert run["data_checksum"] == digits_store.checksum
    assert run["hardware"]["device"] == "cpu"
    assert torch.__version__.startswith(run["versions"]["torch"])
    assert run["wall_seconds"] > 0
    assert run["peak_memory_bytes"] > 1e7
    assert run["images_per_second"] == pytest.approx(EPOCHS * STEPS * 16 / run["wall_seconds"], rel=0.01)


def test_metrics_have_one_line_per_epoch(uninterrupted: Path, recipe: RunRecipe, digits_store: Store) -> None:
    lines = rows(uninterrupted)
    assert [(row["epoch"], row["iteration"]) for row in lines] == [
        (str(e), str(STEPS * (e + 1))) for e in range(EPOCHS)
    ]
    trainer = Trainer(recipe, digits_store.mean, digits_store.std, STEPS, torch.device("cpu"))
    for epoch, row in enumerate(lines):
        terms = [float(row[f"loss_{name}"]) for name in ("contrast", "orthogonality", "head_norm")]
        assert float(row["loss"]) == pytest.approx(terms[0] + terms[1] + 0.001 * terms[2], rel=1e-6)
        schedule = trainer.schedule(STEPS * (epoch + 1) - 1)
        for key, value in schedule._asdict().items():
            assert float(row[key]) == pytest.approx(value, rel=1e-7)
        assert 0 < float(row["teacher_entropy_ratio"]) <= 1
        for part in ("all", "ir", "ef"):
            assert float(row[f"feature_std_{part}"]) >= 0
            assert float(row[f"effective_rank_{part}"]) >= 1
        assert float(row["gradient_norm"]) > 0
        assert row["health"]


def test_the_backbone_is_the_teacher_s_and_timm_loads_it(uninterrupted: Path, recipe: RunRecipe) -> None:
    trained = load_backbone(recipe.backbone, uninterrupted / "backbone.safetensors")
    start = build_backbone(recipe.backbone, seed=recipe.seed)
    weights, initial = dict(trained.named_parameters()), dict(start.named_parameters())
    assert all(torch.isfinite(w).all() for w in weights.values())
    assert any(not torch.equal(w, initial[name]) for name, w in weights.items())
    plain = timm.create_model("resnet10t", num_classes=0, channels=[32, 64, 128, 256], stem_width=16)
    assert set(load_file(uninterrupted / "backbone.safetensors")) == set(plain.state_dict())


def test_the_same_seed_gives_the_same_bits_however_the_run_is_executed(
    uninterrupted: Path, recipe: RunRecipe, digits_store: Store, tmp_path: Path
) -> None:
    torch.manual_seed(12345)
    settings = execution(log_every=1, state_every_seconds=0.5, placement="stream", workers=2, keep_state=True)
    pretrain(recipe, digits_store, tmp_path, settings)
    assert_same_result(tmp_path, uninterrupted)
    assert [path.name[:15] for path in sorted((tmp_path / "state").glob("*.pt"))][-1] == f"state-{EPOCHS * STEPS:09d}"
    # The files of a finished run are rewritten from its state, without a step.
    (tmp_path / "backbone.safetensors").unlink()
    pretrain(recipe, digits_store, tmp_path, execution())
    assert_same_result(tmp_path, uninterrupted)


def test_another_seed_gives_another_backbone(
    uninterrupted: Path, make_recipe: Any, digits_store: Store, tmp_path: Path
) -> None:
    other = make_recipe(optimisation={"epochs": EPOCHS, "warmup_epochs": 1}, seed=1)
    pretrain(other, digits_store, tmp_path, execution())
    assert (tmp_path / "backbone.safetensors").read_bytes() != (uninterrupted / "backbone.safetensors").read_bytes()
    assert rows(tmp_path)[0]["loss"] != rows(uninterrupted)[0]["loss"]


def start(recipe: RunRecipe, store: Store, folder: Path) -> subprocess.Popen[str]:
    """``clever pretrain`` in a separate process that saves its state after every step."""
    command = [
        sys.executable,
        "-m",
        "clever.cli",
        "pretrain",
        "--recipe",
        recipe.canonical(),
        "--store",
        str(store.folder),
    ]
    command += ["--output", str(folder), "--device", "cpu", "--threads", "1", "--state-every", "0.000001"]
    environment = os.environ | {"PYTHONPATH": str(Path(clever.__file__).parents[1])}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def saved_iteration(folder: Path) -> int:
    found = [int(path.name.split("-")[1]) for path in (folder / "state").glob("state-*.pt")]
    return max(found, default=0)


def stopped_in_the_middle(
    recipe: RunRecipe, store: Store, parent: Path, number: signal.Signals
) -> tuple[Path, int, str]:
    """Send a signal to a run at a random step; return its folder, exit status and output.

    If the run ended before the signal arrived, try again.
    """
    for attempt in range(3):
        folder = parent / str(attempt)
        wanted = random.SystemRandom().randrange(1, EPOCHS * STEPS - 6)
        process = start(recipe, store, folder)
        deadline = time.monotonic() + 120
        while saved_iteration(folder) < wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(random.SystemRandom().random() * 0.03)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
        if not (folder / "run.json").exists():
            return folder, process.returncode, said
    raise AssertionError(f"three runs ended before the signal: {said}")


def test_a_run_killed_at_a_random_step_resumes_to_the_same_bits(
    uninterrupted: Path, recipe: RunRecipe, digits_store: Store, tmp_path: Path
) -> None:
    folder, status, said = stopped_in_the_middle(recipe, digits_store, tmp_path, signal.SIGKILL)
    assert status == -signal.SIGKILL, said
    at = saved_iteration(folder)
    assert 0 < at < EPOCHS * STEPS
    assert not (folder / "backbone.safetensors").exists()
    again = start(recipe, digits_store, folder)
    said = again.communicate(timeout=120)[1]
    assert again.returncode == 0, said
    assert f"resumes at step {at} of {EPOCHS * STEPS}" in said
    assert_same_result(folder, uninterrupted)


def test_a_run_that_receives_a_warning_saves_its_state_and_asks_for_a_restart(
    uninterrupted: Path, recipe: RunRecipe, digits_store: Store, tmp_path: Path
) -> None:
    folder, status, said = stopped_in_the_middle(recipe, digits_store, tmp_path, signal.SIGTERM)
    assert status == REQUEUE_STATUS == 75, said
    at = saved_iteration(folder)
    assert f"SIGTERM at step {at}; the state is saved" in said
    assert "Traceback" not in said
    pretrain(recipe, digits_store, folder, execution())
    assert_same_result(folder, uninterrupted)


def test_ctrl_c_saves_the_state_as_sigterm_does(
    uninterrupted: Path, recipe: RunRecipe, digits_store: Store, tmp_path: Path
) -> None:
    folder, status, said = stopped_in_the_middle(recipe, digits_store, tmp_path, signal.SIGINT)
    assert status == 130, said
    at = saved_iteration(folder)
    assert f"SIGINT at step {at}; the state is saved" in said
    assert "Traceback" not in said
    pretrain(recipe, digits_store, folder, execution())
    assert_same_result(folder, uninterrupted)


@pytest.fixture
def during_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Call a function in the middle of a step; steps are counted from 0 in this process."""

    def arrange(step: int, happen: Callable[[], None]) -> None:
        calls, original = iter(range(10**6)), Trainer.step

        def noted(self: Trainer, batch: Any, iteration: int) -> Any:
            values = original(self, batch, iteration)
            if next(calls) == step:
                happen()
            return values

        monkeypatch.setattr(Trainer, "step", noted)

    return arrange


@pytest.mark.parametrize("step", [0, STEPS - 1, STEPS])
def test_a_warning_at_the_edges_of_an_epoch(
    uninterrupted: Path, recipe: RunRecipe, digits_store: Store, tmp_path: Path, during_step: Any, step: int
) -> None:
    during_step(step, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    with pytest.raises(Interrupted, match=f"SIGUSR1 at step {step + 1}; the state is saved"):
        pretrain(recipe, digits_store, tmp_path, execution())
    assert saved_iteration(tmp_path) == step + 1
    pretrain(recipe, digits_store, tmp_path, execution())
    assert_same_result(tmp_path, uninterrupted)


def test_a_warning_in_the_last_step_has_no_effect(
    uninterrupted: Path, recipe: RunRecipe, digits_store: Store, tmp_path: Path, during_step: Any
) -> None:
    during_step(EPOCHS * STEPS - 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    pretrain(recipe, digits_store, tmp_path, execution())
    assert_same_result(tmp_path, uninterrupted)


def test_nan_stops_the_run_with_the_term_and_the_step_and_keeps_the_last_good_state(
    uninterrupted: Path, recipe: RunRecipe, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, original = iter(range(10**6)), Clever.terms

    def poisoned(self: Clever, *arguments: Any) -> dict[str, Term]:
        terms = original(self, *arguments)
        if next(calls) == 9:
            terms["orthogonality"] = Term(terms["orthogonality"].value * float("nan"), 1.0)
        return terms

    monkeypatch.setattr(Clever, "terms", poisoned)
    with pytest.raises(UserError) as raised:
        pretrain(recipe, digits_store, tmp_path, execution())
    monkeypatch.undo()
    assert f"{recipe.run}: loss_orthogonality is nan at step 9; the state of step {STEPS} is kept" in str(raised.value)
    assert not (tmp_path / "run.json").exists()
    identity = {"run": recipe.run, "recipe": recipe.digest, "data": digits_store.checksum[:16]}
    found = StateFolder(tmp_path / "state", identity | {"version": clever.__version__}).load()
    assert found is not None
    assert found[0] == STEPS
    assert all(torch.isfinite(value).all() for value in found[1]["trainer"]["student"].values())
    pretrain(recipe, digits_store, tmp_path, execution())
    assert_same_result(tmp_path, uninterrupted)


def test_a_full_disk_gives_one_line_and_the_run_continues_from_the_previous_state(
    uninterrupted: Path, recipe: RunRecipe, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, original = iter(range(10**6)), torch.save

    def full(*arguments: Any) -> None:
        if next(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(*arguments)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=rf"state of step {2 * STEPS} could not be saved \(.*the disk or quota is full"):
        pretrain(recipe, digits_store, tmp_path, execution())
    monkeypatch.undo()
    assert saved_iteration(tmp_path) == STEPS
    # The second epoch's line was written before saving its state failed; resuming must not write it twice.
    assert len(rows(tmp_path / "state")) == 2
    pretrain(recipe, digits_store, tmp_path, execution())
    assert_same_result(tmp_path, uninterrupted)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_nonfinite_steps_can_be_skipped_and_are_counted(
    make_recipe: Any,
    digits_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    optimiser: str,
) -> None:
    recipe = make_recipe(optimisation={"non_finite": "skip", "optimiser": optimiser})
    original = Trainer.compute_gradients

    def poisoned(self: Trainer, batch: Any, iteration: int) -> dict[str, torch.Tensor]:
        values = original(self, batch, iteration)
        if iteration == 2:
            values["loss_contrast"] = values["loss_contrast"] * float("nan")
        if iteration == 8:
            gradient = self.student.backbone.network.conv1[0].weight.grad  # type: ignore[union-attr, index]
            gradient[0, 0, 0, 0] = float("inf")  # type: ignore[index]
        return values

    monkeypatch.setattr(Trainer, "compute_gradients", poisoned)
    pretrain(recipe, digits_store, tmp_path, execution())
    said = capsys.readouterr().err
    assert f"{recipe.run}: loss_contrast is nan at step 2; the step is skipped" in said
    assert "the gradient of backbone.network.conv1.0.weight is not finite at step 8; the step is skipped" in said
    assert [row["skipped_steps"] for row in rows(tmp_path)] == ["1", "1"]
    assert all(torch.isfinite(value).all() for value in load_file(tmp_path / "backbone.safetensors").values())


@pytest.mark.parametrize("step", [0, STEPS - 1])
def test_a_batch_of_nan_leaves_no_trace(
    make_recipe: Any, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """BatchNorm's statistics, the centre and the diagnosis of a healthy run are not affected."""
    recipe = make_recipe(optimisation={"non_finite": "skip"})
    original = Trainer.make_views

    def poisoned(self: Trainer, batch: Any, iteration: int) -> Any:
        factor = float("nan") if iteration == step else 1.0
        return [replace(view, images=view.images * factor) for view in original(self, batch, iteration)]

    monkeypatch.setattr(Trainer, "make_views", poisoned)
    pretrain(recipe, digits_store, tmp_path, execution(keep_state=True))
    assert [row["skipped_steps"] for row in rows(tmp_path)] == ["1", "0"]
    assert rows(tmp_path)[0]["effective_rank_all"] == "nan" or step == 0
    assert float(rows(tmp_path)[1]["effective_rank_all"]) >= 1
    newest = sorted((tmp_path / "state").glob("*.pt"))[-1]
    trained = torch.load(newest, weights_only=True)["payload"]["trainer"]
    for part in ("student", "teacher", "objective"):
        assert all(torch.isfinite(value).all() for value in trained[part].values()), part


def test_an_infinite_gradient_stops_the_run_with_the_parameter_and_the_step(
    recipe: RunRecipe, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer.compute_gradients

    def poisoned(self: Trainer, batch: Any, iteration: int) -> dict[str, torch.Tensor]:
        values = original(self, batch, iteration)
        if iteration == STEPS + 1:
            next(self.student.heads.parameters()).grad[0] = float("inf")  # type: ignore[index]
        return values

    monkeypatch.setattr(Trainer, "compute_gradients", poisoned)
    expected = rf"the gradient of heads\..* is not finite at step {STEPS + 1}; the state of step {STEPS} is kept"
    with pytest.raises(UserError, match=expected):
        pretrain(recipe, digits_store, tmp_path, execution())


def test_code_that_changed_between_stop_and_resume_is_reported_and_recorded(
    uninterrupted: Path,
    recipe: RunRecipe,
    digits_store: Store,
    tmp_path: Path,
    during_step: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert [entry["from_step"] for entry in json.loads((uninterrupted / "run.json").read_text())["trained_by"]] == [0]
    during_step(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        pretrain(recipe, digits_store, tmp_path, execution())
    with monkeypatch.context() as changed:
        changed.setattr("clever.pretraining.code_history.training_sources", lambda _: "0123456789abcdef")
        pretrain(recipe, digits_store, tmp_path, execution())
    assert capsys.readouterr().err.count("the code has changed (") == 1
    first, second = json.loads((tmp_path / "run.json").read_text())["trained_by"]
    assert (first["from_step"], second["from_step"]) == (0, 4)
    assert first["sources"] != second["sources"] == "0123456789abcdef"
    assert set(first) == {
        *("git_commit", "git_dirty", "sources", "device", "threads", "processes", "from_step", "from_epoch")
    }
    assert_same_result(tmp_path, uninterrupted)


def test_a_changed_number_of_threads_is_rejected_or_recorded(
    recipe: RunRecipe,
    digits_store: Store,
    tmp_path: Path,
    during_step: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    during_step(STEPS + 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        pretrain(recipe, digits_store, tmp_path, execution())
    states = sorted(path.read_bytes() for path in (tmp_path / "state").glob("*.pt"))
    with pytest.raises(
        UserError, match=r"trained with threads = 1, this process has threads = 2: .*--accept-other-threads"
    ):
        pretrain(recipe, digits_store, tmp_path, execution(threads=2))
    assert sorted(path.read_bytes() for path in (tmp_path / "state").glob("*.pt")) == states
    capsys.readouterr()
    pretrain(recipe, digits_store, tmp_path, execution(threads=2, accept_other_threads=True))
    assert "threads 1 so far, 2 from here on: the result may differ" in capsys.readouterr().err
    parts = json.loads((tmp_path / "run.json").read_text())["trained_by"]
    assert [(part["threads"], part["from_epoch"], part["from_step"]) for part in parts] == [
        (1, 0, 0),
        (2, 1, STEPS + 2),
    ]


@pytest.mark.parametrize("damage", ["deleted", "cut", "a digit changed"])
def test_metrics_that_were_damaged_between_stop_and_resume_are_restored(
    uninterrupted: Path,
    recipe: RunRecipe,
    digits_store: Store,
    tmp_path: Path,
    during_step: Any,
    capsys: pytest.CaptureFixture[str],
    damage: str,
) -> None:
    during_step(2 * STEPS + 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        pretrain(recipe, digits_store, tmp_path, execution())
    path = tmp_path / "state" / "metrics.csv"
    header, first, *rest = path.read_text().splitlines()
    if damage == "deleted":
        path.unlink()
    elif damage == "cut":
        path.write_text(f"{header}\n{first}\n")
    else:
        path.write_text("\n".join([header, first.replace("1", "2"), *rest]) + "\n")
    pretrain(recipe, digits_store, tmp_path, execution())
    assert "metrics.csv: was changed or damaged; it is restored" in capsys.readouterr().err
    assert_same_result(tmp_path, uninterrupted)
    written = json.loads((tmp_path / "run.json").read_text())["metrics_sha256"]
    assert written == hashlib.sha256((tmp_path / "metrics.csv").read_bytes()).hexdigest()


def test_a_store_that_was_changed_is_refused_before_anything_is_trained(
    recipe: RunRecipe, digits_store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(digits_store.folder, folder)
    labels = bytearray((folder / "train_labels.npy").read_bytes())
    labels[-8] ^= 1
    (folder / "train_labels.npy").write_bytes(labels)
    with pytest.raises(UserError, match=r"train_labels\.npy: sha256 is .* changed or damaged; prepare the data set"):
        pretrain(recipe, Store.open(folder), tmp_path / "run", execution())
    assert not list((tmp_path / "run").glob("*.*"))


def test_a_state_that_no_longer_fits_the_program_gives_one_line(
    recipe: RunRecipe, digits_store: Store, tmp_path: Path, during_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    during_step(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        pretrain(recipe, digits_store, tmp_path, execution())
    monkeypatch.setattr("clever.pretraining.code_history.training_sources", lambda _: "0123456789abcdef")
    original = Trainer.load_state_dict
    monkeypatch.setattr(
        Trainer, "load_state_dict", lambda self, state: original(self, state | {"student": {"a": torch.zeros(1)}})
    )
    with pytest.raises(UserError, match=r"does not fit this program .* this is commit .*0123456789abcdef; move"):
        pretrain(recipe, digits_store, tmp_path, execution())


def test_the_state_of_a_finished_run_is_kept_for_a_trainer_that_was_rejected(
    uninterrupted: Path,
    recipe: RunRecipe,
    digits_store: Store,
    tmp_path: Path,
    during_step: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def rival() -> None:
        with pytest.raises(UserError, match="another trainer is at work"), StateFolder(tmp_path / "state", {}).locked():
            pass

    during_step(4, rival)
    pretrain(recipe, digits_store, tmp_path, execution())
    assert saved_iteration(tmp_path) == EPOCHS * STEPS
    for name in OUTPUTS:  # as Snakemake does before it restarts a job
        (tmp_path / name).unlink()
    pretrain(recipe, digits_store, tmp_path, execution())
    assert f"resumes at step {EPOCHS * STEPS} of" in capsys.readouterr().err
    assert saved_iteration(tmp_path) == 0
    assert_same_result(tmp_path, uninterrupted)


def test_nan_before_any_state(
    recipe: RunRecipe, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nan = torch.tensor(float("nan"))
    monkeypatch.setattr(
        Clever, "terms", lambda _, batch: {"contrast": Term(batch.student.features[0].sum() * nan, 1.0)}
    )
    with pytest.raises(UserError, match="loss_contrast is nan at step 0; no state had been saved"):
        pretrain(recipe, digits_store, tmp_path, execution(log_every=1))
    assert saved_iteration(tmp_path) == 0


def test_a_collapse_is_reported_during_the_run_and_recorded(
    recipe: RunRecipe,
    digits_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("clever.pretraining.engine.assess", lambda *_: "teacher collapsed to one output")
    pretrain(recipe, digits_store, tmp_path, execution())
    assert capsys.readouterr().err.count("WARNING, teacher collapsed to one output") == EPOCHS
    assert {row["health"] for row in rows(tmp_path)} == {"teacher collapsed to one output"}
    assert json.loads((tmp_path / "run.json").read_text())["health"] == "teacher collapsed to one output"


def test_a_state_of_another_recipe_is_refused(
    make_recipe: Any, digits_store: Store, tmp_path: Path, during_step: Any
) -> None:
    during_step(1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        pretrain(make_recipe(), digits_store, tmp_path, execution())
    other = make_recipe(optimisation={"learning_rate": 0.02})
    changed = rf"optimisation\.learning_rate was \S+ and is 0\.02 \(recipe {make_recipe().digest}, now {other.digest}\)"
    with pytest.raises(UserError, match=changed):
        pretrain(other, digits_store, tmp_path, execution())


def test_a_batch_larger_than_the_data(make_recipe: Any, digits_store: Store, tmp_path: Path) -> None:
    recipe = make_recipe(optimisation={"batch_size": 97})
    with pytest.raises(UserError, match="batch_size 97 exceeds the 96 images of the train split; lower batch_size"):
        pretrain(recipe, digits_store, tmp_path, execution())


def test_the_untrained_control_equals_the_trained_run_s_initial_state(
    make_recipe: Any, digits_store: Store, tmp_path: Path
) -> None:
    trained = make_recipe(seed=5)
    control = trained.model_copy(
        update={
            "method": None,
            "method_name": "untrained",
            "augmentation": None,
            "augmentation_name": "none",
            "optimisation": None,
        }
    )
    pretrain(control, digits_store, tmp_path, execution())
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == OUTPUTS
    written = load_backbone(control.backbone, tmp_path / "backbone.safetensors").state_dict()
    for network in (compose(trained).student, compose(trained).teacher):
        assert network is not None
        for name, value in network.backbone.state_dict().items():
            assert torch.equal(value, written[name]), name
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["run"], run["epochs"], run["ir_dim"]) == ("digits/tiny/untrained/none/seed5", 0, None)
    assert rows(tmp_path) == []


@pytest.mark.parametrize("equivariance", ["none", "ddcl"])
def test_other_methods_and_accumulated_batches_run_and_resume(
    make_recipe: Any, digits_store: Store, tmp_path: Path, during_step: Any, equivariance: str
) -> None:
    recipe = make_recipe(
        equivariance=equivariance, optimisation={"accumulate": 2, "epochs": 1}, augmentation={"local_views": 0}
    )
    pretrain(recipe, digits_store, tmp_path / "whole", execution())
    terms = {"none": {"loss_contrast"}, "ddcl": {"loss_contrast", "loss_orthogonality"}}[equivariance]
    assert {key for key in rows(tmp_path / "whole")[0] if key.startswith("loss_")} == terms
    ir_dim = json.loads((tmp_path / "whole" / "run.json").read_text())["ir_dim"]
    assert ir_dim == {"none": None, "ddcl": 204}[equivariance]
    during_step(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        pretrain(recipe, digits_store, tmp_path / "parts", execution())
    pretrain(recipe, digits_store, tmp_path / "parts", execution())
    assert_same_result(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize(("gap", "saved"), [(0.0, [6, 12, 18]), (3600.0, [18])])
def test_not_every_short_epoch_needs_to_be_saved(
    gap: float,
    saved: list[int],
    recipe: RunRecipe,
    digits_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    iterations = []
    save = StateFolder.save

    def noting(self: StateFolder, iteration: int, payload: Any) -> Path:
        iterations.append(iteration)
        return save(self, iteration, payload)

    monkeypatch.setattr(StateFolder, "save", noting)
    pretrain(recipe, digits_store, tmp_path / "run", execution(state_gap_seconds=gap))
    assert iterations == saved


def stays(folder: Path) -> bool:
    return bool(list((folder / "state").glob("state-*.pt")))


def test_the_state_is_kept_if_the_workflow_may_restart_the_run(
    recipe: RunRecipe,
    digits_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """If its Snakemake has died, or runs outside a Slurm job, a later Snakemake may delete the outputs."""
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    pretrain(recipe, digits_store, tmp_path / "slurm", execution())
    assert stays(tmp_path / "slurm")
    assert "outside this Slurm job" in capsys.readouterr().err
    monkeypatch.delenv("SLURM_JOB_ID")

    chains = iter([(Ancestor(17, "1"), Ancestor(4, "0")), (Ancestor(4, "0"),)])
    monkeypatch.setattr("clever.pretraining.engine.ancestors", lambda: next(chains))
    pretrain(recipe, digits_store, tmp_path / "orphan", execution())
    assert "the process that started this run ended before it; the state is kept" in capsys.readouterr().err
    before = (tmp_path / "orphan" / "backbone.safetensors").read_bytes()
    for name in OUTPUTS:
        (tmp_path / "orphan" / name).unlink()  # as Snakemake does before it starts a job
    monkeypatch.undo()
    pretrain(recipe, digits_store, tmp_path / "orphan", execution())
    assert f"resumes at step {EPOCHS * STEPS} of {EPOCHS * STEPS}" in capsys.readouterr().err
    assert (tmp_path / "orphan" / "backbone.safetensors").read_bytes() == before
    assert not stays(tmp_path / "orphan")
