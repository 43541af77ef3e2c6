"""metrics.csv: appended, truncated on resuming, complete after any failure."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from clever.errors import UserError
from clever.pretraining.metrics import MetricsFile

LINES = ["epoch,iteration,loss,health", "0,6,3.1415927,ok", "1,12,2,ok", '2,18,0.5,"collapsed, see above"']


def row(epoch: int) -> dict[str, object]:
    losses, health = [3.14159274101, 2.0, 0.5], ["ok", "ok", "collapsed, see above"]
    return {"epoch": epoch, "iteration": 6 * epoch + 6, "loss": losses[epoch], "health": health[epoch]}


def filled(tmp_path: Path, rows: int = 3) -> MetricsFile:
    metrics = MetricsFile(tmp_path / "metrics.csv")
    for epoch in range(rows):
        metrics.append(row(epoch))
    return metrics


def lines(metrics: MetricsFile) -> list[str]:
    assert metrics.path.read_text().endswith("\n")
    return metrics.path.read_text().splitlines()


def test_a_header_then_one_line_per_epoch(tmp_path: Path) -> None:
    assert lines(filled(tmp_path)) == LINES


def test_a_run_without_epochs_has_only_a_header(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.start(["epoch", "iteration"])
    assert lines(metrics) == ["epoch,iteration"]


def test_columns_are_set_by_the_first_row(tmp_path: Path) -> None:
    metrics = filled(tmp_path, 1)
    with pytest.raises(ValueError, match="novelty"):
        metrics.append(row(1) | {"novelty": 1.0})
    metrics.append({key: row(1)[key] for key in ("health", "loss", "iteration", "epoch")})
    assert lines(metrics) == LINES[:3]


@pytest.mark.parametrize("kept", [1, 2, 3, 9])
def test_resuming_drops_later_epochs_and_keeps_the_rest_exactly(tmp_path: Path, kept: int) -> None:
    metrics = filled(tmp_path)
    metrics.keep_epochs(kept)
    assert lines(metrics) == LINES[: kept + 1]
    for epoch in range(kept, 3):
        metrics.append(row(epoch))
    assert lines(metrics) == LINES


def test_resuming_from_the_start_leaves_no_file(tmp_path: Path) -> None:
    metrics = filled(tmp_path)
    metrics.keep_epochs(0)
    assert not metrics.path.exists()
    metrics.keep_epochs(0)
    metrics.append(row(0))
    assert lines(metrics) == LINES[:2]


@pytest.mark.parametrize("torn", ["1", "1,6", "2", "2,18", "2,18,0.", '2,18,0.5,"colla', "\x00\x00\x00\x00", "e"])
def test_a_torn_last_line_is_dropped(tmp_path: Path, torn: str) -> None:
    metrics = filled(tmp_path, 2)
    with metrics.path.open("a") as file:
        file.write(torn)
    metrics.keep_epochs(2)
    assert lines(metrics) == LINES[:3]
    metrics.append(row(2))
    assert lines(metrics) == LINES


def test_a_torn_header_is_dropped(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.path.write_text("epoch,iter")
    metrics.keep_epochs(0)
    metrics.append(row(0))
    assert lines(metrics) == LINES[:2]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("\n".join(LINES[:3]) + "\n", False),
        ("\n".join(LINES) + "\n", False),  # an epoch after the state's
        ("\n".join(LINES[:3]) + "\n2,18,0.", False),
        (None, True),
        ("", True),
        ("\n".join(LINES[:2]) + "\n", True),
        ("\n".join(LINES[:3]).replace("3.1415927", "3.1415926") + "\n", True),
        ("\n".join(LINES[:3]), True),
    ],
)
def test_lines_are_restored_from_the_state(tmp_path: Path, found: str | None, said: bool) -> None:
    metrics = filled(tmp_path, 2)
    saved = metrics.text()
    metrics.path.unlink()
    if found is not None:
        metrics.path.write_text(found)
    assert metrics.restore(saved) == said
    assert metrics.text() == saved
    metrics.append(row(2))
    assert lines(metrics) == LINES


def test_a_state_from_before_the_first_epoch_has_no_lines(tmp_path: Path) -> None:
    metrics = filled(tmp_path, 1)
    assert not metrics.restore("")
    assert not metrics.path.exists()
    assert not metrics.restore("")
    assert metrics.text() == ""


def test_a_full_disk_gives_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    metrics = filled(tmp_path, 1)
    monkeypatch.setattr("clever.files.os.fsync", fail)
    with pytest.raises(UserError, match=r"metrics\.csv: could not be written \(the disk or quota is full\)"):
        metrics.append(row(1))
