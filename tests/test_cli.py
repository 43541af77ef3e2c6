"""The command line: help, wrong usage, and every job of a study run by hand."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from clever.backbones.options import OWN_NAMES
from clever.cli import main
from clever.config import load_study
from clever.data import Store
from clever.pretraining.interruption import REQUEUE_STATUS, Interrupted
from clever.pretraining.options import ExecutionOptions

from .miniature import RUN, miniature

ROOT = Path(__file__).parents[1]

COMMANDS = (
    "check", "prepare", "pretrain", "evaluate", "collect", "describe", "methods", "schema", "doctor", "provenance",
)  # fmt: skip
BY_HAND: dict[str, Any] = {
    "study": "by_hand",
    "paper": ["report"],
    "evaluations": {"linear": None, "knn": {"perturbations": ["orig"], "neighbours": [5]}},
}
STUDY = miniature(**BY_HAND)


MOVED = miniature(**BY_HAND, data={"digits": {"source": "arrays", "root": "pictures"}})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def store(study: Path) -> Path:
    """The data set prepared by `clever prepare`."""
    folder = study.parent / "store"
    assert main(["prepare", "--study", str(study), "--data", "digits", "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def run(study: Path, store: Path) -> Path:
    """The run trained by `clever pretrain`."""
    folder = study.parent / "runs" / RUN
    command = ["pretrain", "--study", str(study), "--run", RUN, "--store", str(store), "--output", str(folder)]
    assert main([*command, "--device", "cpu", "--threads", "1"]) == 0
    return folder


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"] if command else ["--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: clever {command}".rstrip())
    if not command:
        assert all(name in shown for name in COMMANDS)


def test_the_installed_command_answers_without_loading_torch() -> None:
    program = (
        "import sys; from clever.cli import main\ntry: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: clever")


def test_a_study_is_checked_without_loading_torch() -> None:
    """Every committed study whose backbones the package itself names; a name of timm's is looked up in timm."""
    studies = [ROOT / "config.yaml", *sorted((ROOT / "workflow" / "studies").glob("*.yaml"))]
    named = {
        file: {b["name"] for b in yaml.safe_load(file.read_text())["backbones"].values()} | {"pixels"}
        for file in studies
    }
    own = [str(file) for file, names in named.items() if names <= set(OWN_NAMES)]
    assert len(own) > 10
    program = f"""
import sys
for library in ("torch", "torchvision", "timm", "sklearn", "scipy", "pandas"):
    sys.modules[library] = None  # an import of it raises ImportError
from clever.cli import main
for study in {own}:
    assert main(["check", study]) == 0
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["pretend"],
        ["pretrain"],
        ["describe", "--backbone", "vit_tiny", "--image-size", "many"],
        ["collect", "--nothing"],
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: clever" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prepare --output OUT", "prepare needs --study and --data, or --options"),
        (
            "prepare --study STUDY --data digit --output OUT",
            "study by_hand has no data set digit; did you mean 'digits'?",
        ),
        ("prepare --options {} --output OUT", "--options: source: this key is missing"),
        ("pretrain --store STORE --output OUT", "pretrain needs --study and --run, or --recipe"),
        (
            "pretrain --study STUDY --run digits/tiny/dino/caug/seed0 --store STORE --output OUT",
            f"did you mean '{RUN}'?",
        ),
        ("pretrain --recipe [ --store STORE --output OUT", "--recipe: not valid JSON"),
        ("pretrain --study STUDY --run RUN --store STORE --output OUT --device gpu", "device 'gpu' is unknown"),
        ("pretrain --study STUDY --run RUN --store STORE --output OUT --threads 0", "threads: input should be greater"),
        ("evaluate --protocol linear --run OUT --store STORE --output OUT.json", "evaluate needs --study or --options"),
        (
            "evaluate --protocol linear --study STUDY --run OUT --store STORE --output O.json",
            "evaluations has no linear",
        ),
        (
            "evaluate --protocol knn --study STUDY --run OUT --store STORE --output O.json",
            "the run has not finished",
        ),
        ("check ABSENT", "cannot be read"),
        ("describe --backbone resnet19", "resnet19"),
    ],
)
def test_user_errors_give_one_line(
    study: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    places = {"STUDY": study, "STORE": store, "OUT": tmp_path / "out", "ABSENT": tmp_path / "absent.yaml", "RUN": RUN}
    command = [str(places.get(word, word)) for word in arguments.split()]
    capsys.readouterr()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def test_check_lists_the_runs(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(study)]) == 0
    listed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert listed == {run: recipe.digest for run, recipe in load_study(study).recipes().items()}
    assert RUN in listed


def test_data_root_moves_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = tmp_path / "study.yaml"
    moved.write_text(MOVED)
    command = ["prepare", "--study", str(moved), "--data", "digits", "--output", str(tmp_path / "store")]
    assert main([*command, "--data-root", str(tmp_path / "elsewhere")]) == 2
    assert str(tmp_path / "elsewhere" / "pictures") in capsys.readouterr().err


def test_check_looks_for_the_data_in_the_given_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = tmp_path / "study.yaml"
    moved.write_text(MOVED)
    assert main(["check", str(moved)]) == 0
    assert "WARNING" in capsys.readouterr().err  # a warning about only three steps, but none about missing data
    assert main(["check", str(moved), "--data-root", str(tmp_path)]) == 2
    missing = f"error: {moved}: data.digits: there is no folder {tmp_path / 'pictures'}; "
    assert capsys.readouterr().err.startswith(missing)
    (tmp_path / "pictures").mkdir()
    assert main(["check", str(moved), "--data-root", str(tmp_path)]) == 0


def test_an_invocation_setting_is_rejected_in_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "study.yaml"
    wrong.write_text(miniature(**BY_HAND, data_root="pictures"))
    assert main(["check", str(wrong)]) == 2
    line = f"error: {wrong}: data_root belongs on the command line: --config data_root=FOLDER for snakemake, "
    assert capsys.readouterr().err.startswith(line)


def test_prepare_by_options_makes_the_same_store(study: Path, store: Path, tmp_path: Path) -> None:
    options = load_study(study).data_options("digits").canonical()
    assert main(["prepare", "--options", options, "--output", str(tmp_path / "store")]) == 0
    assert Store.open(tmp_path / "store").checksum == Store.open(store).checksum


def test_pretrain_by_recipe_makes_the_same_backbone(study: Path, store: Path, run: Path, tmp_path: Path) -> None:
    recipe = load_study(study).recipe(RUN).canonical()
    command = ["pretrain", "--recipe", recipe, "--store", str(store), "--output", str(tmp_path / "run")]
    assert main([*command, "--device", "cpu", "--threads", "1"]) == 0
    assert (tmp_path / "run" / "backbone.safetensors").read_bytes() == (run / "backbone.safetensors").read_bytes()


def test_evaluate_and_collect(study: Path, store: Path, run: Path, tmp_path: Path) -> None:
    knn = tmp_path / "knn.json"
    command = ["evaluate", "--study", str(study), "--protocol", "knn", "--run", str(run), "--store", str(store)]
    assert main([*command, "--output-folder", str(tmp_path), "--threads", "1"]) == 0
    assert json.loads(knn.read_text())["provenance"]["options"]["neighbours"] == [5]
    assert main(["collect", "--evaluations", str(knn), "--runs", str(run), "--output", str(tmp_path)]) == 0
    with (tmp_path / "records.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    assert {(row["run"], row["protocol"], row["n"]) for row in records} == {(RUN, "knn", "40")}
    assert {row["part"] for row in records} == {"ALL", "IR", "EF"}
    with (tmp_path / "curves.csv").open(encoding="utf-8", newline="") as file:
        metrics = {row["metric"] for row in csv.DictReader(file)}
    assert {"loss_contrast", "loss_orthogonality", "loss_head_norm"} <= metrics
    assert [described["run"] for described in json.loads((tmp_path / "runs.json").read_text())] == [RUN]


def test_an_interrupted_run_asks_for_a_restart(
    study: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise Interrupted("the state is saved")

    monkeypatch.setattr("clever.pretraining.engine.pretrain", interrupted)
    command = [
        "pretrain",
        "--study",
        str(study),
        "--run",
        RUN,
        "--store",
        str(store),
        "--output",
        str(tmp_path / "run"),
    ]
    capsys.readouterr()
    assert main(command) == REQUEUE_STATUS == 75
    assert capsys.readouterr().err == "the state is saved\n"


def test_describe_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "--backbone", "vit_tiny", "--image-size", "224", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    # The widths follow the authors (int(192 * 0.8)); the count is for ViT-Tiny/16 without its classifier.
    assert (described["feature_dim"], described["ir_dim"], described["ef_dim"]) == (192, 153, 39)
    assert described["parameters"] == 5_524_416


def test_methods_lists_every_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert "dino" in listed["baselines"]
    assert {"none", "clever"} <= set(listed["equivariances"])
    assert {"linear", "knn"} <= set(listed["protocols"])
    assert {"baug", "caug", "caug_plus"} <= set(listed["augmentations"])


def test_describe_without_a_backbone_lists_the_five_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "--image-size", "96", "--json"]) == 0
    described = {entry["name"]: entry["ir_dim"] for entry in json.loads(capsys.readouterr().out)}
    assert described == {"vit_tiny": 153, "vit_small": 307, "resnet18": 409, "vmamba_tiny": 614, "resnet50": 1638}


@pytest.mark.parametrize(("run_id", "device"), [(RUN, "auto"), ("digits/tiny/untrained/none/seed0", "cpu")])
def test_processes_of_a_run_share_the_threads_and_a_control_needs_no_gpu(
    study: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_id: str, device: str
) -> None:
    executions: list[ExecutionOptions] = []
    monkeypatch.setattr("clever.pretraining.engine.pretrain", lambda *arguments: executions.append(arguments[3]))
    given = ["--study", str(study), "--run", run_id, "--store", str(store), "--output", str(tmp_path)]
    for processes in ("1", "4", "32"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert main(["pretrain", *given, "--threads", "16", "--workers", "0"]) == 0
    assert [execution.threads for execution in executions] == [16, 4, 1]
    assert {execution.workers for execution in executions} == {0}
    assert {execution.device for execution in executions} == {device}
