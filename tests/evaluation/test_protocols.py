"""Both protocols on real digits with a real backbone: the whole path from pixels to records.csv."""

from __future__ import annotations

from pathlib import Path

import pytest

from clever.backbones import BackboneOptions, build_backbone
from clever.data import DataOptions, Store, prepare
from clever.evaluation import PROTOCOLS
from clever.results.records import Record, RunIdentity, collect, read_records, write_evaluation, write_records

from .subjects import subject_of


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("digits") / "store"
    options = DataOptions(source="digits", image_size=32, train_limit=200, test_limit=100)
    return prepare(options, folder, progress=False)


def run(store: Store, backbone: str, protocol: str, **options: object) -> list[Record]:
    chosen = PROTOCOLS[protocol].options.model_validate({"perturbations": ["orig", "cj_rot_et"], **options})
    patch_size = 8 if backbone == "vit_tiny" else None
    network = build_backbone(BackboneOptions(name=backbone, image_size=32, patch_size=patch_size), seed=0)
    ir_dim = None if backbone == "pixels" else int(network.feature_dim * 0.8)
    identity = RunIdentity("digits", backbone, "untrained", "none", 0, data_checksum=store.checksum)
    return PROTOCOLS[protocol].evaluate(subject_of(network, store, ir_dim=ir_dim, identity=identity), chosen)


LINEAR = {"training_views": "plain", "standardise": True, "learning_rate": 0.1, "epochs": 20}


@pytest.mark.parametrize("backbone", ["resnet10t_half", "pixels", "vit_tiny"])
def test_controls_use_the_same_code(digits: Store, backbone: str, tmp_path: Path) -> None:
    linear = run(digits, backbone, "linear", **LINEAR)
    knn = run(digits, backbone, "knn", neighbours=[10])
    parts = {"pixels": {"ALL"}, "vit_tiny": {"ALL", "IR", "EF", "IR_strict"}}.get(backbone, {"ALL", "IR", "EF"})
    assert {record.part for record in linear} == parts
    assert {record.part for record in knn} == parts - {"IR_strict"}
    clean = {(r.protocol, r.part): r.value for r in (*linear, *knn) if r.perturbation == "orig" and r.metric == "top1"}
    # With ten balanced classes, chance level is 10 %. Digits are easy even for an untrained network.
    assert all(value > 25 for value in clean.values()), clean
    hard = next(r for r in linear if (r.perturbation, r.part, r.metric) == ("cj_rot_et", "ALL", "top1"))
    assert hard.value < clean["linear", "ALL"] - 10
    write_evaluation(tmp_path / "linear.json", linear, {})
    write_evaluation(tmp_path / "knn.json", knn, {})
    write_records(collect([tmp_path / "linear.json", tmp_path / "knn.json"]), tmp_path / "records.csv")
    assert len(read_records(tmp_path / "records.csv")) == len(linear) + len(knn)


def test_the_whole_path_is_reproducible_bit_for_bit(digits: Store) -> None:
    for protocol, options in (("linear", LINEAR | {"training_views": 1, "epochs": 4}), ("knn", {})):
        assert run(digits, "resnet10t_half", protocol, **options) == run(digits, "resnet10t_half", protocol, **options)
