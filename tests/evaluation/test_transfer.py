"""Protocol transfer: on the run's own data, it equals the mode's protocol bit for bit; its job, records and options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression

from clever.backbones import BackboneOptions, build_backbone
from clever.data import DataOptions, Store, prepare
from clever.errors import UserError
from clever.evaluation import linear, logistic, semi
from clever.evaluation.accuracies import mean_class_accuracy, rank_accuracies
from clever.evaluation.job import evaluate_run
from clever.evaluation.options.linear import LinearOptions
from clever.evaluation.options.logistic import LogisticOptions
from clever.evaluation.options.semi import SemiOptions
from clever.evaluation.options.transfer import TransferOptions
from clever.evaluation.transfer import evaluate
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.results.records import Record, collect, evaluation_data, read_evaluation, write_evaluation
from clever.results.run_description import read_run

from .subjects import RUN, build, subject_of
from .toys import SIDE, TwoParts, coloured, store_of

REHEARSALS = [
    ("resnet10t_half", {"data": ["other"], "modes": ["linear"], "linear": {"epochs": 2}}),
    ("resnet10t_half", {"data": ["other"], "modes": ["finetune"], "finetune": {"epochs": 1}}),
]  # built separately, because copying a network on the pretended device keeps the original's stream
WAITS = {"evaluation/accuracies.py:rank_accuracies": "scores"}
WAITS_OF = ("linear", "logistic", "semi")

LINEAR: dict[str, Any] = {"epochs": 3, "training_views": 1, "learning_rate": 0.5}
LOGISTIC: dict[str, Any] = {"penalties": 4, "smallest_penalty": 0.01, "max_iterations": 300}
FINETUNE: dict[str, Any] = {"epochs": 2, "batch_size": 32}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return coloured(tmp_path_factory.mktemp("six"), classes=6)


def without_mean_class(records: list[Record], mode: str, protocol: str) -> list[Record]:
    """The records of one mode, under the name of the mode's protocol and without mean_class."""
    chosen = [record for record in records if record.protocol == f"transfer_{mode}+toy"]
    assert chosen
    return [
        replace(record, protocol=protocol) for record in chosen if record.metric != "mean_class" or mode == "logistic"
    ]


def test_on_the_run_s_data_each_mode_equals_its_protocol_bit_for_bit(store: Store) -> None:
    options = TransferOptions.model_validate(
        {
            "data": ["toy"], "modes": ["linear", "logistic", "finetune"], "perturbations": ["orig", "cj"], "seed": 3,
            "linear": LINEAR, "logistic": LOGISTIC, "finetune": FINETUNE,
        }
    )  # fmt: skip
    shared: dict[str, Any] = {"perturbations": ["orig", "cj"], "seed": 3}
    subject = subject_of(build("resnet10t_half", SIDE), store, ir_dim=200, seed=3)
    found = evaluate(subject, options)
    assert without_mean_class(found, "linear", "linear") == linear.evaluate(subject, LinearOptions(**LINEAR, **shared))
    own = logistic.evaluate(subject, LogisticOptions(**LOGISTIC, **shared))
    assert without_mean_class(found, "logistic", "logistic") == own
    whole = semi.evaluate(subject, SemiOptions(shares=[1.0], **FINETUNE, **shared))
    assert without_mean_class(found, "finetune", "semi100") == whole
    assert len(whole) == 2 * (2 + 2 * 2)  # for ALL and IR: top1 and top5 of the best epoch and of two perturbations


def test_logistic_regression_equals_scikit_learn_on_the_same_features(tmp_path: Path) -> None:
    store = coloured(tmp_path, classes=5, noise=250, train=200, test=150)
    options = TransferOptions(data=["toy"], modes=["logistic"], logistic={"penalties": 1, "smallest_penalty": 1.0,
                              "largest_penalty": 1.0, "max_iterations": 2000})  # fmt: skip
    [ours] = [r.value for r in evaluate(subject_of(TwoParts(), store), options) if r.metric == "top1"]
    features, labels = {}, {}
    for name in ("train", "test"):
        split = store.split(name)  # type: ignore[arg-type]
        images = split.images(list(range(len(split)))).pixels.float() / 255
        mean, std = (torch.tensor(each)[:, None, None] for each in (store.mean, store.std))
        features[name], labels[name] = TwoParts()((images - mean) / std).numpy(), split.labels.numpy()
    theirs = LogisticRegression(C=1.0, max_iter=5000, tol=1e-8).fit(features["train"], labels["train"])
    assert 30 < ours < 99
    assert ours == pytest.approx(100 * theirs.score(features["test"], labels["test"]), abs=0.7)  # one image in 150


