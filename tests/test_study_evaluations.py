"""Protocols with data sets of their own in a study: their roots, what is refused when it is read, what doctor says."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from clever.config import Study, parse_study
from clever.doctor.evaluations import check_evaluations
from clever.errors import UserError

TABLE = yaml.safe_load((Path(__file__).parents[1] / "faults" / "wrong_studies.yaml").read_text(encoding="utf-8"))


def study(evaluations: dict[str, Any], backbone: str | None = None) -> Study:
    content = copy.deepcopy(yaml.safe_load(TABLE["right"]))
    content["evaluations"], content["paper"] = evaluations, ["figure_loss_terms"]
    if backbone is not None:
        for options in content["backbones"].values():
            options["name"] = backbone
    return parse_study(content, "study.yaml")


def test_a_root_starts_from_the_studys_data_root_unless_it_is_absolute() -> None:
    variants = {"pets": {"root": "pets", "layout": "pets"}, "duts": {"root": "/srv/duts", "layout": "duts"}}
    whole = study({"saliency": {"root": "ECSSD", "variants": variants}}).model_copy(update={"data_root": "elsewhere"})
    roots = {name: getattr(options, "root", None) for name, options in whole.evaluation_options().items()}
    assert roots == {
        "saliency": "elsewhere/ECSSD",
        "saliency+pets": "elsewhere/pets",
        "saliency+duts": "/srv/duts",
    }


@pytest.mark.parametrize("protocol", ["saliency", "video", "attention", "detection"])
def test_a_backbone_without_a_map_is_refused_when_the_study_is_read(protocol: str) -> None:
    study({protocol: {"root": "somewhere"}}, "resnet18")
    with pytest.raises(UserError, match=rf"study\.yaml: .*evaluations\.{protocol}: backbones\.\w+: .*no feature map"):
        study({protocol: {"root": "somewhere"}}, "mixer_s32_224")


def test_doctor_knows_what_each_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    ).model_copy(update={"data_root": str(tmp_path)})
    found = {finding.subject: finding for finding in check_evaluations(whole)}
    assert {name: finding.state for name, finding in found.items()} == {
        "evaluation saliency": "ok",
        "evaluation video": "FAIL",
        "evaluation attention": "ok",
        "evaluation corruption": "ok",
    }
    assert "does not hold DAVIS" in found["evaluation video"].text
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    found = {finding.subject: finding for finding in check_evaluations(whole)}
    assert found["evaluation corruption"].text == "needs imagecorruptions; pip install 'clever-ssl[evaluation]'"
    assert found["evaluation attention"].state == "FAIL"
