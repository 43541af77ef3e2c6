"""The share of its initialisation that remains in a teacher: against closed forms and an actually averaged teacher."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from clever.baselines import BASELINES
from clever.cli import main
from clever.config import parse_study
from clever.crosschecks.teachers import teacher_warnings
from clever.data import Store
from clever.doctor.study import check_teachers
from clever.pretraining.engine import pretrain
from clever.pretraining.momentum_teacher import initial_share, teacher_share, unmoved_teacher
from clever.pretraining.optimiser import update_teacher
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import MethodOptions
from clever.pretraining.trainer import Trainer


def method(baseline: str, **options: Any) -> MethodOptions:
    return MethodOptions.model_validate({"baseline": {"name": baseline, **options}})


@pytest.mark.parametrize(("momentum", "steps"), [(0.9, 10), (0.996, 1), (1.0, 50), (0.5, 0)])
def test_a_constant_momentum_leaves_the_power_of_the_momentum(momentum: float, steps: int) -> None:
    assert initial_share(lambda _: momentum, steps) == pytest.approx(momentum**steps, rel=1e-12)


@pytest.mark.parametrize("baseline", ["dino", "byol", "moco_v3"])
@pytest.mark.parametrize("momentum", [0.5, 0.99, 0.996])
@pytest.mark.parametrize("steps", [15, 440, 5000])
def test_a_momentum_that_rises_to_one_leaves_its_closed_form(baseline: str, momentum: float, steps: int) -> None:
    """Uses that the mean of log(1 - (1 - m)(1 + cos(pi p)) / 2) over p in [0, 1] is 2 log((1 + sqrt(m)) / 2)."""
    expected = math.sqrt(momentum) * ((1 + math.sqrt(momentum)) / 2) ** (2 * steps)
    found = teacher_share(method(baseline, momentum=momentum).baseline, steps)
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_long_schedule_is_sampled() -> None:
    expected = ((1 + math.sqrt(0.99999)) / 2) ** (2 * 200_000)
    assert expected == pytest.approx(0.368, abs=1e-3)
    assert teacher_share(method("dino", momentum=0.99999).baseline, 200_000) == pytest.approx(expected, rel=1e-4)


def test_a_momentum_of_zero_leaves_nothing_of_the_initialisation() -> None:
    assert initial_share(lambda progress: 0.0 if progress else 0.9, 5) == 0.0


def test_it_equals_the_share_that_the_trainer_leaves(make_recipe: Any) -> None:
    """The student's weights are zero and contribute nothing to the average, so only the teacher's initial share
    remains."""
    trainer = Trainer(make_recipe(), (0.5,) * 3, (0.2,) * 3, 6, torch.device("cpu"))
    assert trainer.teacher is not None
    trainer.teacher.double()
    trainer.student.double()
    start = [value.clone() for value in trainer.teacher.backbone.parameters()]
    for parameter in trainer.student.parameters():
        parameter.data.zero_()
    for iteration in range(trainer.total_steps):
        momentum = trainer.schedule(iteration).momentum
        assert momentum is not None
        update_teacher(trainer.teacher.backbone, trainer.student.backbone, momentum)
    assert trainer.recipe.method is not None
    share = teacher_share(trainer.recipe.method.baseline, trainer.total_steps)
    assert share is not None
    assert 0.9 < share < 0.99
    for value, initial in zip(trainer.teacher.backbone.parameters(), start, strict=True):
        torch.testing.assert_close(value, share * initial, rtol=1e-9, atol=1e-12)


def test_following_the_advice_gives_the_stated_share() -> None:
    line = unmoved_teacher(method("dino"), 15)
    assert line == (
        "the evaluated teacher is still 96.8 % its initialisation after 15 steps at momentum 0.996; for at most 5 %, "
        "lower baseline.momentum to 0.675 or train for 1,495 steps"
    )
    assert teacher_share(method("dino", momentum=0.675).baseline, 15) == pytest.approx(0.05, abs=1e-3)
    assert teacher_share(method("dino").baseline, 1495) == pytest.approx(0.05, abs=1e-4)
    assert unmoved_teacher(method("dino", momentum=0.675), 15) is None


def test_the_evaluated_network_is_named_and_a_missing_teacher_is_no_fault() -> None:
    lines = {name: unmoved_teacher(method(name), 2) for name in BASELINES}
    slow = {"dino", "byol", "moco_v2", "moco_v3", "mochi", "interclr", "obow"}
    assert {name for name, line in lines.items() if line} == slow
    assert str(lines["dino"]).startswith("the evaluated teacher is still 99.4 %")
    assert str(lines["byol"]).startswith("the teacher is still")
    assert "momentum 1; for at most 5 %, lower baseline.momentum to 0" in str(
        unmoved_teacher(method("dino", momentum=1.0), 10**5)
    )


@pytest.mark.parametrize("momentum", [0.996, 0.3])
def test_the_health_of_a_run_reports_it(
    momentum: float, make_recipe: Any, digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = make_recipe(baseline={"momentum": momentum}, augmentation={"local_views": 0})
    pretrain(recipe, digits_store, tmp_path, ExecutionOptions(device="cpu", threads=1))
    health = json.loads((tmp_path / "run.json").read_text())["health"]
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    unmoved = "the evaluated teacher is still 97.4 % its initialisation after 12 steps at momentum 0.996"
    expected = momentum == 0.996
    assert (unmoved in health) == expected
    assert [unmoved in line for line in lines] == [False, False, expected]
    said = capsys.readouterr().err.splitlines()
    assert (unmoved in said[0]) == expected  # before the first step


STUDY: dict[str, Any] = {
    "study": "short",
    "data": {"digits": {"source": "digits", "train_limit": 640}},
    "backbones": {"tiny": {"name": "resnet10t_half", "image_size": 32}},
    "augmentations": {"baug": {"name": "baug", "global_size": 32, "local_size": 16, "local_views": 0}},
    "methods": {"dino": {"baseline": {"name": "dino"}}, "simsiam": {"baseline": {"name": "simsiam"}}},
    "pretrainings": [
        {
            "data": "digits",
            "backbones": ["tiny"],
            "methods": ["dino", "simsiam"],
            "augmentations": ["baug"],
            "optimisation": {"epochs": 3, "batch_size": 64, "warmup_epochs": 0},
        }
    ],
    "paper": ["report"],
    "evaluations": {"linear": {}},
}
FOUND = "pretrainings.0: methods.dino: the evaluated teacher is still 94 % its initialisation after 30 steps"


def test_check_and_doctor_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short.yaml").write_text(yaml.safe_dump(STUDY))
    assert main(["check", "short.yaml"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"WARNING, short.yaml: {FOUND} at momentum 0.996; for at most 5 %")
    _, steps = said.err.splitlines()
    assert "pretrainings.0.optimisation: 30 steps a run" in steps
    assert "WARNING" not in said.out
    (finding,) = check_teachers(parse_study(STUDY, "short.yaml"), tmp_path)
    assert finding.state == "warning"
    assert finding.text.startswith(FOUND)


def test_prepared_stores_are_counted_and_unknown_sizes_are_not_guessed(tmp_path: Path) -> None:
    long = {"epochs": 200, "batch_size": 8, "warmup_epochs": 0}
    blocks = [STUDY["pretrainings"][0] | {"optimisation": long}]
    study = parse_study(STUDY | {"pretrainings": blocks}, "s.yaml")
    assert list(teacher_warnings(study, tmp_path)) == []
    (finding,) = check_teachers(study, tmp_path)
    assert (finding.state, finding.text) == (
        "ok",
        "less than 50% of every momentum teacher is its initialisation at the end",
    )
    options = study.data["digits"].model_dump(mode="json")
    (tmp_path / "digits").mkdir()
    content = {"options": options, "splits": {"train": {"count": 8}}}
    (tmp_path / "digits" / "store.json").write_text(json.dumps(content))
    (line,) = teacher_warnings(study, tmp_path)
    assert "after 200 steps" in line
    folder = {"digits": {"source": "image_folder", "root": "x", "image_size": 32}}
    unknown = parse_study(STUDY | {"data": folder}, "s.yaml")
    (finding,) = check_teachers(unknown, tmp_path)
    assert finding.text.endswith("is its initialisation at the end, except where digits is not prepared yet")
