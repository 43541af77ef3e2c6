"""Sums of an epoch's scalars, and the report of the first that is not finite."""

from __future__ import annotations

import pytest
import torch

from clever.errors import UserError
from clever.pretraining.epoch_metrics import SKIPPED_IN_A_ROW, EpochTotals, NotFiniteError


def add(totals: EpochTotals, *losses: float) -> None:
    for loss in losses:
        totals.add({"loss": torch.tensor(3 * loss), "loss_contrast": torch.tensor(loss)})


def test_means_do_not_depend_on_when_one_looks() -> None:
    often, rarely = EpochTotals(), EpochTotals()
    losses = [0.1, 0.7, 0.2, 5.0, 1e-3]
    for step, loss in enumerate(losses):
        add(often, loss)
        often.check(step)
    add(rarely, *losses)
    rarely.check(4)
    assert often.means() == rarely.means()
    exact = torch.tensor(losses).double().mean().item()
    assert often.means()["loss_contrast"] == pytest.approx(exact, rel=1e-12)
    assert often.count == 5


def test_a_second_look_adds_nothing() -> None:
    totals = EpochTotals()
    add(totals, 1.0, 2.0)
    totals.check(1)
    totals.check(1)
    assert (totals.count, totals.means()["loss_contrast"]) == (2, 1.5)


def test_a_saved_epoch_goes_on_to_the_same_bits() -> None:
    whole, half = EpochTotals(), EpochTotals()
    losses = [0.1, 0.2, 0.3, 0.7, 0.11]
    add(whole, *losses)
    whole.check(4)
    add(half, *losses[:2])
    half.check(1)
    resumed = EpochTotals()
    resumed.load_state_dict(half.state_dict())
    add(half, 9.0)
    half.check(2)  # what is saved does not change with the sums that go on
    add(resumed, *losses[2:])
    resumed.check(4)
    assert resumed.means() == whole.means()


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (float("inf"), "inf"), (float("-inf"), "-inf")])
def test_the_first_bad_step_and_its_term_are_named(value: float, shown: str) -> None:
    totals = EpochTotals()
    for step in range(10, 16):
        bad = step >= 13
        totals.add(
            {
                "loss": torch.tensor(value if bad else 1.0),
                "loss_contrast": torch.tensor(1.0),
                "loss_orthogonality": torch.tensor(value if bad else 1.0),
                "gradient_norm": torch.tensor(value if bad else 1.0),
            }
        )
    with pytest.raises(NotFiniteError, match=f"^loss_orthogonality is {shown} at step 13$"):
        totals.check(15)


def test_every_bad_term_is_named_and_a_gradient_alone_too() -> None:
    nan, one = torch.tensor(float("nan")), torch.tensor(1.0)
    totals = EpochTotals()
    totals.add(
        {"loss": nan, "loss_contrast": nan, "loss_orthogonality": nan, "loss_head_norm": one, "gradient_norm": nan}
    )
    with pytest.raises(NotFiniteError, match=r"^loss_contrast is nan, loss_orthogonality is nan at step 0$"):
        totals.check(0)
    totals = EpochTotals()
    totals.add({"loss": one, "loss_contrast": one, "gradient_norm": nan})
    with pytest.raises(UserError, match=r"^gradient_norm is nan at step 7$"):
        totals.check(7)


def test_a_gradient_is_named_by_its_parameter() -> None:
    totals = EpochTotals(["first.weight", "second.bias"])
    totals.add({"loss": torch.tensor(1.0), "gradient_norm": torch.tensor(float("inf"))}, torch.tensor(1))
    with pytest.raises(NotFiniteError, match=r"^the gradient of second\.bias is not finite at step 4$"):
        totals.check(4)


def skip_one(totals: EpochTotals, step: int) -> list[str]:
    add(totals, float("nan"))
    return totals.check(step)


def test_skipped_steps_are_counted_named_and_left_out_of_the_means() -> None:
    totals, clean = EpochTotals(skip=True), EpochTotals()
    add(totals, 1.0, float("nan"), 2.0, float("inf"), float("inf"))
    add(clean, 1.0, 2.0)
    assert totals.check(4) == [
        "loss_contrast is nan at step 1",
        "loss_contrast is inf at step 3",
        "loss_contrast is inf at step 4",
    ]
    clean.check(1)
    assert totals.means() == clean.means()
    assert (totals.count, totals.skipped) == (2, 3)
    assert totals.next_epoch().skipped == 0


def test_too_many_in_a_row_are_an_error_across_epochs_and_resumes() -> None:
    totals = EpochTotals(skip=True)
    for step in range(SKIPPED_IN_A_ROW - 1):
        skip_one(totals, step)
    totals = totals.next_epoch()
    assert totals.means() == {}
    resumed = EpochTotals(skip=True)
    resumed.load_state_dict(totals.state_dict())
    skip_one(resumed, SKIPPED_IN_A_ROW - 1)
    with pytest.raises(
        NotFiniteError, match=rf"is nan at step {SKIPPED_IN_A_ROW}, after {SKIPPED_IN_A_ROW} steps in a row"
    ):
        skip_one(resumed, SKIPPED_IN_A_ROW)
    # One good step in between, and the count begins anew.
    totals = EpochTotals(skip=True)
    for step in range(3 * SKIPPED_IN_A_ROW):
        add(totals, 1.0 if step % SKIPPED_IN_A_ROW == 0 else float("nan"))
    assert len(totals.check(3 * SKIPPED_IN_A_ROW - 1)) == 3 * (SKIPPED_IN_A_ROW - 1)
