"""Protocols of a study that read separate data sets: their roots, rejected studies, and the doctor's messages."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from clever.config import Study, parse_study
from clever.crosschecks.missing_data import missing_data
from clever.crosschecks.protocol_needs import need_faults
from clever.doctor.evaluations import check_evaluations
from clever.errors import UserError
from clever.invocation import GIVE_PARENT

TABLE = yaml.safe_load((Path(__file__).parents[1] / "faults" / "wrong_studies.yaml").read_text(encoding="utf-8"))


def study(evaluations: dict[str, Any]) -> Study:
    content = copy.deepcopy(yaml.safe_load(TABLE["right"]))
    content["evaluations"], content["paper"] = evaluations, ["figure_loss_terms"]
    return parse_study(content, "study.yaml")


def test_a_root_starts_from_the_studys_data_root_unless_it_is_absolute() -> None:
    variants = {"pets": {"root": "pets", "layout": "pets"}, "duts": {"root": "/srv/duts", "layout": "duts"}}
    whole = study({"saliency": {"root": "ECSSD", "variants": variants}})
    roots = {name: getattr(options, "root", None) for name, options in whole.evaluation_options("elsewhere").items()}
    assert roots == {
        "saliency": "elsewhere/ECSSD",
        "saliency+pets": "elsewhere/pets",
        "saliency+duts": "/srv/duts",
    }


@pytest.mark.parametrize("protocol", ["saliency", "video", "attention", "detection"])
def test_a_backbone_without_a_map_is_refused_when_the_study_is_read(protocol: str) -> None:
    whole = study({protocol: {"root": "somewhere"}})
    assert list(need_faults(whole)) == []
    mixers = {name: backbone.model_copy(update={"name": "mixer_s32_224"}) for name, backbone in whole.backbones.items()}
    name = whole.pretrainings[0].backbones[0]
    fault = next(need_faults(whole.model_copy(update={"backbones": mixers})))
    assert fault.startswith(f"evaluations.{protocol}: backbones.{name}: backbone mixer_s32_224 has no feature map")


def test_images_too_small_to_corrupt_are_refused_when_the_study_is_read() -> None:
    content = yaml.safe_load(TABLE["right"])
    content |= {"evaluations": {"corruption": {}}, "paper": ["figure_loss_terms"]}
    for data in content["data"]:
        content["data"][data] = {"source": "digits", "image_size": 16}
    with pytest.raises(UserError, match=r"evaluations\.corruption: the images of data\.\w+ have 16 px"):
        parse_study(content, "study.yaml")


def test_doctor_knows_each_protocol_s_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "ECSSD" / folder).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "ECSSD" / folder / "a.png")
    whole = study(
        {
            "knn": {},
            "saliency": {"root": "ECSSD"},
            "video": {"root": "ECSSD"},
            "attention": {"root": "ECSSD"},
            "corruption": {},
        }
    )
    found = {finding.subject: finding for finding in check_evaluations(whole, str(tmp_path))}
    assert {name: finding.state for name, finding in found.items()} == {
        "evaluation saliency": "ok",
        "evaluation video": "FAIL",
        "evaluation attention": "ok",
        "evaluation corruption": "ok",
    }
    assert "does not hold DAVIS" in found["evaluation video"].text
    absent = {finding.subject: finding.text for finding in check_evaluations(whole, str(tmp_path / "nowhere"))}
    for protocol in ("saliency", "video", "attention"):
        assert absent[f"evaluation {protocol}"] == f"there is no folder {tmp_path}/nowhere/ECSSD; {GIVE_PARENT}"
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    found = {finding.subject: finding for finding in check_evaluations(whole, str(tmp_path))}
    assert found["evaluation corruption"].text == "needs imagecorruptions; pip install 'clever-ssl[evaluation]'"
    assert found["evaluation attention"].state == "FAIL"


@pytest.mark.parametrize("protocol", ["saliency", "video", "attention", "detection"])
def test_a_missing_data_set_gives_one_line_with_protocol_folder_and_remedy(protocol: str, tmp_path: Path) -> None:
    whole = study({protocol: {"root": "photographs"}})
    lines = [line for line in missing_data(whole, str(tmp_path), tmp_path) if line.startswith("evaluations.")]
    folder = tmp_path / "photographs"
    assert lines == [f"evaluations.{protocol}: there is no folder {folder}; {GIVE_PARENT}"]
    folder.mkdir()
    [line] = [line for line in missing_data(whole, str(tmp_path), tmp_path) if line.startswith("evaluations.")]
    assert line.startswith(f"evaluations.{protocol}: {folder}")
    assert "\n" not in line
