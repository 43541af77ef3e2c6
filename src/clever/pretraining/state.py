"""The training state of one run: written atomically, verified when read, and held by one trainer."""

from __future__ import annotations

import hashlib
import json
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from clever.errors import UserError
from clever.files import describe_failure, replacing
from clever.locks import HeldError, exclusive
from clever.parsing import lacks_memory
from clever.pretraining.recipe_changes import recipe_changes

FORMAT = 3
"""Format of the states. 1: lacks the version, the code and the count of skipped steps; 2: keeps the number of
consecutive skipped steps with the epoch's totals, not with the trainer's state."""

_GENERATIONS = 2
_NAME = re.compile(r"^state-(\d{9})-([0-9a-f]{16})\.pt$")
_UNNAMED = "unverified.pt"
_REFUSED = "refused"
_KEPT = "kept"
_GATE_SECONDS = 60
METRICS = "metrics.csv"
"""Name of the metrics file of an unfinished run, in its state folder."""


class StateFolder:
    """Saves and restores training states under one folder.

    Each state is one file whose name contains its iteration and the first digits of its SHA-256, so that a truncated or
    altered file is detected without a second file; the newest two are kept. The payload holds tensors, numbers, strings
    and containers only, and is read with ``weights_only``: a file with anything else in it is rejected.

    Args:
        folder: created if missing.
        identity: identifies the owner of the state (run, recipe, data, version); a state with another identity is
            rejected.
        recipe: all keys of the run's recipe, so that an error can name those that differ.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str], recipe: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.identity = dict(identity)
        self.recipe = dict(recipe or {})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process alone; see :func:`clever.locks.exclusive`.

        Raises:
            UserError: another process holds it, or the folder cannot be written.
        """
        with ExitStack() as last, ExitStack() as held:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with self._gate():
                    held.enter_context(exclusive(self.folder / "lock", self.folder / "owner.json"))
            except HeldError as error:
                raise UserError(
                    f"{self.folder}: another trainer is at work here ({error}); wait until it has ended and start again"
                ) from None
            except OSError as error:
                raise UserError(f"{self.folder}: could not be written ({describe_failure(error)})") from error
            self._sweep()
            self._last = last
            yield

    def close_to_others(self) -> None:
        """From now until :meth:`locked` ends, a new start waits for the lock instead of being rejected.

        Afterwards :meth:`has_refused` can no longer change: a start that was rejected has left its note, and a later
        start gets the lock.
        """
        self._last.enter_context(self._gate())

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """A lock that is held briefly while a trainer takes the main lock or is rejected, and while a trainer ends."""
        begin = time.monotonic()
        with ExitStack() as passed:
            while True:
                try:
                    passed.enter_context(exclusive(self.folder / "gate", self.folder / "gate.json"))
                    break
                except HeldError:
                    if time.monotonic() - begin > _GATE_SECONDS:
                        break  # training a run twice is better than never starting it
                    time.sleep(0.01)
            try:
                yield
            except HeldError:
                with suppress(OSError):
                    (self.folder / _REFUSED).touch()
                raise

    def save(self, iteration: int, payload: Mapping[str, Any]) -> Path:
        """Write a state atomically and delete all but the newest two.

        Raises:
            UserError: the state could not be written (a full disk); earlier states are unchanged.
        """
        content = {"format": FORMAT, "identity": self.identity, "iteration": iteration, "payload": dict(payload)}
        content["recipe"] = json.dumps(self.recipe, sort_keys=True)
        # The file's name contains its checksum, so it is written under a temporary name first.
        written = self.folder / _UNNAMED
        try:
            # Use a Python file, whose OSError says why a write fails; torch's writer only reports the failure.
            with replacing(written) as temporary, temporary.open("wb") as file:
                torch.save(content, file)
            target = self.folder / f"state-{iteration:09d}-{_digest(written)}.pt"
            written.replace(target)
        except (UserError, OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as RuntimeError
            written.unlink(missing_ok=True)
            if _was_stopped(error):
                raise KeyboardInterrupt from error
            kept = self.newest_iteration()
            then = "starts again" if kept is None else f"resumes from the state of step {kept}"
            raise UserError(
                f"{self.folder}: the training state of step {iteration} could not be saved ({_reason(error)}); "
                f"make room and start again: the run then {then}"
            ) from error
        for old in self._newest_first():
            # A state of the same or a later iteration was skipped as damaged, so it must not count as one of the newest
            # two.
            if old != target and (_iteration(old) >= iteration or old in self._newest_first()[_GENERATIONS:]):
                old.unlink(missing_ok=True)
        return target

    def load(self, device: torch.device | str = "cpu") -> tuple[int, dict[str, Any]] | None:
        """The newest intact state as (iteration, payload), or None if there is none.

        A damaged state is skipped with a warning that names it.

        Raises:
            UserError: the newest intact state belongs to another run, recipe, data set, version or format.
        """
        for path in self._newest_first():
            try:
                digest = _digest(path)
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror})") from error
            if digest != _checksum(path):
                warnings.warn(f"{path}: damaged (its checksum does not match); passed over", stacklevel=2)
                continue
            try:
                content = torch.load(path, map_location=device, weights_only=True)
            except Exception as error:  # an unpickler raises many types of error; all mean damage
                if lacks_memory(error):
                    raise
                raise UserError(f"{path}: refused, it holds more than a training state ({_payload(error)})") from error
            if not isinstance(content, dict) or not isinstance(content.get("identity"), dict):
                raise UserError(f"{path}: refused, it is not a training state; move {self.folder} away to start again")
            # Format 1 kept its format number with the identity.
            found = content.get("format", content["identity"].get("format"))
            if found != FORMAT:
                raise UserError(
                    f"{path}: has state format {found}, this program reads format {FORMAT}; end the run with the "
                    f"program that began it, or move {self.folder} away to start again"
                )
            if content["identity"] != self.identity:
                raise UserError(f"{path}: {self._foreign(content)}")
            return content["iteration"], content["payload"]
        return None

    def _foreign(self, content: Mapping[str, Any]) -> str:
        """Explain why a state does not belong to this run, and what to do."""
        found, saved = content["identity"], _parsed(content.get("recipe"))
        differs = recipe_changes(saved, self.recipe) if saved and self.recipe else ""
        if differs and {**found, "recipe": ""} == {**self.identity, "recipe": ""}:
            return (
                f"belongs to another recipe of this run: {differs} (recipe {found.get('recipe')}, now "
                f"{self.identity.get('recipe')}); restore it to continue, move {self.folder} away to start again, or "
                "rename what changed in the study to keep both"
            )
        return (
            f"belongs to {_shown(found)}, but this is {_shown(self.identity)}"
            + (f" ({differs})" if differs else "")
            + f"; move {self.folder} away to start again"
        )

    def newest_iteration(self) -> int | None:
        """The iteration of the newest state, unverified; None if there is none."""
        paths = self._newest_first()
        return _iteration(paths[0]) if paths else None

    def clear(self) -> None:
        """Delete all states."""
        for path in self._newest_first():
            path.unlink(missing_ok=True)

    def has_refused(self) -> bool:
        """Whether another trainer was rejected since this one took the lock; if so, it will be started again."""
        return (self.folder / _REFUSED).exists()

    def keep(self) -> None:
        """Keep the states after an evaluation has read the finished run."""
        (self.folder / _KEPT).touch()

    def _sweep(self) -> None:
        """Delete the remains of a trainer killed while saving, and the note of one that was rejected."""
        for path in (*self.folder.glob(".*.partial"), self.folder / _UNNAMED, self.folder / _REFUSED):
            path.unlink(missing_ok=True)

    def _newest_first(self) -> list[Path]:
        found = [path for path in self.folder.glob("state-*.pt") if _NAME.match(path.name)]
        return sorted(found, key=_iteration, reverse=True)


