"""Retrieval with a predictor, against loops over single photographs in float64, and with a perfect predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.spatial.transform import Rotation
from torch import Tensor

from clever.data import Store
from clever.errors import UserError
from clever.evaluation.features import FeatureExtractor
from clever.evaluation.options.retrieval import RetrievalOptions
from clever.evaluation.retrieval import (
    ROTATION,
    ROTATION_AND_COLOUR,
    Photographs,
    evaluate,
    nearest_rows,
    photographs,
    query_rows,
    retrieval_error,
    view_ranks,
)
from clever.evaluation.subject import PredictorFunction, RunPredictor, Subject
from clever.quaternions import quaternion
from clever.results.records import RunIdentity

from .objects import IR_DIM, BlockColours, objects_store
from .subjects import subject_of
from .toys import TwoParts, coloured

NOT_REHEARSED = "it needs a trained predictor"

RUN = RunIdentity("objects", "blocks", "sie", "pairs", 0)


def subject(objects: Store, predictor: PredictorFunction, relative_names: tuple[str, ...]) -> Subject:
    """Photographs of objects, a backbone that sees their colours, and a predictor."""
    return subject_of(
        BlockColours(), objects, ir_dim=IR_DIM, identity=RUN, predictor=RunPredictor(predictor, relative_names)
    )


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return objects_store(tmp_path_factory.mktemp("objects"), objects=4)


class Random:
    """A fixed random projection of features, and a prediction W(q) of it that is linear in q."""

    def __init__(self, relative: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.projection = torch.randn(12, 8, generator=generator)
        self.weights = torch.randn(relative, 8, 8, generator=generator)

    def __call__(self, features: Tensor, relative: Tensor) -> tuple[Tensor, Tensor]:
        embedding = features @ self.projection
        return embedding, torch.einsum("nr,rde,nd->ne", relative, self.weights, embedding)


@pytest.mark.parametrize("relative", [ROTATION, ROTATION_AND_COLOUR])
def test_every_metric_equals_plain_loops(objects: Store, relative: tuple[str, ...], monkeypatch: Any) -> None:
    monkeypatch.setattr("clever.evaluation.retrieval._TILE", 37)
    predictor = Random(len(relative))
    records = evaluate(subject(objects, predictor, relative), RetrievalOptions())
    extractor = FeatureExtractor(subject_of(BlockColours(), objects), RetrievalOptions(), blocks=1, labelled=False)
    rotations, hues, groups, embeddings, predictions = ({} for _ in range(5))  # type: ignore[var-annotated]
    for split in ("train", "test"):
        stored = objects.split(split)  # type: ignore[arg-type]
        assert stored.latents is not None
        assert stored.groups is not None
        groups[split] = stored.groups.tolist()
        angles = stored.latents[:, :3].double().numpy()
        rotations[split] = [Rotation.from_euler("xyz", row) for row in angles]
        hues[split] = stored.latents[:, [3, 6]].double().numpy()
        features = extractor.perturbed(split, "orig").double().numpy()  # type: ignore[arg-type]
        projected = features @ predictor.projection.double().numpy()
        embeddings[split] = projected / np.linalg.norm(projected, axis=1, keepdims=True)
        predictions[split] = []
        for row, group in enumerate(groups[split]):
            source = groups[split].index(group)
            change = (rotations[split][source].inv() * rotations[split][row]).as_quat()
            if len(relative) == 6:
                change = np.concatenate([change, hues[split][row] - hues[split][source]])
            weight = sum(t * w for t, w in zip(change, predictor.weights.double().numpy(), strict=True))
            foretold = projected[source] @ weight
            predictions[split].append(foretold / np.linalg.norm(foretold))

    def error(split: str, among: list[str]) -> float:
        gallery = [(embedding, rotation) for s in among for embedding, rotation in zip(embeddings[s], rotations[s])]  # noqa: B905
        total = 0.0
        for row, prediction in enumerate(predictions[split]):
            found = max(range(len(gallery)), key=lambda place: float(gallery[place][0] @ prediction))
            angle = (rotations[split][row].inv() * gallery[found][1]).magnitude()
            # The scalar product of two unit quaternions is the cosine of half the angle between the rotations.
            total += 1 - np.cos(angle / 2) ** 2
        return float(total / len(predictions[split]))

    ranks = []
    for row, group in enumerate(groups["test"]):
        similar = [float(embeddings["test"][k] @ predictions["test"][row]) for k in range(len(groups["test"]))]
        ranks.append(1 + sum(s > similar[row] for s, g in zip(similar, groups["test"], strict=True) if g == group))
    expected = {
        "pre_train_train": error("train", ["train"]),
        "pre_val_val": error("test", ["test"]),
        "pre_val_all": error("test", ["train", "test"]),
        "mrr": float(np.mean([1 / rank for rank in ranks])),
        **{f"hit_at_{k}": float(np.mean([rank <= k for rank in ranks])) for k in (1, 2, 5, 10)},
    }
    found = {record.metric: record.value for record in records}
    assert found == pytest.approx(expected, rel=1e-4)
    assert {(r.protocol, r.part, r.perturbation) for r in records} == {("retrieval", "EF", "orig")}
    assert {r.metric: r.n for r in records} == dict.fromkeys(expected, 100) | {"pre_train_train": 300}
    assert 0.02 < expected["mrr"] < 0.9


class Knowing:
    """The features are the absolute rotation; the embedding is q q^T, which does not depend on the sign of q."""

    def __call__(self, features: Tensor, relative: Tensor) -> tuple[Tensor, Tensor]:
        first, change = Rotation.from_quat(features.double().numpy()), Rotation.from_quat(relative.double().numpy())
        after = torch.from_numpy((first * change).as_quat()).float()
        return self.embed(features), self.embed(after)

    def embed(self, q: Tensor) -> Tensor:
        return (q.unsqueeze(2) * q.unsqueeze(1)).flatten(1)


def test_a_perfect_predictor_is_always_right(objects: Store) -> None:
    split = objects.split("test")
    assert split.latents is not None
    rotations = quaternion(split.latents[:, :3])
    views = photographs(rotations, split, Knowing())
    assert torch.equal(view_ranks(views, Knowing()), torch.ones(100, dtype=torch.int64))
    assert retrieval_error(views, [views], Knowing()) == pytest.approx(0.0, abs=1e-6)


def table(groups: list[int]) -> Photographs:
    class Split:
        latents = torch.zeros(len(groups), 7)

    Split.groups = torch.tensor(groups)  # type: ignore[attr-defined]
    embeddings = torch.randn(len(groups), 3, generator=torch.Generator().manual_seed(0))
    return photographs(embeddings, Split(), unmoved)  # type: ignore[arg-type]


def unmoved(features: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    assert change.shape == (len(features), 4)
    return features, features


def test_photographs_of_an_object_need_not_be_adjacent_and_may_be_single() -> None:
    views = table([7, 2, 7, 9, 2, 7])
    assert views.first.tolist() == [0, 1, 0, 3, 1, 0]
    assert views.views.tolist() == [3, 2, 3, 1, 2, 3]
    assert query_rows(views).tolist() == [0, 1, 2, 4, 5]
    ranks = view_ranks(views, unmoved)
    # Every prediction is the first photograph's embedding, so that photograph is found first.
    assert len(ranks) == 5
    assert ranks[0] == ranks[3] == 1
    assert ranks[4] == 2
    assert sorted(ranks[1:3].tolist()) == [2, 3]


def test_ties_are_resolved_by_the_first_photograph() -> None:
    gallery = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert nearest_rows(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), gallery).tolist() == [1, 0]


def test_the_nearest_row_does_not_depend_on_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, gallery = torch.randn(50, 6, generator=generator), torch.randn(90, 6, generator=generator)
    expected = (queries.double() @ gallery.double().t()).argmax(1)
    assert torch.equal(nearest_rows(queries, gallery), expected)
    monkeypatch.setattr("clever.evaluation.retrieval._TILE", 7)
    assert torch.equal(nearest_rows(queries, gallery), expected)


def test_a_run_without_a_predictor_has_no_records_and_a_note(
    objects: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    options = RetrievalOptions()
    assert not evaluate(subject_of(BlockColours(), objects, ir_dim=IR_DIM, identity=RUN), options)
    assert capsys.readouterr().err == "retrieval: objects/blocks/sie/pairs/seed0 has no predictor: no records\n"


def test_data_without_latents_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the protocol retrieval needs .* source threediebench"):
        evaluate(
            subject_of(TwoParts(), coloured(tmp_path, 3), predictor=RunPredictor(Random(4), ROTATION)),
            RetrievalOptions(),
        )


def test_a_predictor_of_crop_parameters_is_rejected(objects: Store) -> None:
    words = r"its predictor takes crop_top, flip as input, but retrieval needs .* rotations"
    with pytest.raises(UserError, match=words):
        evaluate(subject(objects, Random(2), ("crop_top", "flip")), RetrievalOptions())


def test_damaged_embeddings_are_named(objects: Store) -> None:
    predictor = Random(4)
    predictor.projection[0, 0] = float("nan")
    with pytest.raises(UserError, match=r"objects/blocks/.*: embeddings are not finite"):
        evaluate(subject(objects, predictor, ROTATION), RetrievalOptions())


@pytest.mark.parametrize("wrong", [{"hits": []}, {"hits": [0]}, {"hits": [1, 1]}])
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RetrievalOptions.model_validate(wrong)
