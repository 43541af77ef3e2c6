"""The evaluation job reads a finished run's folder and a store, and writes a file of records; with and without a
predictor."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clever.data import Store
from clever.errors import UserError
from clever.evaluation.job import evaluate_run
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.results.pictures import read_pictures
from clever.results.records import read_evaluation

from .objects import SIDE, objects_store

BASELINE = {"name": "vicreg", "hidden_dim": 16, "out_dim": 16}
KNN: dict[str, Any] = {"perturbations": ["orig"], "neighbours": [5]}
SIE = {"name": "sie", "hidden_dim": 16, "out_dim": 16}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return objects_store(tmp_path_factory.mktemp("objects"), objects=4)


@pytest.fixture(scope="module")
def runs(objects: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch of two steps with SIE, and one with its baseline alone."""
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


def measure(objects: Store, run: Path, output: Path, *, again: bool = False, **evaluations: Any) -> None:
    """Evaluate a run on the CPU, as a job does."""
    evaluate_run(
        evaluations, run_folder=run, store_folder=objects.folder, output_folder=output, device="cpu", again=again
    )


def test_a_predictor_is_measured_and_a_run_without_one_has_no_records(
    objects: Store, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("vicreg+sie", "vicreg"):
        measure(objects, runs / name, tmp_path / name, retrieval={"hits": [1, 10]})
    found = read_evaluation(tmp_path / "vicreg+sie" / "retrieval.json").records
    assert {(r.part, r.metric) for r in found} == {
        ("EF", metric) for metric in ("pre_train_train", "pre_val_val", "pre_val_all", "mrr", "hit_at_1", "hit_at_10")
    }
    values = {r.metric: r.value for r in found}
    assert all(0 <= value <= 1 for value in values.values())
    # An untrained predictor finds the right one of 50 photographs by chance: the mean of 1 / rank is 0.09.
    assert values["hit_at_1"] <= values["mrr"] < 0.5
    assert read_evaluation(tmp_path / "vicreg" / "retrieval.json").records == []
    assert "objects/tiny/vicreg/pairs/seed0 has no predictor" in capsys.readouterr().err


def test_protocols_of_objects_write_their_records(objects: Store, runs: Path, tmp_path: Path) -> None:
    options = {"epochs": 1, "hidden_dim": 8, "averaging": {"count": 2}}
    measure(objects, runs / "vicreg+sie", tmp_path, relative_colour=options)
    evaluation = read_evaluation(tmp_path / "relative_colour.json")
    assert {record.part for record in evaluation.records} == {"ALL", "IR", "EF"}
    assert evaluation.provenance["options"]["averaging"]["count"] == 2


def test_the_records_of_a_variant_have_its_name(objects: Store, runs: Path, tmp_path: Path) -> None:
    values = {}
    for name in ("knn", "knn+other"):
        measure(objects, runs / "vicreg", tmp_path, **{name: KNN})
        found = read_evaluation(tmp_path / f"{name}.json").records
        assert {record.protocol for record in found} == {name}
        values[name] = [record.value for record in found]
    assert values["knn"] == values["knn+other"]


def test_a_protocol_with_two_names_keeps_both_in_a_variant(objects: Store, runs: Path, tmp_path: Path) -> None:
    measure(objects, runs / "vicreg", tmp_path, **{"knn+other": KNN | {"neighbours": [2, 3]}})
    found = read_evaluation(tmp_path / "knn+other.json").records
    assert {record.protocol for record in found} == {"knn2+other", "knn3+other"}


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
        measure(objects, tmp_path / "run", tmp_path / "out", knn=KNN)
    assert not (tmp_path / "out").exists()


def test_one_flipped_bit_of_the_backbone_is_refused(objects: Store, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "vicreg", tmp_path / "run")
    weights = tmp_path / "run" / "backbone.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"backbone\.safetensors: is not the backbone of .*; restore the file"):
        measure(objects, tmp_path / "run", tmp_path / "out", knn=KNN)
    weights.unlink()
    with pytest.raises(UserError, match=r"backbone\.safetensors: cannot be read"):
        measure(objects, tmp_path / "run", tmp_path / "out", knn=KNN)


def test_a_changed_store_is_refused(objects: Store, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(objects.folder, tmp_path / "store")
    images = bytearray((tmp_path / "store" / "test_images.npy").read_bytes())
    images[-1] ^= 1
    (tmp_path / "store" / "test_images.npy").write_bytes(images)
    with pytest.raises(UserError, match=r"test_images\.npy: sha256 is"):
        measure(Store.open(tmp_path / "store"), runs / "vicreg", tmp_path / "out", knn=KNN)


def test_more_neighbours_than_training_images_are_noted(
    objects: Store, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = len(objects.split("train"))
    measure(objects, runs / "vicreg", tmp_path, knn=KNN | {"neighbours": [5, count, count + 1]})
    expected = f"objects/tiny/vicreg/pairs/seed0: only {count} of {count + 1} neighbours vote, one per training image"
    assert read_evaluation(tmp_path / "knn.json").provenance["said"] == [expected]
    assert capsys.readouterr().err.count(f"note: {expected}") == 1


def test_a_long_protocol_leaves_its_notes_and_no_state(objects: Store, runs: Path, tmp_path: Path) -> None:
    options = {"shares": [0.5], "parts": ["ALL"], "epochs": 1, "batch_size": 8, "perturbations": ["orig"]}
    measure(objects, runs / "vicreg", tmp_path, **{"semi+half": options})
    evaluation = read_evaluation(tmp_path / "semi+half.json")
    assert {record.protocol for record in evaluation.records} == {"semi50+half"}
    [(name, rows)] = evaluation.provenance["notes"].items()
    assert name == "semi50: rows of the labelled training images"
    assert rows == sorted(set(rows))
    assert 0 < len(rows) < len(objects.split("train"))
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["semi+half.json"]


LINEAR = {"perturbations": ["orig", "cj"], "epochs": 2, "training_views": "plain"}


def _contents(folder: Path) -> dict[str, Any]:
    """Read the records of every evaluation in a folder."""
    return {path.name: json.loads(path.read_text())["records"] for path in folder.glob("*.json")}


def test_protocols_together_give_the_bits_of_each_alone(objects: Store, runs: Path, tmp_path: Path) -> None:
    """Features are shared, and no protocol is affected by another one's changes to them or to the backbone."""
    options: dict[str, Any] = {
        "linear+standard": LINEAR | {"standardise": True},
        "semi": {"shares": [0.5], "parts": ["ALL"], "epochs": 1, "batch_size": 8, "perturbations": ["orig"]},
        "linear": LINEAR,
        "relative_rotation": {"epochs": 1, "hidden_dim": 8},
        "knn": KNN | {"perturbations": ["orig", "cj"]},
        "latents": {"perturbations": ["orig"]},
        "retrieval": {"hits": [1]},
    }
    measure(objects, runs / "vicreg+sie", tmp_path / "together", **options)
    for name, each in options.items():
        measure(objects, runs / "vicreg+sie", tmp_path / "alone", **{name: each})
    assert _contents(tmp_path / "together") == _contents(tmp_path / "alone")


def test_shared_views_are_computed_once(
    objects: Store, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(objects, runs / "vicreg", tmp_path, knn=KNN, latents={}, **{"knn+few": KNN | {"neighbours": [2]}})
    said = capsys.readouterr().err
    assert said.count("features train orig:") == 1
    assert said.count("features test orig:") == 1
    # Another batch size rounds differently, and another averaging gives other features, so both are computed
    # separately.
    measure(
        objects,
        runs / "vicreg",
        tmp_path,
        **{"knn+batch": KNN | {"extraction_batch": 7}, "latents+two": {"averaging": {"count": 2}}},
    )
    assert capsys.readouterr().err.count("features train orig:") == 2


def test_only_new_or_changed_evaluations_are_measured(
    objects: Store, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(**arguments: Any) -> set[str]:
        capsys.readouterr()
        measure(objects, runs / "vicreg", tmp_path, **arguments)
        return {line.partition(":")[0] for line in capsys.readouterr().err.splitlines() if ": measured in" in line}

    assert measured(knn=KNN) == {"knn"}
    first = (tmp_path / "knn.json").read_bytes()
    assert measured(knn=KNN, latents={}) == {"latents"}
    # Snakemake has deleted the outputs of the job.
    for path in tmp_path.glob("*.json"):
        path.unlink()
    assert measured(knn=KNN, latents={"penalty": 0.1}) == {"latents"}
    assert (tmp_path / "knn.json").read_bytes() == first
    # A damaged copy is ignored.
    (tmp_path / "knn.json").unlink()
    (tmp_path / "state" / "knn.json").write_bytes(first.replace(b'"value": ', b'"value": 1'))
    assert measured(knn=KNN) == {"knn"}
    assert measured(knn=KNN, again=True) == {"knn"}
    monkeypatch.setattr("clever.evaluation.job.digest", lambda _: "other")  # the code was edited
    assert measured(knn=KNN) == {"knn"}
    assert measured(knn=KNN) == set()


def test_pictures_belong_to_their_records(objects: Store, runs: Path, tmp_path: Path) -> None:
    """A job writes both, restores both from its copies, and measures again if the pictures belong to other records."""
    for folder in ("images", "masks"):
        (tmp_path / "ECSSD" / folder).mkdir(parents=True)
        Image.fromarray(np.tri(64, dtype=np.uint8) * 255).convert("RGB").save(tmp_path / "ECSSD" / folder / "one.png")
    options = {"saliency": {"root": str(tmp_path / "ECSSD"), "lost": False}}
    output, kept = (folder / "saliency.npz" for folder in (tmp_path / "out", tmp_path / "out" / "state"))

    def measured() -> dict[str, Any]:
        measure(objects, runs / "vicreg", tmp_path / "out", **options)
        assert output.read_bytes() == kept.read_bytes()
        provenance = read_evaluation(output.with_suffix(".json")).provenance
        assert provenance["pictures_sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
        return provenance

    first = measured()
    pictures = read_pictures(output)
    assert (pictures.run, pictures.facts["protocol"]) == ("objects/tiny/vicreg/pairs/seed0", "saliency")
    assert pictures.facts["photographs"] == ["one"]
    content = output.read_bytes()
    output.unlink()
    assert measured() == first
    assert output.read_bytes() == content
    for path in (output, kept):
        path.write_bytes(content[:-1])
    measured()
    assert output.read_bytes() == content


def test_a_run_that_was_trained_again_is_evaluated_again(objects: Store, runs: Path, tmp_path: Path) -> None:
    measure(objects, runs / "vicreg", tmp_path, knn=KNN)
    measure(objects, runs / "vicreg+sie", tmp_path, knn=KNN)
    assert {record.method for record in read_evaluation(tmp_path / "knn.json").records} == {"vicreg+sie"}


def test_a_protocol_that_fails_leaves_the_others_their_records(
    objects: Store, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"targets": ["nothing"]}
    with pytest.raises(UserError, match="nothing"):
        measure(objects, runs / "vicreg", tmp_path, latents=wrong, knn=KNN)
    assert {path.name for path in tmp_path.glob("*.json")} == {"knn.json"}
    assert "latents: failed: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("evaluations", "words"),
    [
        ({}, "options by protocol are expected"),
        ({"kn": {}}, "protocol 'kn' is unknown; there are: linear"),
        ({"knn": {"neighbour": [5]}}, "options of knn: neighbour: unknown key; did you mean 'neighbours'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_measured(
    objects: Store, runs: Path, tmp_path: Path, evaluations: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        measure(objects, runs / "vicreg", tmp_path / "out", **({"latents": {}} | evaluations if evaluations else {}))
    assert not (tmp_path / "out").exists()
