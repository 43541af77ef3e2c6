"""Protocol semi: with a frozen backbone and all labels, it equals the linear probe; a killed job ends with the same
records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from clever.evaluation import fine_tuned
from clever.evaluation.labelled_subset import stratified_subset
from clever.evaluation.linear import evaluate as evaluate_linear
from clever.evaluation.options.linear import LinearOptions
from clever.evaluation.options.semi import SemiOptions
from clever.evaluation.semi import evaluate

from .subjects import build, by_axes, subject_of
from .toys import TwoParts, coloured

REHEARSALS = [
    ("resnet10t_half", {"epochs": 2, "shares": [0.5], "batch_size": 16, "perturbations": ["orig"]}),
    (
        "resnet10t_half",
        {"epochs": 2, "shares": [0.5], "batch_size": 16, "perturbations": ["orig"], "core_tuning": {}},
    ),
]
WAITS = {
    "evaluation/fine_tuned.py:FineTuning.__init__": "the network goes to the device",
    "evaluation/finetuning.py:_epoch": "the loss of an epoch",
    "evaluation/fine_tuned.py:FineTuning._test": "how many are right",
}

QUICK: dict[str, Any] = {"epochs": 4, "batch_size": 32, "perturbations": ["orig"]}


def test_with_a_frozen_backbone_and_all_labels_it_equals_the_linear_probe(tmp_path: Path) -> None:
    """The head and the number of fresh views are the same, but orders and crops use other seeds, so not bit for bit."""
    store = coloured(tmp_path, classes=3, train=240, test=150)
    options = SemiOptions(
        shares=[1.0], epochs=30, batch_size=32, learning_rate=2.0, backbone_learning_rate=0.0, weight_decay=0.0,
        perturbations=["orig"], best_epoch=False,
    )  # fmt: skip
    found = by_axes(evaluate(subject_of(TwoParts(), store, ir_dim=9), options))
    probe = LinearOptions(epochs=30, batch_size=32, learning_rate=2.0, perturbations=["orig"])
    linear = by_axes(evaluate_linear(subject_of(TwoParts(), store, ir_dim=9), probe))
    for part in ("ALL", "IR"):
        assert found[part, "orig", "top1"] == pytest.approx(linear[part, "orig", "top1"], abs=4.0)
        assert found[part, "orig", "top1"] > 50


def test_shares_are_protocols_and_the_chosen_rows_are_noted(tmp_path: Path) -> None:
    store = coloured(tmp_path, classes=3)
    subject = subject_of(build("resnet10t_half", 8), store, ir_dim=200)
    records = evaluate(subject, SemiOptions(shares=[0.1, 0.5], parts=["ALL", "EF"], **QUICK))
    assert {record.protocol for record in records} == {"semi10", "semi50"}
    assert {record.part for record in records} == {"ALL", "EF"}
    assert {(record.selection, record.epoch) for record in records if record.selection == "last"} == {("last", 4)}
    assert sum(record.selection == "best" for record in records) == 4
    rows = stratified_subset(store.split("train").labels.numpy(), 0.1, 0).tolist()
    assert subject.notes["semi10: rows of the labelled training images"] == rows
    assert len(rows) == 9


def test_only_the_labelled_images_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = coloured(tmp_path, classes=3)
    seen: list[int] = []
    original = fine_tuned.Batches.epoch

    def epoch(self: fine_tuned.Batches, number: int, start: int = 0) -> Any:
        for batch in original(self, number, start):
            if self.shuffle:
                seen.extend(batch.indices.tolist())
            yield batch

    monkeypatch.setattr(fine_tuned.Batches, "epoch", epoch)
    evaluate(subject_of(TwoParts(), store), SemiOptions(shares=[0.2], parts=["ALL"], **{**QUICK, "epochs": 2}))
    rows = stratified_subset(store.split("train").labels.numpy(), 0.2, 0)
    assert np.array_equal(np.unique(seen), rows)
    assert len(seen) == 2 * len(rows)


@pytest.mark.parametrize("core_tuning", [None, {"projection_dim": 8}], ids=["plain", "core-tuning"])
def test_a_killed_evaluation_ends_with_the_same_records(
    core_tuning: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = coloured(tmp_path, classes=3)
    options = SemiOptions.model_validate(
        {"shares": [0.3], "parts": ["ALL"], "core_tuning": core_tuning, "nesterov": core_tuning is not None, **QUICK}
    )
    name = "semi30" if core_tuning is None else "semi30_core_tuning"
    expected = evaluate(subject_of(build("resnet10t_half", 8), store), options)
    assert {record.protocol for record in expected} == {name}

    class KilledError(Exception):
        pass

    original = fine_tuned.Pace.reached

    def reached(self: fine_tuned.Pace, done: int, more: str = "") -> None:
        original(self, done, more)
        if done == 2:
            raise KilledError

    monkeypatch.setattr(fine_tuned.Pace, "reached", reached)
    with pytest.raises(KilledError):
        evaluate(subject_of(build("resnet10t_half", 8), store, state_folder=tmp_path / "state"), options)
    assert [path.name for path in (tmp_path / "state").iterdir()] == [f"{name}_ALL.pt"]
    monkeypatch.setattr(fine_tuned.Pace, "reached", original)
    assert evaluate(subject_of(build("resnet10t_half", 8), store, state_folder=tmp_path / "state"), options) == expected
    assert list((tmp_path / "state").iterdir()) == []


def test_a_share_or_part_is_named_once() -> None:
    with pytest.raises(ValidationError, match="lists a value twice"):
        SemiOptions(shares=[0.1, 0.1])
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        SemiOptions(shares=[10])
