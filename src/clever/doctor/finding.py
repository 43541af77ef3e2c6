"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """One line of ``clever doctor``.

    ``state``: ok; warning: a study runs, but slower or less well documented than it could; FAIL: a study will stop or
    its numbers cannot be trusted, and ``text`` says what to do.
    """

    subject: str
    state: State
    text: str

    def __str__(self) -> str:
        return f"{self.state:<8} {self.subject}: {self.text}"


def gigabytes(count: float) -> str:
    """Bytes as readable text: ``0.02 GB``, ``13.8 GB``."""
    return f"{count / 1e9:.2f} GB" if count < 1e9 else f"{count / 1e9:.1f} GB"
