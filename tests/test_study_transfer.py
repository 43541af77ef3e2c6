"""Studies that transfer to other data sets: errors before anything runs, the doctor, and the provenance chain."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from clever.cli import main
from clever.config import Study, parse_study
from clever.crosschecks import refuse_for_stores
from clever.crosschecks.missing_data import missing_data
from clever.data import DataOptions, prepare
from clever.doctor.evaluations import check_evaluations
from clever.doctor.study import check_disk, check_study
from clever.errors import UserError

RIGHT = yaml.safe_load((Path(__file__).parents[1] / "faults" / "wrong_studies.yaml").read_text(encoding="utf-8"))[
    "right"
]


def study(others: dict[str, Any], **transfer: Any) -> Study:
    """A study of runs at 32 px that transfers to the data sets in ``others``."""
    content = copy.deepcopy(yaml.safe_load(RIGHT))
    content["data"] |= others
    content["evaluations"]["transfer"] = {"data": list(others)} | transfer
    content["paper"] = ["report"]
    return parse_study(content, "study.yaml")


DIGITS = {"more": {"source": "digits", "image_size": 32}}
FOLDER: dict[str, Any] = {"source": "image_folder", "root": "birds"}


def test_it_is_evaluated_in_addition_to_the_runs_data() -> None:
    whole = study(DIGITS | {"birds": FOLDER | {"image_size": 32}})
    assert list(whole.evaluation_options()) == ["linear", "transfer+more", "transfer+birds"]
    assert whole.evaluation_data() == ["birds", "more"]
    assert {recipe.data for recipe in whole.recipes().values()} == {"digits", "photos"}


@pytest.mark.parametrize(
    ("data", "transfer", "words"),
    [
        (DIGITS, {"data": ["mor"]}, r"evaluations\.transfer\.data: 'mor' is not defined; did you mean 'more'"),
        (
            {"birds": FOLDER | {"image_size": 32, "labelled": False}},
            {},
            r"evaluations\.transfer\+birds: needs labels, but data\.birds has `labelled: false`",
        ),
        (
            {"birds": FOLDER | {"image_size": 32, "classes": ["wren"]}},
            {},
            r"evaluations\.transfer\+birds: data\.birds\.classes names 1 class, but transfer needs at least two",
        ),
        (
            {"birds": FOLDER | {"format": "encoded"}},
            {},
            r"evaluations\.transfer\+birds\.image_size: is missing, but the images of data\.birds \(format encoded\)",
        ),
        (
            {"more": {"source": "digits", "image_size": 30}},
            {},
            r"evaluations\.transfer\+more\.image_size: images of 30 px, the stored size of data\.more, do not fit back",
        ),
        (DIGITS, {"image_size": 30}, r"evaluations\.transfer\+more\.image_size: images of 30 px do not fit backbones"),
        (
            DIGITS,
            {"finetune": {"last_blocks": 13}},
            r"evaluations\.transfer\+more\.last_blocks: 13 blocks were requested, but backbones\.other",
        ),
    ],
)
def test_unsupported_evaluations_are_rejected_when_the_study_is_read(
    data: dict[str, Any], transfer: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        study(data, **transfer)


def test_the_runs_data_may_lack_labels_that_only_the_other_needs(tmp_path: Path) -> None:
    """Pre-training without labels, evaluated on labelled data."""
    content = copy.deepcopy(yaml.safe_load(RIGHT))
    content["data"]["photos"] = FOLDER | {"image_size": 32, "labelled": False}
    content["data"] |= DIGITS
    content |= {"evaluations": {"transfer": {"data": ["more"]}}, "paper": ["report"]}
    whole = parse_study(content, "study.yaml")
    Image.new("RGB", (8, 8)).save((tmp_path / "birds" / "train").mkdir(parents=True) or tmp_path / "birds/train/a.png")
    assert list(missing_data(whole, str(tmp_path), tmp_path / "stores")) == []


def test_a_data_set_without_test_images_is_refused_before_anything_runs(tmp_path: Path) -> None:
    whole = study({"birds": FOLDER | {"image_size": 32}})
    for kind in ("wren", "finch"):
        (tmp_path / "birds" / "train" / kind).mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    [line] = missing_data(whole, str(tmp_path), tmp_path / "stores")
    assert line.startswith(
        "evaluations.transfer+birds: data.birds has no test images, on which transfer+birds measures"
    )
    (tmp_path / "birds" / "val").mkdir()
    assert list(missing_data(whole, str(tmp_path), tmp_path / "stores")) == []


def test_a_store_of_one_class_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "one"
    root.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    for name in ("train", "test"):
        np.save(root / f"{name}_images.npy", images)
        np.save(root / f"{name}_labels.npy", np.zeros(4, np.int64))
    whole = study({"one": {"source": "arrays", "root": str(root)}})
    prepare(
        DataOptions(source="arrays", root=str(root)), tmp_path / "results" / "trial" / "data" / "one", progress=False
    )
    with pytest.raises(
        UserError, match=r"evaluations\.transfer\+one: the store of data\.one has 1 class, but transfer"
    ):
        refuse_for_stores(whole, tmp_path / "results", "study.yaml")


def test_the_doctor_checks_the_other_data_set_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "elsewhere").mkdir()
    whole = study({"pets": {"source": "pets", "root": "elsewhere", "image_size": 32}})
    found = {finding.subject: finding for finding in check_study(whole, False, str(tmp_path))}
    assert found["data pets"].state == "FAIL"
    assert "elsewhere: has no folder oxford-iiit-pet" in found["data pets"].text
    # The official numbers of images, at 32 px.
    without = study(
        {"pets": {"source": "pets", "root": "elsewhere", "image_size": 32, "train_limit": 37, "test_limit": 37}}
    )
    sizes = [check_disk(each, *_needs(each)).text for each in (whole, without)]
    assert sizes[0] != sizes[1]
    [line] = missing_data(whole, str(tmp_path), tmp_path / "stores")
    assert line.startswith(f"data.pets: {tmp_path / 'elsewhere'}: has no folder oxford-iiit-pet")


def _needs(whole: Study) -> tuple[Any, Path]:
    from clever.doctor.needs import Need

    return {run: Need(0, 0, 0) for run in whole.recipes()}, Path("results/trial")


CHAINED = """
study: chained
data:
  digits: {source: digits, image_size: 16, train_limit: 40, test_limit: 20}
  more: {source: digits, image_size: 16, train_limit: 50, test_limit: 30}
