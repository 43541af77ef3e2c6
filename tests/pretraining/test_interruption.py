"""Signals, including Ctrl-C, lead to a saved state; a second Ctrl-C stops at once."""

from __future__ import annotations

import os
import signal

import pytest

from clever.pretraining import interruption as module
from clever.pretraining.interruption import Interrupted, watch_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_is_recorded_and_the_previous_handler_is_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with watch_signals() as interruption:
        os.kill(os.getpid(), number)
        assert interruption.requested == number.name
        assert interruption.by_hand == (number == signal.SIGINT)
    assert signal.getsignal(number) is before


def test_a_second_press_stops_at_once_and_an_echo_of_the_first_does_not(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "time", type("Clock", (), {"monotonic": staticmethod(lambda: now[0])}))
    with watch_signals() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        now[0] += 0.1  # a launcher forwards it to its processes
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.by_hand
        now[0] += 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err.count("Ctrl-C: stops after this step and saves its state") == 1


def test_an_interruption_by_hand_is_distinguished() -> None:
    assert not Interrupted("SIGTERM at step 3").by_hand
    assert Interrupted("SIGINT at step 3", True).by_hand
    assert str(Interrupted("SIGINT at step 3", True)) == "SIGINT at step 3"
