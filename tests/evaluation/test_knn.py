"""Weighted nearest neighbours against scikit-learn's classifier and lightly's function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from clever.evaluation.knn import evaluate, vote
from clever.evaluation.options.knn import KnnOptions
from clever.results.records import RunIdentity

from .subjects import subject_of
from .toys import Blocks, TwoParts, coloured

REHEARSALS = [("resnet10t_half", {"neighbours": [5, 20]})]
WAITS = {
    "evaluation/knn.py:evaluate": "features go to the device; how many are right",
    "evaluation/knn.py:evaluate.<locals>.<genexpr>": "labels",
}

RUN = RunIdentity("toy", "table", "dino", "baug", 0)


def cloud(n: int, width: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(classes, (n,), generator=generator)
    return centres[labels] + 2.0 * torch.randn(n, width, generator=generator), labels


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_votes_equal_scikit_learn(temperature: float) -> None:
    train, labels = cloud(400, 10, 7, seed=0)
    queries, truth = cloud(300, 10, 7, seed=1)
    ks = [1, 5, 20, 200]
    found = vote(train, labels, queries, ks, temperature, classes=7)
    for k, prediction in zip(ks, found, strict=True):
        # On unit vectors, the squared distance is 2 - 2 cos, so the neighbours are the same and the weight follows from
        # it.
        oracle = KNeighborsClassifier(k, weights=lambda d: np.exp((1 - d**2 / 2) / temperature), algorithm="brute")
        unit = (train.double() / train.double().norm(dim=1, keepdim=True)).numpy()
        oracle.fit(unit, labels.numpy())
        expected = oracle.predict((queries.double() / queries.double().norm(dim=1, keepdim=True)).numpy())
        np.testing.assert_array_equal(prediction.numpy(), expected)
        assert 0.2 < float((prediction == truth).double().mean()) < 0.95


def test_votes_equal_lightly() -> None:
    benchmarking = pytest.importorskip("lightly.utils.benchmarking")
    train, labels = cloud(300, 10, 7, seed=0)
    queries, _ = cloud(200, 10, 7, seed=1)
    normalise = torch.nn.functional.normalize
    expected = benchmarking.knn_predict(normalise(queries), normalise(train).t().contiguous(), labels, 7, 20, 0.07)
    assert torch.equal(vote(train, labels, queries, [20], 0.07, classes=7)[0], expected[:, 0])


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    train, labels = cloud(300, 10, 7, seed=0)
    queries, _ = cloud(200, 10, 7, seed=1)
    whole = vote(train, labels, queries, [20], 0.07, classes=7)[0]
    monkeypatch.setattr("clever.voting._CHUNK_ELEMENTS", 300 * 7)
    assert torch.equal(vote(train, labels, queries, [20], 0.07, classes=7)[0], whole)


def test_more_neighbours_than_images_means_all_of_them() -> None:
    train, labels = cloud(30, 10, 3, seed=0)
    queries, _ = cloud(50, 10, 3, seed=1)
    all_of_them, more = vote(train, labels, queries, [30, 200], 0.07, classes=3)
    assert torch.equal(all_of_them, more)


def test_a_tiny_temperature_gives_the_nearest_neighbour() -> None:
    train, labels = cloud(300, 10, 7, seed=0)
    queries, _ = cloud(200, 10, 7, seed=1)
    nearest, cold = vote(train, labels, queries, [1], 1.0, 7)[0], vote(train, labels, queries, [50], 1e-6, 7)[0]
    assert torch.equal(nearest, cold)


def test_every_part_perturbation_and_number_is_recorded(tmp_path: Path) -> None:
    store = coloured(tmp_path, classes=6)
    options = KnnOptions(neighbours=[3, 9], perturbations=["orig", "cj"])
    records = evaluate(subject_of(TwoParts(), store, ir_dim=8, identity=RUN), options)
    assert sorted((r.protocol, r.part, r.perturbation) for r in records) == sorted(
        (protocol, part, perturbation)
        for protocol in ("knn3", "knn9")
        for part in ("ALL", "IR", "EF")
        for perturbation in ("orig", "cj")
    )
    assert {(r.metric, r.selection, r.epoch, r.n) for r in records} == {("top1", "last", 0, len(store.split("test")))}
    assert evaluate(subject_of(TwoParts(), store, ir_dim=8, identity=RUN), options) == records
    single = KnnOptions(neighbours=[3], perturbations=["orig"])
    (record,) = evaluate(subject_of(TwoParts(), store, identity=RUN), single)
    assert (record.protocol, record.part) == ("knn", "ALL")
    assert record.value == next(
        r.value for r in records if r.protocol == "knn3" and r.part == "ALL" and r.perturbation == "orig"
    )


def test_transformers_give_their_output_vector(tmp_path: Path) -> None:
    backbone = Blocks()
    options = KnnOptions(neighbours=[3], perturbations=["orig"])
    records = evaluate(subject_of(backbone, coloured(tmp_path, classes=3), ir_dim=9, identity=RUN), options)
    assert {record.part for record in records} == {"ALL", "IR", "EF"}
    assert backbone.asked == set()


@pytest.mark.parametrize(
    "wrong", [{"neighbours": []}, {"neighbours": [0]}, {"neighbours": [5, 5]}, {"temperature": 0.0}]
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        KnnOptions.model_validate(wrong)