backbones:
  tiny: {name: resnet10t_half, image_size: 16}
augmentations:
  baug: {name: baug, global_size: 16, local_size: 8, local_views: 0}
methods:
  simclr: {baseline: {name: simclr, out_dim: 8, hidden_dim: 8}}
pretrainings:
  - {data: digits, backbones: [tiny], methods: [simclr], augmentations: [baug],
     optimisation: {epochs: 1, batch_size: 20, warmup_epochs: 0}}
paper: [report]
evaluations:
  transfer: {data: [more], modes: [linear], linear: {epochs: 1, training_views: plain}}
"""


def test_its_provenance_leads_to_both_stores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, run = tmp_path / "chained", "digits/tiny/simclr/baug/seed0"
    (tmp_path / "study.yaml").write_text(CHAINED)
    given = ["--study", str(tmp_path / "study.yaml")]
    stores = {name: results / "data" / name for name in ("digits", "more")}
    for name, store in stores.items():
        assert main(["prepare", *given, "--data", name, "--output", str(store)]) == 0
    onto = ["--store", str(stores["digits"]), "--threads", "1", "--device", "cpu"]
    runs, evaluations = results / "runs" / run, results / "evaluations" / run
    assert main(["pretrain", *given, "--run", run, *onto, "--output", str(runs)]) == 0
    job = ["evaluate", *given, "--run", str(runs), *onto, "--output-folder", str(evaluations)]
    assert main(job) == 2
    assert "transfer+more: needs the prepared store of the data set more: --other-store more=FOLDER" in (
        capsys.readouterr().err
    )
    assert main([*job, "--other-store", "more"]) == 2
    assert main([*job, "--other-store", f"more={stores['more']}"]) == 0
    file = evaluations / "transfer+more.json"
    assert main(["collect", "--evaluations", str(file), "--runs", str(runs), "--output", str(results)]) == 0
    for start in (file, results / "records.csv"):
        capsys.readouterr()
        assert main(["provenance", str(start), "--json"]) == 0
        (chain,) = json.loads(capsys.readouterr().out)
        assert (chain["broken"], chain["missing"]) == ([], [])
        assert [link["where"] for link in chain["links"] if link["what"] == "store"] == [
            str(store / "store.json") for store in stores.values()
        ]
    # With another data set of that name, the chain is broken, even if only the table is left.
    prepare(DataOptions(source="digits", image_size=16, train_limit=60, test_limit=30), stores["more"], progress=False)
    for start in (file, results / "records.csv"):
        capsys.readouterr()
        assert main(["provenance", str(start), "--json"]) == 2
        (chain,) = json.loads(capsys.readouterr().out)
        assert len(chain["broken"]) == 1
        assert "data checksum" in chain["broken"][0]
        file.unlink(missing_ok=True)


def test_lists_and_folders_that_protocols_name_are_checked_before_anything_runs(tmp_path: Path) -> None:
    content = copy.deepcopy(yaml.safe_load(RIGHT))
    content["paper"] = ["report"]
    lists, folder = {"simclr1": "lists/1percent.txt"}, "CIFAR-10-C"
    content["evaluations"] = {"semi": {"lists": lists}}
    with pytest.raises(UserError, match=r"evaluations\.semi\.lists: names image files, but data\.digits \(source"):
        parse_study(content, "study.yaml")
    for name in ("digits", "photos"):
        content["data"][name] = FOLDER | {"image_size": 32}
    content["evaluations"]["corruption"] = {"root": folder}
    whole = parse_study(content, "study.yaml")
    (tmp_path / "birds").mkdir()
    lines = list(missing_data(whole, str(tmp_path), tmp_path / "stores"))
    assert lines[0].startswith(f"evaluations.semi: {tmp_path / lists['simclr1']}: cannot be read as a list")
    assert lines[1].startswith(f"evaluations.corruption: {tmp_path / folder}: no such folder")
    found = {finding.subject: finding for finding in check_evaluations(whole, str(tmp_path))}
    assert {name: finding.state for name, finding in found.items()} == {
        "evaluation semi": "FAIL",
        "evaluation corruption": "FAIL",
    }
