"""The online probe: its accuracies against independent ones; it does not change the bits of a run."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from torch import Tensor, nn

from clever.backbones import Backbone, build_backbone, load_backbone
from clever.config import parse_study
from clever.data import DataOptions, Store, prepare
from clever.errors import UserError
from clever.pretraining.engine import pretrain
from clever.pretraining.interruption import Interrupted
from clever.pretraining.online_probe import OnlineProbe
from clever.pretraining.options import ExecutionOptions, OnlineProbeOptions
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

CPU = torch.device("cpu")
PARTS = {"all": slice(0, 256), "ir": slice(0, 204), "ef": slice(204, 256)}
COLUMNS = [f"online_{kind}_{part}" for kind in ("linear", "knn") for part in PARTS]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Flat(Backbone):
    """The pixels as features, with a BatchNorm whose statistics would change in training mode."""

    def __init__(self) -> None:
        super().__init__("flat", 3 * 16 * 16)
        self.norm = nn.BatchNorm2d(3)
        self.frozen = nn.Dropout(0.5).eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.frozen(self.norm(images)).flatten(1)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Store:
    options = DataOptions(source="digits", image_size=16, train_limit=400, test_limit=200)
    return prepare(options, tmp_path_factory.mktemp("online") / "digits", progress=False)


def probe_on(store: Store, width: int, parts: dict[str, slice], **options: Any) -> OnlineProbe:
    return OnlineProbe(OnlineProbeOptions.model_validate(options), store, parts, width, 16, CPU)


def pixels(store: Store, split: Any) -> tuple[np.ndarray, np.ndarray]:
    """All normalised images of a split as rows, and their labels, computed without the code under test."""
    chosen = store.split(split)
    images = np.empty((len(chosen), 16, 16, 3), dtype=np.uint8)
    chosen.fill(np.arange(len(chosen)), images)
    scaled = (images / 255.0 - np.array(store.mean)) / np.array(store.std)
    return scaled.transpose(0, 3, 1, 2).reshape(len(chosen), -1) / math.sqrt(1 + 1e-5), chosen.labels.numpy()


def test_accuracies_equal_scikit_learn_on_the_same_features(digits: Store) -> None:
    backbone = Flat()
    parts = {"all": slice(0, 768), "ir": slice(0, 256)}
    found = probe_on(digits, 768, parts, neighbours=1, passes=200).measure(backbone, 0)
    (train, labels), (test, right) = pixels(digits, "train"), pixels(digits, "test")
    for part, columns in parts.items():
        nearest = KNeighborsClassifier(1).fit(normalize(train[:, columns]), labels)
        assert found[f"online_knn_{part}"] == 100 * nearest.score(normalize(test[:, columns]), right)
        linear = LogisticRegression(C=1e3, max_iter=2000).fit(train[:, columns], labels)
        expected = 100 * linear.score(test[:, columns], right)
        assert expected > 85
        assert found[f"online_linear_{part}"] == pytest.approx(expected, abs=2.5)


def test_the_classifier_continues_from_its_state(digits: Store) -> None:
    backbone, part = Flat(), {"all": slice(0, 768)}
    first = probe_on(digits, 768, part, passes=1, learning_rate=0.05)
    history = [first.measure(backbone, epoch)["online_linear_all"] for epoch in range(6)]
    other = probe_on(digits, 768, part, passes=1, learning_rate=0.05)
    other.measure(backbone, 0)
    resumed = probe_on(digits, 768, part, passes=1, learning_rate=0.05)
    resumed.load_state_dict(other.state_dict())
    assert [resumed.measure(backbone, epoch)["online_linear_all"] for epoch in range(1, 6)] == history[1:]
    weights, same = (probe.state_dict()["classifiers"]["all.weight"] for probe in (first, resumed))
    assert torch.equal(weights, same)
    without = probe_on(digits, 768, part, passes=1, learning_rate=0.05)
    without.measure(backbone, 5)
    assert weights.norm() > 1.5 * without.state_dict()["classifiers"]["all.weight"].norm()


def test_the_given_number_of_images_is_used(digits: Store) -> None:
    few = probe_on(digits, 768, {"all": slice(0, 768)}, images=50, neighbours=1)
    value = few.measure(Flat(), 0)["online_knn_all"]
    assert value != probe_on(digits, 768, {"all": slice(0, 768)}, neighbours=1).measure(Flat(), 0)["online_knn_all"]
    assert (value / 2).is_integer()  # percent of 50 images


def test_the_backbone_and_the_global_generator_are_unchanged(digits: Store) -> None:
    backbone = Flat().train()
    backbone.frozen.eval()
    buffers = {name: value.clone() for name, value in backbone.state_dict().items()}
    torch.manual_seed(5)
    probe_on(digits, 768, {"all": slice(0, 768)}, passes=1).measure(backbone, 0)
    drawn = torch.rand(4)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(4))
    assert (backbone.training, backbone.norm.training, backbone.frozen.training) == (True, True, False)
    assert all(torch.equal(value, buffers[name]) for name, value in backbone.state_dict().items())


def test_nonfinite_features_do_not_train_the_classifier(digits: Store) -> None:
    probe, backbone = probe_on(digits, 768, {"all": slice(0, 768)}, passes=1), Flat()
    backbone.norm.weight.data.fill_(math.inf)
    assert all(math.isnan(value) for value in probe.measure(backbone, 0).values())
    assert all(not value.any() for value in probe.state_dict()["classifiers"].values())


@pytest.fixture(scope="module")
def recipe(make_recipe: Any) -> RunRecipe:
    plain: RunRecipe = make_recipe(optimisation={"epochs": 3}, augmentation={"local_views": 0})
    probe = {"every": 2, "passes": 2, "neighbours": 5}
    return RunRecipe.model_validate(plain.model_dump() | {"online_probe": probe})


def execution(**settings: Any) -> ExecutionOptions:
    return ExecutionOptions.model_validate({"device": "cpu", "threads": 1, **settings})


@pytest.fixture(scope="module")
def probed(recipe: RunRecipe, digits_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probed")
    pretrain(recipe, digits_store, folder, execution(keep_state=True))
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        del line["images_per_second"]
    return lines


def test_a_run_has_the_same_bits_with_and_without_it(
    probed: Path, recipe: RunRecipe, digits_store: Store, tmp_path: Path
) -> None:
    plain = recipe.model_copy(update={"online_probe": None})
    assert "online_probe" not in plain.model_dump()
    assert plain.digest != recipe.digest
    pretrain(plain, digits_store, tmp_path, execution(keep_state=True))
    weights = [folder / "backbone.safetensors" for folder in (probed, tmp_path)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    states = [
        torch.load(next((folder / "state").glob("state-000000018-*.pt")), weights_only=True)["payload"]
        for folder in (probed, tmp_path)
    ]
    assert states[0]["totals"] == states[1]["totals"]
    for name, value in _tensors(states[1]["trainer"]):
        assert torch.equal(value, dict(_tensors(states[0]["trainer"]))[name]), name
    kept = [{key: value for key, value in line.items() if key not in COLUMNS} for line in rows(probed)]
    assert kept == rows(tmp_path)


def _tensors(content: Any, place: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield place, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _tensors(value, f"{place}.{key}")


def test_every_line_has_its_columns_and_the_last_epoch_is_measured(
    probed: Path, recipe: RunRecipe, digits_store: Store
) -> None:
    lines = rows(probed)
    assert [bool(line["online_linear_all"]) for line in lines] == [False, True, True]
    for line in lines:
        assert all(0 <= float(line[name]) <= 100 for name in COLUMNS if line[name])
    backbone = load_backbone(recipe.backbone, probed / "backbone.safetensors")
    again = probe_on(digits_store, 256, PARTS, neighbours=5).measure(backbone, 2)
    for part in PARTS:  # kNN keeps no state
        assert float(lines[-1][f"online_knn_{part}"]) == pytest.approx(again[f"online_knn_{part}"])
    run = json.loads((probed / "run.json").read_text())
    assert run["recipe"]["online_probe"]["every"] == 2


@pytest.mark.parametrize("step", [11, 13])
def test_a_stopped_run_resumes_to_the_same_bits_and_columns(
    probed: Path, recipe: RunRecipe, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    original = Trainer.step

    def stopping(self: Trainer, batch: Any, iteration: int) -> Any:
        if iteration == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, iteration)

    monkeypatch.setattr(Trainer, "step", stopping)
    with pytest.raises(Interrupted):
        pretrain(recipe, digits_store, tmp_path, execution())
    monkeypatch.undo()
    pretrain(recipe, digits_store, tmp_path, execution())
    assert (tmp_path / "backbone.safetensors").read_bytes() == (probed / "backbone.safetensors").read_bytes()
    assert rows(tmp_path) == rows(probed)


def test_data_without_labels_are_refused(recipe: RunRecipe, tmp_path: Path) -> None:
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(20):
        for split in ("train", "val"):
            (tmp_path / "images" / split).mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8))
            image.save(tmp_path / "images" / split / f"{number}.png")
    options = DataOptions(source="image_folder", root=str(tmp_path / "images"), labelled=False, image_size=16)
    store = prepare(options, tmp_path / "store", progress=False)
    with pytest.raises(UserError, match="online_probe: needs labels, but the data have none; leave it out"):
        pretrain(recipe, store, tmp_path / "run", execution())
    assert not (tmp_path / "run" / "run.json").exists()


STUDY: dict[str, Any] = {
    "study": "probed",
    "data": {"digits": {"source": "digits"}},
    "backbones": {"tiny": {"name": "resnet10t_half", "image_size": 32}},
    "augmentations": {"baug": {"name": "baug", "global_size": 32, "local_views": 0}},
    "methods": {"simsiam": {"baseline": {"name": "simsiam"}}},
    "pretrainings": [
        {
            "data": "digits",
            "backbones": ["tiny"],
            "methods": ["simsiam"],
            "augmentations": ["baug"],
            "optimisation": {"epochs": 2, "warmup_epochs": 0},
            "online_probe": {"every": 1},
        }
    ],
    "paper": ["report"],
    "evaluations": {"linear": {}},
}


def test_a_study_gives_the_probe_to_its_runs_and_not_to_controls() -> None:
    recipes = parse_study(STUDY, "s.yaml").recipes().values()
    probed = {recipe.method_name: recipe.online_probe for recipe in recipes}
    assert probed == {"simsiam": OnlineProbeOptions(every=1), "untrained": None}


def test_a_study_of_unlabelled_data_with_a_probe_is_refused() -> None:
    study = STUDY | {
        "evaluations": {"parameters": {}},
        "data": {"digits": {"source": "image_folder", "root": "x", "image_size": 32, "labelled": False}},
    }
    with pytest.raises(UserError, match=r"pretrainings\.0\.online_probe: needs labels, but .*data\.digits"):
        parse_study(study, "s.yaml")


def test_an_unknown_key_is_named() -> None:
    block = STUDY["pretrainings"][0] | {"online_probe": {"evry": 1}}
    with pytest.raises(UserError, match=r"pretrainings\.0\.online_probe\.evry: unknown key; did you mean 'every'"):
        parse_study(STUDY | {"pretrainings": [block]}, "s.yaml")


def test_a_new_backbone_has_the_same_parts_as_the_trainer_s(make_recipe: Any) -> None:
    trainer = Trainer(make_recipe(), (0.5,) * 3, (0.2,) * 3, 6, CPU)
    assert trainer.parts == PARTS
    assert build_backbone(trainer.recipe.backbone, seed=0).feature_dim == 256
