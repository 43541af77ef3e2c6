"""The whole paper in miniature: two studies that cover every protocol and item, and a run of the smaller one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from clever.config import load_study
from clever.crosschecks.data_needs import NEED_LATENTS, NEED_OBJECTS
from clever.drawings import DRAWINGS
from clever.evaluation import PROTOCOLS

from .conftest import ROOT, Snakemake
from .drawn_pictures import draw_all

PHOTOGRAPHS = ROOT / "workflow" / "studies" / "paper_cpu.yaml"
DRAWN = Path(__file__).with_name("paper_drawn.yaml")
RENDERED_ONLY = {*NEED_LATENTS, *NEED_OBJECTS}
"""Protocols for images with known latents, which photographs lack."""


def protocols(path: Path) -> set[str]:
    return {name.partition("+")[0] for name in load_study(path).evaluation_options()}


def test_the_drawn_study_has_every_protocol_and_every_item() -> None:
    """If this fails for a new protocol or item, add it to paper_drawn.yaml, and to paper_cpu.yaml."""
    assert protocols(DRAWN) == set(PROTOCOLS)
    assert sorted(load_study(DRAWN).paper) == sorted(DRAWINGS)


def test_the_study_of_photographs_has_every_protocol_and_item_for_photographs() -> None:
    """If this fails for a new protocol or item, add it to paper_cpu.yaml."""
    assert protocols(PHOTOGRAPHS) == set(PROTOCOLS) - RENDERED_ONLY
    drawable = {item for item, drawing in DRAWINGS.items() if drawing.shows not in RENDERED_ONLY}
    assert sorted(load_study(PHOTOGRAPHS).paper) == sorted(drawable)


def test_every_protocol_runs_and_every_item_is_drawn(snakemake: Snakemake, project: Path, tmp_path: Path) -> None:
    draw_all(tmp_path)
    shutil.copy2(DRAWN, project / DRAWN.name)
    done = snakemake("--cores", "1", "--configfile", DRAWN.name, "--config", f"data_root={tmp_path}", timeout=1800)
    assert done.returncode == 0, done.stdout
    results = project / "results" / "paper_drawn"
    measured = {name.partition("+")[0] for name in pd.read_csv(results / "records.csv")["protocol"]}
    # The records of semi and transfer carry the share of labels or the mode in their protocol's name.
    assert all(any(name.startswith(protocol) for name in measured) for protocol in PROTOCOLS), measured
    for item, drawing in DRAWINGS.items():
        for suffix in drawing.suffixes:
            assert (results / "paper" / f"{item}{suffix}").stat().st_size > 0, f"{item}{suffix}"
