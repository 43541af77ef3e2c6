"""The set-up that the Snakefile requests from the package before it declares a rule."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from clever.drawings import DRAWINGS
from clever.invocation import command
from clever.workflow_setup import default_study, set_up, source_folder

CONTENT = yaml.safe_load("""
study: trial
data:
  digits: {source: digits, image_size: 32}
  photos: {source: arrays, root: photos, image_size: 32}
backbones:
  tiny: {name: resnet10t_half, image_size: 32}
augmentations:
  caug: {name: caug, global_size: 32, local_size: 16}
methods:
  dino: {baseline: {name: dino}}
pretrainings:
  - {data: digits, backbones: [tiny], methods: [dino], augmentations: [caug], seeds: [0, 1, 5]}
controls: [untrained]
evaluations:
  linear: {}
  saliency: {root: ECSSD, variants: {duts: {root: /srv/duts, layout: duts}}}
""")
ABSENT = "data.photos: there is no folder data/photos; give its parent with --config data_root=FOLDER"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.environ["PATH"])


def content(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(CONTENT) | changes


def write(changed: dict[str, Any], name: str = "study.yaml") -> Path:
    Path(name).write_text(yaml.safe_dump(changed), encoding="utf-8")
    return Path(name)


def refusal(config: dict[str, Any], files: list[Path], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        set_up(config, files, ["snakemake", *arguments])
    line = stopped.value.code
    assert isinstance(line, str)
    assert line.startswith("error: ")
    assert "\n" not in line
    return line.removeprefix("error: ")


def test_a_plan_needs_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    setup = set_up(content(), [write(content())], ["snakemake", "--dry-run"])
    notes = capsys.readouterr().err.splitlines()
    assert [note.startswith("note: ") for note in notes] == [True] * 3
    assert notes[0].startswith(f"note: {ABSENT}")
    assert notes[1].startswith("note: evaluations.saliency: ")
    assert setup.results == "results/trial"


def test_a_run_needs_its_data() -> None:
    assert refusal(content(), [write(content())]).startswith(ABSENT)
    Path("elsewhere", "photos").mkdir(parents=True)
    settings = {"data_root": "elsewhere"}
    assert refusal(content() | settings, [write(content())]).startswith("evaluations.saliency: ")


def test_a_prepared_data_set_needs_no_source() -> None:
    store = Path("results", "trial", "data", "photos", "store.json")
    store.parent.mkdir(parents=True)
    store.write_text("{}")
    plain = content(evaluations={"linear": {}})
    assert set_up(plain, [write(plain)], ["snakemake"]).study.study == "trial"


def test_invocation_settings_reach_the_roots() -> None:
    setup = set_up(content(data_root="elsewhere"), [write(content())], ["snakemake", "-n"])
    assert setup.invocation.data_root == "elsewhere"
    roots = {name: getattr(options, "root", None) for name, options in setup.protocols.items()}
    assert roots == {"linear": None, "saliency": "elsewhere/ECSSD", "saliency+duts": "/srv/duts"}


def test_drawing_from_committed_records_needs_neither_data_nor_protocols() -> None:
    bare = content(evaluations={})
    assert "lists no protocol" in refusal(bare, [write(bare)], "-n")
    setup = set_up(bare | {"from_measured": True}, [write(bare)], ["snakemake"])
    assert setup.results == "results/trial/measured"


@pytest.mark.parametrize(
    ("key", "value", "advice"),
    [("data_root", "pictures", "--config data_root=FOLDER"), ("from_measured", True, "--config from_measured=true")],
)
def test_a_study_file_must_not_contain_invocation_settings(key: str, value: object, advice: str) -> None:
    wrong = content(**{key: value})
    line = refusal(wrong, [write(wrong)], "-n")
    assert line.startswith(f"study.yaml: {key} belongs on the command line: {advice}")


def test_a_setting_of_the_wrong_kind_is_named() -> None:
    line = refusal(content(from_measured="perhaps"), [write(content())], "-n")
    assert line.startswith("--config: from_measured: ")


def test_every_file_is_read_strictly() -> None:
    first, second = write(content()), Path("more.yaml")
    second.write_text("study: trial\nstudy: other\n")
    assert refusal(content(), [first, second], "-n").startswith("more.yaml: not valid YAML: the key 'study'")


def test_a_module_provides_its_study_without_a_file() -> None:
    Path("data", "photos").mkdir(parents=True)
    plain = content(evaluations={"linear": {}})
    assert set_up(plain | {"data_root": "data"}, [], ["snakemake"]).invocation.data_root == "data"
    assert refusal({}, [], "-n").startswith("the module's config: ")


def test_earlier_seeds_come_first() -> None:
    urgency = set_up(content(), [], ["snakemake", "-n"]).urgency
    assert urgency == {"0": 4, "1": 2, "5": 0}


def test_jobs_find_the_interpreter() -> None:
    import sys

    os.environ["PATH"] = "/srv/bin"
    set_up(content(), [], ["snakemake", "-n"])
    assert os.environ["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/srv/bin"]


def test_the_default_study_is_in_the_working_folder_or_the_demo() -> None:
    source = Path("..", "checkout")
    assert default_study(source) == str(source / "config.yaml")
    write(content(), "config.yaml")
    assert default_study(source) == "config.yaml"
    # Another workflow's config.yaml holds its own settings.
    assert default_study(source, True) == str(source / "config.yaml")


def test_committed_records_are_drawn_with_the_available_pictures() -> None:
    drawing, study = DRAWINGS["figure_saliency"], write(content(paper=["figure_saliency"]))
    planned = set_up(content(paper=["figure_saliency"]), [study], ["snakemake", "-n"])
    assert planned.pictured == ["saliency", "saliency+duts"]
    wanted = planned.uncommitted(drawing)["pictures"]
    assert "<results>/evaluations/digits/tiny/dino/caug/seed0/saliency+duts.npz" in wanted
    measured = content(paper=["figure_saliency"]) | {"from_measured": True}
    assert set_up(measured, [study], ["snakemake"]).uncommitted(drawing) == {"pictures": []}
    here = Path("results/trial/evaluations/digits/tiny/untrained/none/seed0/saliency.npz")
    here.parent.mkdir(parents=True)
    here.write_bytes(b"")
    assert set_up(measured, [study], ["snakemake"]).uncommitted(drawing) == {"pictures": [str(here)]}


def test_the_quoted_command_is_the_same_on_every_machine() -> None:
    study = Path.cwd() / "workflow" / "my study.yaml"
    settings = {"from_measured": True, "data_root": "/srv/images"}
    assert command([study], settings) == (
        "snakemake --cores all --configfile 'workflow/my study.yaml' --config data_root=FOLDER from_measured=true"
    )
    assert command([], {}) == "snakemake --cores all"


def test_a_hosted_snakefile_is_rejected_in_one_line(tmp_path: Path) -> None:
    """The rules read the scripts of a checkout; ``github(...)`` brings only the Snakefile."""
    assert source_folder(str(tmp_path)) == Path()

    class Hosted:
        def __str__(self) -> str:
            return "github:owner/clever"

    with pytest.raises(SystemExit, match=r"^error: github:owner/clever: .*clone the repository[^\n]*$"):
        source_folder(Hosted())
