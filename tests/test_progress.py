"""`clever progress`: counts and time left for a study of hand-made files, against hand-computed sums."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from clever.cli import main
from clever.config import Study, load_study
from clever.progress import Started, shown, survey

from .miniature import miniature

HALFWAY = {
    "study": "halfway",
    "paper": ["report"],
    "methods": {
        "dino+clever": None,
        "byol": {"baseline": {"name": "byol"}},
        "simsiam": {"baseline": {"name": "simsiam"}},
    },
    "pretraining": {"methods": ["byol", "simsiam"], "seeds": [0, 1], "optimisation": {"epochs": 10, "batch_size": 30}},
    "evaluations": {"linear": None, "knn": {}},
}
BYOL, SIMSIAM, UNTRAINED = (f"digits/tiny/{name}" for name in ("byol/caug", "simsiam/caug", "untrained/none"))


class End(Protocol):
    """A function that ends a job."""

    def __call__(self, run: str, begin: float, seconds: float, protocol: str | None = None) -> None: ...


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(miniature(small=True, **HALFWAY))
    return path


@pytest.fixture
def study(study_file: Path) -> Study:
    return load_study(study_file)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "halfway"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def end(results: Path, study: Study, describe_run: Callable[..., dict[str, Any]]) -> End:
    """Write the files of a job that started at ``begin`` and ran for ``seconds``."""

    def write(run: str, begin: float, seconds: float, protocol: str | None = None) -> None:
        if protocol is None:
            result, benchmark = results / "runs" / run / "run.json", results / "benchmarks" / "pretrain" / f"{run}.tsv"
            content = describe_run(study.recipe(run))
        else:
            result = results / "evaluations" / run / f"{protocol}.json"
            benchmark = results / "benchmarks" / "evaluate" / f"{run}.tsv"
            content = {}
        for file, text in ((result, json.dumps(content)), (benchmark, f"s\th:m:s\n{seconds}\t-\n")):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        os.utime(benchmark, (begin + seconds, begin + seconds))

    return write


def begin(results: Path, run: str, epochs: int, at: float) -> None:
    """Write the state of a run in training, last saved at ``at``."""
    state = results / "runs" / run / "state"
    state.mkdir(parents=True)
    (state / "lock").touch()
    (state / "metrics.csv").write_text("epoch,loss\n" + "".join(f"{epoch},1.0\n" for epoch in range(epochs)))
    for file in state.iterdir():
        os.utime(file, (at, at))


def test_nothing_is_known_before_the_first_job_has_ended(study: Study, results: Path) -> None:
    progress = survey(study, results / "absent")
    assert (progress.trained, progress.runs, progress.evaluated, progress.evaluations) == (0, 6, 0, 6)
    assert progress.seconds_left is None
    assert "remaining time is unknown" in shown(progress)


def test_time_left_is_estimated_from_the_most_similar_jobs(study: Study, results: Path, end: End) -> None:
    # Two jobs at once for 100 s, a break of a night, then one job for 300 s: 500 s of jobs in 400 s.
    end(f"{BYOL}/seed0", 0.0, 100.0)
    end(f"{UNTRAINED}/seed0", 0.0, 100.0)
    end(f"{BYOL}/seed0", 50_000.0, 300.0, protocol="knn")
    begin(results, f"{BYOL}/seed1", epochs=4, at=50_290.0)
    progress = survey(study, results, now=50_300.0)
    assert (progress.trained, progress.evaluated) == (2, 1)
    assert progress.started == (Started(f"{BYOL}/seed1", 4, 10, 10.0),)
    assert progress.jobs_at_once == pytest.approx(500 / 400)
    # Six epochs of BYOL at 10 s, 20 of SimSiam at BYOL's speed (same backbone), a control, five evaluations.
    assert progress.seconds_left == pytest.approx((6 * 10 + 20 * 10 + 100 + 5 * 300) / (500 / 400))
    assert progress.unknown == {}


def test_a_method_s_speed_takes_precedence_over_its_backbone_s(study: Study, results: Path, end: End) -> None:
    end(f"{BYOL}/seed0", 0.0, 100.0)
    end(f"{SIMSIAM}/seed0", 100.0, 700.0)
    progress = survey(study, results, now=800.0)
    assert progress.seconds_left == pytest.approx(100 + 700)
    assert progress.unknown == {"evaluate": 6, "pretrain": 2}
    assert "6 evaluate" in shown(progress)


def test_an_evaluation_job_s_time_depends_on_its_protocols(study_file: Path, results: Path, end: End) -> None:
    study_file.write_text(miniature(small=True, **HALFWAY | {"evaluations": {"linear": {}, "knn": {}}}))
    study = load_study(study_file)
    end(f"{BYOL}/seed0", 0.0, 100.0)
    for protocol in ("knn", "linear"):  # of one job
        end(f"{BYOL}/seed0", 100.0, 60.0, protocol=protocol)
    end(f"{BYOL}/seed1", 160.0, 100.0)
    (results / "evaluations" / BYOL / "seed1").mkdir(parents=True)
    (results / "evaluations" / BYOL / "seed1" / "knn.json").write_text("{}")
    progress = survey(study, results, now=260.0)
    assert (progress.evaluated, progress.evaluations) == (3, 12)
    # Two SimSiam runs and nine protocols at 30 s each; no control has ended.
    assert progress.seconds_left == pytest.approx(2 * 100 + 9 * 30)


def test_a_run_of_another_recipe_is_still_to_be_trained(
    study: Study, results: Path, end: End, describe_run: Callable[..., dict[str, Any]]
) -> None:
    end(f"{BYOL}/seed0", 0.0, 100.0)
    assert survey(study, results).trained == 1
    path = results / "runs" / BYOL / "seed0" / "run.json"
    described = path.read_text()
    other = study.recipe(f"{BYOL}/seed0").model_copy(update={"seed": 1})
    damaged = described.replace('"feature_dim": 256', '"feature_dim": 255')
    assert damaged != described
    for content in (json.dumps(describe_run(other)), damaged, "{"):
        path.write_text(content)
        assert survey(study, results).trained == 0


def test_a_complete_study_has_no_time_left(
    study: Study, study_file: Path, results: Path, end: End, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in study.recipes():
        end(run, 0.0, 10.0)
        end(run, 10.0, 1.0, protocol="knn")
    given = ["progress", str(study_file), "--results", str(results.parent)]
    assert main([*given, "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["seconds_left"] == 0
    assert reported["evaluated"] == reported["evaluations"] == 6
    assert main(given) == 0
    assert capsys.readouterr().out == "halfway: 6 of 6 runs trained, 6 of 6 evaluations done\n"


def test_a_missing_study_file_gives_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["progress", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err
