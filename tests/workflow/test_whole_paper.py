"""The whole paper in miniature: two studies that cover every protocol and item, and a run of the smaller one."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

from clever.cli import main
from clever.config import load_study, parse_study
from clever.drawings import DRAWINGS, contained_items
from clever.evaluation import PROTOCOLS
from clever.workflow_setup import set_up

from ..declared import declared
from .conftest import ROOT, Snakemake, planned_jobs
from .drawn_pictures import draw_all

PHOTOGRAPHS = ROOT / "workflow" / "studies" / "paper_cpu.yaml"
PAPER = PHOTOGRAPHS.with_name("imagenet100.yaml")
DRAWN = Path(__file__).with_name("paper_drawn.yaml")


def protocols(path: Path) -> set[str]:
    return {name.partition("+")[0] for name in load_study(path).evaluation_options()}


def whole_study() -> dict[str, Any]:
    """The drawn study with every item and protocol; protocols that it does not list have the options of their
    rehearsals."""
    content: dict[str, Any] = yaml.safe_load(DRAWN.read_text(encoding="utf-8"))
    for protocol in PROTOCOLS:
        rehearsals = declared("evaluation", protocol, "REHEARSALS") or [("", {})]
        content["evaluations"].setdefault(protocol, rehearsals[0][1])
    return content | {"paper": list(DRAWINGS)}


def test_the_drawn_study_has_every_protocol_and_every_item() -> None:
    study = parse_study(whole_study(), "paper_drawn.yaml")
    assert {name.partition("+")[0] for name in study.evaluation_options()} == set(PROTOCOLS)
    assert sorted(study.paper) == sorted(DRAWINGS)


def test_the_study_of_photographs_is_the_paper_s_in_miniature() -> None:
    """If this fails for a protocol or item that was added to imagenet100.yaml, add it to paper_cpu.yaml as well."""
    assert protocols(PHOTOGRAPHS) == protocols(PAPER) >= {"linear", "knn", "semi", "transfer", "video", "detection"}
    items = set(load_study(PHOTOGRAPHS).paper)
    # The paper's SimSiam family has a separate study, imagenet100_ddcl.
    assert items == {*load_study(PAPER).paper, *load_study(PAPER.with_name("imagenet100_ddcl.yaml")).paper}


def test_a_plan_draws_every_item(snakemake: Snakemake, project: Path, tmp_path: Path) -> None:
    draw_all(tmp_path)
    (project / DRAWN.name).write_text(yaml.safe_dump(whole_study()), encoding="utf-8")
    planned = snakemake("--dry-run", "--configfile", DRAWN.name, "--config", f"data_root={tmp_path}")
    assert planned.returncode == 0, planned.stdout
    study = parse_study(whole_study(), DRAWN.name)
    runs = len(study.recipes())
    assert planned_jobs(planned.stdout) == {
        **{"prepare": len(study.data), "pretrain": runs, "evaluate": runs, "collect": 1},
        **dict.fromkeys(DRAWINGS, 1),
    }


def test_every_protocol_runs_and_every_item_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the jobs of the study in one process, because start-up would take most of each job's time."""
    draw_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.environ["PATH"])  # set_up extends it
    monkeypatch.syspath_prepend(ROOT / "paper_figures")
    content = whole_study()
    Path(DRAWN.name).write_text(yaml.safe_dump(content), encoding="utf-8")
    setup = set_up(content | {"data_root": str(tmp_path)}, [DRAWN.name], ["snakemake"])
    study, results = setup.study, Path(setup.results)
    stores = {name: results / "data" / name for name in study.data}
    for name, store in stores.items():
        options = study.data_options(name, setup.invocation.data_root).canonical()
        run_command("prepare", "--options", options, "--output", store)
    protocols = {name: options.model_dump(mode="json") for name, options in setup.protocols.items()}
    others = [word for name in study.evaluation_data() for word in ("--other-store", f"{name}={stores[name]}")]
    for run, recipe in setup.recipes.items():
        folder, store = results / "runs" / run, ("--store", stores[run.partition("/")[0]])
        run_command("pretrain", "--recipe", recipe.canonical(), *store, "--output", folder, "--threads", 1)
        given = ("--options", json.dumps(protocols), "--run", folder, *store, *others)
        run_command("evaluate", *given, "--output-folder", results / "evaluations" / run, "--threads", 1)
    measured = [results / "evaluations" / run / f"{name}.json" for run in setup.recipes for name in protocols]
    runs = [results / "runs" / run for run in setup.recipes]
    run_command("collect", "--evaluations", *measured, "--runs", *runs, "--output", results)

    recorded = {name.partition("+")[0] for name in pd.read_csv(results / "records.csv")["protocol"]}
    # The records of semi and transfer have the share of labels or the mode in their protocol's name.
    assert all(any(name.startswith(protocol) for name in recorded) for protocol in PROTOCOLS), recorded
    for item in [*contained_items(study), *(name for name, drawing in DRAWINGS.items() if drawing.embeds)]:
        drawing = DRAWINGS[item]
        outputs = [results / "paper" / f"{item}{suffix}" for suffix in drawing.suffixes]
        named = drawing.inputs(study) | setup.uncommitted(drawing)
        inputs = SimpleNamespace(**{name: placed(paths, results) for name, paths in named.items()})
        arguments = [*drawing.arguments(study, inputs, (), "snakemake"), *drawing.uncommitted_arguments(inputs)]
        importlib.import_module(item).main([*arguments, "--output", *map(str, outputs)])
        assert all(output.stat().st_size > 0 for output in outputs)


def run_command(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def placed(paths: Any, results: Path) -> Any:
    """The inputs of a rule, with the folder of the study's results filled in."""
    if isinstance(paths, str):
        return paths.replace("<results>", str(results))
    return [placed(path, results) for path in paths]
