"""The job: a finished run's folder and a store in, a file of records out; with a predictor and without one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clever.data import Store
from clever.errors import UserError
from clever.evaluation.job import evaluate_run
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.results.records import read_evaluation

from .objects import SIDE, objects_store

BASELINE = {"name": "vicreg", "hidden_dim": 16, "out_dim": 16}
SIE = {"name": "sie", "hidden_dim": 16, "out_dim": 16}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return objects_store(tmp_path_factory.mktemp("objects"), objects=4)


@pytest.fixture(scope="module")
def runs(objects: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An epoch of two steps with SIE, and of its baseline alone."""
    folder = tmp_path_factory.mktemp("runs")
    for name, equivariance in (("vicreg+sie", SIE), ("vicreg", {"name": "none"})):
        recipe = RunRecipe.model_validate(
            {
                "data": "objects",
                "backbone_name": "tiny",
                "backbone": {"name": "resnet10t_half", "image_size": SIDE},
                "method_name": name,
                "method": {"baseline": BASELINE, "equivariance": equivariance},
                "augmentation_name": "pairs",
                "augmentation": {"name": "pairs", "global_size": SIDE, "relative": "rotation_and_colour"},
                "optimisation": {"epochs": 1, "batch_size": 3, "warmup_epochs": 0},
                "seed": 0,
            }
        )
        pretrain(recipe, objects, folder / name, ExecutionOptions(device="cpu", threads=1))
    return folder


