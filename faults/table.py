"""docs/faults.md: the faults, their outcomes, and what a user reads."""

from __future__ import annotations

import re
from collections.abc import Sequence

from faults.row import Outcome

_HEAD = """# Faults

`make faults` causes every fault below, writes this page, and fails if a try does not end as expected. A run is 12 steps
of DINO with CLeVER on 64 real digits. "The same bits" means that the SHA-256 of its `backbone.safetensors`, and its
`metrics.csv`, equal those of an undisturbed run.
"""


def page(outcomes: Sequence[Outcome], machine: str, total_seconds: float) -> str:
    """The whole page: the table, then the line that a user reads in the first try of each row."""
    tried = sum(len(outcome.row.tries) for outcome in outcomes)
    right = sum(len(outcome.said) for outcome in outcomes)
    lines = [_HEAD, f"{right} of {tried} tries as expected, in {total_seconds:.0f} s on {machine}.", ""]
    lines += ["| # | fault | tries | as expected | seconds | expected outcome |", "|---:|---|---:|---:|---:|---|"]
    ordered = sorted(outcomes, key=lambda outcome: outcome.row.group)
    for outcome in ordered:
        row = outcome.row
        cells = (row.group, row.fault, len(row.tries), len(outcome.said), f"{outcome.seconds:.1f}", row.expected)
        lines.append("| " + " | ".join(_cell(str(cell)) for cell in cells) + " |")
    lines += ["", "## What the user reads", "", "From the first try of each row; folders are shortened to `…`.", ""]
    for outcome in ordered:
        if outcome.said and outcome.said[0]:
            lines.append(f"- **{outcome.row.group} {outcome.row.fault}**: `{_shortened(outcome.said[0])}`")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _shortened(text: str) -> str:
    """The text on one line, without the drill's folder and other details that differ between drills."""
    text = re.sub(r"(?:/[^/\s:;,()']+(?: [^/\s:;,()']+)*)*/row\d\d/try\d\d/files", "…", " ".join(text.split()))
    text = re.sub(r"process \d+ on [\w.-]+", "process 4711 on node1", text)
    text = text.replace("`", "'")
    return text if len(text) <= 500 else text[:499] + "…"