def test_a_frozen_backbone_is_trained_like_a_linear_probe(tmp_path: Path) -> None:
    """The head and the number of fresh views are the same, but orders and crops use other seeds, so not bit for bit."""
    store = coloured(tmp_path, classes=3, train=240, test=150)
    common: dict[str, Any] = {"epochs": 30, "batch_size": 32, "learning_rate": 2.0}
    options = TransferOptions(
        data=["toy"], linear=common,
        finetune=common | {"backbone_learning_rate": 0.0, "weight_decay": 0.0, "parts": ["ALL"], "best_epoch": False},
    )  # fmt: skip
    records = evaluate(subject_of(TwoParts(), store), options)
    values = {r.protocol: r.value for r in records if (r.metric, r.selection) == ("top1", "last")}
    assert values["transfer_linear+toy"] == pytest.approx(values["transfer_finetune+toy"], abs=4.0)
    assert values["transfer_linear+toy"] > 50


def test_mean_class_weights_all_classes_equally(tmp_path: Path) -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    ranks = torch.tensor([0, 0, 0, 0, 1, 0, 2, 1])
    found = rank_accuracies(ranks, labels, 7, mean_class=True)
    assert found == {"top1": 100 * 5 / 8, "top5": 100.0, "mean_class": pytest.approx(100 * (1 + 0.5 + 0) / 3)}
    assert mean_class_accuracy(torch.tensor([0, 1]), torch.tensor([0, 3])) == 50.0
    assert set(rank_accuracies(ranks, labels, 4)) == {"top1"}

    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (70, SIDE, SIDE, 3)).astype(np.uint8)
    classes = np.asarray([0] * 60 + [1] * 10)
    uneven = store_of(tmp_path, images, classes, images, classes)
    records = evaluate(subject_of(TwoParts(), uneven), TransferOptions(data=["toy"], modes=["linear"], linear=LINEAR))
    values = {r.metric: r.value for r in records if r.selection == "last" and r.part == "ALL"}
    assert values["mean_class"] != pytest.approx(values["top1"], abs=1.0)


def test_the_literature_s_metric_chooses_the_penalty() -> None:
    options = TransferOptions(data=["a"], modes=["logistic"])
    assert options.of_mode("logistic", mean_class=True).choose_by == "mean_class"
    assert options.of_mode("logistic").choose_by == "top1"
    chosen = TransferOptions(data=["a"], modes=["logistic"], logistic={"choose_by": "top1"})
    assert chosen.of_mode("logistic", mean_class=True).choose_by == "top1"
    assert logistic.penalty_grid(options.of_mode("logistic"))[::44] == pytest.approx((1e-6, 1e5))
    assert len(logistic.penalty_grid(options.of_mode("logistic"))) == 45
    assert (
        TransferOptions(data=["a"]).of_mode("linear").epochs == TransferOptions(data=["a"]).of_mode("finetune").epochs
    )
    assert TransferOptions(data=["a"], linear={"epochs": 7}).of_mode("linear").epochs == 7


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": []}, "at least 1 item"),
        ({"data": ["a", "a"]}, "lists a name twice"),
        ({"data": ["a+b"]}, "cannot be part of data's name"),
        ({"data": ["a"], "linear": {"epoch": 3}}, "linear: epoch: unknown key; did you mean 'epochs'"),
        (
            {"data": ["a"], "linear": {"image_size": 3}},
            r"linear\.image_size: is common to all modes; set transfer\.image_",
        ),
        ({"data": ["a"], "logistic": {"penalties": 3}}, "logistic: has settings, but modes lacks it"),
        ({"data": ["a"], "variants": {"short": {"finetune": {"epochs": 0}}}}, r"variants\.short: .*greater than 0"),
    ],
)
def test_wrong_options_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TransferOptions(**settings)


def test_each_data_set_and_variant_is_an_evaluation() -> None:
    options = TransferOptions(data=["a", "b"], variants={"short": {"linear": {"epochs": 3}, "data": ["b"]}})
    named = options.named("transfer")
    assert list(named) == ["transfer+a", "transfer+b", "transfer+b+short"]
    assert [each.evaluation_data() for each in named.values()] == ["a", "b", "b"]
    with pytest.raises(UserError, match="an evaluation file is for one data set"):
        options.evaluation_data()
    protocols = ("transfer_linear+a", "transfer_finetune+b+short", "linear", "linear+averaged", "semi10")
    assert [evaluation_data(protocol) for protocol in protocols] == ["a", "b", None, None, None]


