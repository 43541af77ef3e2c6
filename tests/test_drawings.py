"""Each table and figure is one line, one script and one caption; none of the three is missing or unused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from clever.config import parse_study
from clever.drawings import DRAWINGS, FILES, contained_items
from clever.evaluation import PROTOCOLS

ROOT = Path(__file__).resolve().parents[1]
STUDY = (ROOT / "config.yaml").read_text(encoding="utf-8")


def test_captions_and_lines_match() -> None:
    captions = {path.stem for path in (ROOT / "workflow" / "report").glob("*.rst")}
    assert captions == set(DRAWINGS)


@pytest.mark.parametrize("item", DRAWINGS)
def test_a_line_names_existing_files(item: str) -> None:
    drawing, scripts = DRAWINGS[item], ROOT / "paper_figures"
    assert (scripts / f"{item}.py").is_file()
    assert all(list(scripts.glob(template)) for template in drawing.templates)
    assert drawing.shows is None or drawing.shows in PROTOCOLS
    assert set(drawing.optional) <= set(drawing.reads) <= set(FILES)
    assert drawing.embeds or drawing.embedded in drawing.suffixes, "no file that the report could contain"


@pytest.mark.parametrize("item", DRAWINGS)
def test_a_script_has_every_option_of_its_command(item: str) -> None:
    """argparse abbreviates: --help must list each option in full."""
    shown = subprocess.run(
        [sys.executable, str(ROOT / "paper_figures" / f"{item}.py"), "--help"], capture_output=True, text=True
    )
    drawing = DRAWINGS[item]
    inputs = drawing.inputs(parse_study(yaml.safe_load(STUDY), "config.yaml"))
    options = {f"--{name}" for name in (*inputs, *drawing.options, *drawing.uncommitted, "output")}
    options |= {"--command"} if drawing.embeds else set()
    assert options <= set(shown.stdout.replace(",", " ").split())


def test_arguments_are_inputs_and_values_of_the_study() -> None:
    study = parse_study(yaml.safe_load(STUDY), "config.yaml")
    inputs = SimpleNamespace(records="r.csv", runs="r.json", curves="c.csv", drawn=["a.svg", "b.md"], code=["x.py"])
    both = ["--records", "r.csv", "--runs", "r.json"]
    assert DRAWINGS["table_1"].arguments(study, inputs) == both
    assert DRAWINGS["figure_robustness"].arguments(study, inputs) == both[:2]
    page, rest = DRAWINGS["report"], ["--drawn", "a.svg", "b.md", "--study", "demo", "--command", "make it"]
    assert page.arguments(study, inputs, command="make it") == [*both, "--curves", "c.csv", *rest]
    assert page.arguments(study, inputs, {"curves"}, "make it") == [*both, *rest]
    without_claims = study.model_copy(update={"paper": ["findings"]})
    assert DRAWINGS["findings"].arguments(without_claims, inputs) == [*both, "--study", "demo", "--figure", ""]
    with_claims = study.model_copy(update={"paper": ["findings", "figure_claims"]})
    assert DRAWINGS["findings"].arguments(with_claims, inputs)[-2:] == ["--figure", "figure_claims.png"]


def test_pictures_come_from_the_first_seed_of_each_configuration() -> None:
    """This includes every variant; raw pixels have no pictures."""
    content = yaml.safe_load(STUDY)
    variants = {"pets": {"root": "pets", "layout": "pets"}}
    content["evaluations"]["saliency"] = {"root": "ECSSD", "variants": variants}
    content["pretrainings"][0]["seeds"] = [4, 2]
    study = parse_study(content, "config.yaml")
    drawing = DRAWINGS["figure_saliency"]
    files = drawing.uncommitted_inputs(study)["pictures"]
    assert len(files) == len(set(files))
    runs = {file.removeprefix("evaluations/").rpartition("/")[0] for file in files}
    assert {f"{run}/{name}.npz" for run in runs for name in ("saliency", "saliency+pets")} == {
        file.removeprefix("evaluations/") for file in files
    }
    block = content["pretrainings"][0]
    for method in block["methods"]:
        run = f"{block['data']}/{block['backbones'][0]}/{method}/{block['augmentations'][0]}"
        assert f"{run}/seed2" in runs
        assert f"{run}/seed4" not in runs
    assert not any("/pixels/" in run for run in runs)
    assert drawing.uncommitted_arguments(SimpleNamespace(pictures=["a", "b"])) == ["--pictures", "a", "b"]
    assert drawing.uncommitted_arguments(SimpleNamespace(pictures=[])) == ["--pictures"]


def test_the_report_contains_every_other_item_of_the_study() -> None:
    """Each item appears once, in the study's order, whatever its kind; curves that were not committed are omitted."""
    items = ["report", *(name for name in DRAWINGS if name != "report"), "table_1"]
    study = parse_study(yaml.safe_load(STUDY), "config.yaml").model_copy(update={"paper": items})
    assert contained_items(study) == items[1:-1]
    inputs = DRAWINGS["report"].inputs(study)
    assert inputs["drawn"] == [
        f"<results>/paper/{name}{'.svg' if name.startswith('figure') else '.md'}" for name in items[1:-1]
    ]
    assert inputs.keys() - DRAWINGS["report"].inputs(study, {"curves"}).keys() == {"curves"}
    # Items that need a missing file are not offered.
    assert "curves" in DRAWINGS["figure_loss_terms"].inputs(study, {"curves"})