def test_a_predictor_is_measured_and_a_run_without_one_has_no_records(
    objects: Store, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("vicreg+sie", "vicreg"):
        evaluate_run(
            "retrieval", '{"hits": [1, 10]}', run_folder=runs / name, store_folder=objects.folder,
            output=tmp_path / f"{name}.json", device="cpu",
        )  # fmt: skip
    found = read_evaluation(tmp_path / "vicreg+sie.json").records
    assert {(r.part, r.metric) for r in found} == {
        ("EF", metric) for metric in ("pre_train_train", "pre_val_val", "pre_val_all", "mrr", "hit_at_1", "hit_at_10")
    }
    values = {r.metric: r.value for r in found}
    assert all(0 <= value <= 1 for value in values.values())
    # Of 50 photographs an untrained predictor finds the right one by chance: the mean of 1 / rank is 0.09.
    assert values["hit_at_1"] <= values["mrr"] < 0.5
    assert read_evaluation(tmp_path / "vicreg.json").records == []
    assert "objects/tiny/vicreg/pairs/seed0 has no predictor" in capsys.readouterr().err


def test_protocols_of_objects_write_their_records(objects: Store, runs: Path, tmp_path: Path) -> None:
    options = json.dumps({"epochs": 1, "hidden_dim": 8, "averaging": {"count": 2}})
    evaluate_run(
        "relative_colour", options, run_folder=runs / "vicreg+sie", store_folder=objects.folder,
        output=tmp_path / "out.json", device="cpu",
    )  # fmt: skip
    evaluation = read_evaluation(tmp_path / "out.json")
    assert {record.part for record in evaluation.records} == {"ALL", "IR", "EF"}
    assert evaluation.provenance["options"]["averaging"]["count"] == 2


def test_the_records_of_a_variant_bear_its_name(objects: Store, runs: Path, tmp_path: Path) -> None:
    values = {}
    for name in ("knn", "knn+other"):
        evaluate_run(
            name, '{"perturbations": ["orig"], "neighbours": [5]}', run_folder=runs / "vicreg",
            store_folder=objects.folder, output=tmp_path / f"{name}.json", device="cpu",
        )  # fmt: skip
        found = read_evaluation(tmp_path / f"{name}.json").records
        assert {record.protocol for record in found} == {name}
        values[name] = [record.value for record in found]
    assert values["knn"] == values["knn+other"]


def test_two_names_of_a_protocol_stay_two_in_a_variant(objects: Store, runs: Path, tmp_path: Path) -> None:
    evaluate_run(
        "knn+other", '{"perturbations": ["orig"], "neighbours": [2, 3]}', run_folder=runs / "vicreg",
        store_folder=objects.folder, output=tmp_path / "out.json", device="cpu",
    )  # fmt: skip
    found = read_evaluation(tmp_path / "out.json").records
    assert {record.protocol for record in found} == {"knn2+other", "knn3+other"}


def _evaluate(objects: Store, run: Path, output: Path) -> None:
    options = '{"perturbations": ["orig"], "neighbours": [5]}'
    evaluate_run("knn", options, run_folder=run, store_folder=objects.folder, output=output, device="cpu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ir_dim": 100}, "ir_dim is 100, but its recipe gives 128"),
        ({"recipe": {"seed": 7}}, r"run is .*seed0, but its recipe gives .*seed7"),
        ({"health": "fine"}, "was changed or damaged: the SHA-256 of its content is"),
    ],
)
def test_a_changed_run_description_is_refused(
    objects: Store, runs: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    shutil.copytree(runs / "vicreg+sie", tmp_path / "run")
    run = json.loads((runs / "vicreg+sie" / "run.json").read_text())
    if "recipe" in changes:
        changes = {"recipe": run["recipe"] | changes["recipe"]}
    (tmp_path / "run" / "run.json").write_text(json.dumps(run | changes))
    with pytest.raises(UserError, match=rf"run\.json: {words}"):
        _evaluate(objects, tmp_path / "run", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_one_flipped_bit_of_the_backbone_is_refused(objects: Store, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "vicreg", tmp_path / "run")
    weights = tmp_path / "run" / "backbone.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"backbone\.safetensors: is not the backbone of .*; restore the file"):
        _evaluate(objects, tmp_path / "run", tmp_path / "out.json")
    weights.unlink()
    with pytest.raises(UserError, match=r"backbone\.safetensors: cannot be read"):
        _evaluate(objects, tmp_path / "run", tmp_path / "out.json")


def test_a_changed_store_is_refused(objects: Store, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(objects.folder, tmp_path / "store")
    images = bytearray((tmp_path / "store" / "test_images.npy").read_bytes())
    images[-1] ^= 1
    (tmp_path / "store" / "test_images.npy").write_bytes(images)
    with pytest.raises(UserError, match=r"test_images\.npy: sha256 is"):
        _evaluate(Store.open(tmp_path / "store"), runs / "vicreg", tmp_path / "out.json")


def test_neighbours_beyond_the_training_images_are_said_and_written_down(
    objects: Store, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = len(objects.split("train"))
    options = json.dumps({"perturbations": ["orig"], "neighbours": [5, count, count + 1]})
    evaluate_run(
        "knn", options, run_folder=runs / "vicreg", store_folder=objects.folder, output=tmp_path / "out.json",
        device="cpu",
    )  # fmt: skip
    expected = f"objects/tiny/vicreg/pairs/seed0: only {count} of {count + 1} neighbours vote, one per training image"
    assert read_evaluation(tmp_path / "out.json").provenance["said"] == [expected]
    assert capsys.readouterr().err.count(f"note: {expected}") == 1


def test_a_protocol_of_subjects_leaves_its_notes_and_no_state(objects: Store, runs: Path, tmp_path: Path) -> None:
    options = {"shares": [0.5], "parts": ["ALL"], "epochs": 1, "batch_size": 8, "perturbations": ["orig"]}
    evaluate_run(
        "semi+half", json.dumps(options), run_folder=runs / "vicreg", store_folder=objects.folder,
        output=tmp_path / "semi+half.json", device="cpu",
    )  # fmt: skip
    evaluation = read_evaluation(tmp_path / "semi+half.json")
    assert {record.protocol for record in evaluation.records} == {"semi50+half"}
    [(name, rows)] = evaluation.provenance["notes"].items()
    assert name == "semi50: rows of the labelled training images"
    assert rows == sorted(set(rows))
    assert 0 < len(rows) < len(objects.split("train"))
    assert not (tmp_path / "state").exists()
