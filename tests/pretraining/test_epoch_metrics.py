"""The means of scalars over an epoch."""

from __future__ import annotations

import math

import pytest

from clever.pretraining.epoch_metrics import EpochTotals

LOSSES = [0.1, 0.7, 0.2, 5.0, 1e-3]


def rows(losses: list[float]) -> list[dict[str, float]]:
    return [{"loss": 3 * loss, "loss_contrast": loss} for loss in losses]


def test_means_do_not_depend_on_the_grouping_of_steps() -> None:
    one_by_one, at_once = EpochTotals(), EpochTotals()
    for row in rows(LOSSES):
        one_by_one.add([row])
    at_once.add(rows(LOSSES))
    assert one_by_one.means() == at_once.means()
    assert at_once.means()["loss_contrast"] == pytest.approx(math.fsum(LOSSES) / 5, rel=1e-14)
    assert at_once.count == 5


def test_skipped_steps_are_counted_and_do_not_change_the_means() -> None:
    totals = EpochTotals()
    assert totals.means() == {}
    totals.add([], skipped=2)
    totals.add(rows([1.0, 2.0]), skipped=1)
    assert (totals.count, totals.skipped, totals.means()) == (2, 3, {"loss": 4.5, "loss_contrast": 1.5})


def test_a_saved_epoch_continues_to_the_same_bits() -> None:
    whole, half, resumed = EpochTotals(), EpochTotals(), EpochTotals()
    whole.add(rows(LOSSES), skipped=1)
    half.add(rows(LOSSES[:2]), skipped=1)
    saved = half.state_dict()
    half.add(rows([9.0]))  # the saved copy does not change when the sums continue
    resumed.load_state_dict(saved)
    resumed.add(rows(LOSSES[2:]))
    assert (resumed.means(), resumed.skipped) == (whole.means(), whole.skipped)
