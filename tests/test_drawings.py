"""Each table and figure is one line, one script and one caption; nothing of the three is missing or left over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from clever.config import parse_study
from clever.drawings import DRAWINGS
from clever.evaluation import PROTOCOLS

ROOT = Path(__file__).resolve().parents[1]
STUDY = (ROOT / "config.yaml").read_text(encoding="utf-8")


def test_captions_and_lines_match() -> None:
    captions = {path.stem for path in (ROOT / "workflow" / "report").glob("*.rst")}
    assert captions == set(DRAWINGS)


@pytest.mark.parametrize("item", DRAWINGS)
def test_a_line_names_what_there_is(item: str) -> None:
    drawing, scripts = DRAWINGS[item], ROOT / "paper_figures"
    assert (scripts / f"{item}.py").is_file()
    assert drawing.template is None or (scripts / drawing.template).is_file()
    assert drawing.shows is None or drawing.shows in PROTOCOLS
    assert all(".png" in DRAWINGS[figure].suffixes for figure in drawing.figures)


@pytest.mark.parametrize("item", DRAWINGS)
def test_a_script_has_every_option_of_its_command(item: str) -> None:
    """argparse abbreviates: --help must list each option in full."""
    shown = subprocess.run(
        [sys.executable, str(ROOT / "paper_figures" / f"{item}.py"), "--help"], capture_output=True, text=True
    )
    options = [word for word in DRAWINGS[item].command.split() if word.startswith("--")]
    assert "--output" in options
    assert set(options) <= set(shown.stdout.replace(",", " ").split())


def test_values_come_from_the_study() -> None:
    study = parse_study(yaml.safe_load(STUDY), "config.yaml")
    assert DRAWINGS["report"].params(study) == {"title": "CLeVER, study demo"}
    assert DRAWINGS["findings"].params(study) == {"study": "demo", "figure": ""}
    with_claims = study.model_copy(update={"paper": ["findings", "figure_claims"]})
    assert DRAWINGS["findings"].params(with_claims) == {"study": "demo", "figure": "figure_claims.png"}
    assert DRAWINGS["table_1"].params(study) == {}


def test_the_command_of_a_table() -> None:
    assert DRAWINGS["table_1"].command == (
        "python {input.script:q} --records {input.records:q} --runs {input.runs:q} --output {output:q} > {log:q} 2>&1"
    )