def drop_finished_state(run_folder: Path) -> None:
    """Delete the training state of a run that has ended, once an evaluation has read its files.

    Does nothing if the run has not ended, its state is to be kept (``--keep-state``), a trainer holds it, or the folder
    cannot be written.
    """
    states = StateFolder(run_folder / "state", {})
    if not (run_folder / "run.json").exists() or states.newest_iteration() is None or (states.folder / _KEPT).exists():
        return
    with suppress(UserError, OSError), states.locked():
        states.clear()
        (states.folder / METRICS).unlink(missing_ok=True)


def _iteration(path: Path) -> int:
    match = _NAME.match(path.name)
    assert match
    return int(match[1])


def _checksum(path: Path) -> str:
    match = _NAME.match(path.name)
    assert match
    return match[2]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _shown(identity: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(identity.items()))


def _parsed(recipe: object) -> dict[str, Any]:
    """The recipe that a state was saved with; empty for states of older versions."""
    try:
        content = json.loads(recipe) if isinstance(recipe, str) else {}
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _was_stopped(error: BaseException) -> bool:
    """Whether Ctrl-C caused an error. When interrupted, torch's zip writer only reports that it cannot finish."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _reason(error: BaseException) -> str:
    """Why a write failed: the text of the first operating-system error behind ``error``, or its own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return describe_failure(cause)
        cause = cause.__cause__ or cause.__context__
    return _one_line(error)


def _payload(error: BaseException) -> str:
    """The object that torch refused to unpickle. Torch's own message is not shown, because it advises unpickling the
    file anyway."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it would call {found[1]}" if found else type(error).__name__


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
