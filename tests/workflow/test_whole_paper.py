"""The whole paper in miniature: two studies that cover every protocol and item, and a run of the smaller one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from clever.config import load_study, parse_study
from clever.drawings import DRAWINGS
from clever.evaluation import PROTOCOLS

from ..declared import declared
from .conftest import ROOT, Snakemake
from .drawn_pictures import draw_all

PHOTOGRAPHS = ROOT / "workflow" / "studies" / "paper_cpu.yaml"
PAPER = PHOTOGRAPHS.with_name("imagenet100.yaml")
DRAWN = Path(__file__).with_name("paper_drawn.yaml")


def protocols(path: Path) -> set[str]:
    return {name.partition("+")[0] for name in load_study(path).evaluation_options()}


def whole_study() -> dict[str, Any]:
    """The drawn study with every item and protocol; those it does not list have the options they are rehearsed with."""
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
    """If this fails for a protocol or item that was added to imagenet100.yaml, add it to paper_cpu.yaml."""
    assert protocols(PHOTOGRAPHS) == protocols(PAPER) >= {"linear", "knn", "semi", "transfer", "video", "detection"}
    items = set(load_study(PHOTOGRAPHS).paper)
    # The paper's SimSiam family has a separate study, imagenet100_ddcl.
    assert items == {*load_study(PAPER).paper, *load_study(PAPER.with_name("imagenet100_ddcl.yaml")).paper}


def test_every_protocol_runs_and_every_item_is_drawn(snakemake: Snakemake, project: Path, tmp_path: Path) -> None:
    draw_all(tmp_path)
    (project / DRAWN.name).write_text(yaml.safe_dump(whole_study()), encoding="utf-8")
    done = snakemake("--cores", "1", "--configfile", DRAWN.name, "--config", f"data_root={tmp_path}", timeout=1800)
    assert done.returncode == 0, done.stdout
    results = project / "results" / "paper_drawn"
    measured = {name.partition("+")[0] for name in pd.read_csv(results / "records.csv")["protocol"]}
    # The records of semi and transfer carry the share of labels or the mode in their protocol's name.
    assert all(any(name.startswith(protocol) for name in measured) for protocol in PROTOCOLS), measured
    for item, drawing in DRAWINGS.items():
        for suffix in drawing.suffixes:
            assert (results / "paper" / f"{item}{suffix}").stat().st_size > 0, f"{item}{suffix}"