def test_raw_pixels_are_taken_at_the_evaluated_size(tmp_path: Path) -> None:
    """The control of runs at 16 px, evaluated on a data set of 8 px."""
    store = coloured(tmp_path, classes=3)
    pixels = build_backbone(BackboneOptions(name="pixels", image_size=16), seed=0)
    subject = subject_of(pixels, store, identity=replace(RUN, backbone="pixels"))
    options = TransferOptions(data=["toy"], modes=["linear"], linear=LINEAR)
    assert {record.part for record in evaluate(subject, options)} == {"ALL"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run trained for one epoch on digits, the store of these digits, and a store of other images."""
    folder = tmp_path_factory.mktemp("run")
    digits = prepare(
        DataOptions(source="digits", image_size=8, train_limit=40, test_limit=20), folder / "digits", progress=False
    )
    recipe = RunRecipe.model_validate(
        {
            "data": "digits",
            "backbone_name": "tiny",
            "backbone": {"name": "resnet10t_half", "image_size": 8},
            "method_name": "vicreg",
            "method": {
                "baseline": {"name": "vicreg", "hidden_dim": 16, "out_dim": 16},
                "equivariance": {"name": "none"},
            },
            "augmentation_name": "baug",
            "augmentation": {"name": "baug", "global_size": 8, "local_views": 0},
            "optimisation": {"epochs": 1, "batch_size": 20, "warmup_epochs": 0},
            "seed": 0,
        }
    )
    pretrain(recipe, digits, folder / "trained", ExecutionOptions(device="cpu", threads=1))
    return folder / "trained", digits.folder, coloured(folder / "other", classes=3).folder


OPTIONS: dict[str, Any] = {"data": ["other"], "modes": ["linear", "logistic"], "linear": LINEAR, "logistic": LOGISTIC}


def measure(run: tuple[Path, Path, Path], output: Path, evaluations: dict[str, Any], other: Path | None = None) -> None:
    """Evaluate the run on the CPU, as a job does."""
    trained, store, others = run
    given = {"other": other or others}
    evaluate_run(
        evaluations, run_folder=trained, store_folder=store, output_folder=output, other_stores=given, device="cpu"
    )


def test_a_job_measures_on_the_other_store_and_its_records_say_so(
    run: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(run, tmp_path, {"transfer+other": OPTIONS, "knn": {"perturbations": ["orig"], "neighbours": [5]}})
    other, description = Store.open(run[2]), read_run(run[0] / "run.json")
    found = read_evaluation(tmp_path / "transfer+other.json")
    assert {record.protocol for record in found.records} == {"transfer_linear+other", "transfer_logistic+other"}
    assert {record.data_checksum for record in found.records} == {other.checksum} != {description["data_checksum"]}
    assert {(record.data, record.n) for record in found.records} == {("digits", 60)}
    assert found.provenance["evaluated"] == {"data": "other", "checksum": other.checksum}
    assert found.provenance["notes"] == {"metric that the literature reports": "top1"}
    own = read_evaluation(tmp_path / "knn.json")
    assert {record.data_checksum for record in own.records} == {description["data_checksum"]}
    table = collect(sorted(tmp_path.glob("*.json")), [description])
    assert set(table["protocol"]) == {"knn", "transfer_linear+other", "transfer_logistic+other"}
    capsys.readouterr()
    measure(run, tmp_path, {"transfer+other": OPTIONS})
    assert "up to date" in capsys.readouterr().err


def test_images_are_normalised_as_in_pre_training(run: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """On a copy of the run's store with another normalisation, the records are the same as on the store itself."""
    digits = Store.open(run[1])
    again = prepare(
        DataOptions(source="digits", image_size=8, train_limit=40, test_limit=20, normalisation="imagenet"),
        tmp_path / "imagenet",
        progress=False,
    )
    assert again.mean != digits.mean
    for name, folder in (("own", run[1]), ("other", again.folder)):
        measure(run, tmp_path / name, {"transfer+other": OPTIONS}, folder)
    values = [
        [record.value for record in read_evaluation(tmp_path / name / "transfer+other.json").records]
        for name in ("own", "other")
    ]
    assert values[0] == values[1]


def test_a_changed_content_of_the_other_store_is_measured_again(
    run: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(run, tmp_path / "out", {"transfer+other": OPTIONS})
    capsys.readouterr()
    changed = coloured(tmp_path / "changed", classes=4)
    measure(run, tmp_path / "out", {"transfer+other": OPTIONS}, changed.folder)
    assert "transfer+other: measured in" in capsys.readouterr().err
    provenance = read_evaluation(tmp_path / "out" / "transfer+other.json").provenance
    assert provenance["evaluated"]["checksum"] == changed.checksum


def test_a_missing_or_damaged_other_store_stops_the_job_before_it_measures(
    run: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="needs the prepared store of the data set pets: --other-store pets=FOLDER"):
        measure(run, tmp_path / "out", {"transfer+pets": OPTIONS | {"data": ["pets"]}})
    damaged = coloured(tmp_path / "damaged", classes=3).folder
    labels = damaged / "test_labels.npy"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match=r"test_labels\.npy: sha256 is"):
        measure(run, tmp_path / "out", {"transfer+other": OPTIONS}, damaged)
    assert not (tmp_path / "out").exists()


def test_records_with_another_checksum_than_their_provenance_are_refused(
    run: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    measure(run, tmp_path / "right", {"transfer+other": OPTIONS})
    found = read_evaluation(tmp_path / "right" / "transfer+other.json")
    wrong = [replace(record, data_checksum=found.provenance["run"]["data_checksum"]) for record in found.records]
    write_evaluation(tmp_path / "altered.json", wrong, found.provenance)
    with pytest.raises(UserError, match=r"altered\.json: data_checksum of a record is .* of the data set other is"):
        collect([tmp_path / "altered.json"])
