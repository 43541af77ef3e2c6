"""Sums of an epoch's scalars, and the report of the first that is not finite."""

from __future__ import annotations

import pytest
import torch

from clever.errors import UserError
from clever.pretraining.totals import EpochTotals, NotFiniteError


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
