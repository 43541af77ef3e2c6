"""The results as Markdown: every row with its goal, failed steps, and the study's accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def render(results: Mapping[str, Any]) -> str:
    """Write the report on the content of a results.json."""
    machine, steps = results["machine"], results["steps"]
    lines = [
        f"# {machine.get('gpu') or machine['processor']}",
        "",
        f"Commit {results['commit']}{' with uncommitted changes' if results['dirty'] else ''}, "
        f"torch {machine['torch']}, Python {machine['python']}, {machine['cores']} cores ({machine['processor']}), "
        f"{results['date']}. {results['seconds']:.0f} s of {results['minutes']:g} minutes"
        + (
            ", a rehearsal at tiny sizes on a CPU: its numbers say nothing about a GPU."
            if results["rehearsal"]
            else "."
        ),
        "",
        "| section | step | ended | s |",
        "|---|---|---|---|",
        *(f"| {step['section']} | {step['name']} | {step['status']} | {step['seconds']:g} |" for step in steps),
    ]
    for section in dict.fromkeys(step["section"] for step in steps):
        lines += ["", f"## {section.capitalize()}", "", "| what | value | goal | measured by |", "|---|---|---|---|"]
        lines += [table_row(row) for step in steps if step["section"] == section for row in step["rows"]]
    lines += _bottlenecks(steps) + _decision(results) + _accuracies(steps) + _failures(steps)
    return "\n".join(lines) + "\n"


def table_row(row: Mapping[str, Any]) -> str:
    """One row as a line of a Markdown table."""
    value = "not finite" if row["value"] is None else f"{row['value']:.4g} {row['unit']}".strip()
    goal = "" if row["goal"] is None else f"{row['goal']}: {'met' if row['met'] else 'missed'}"
    return f"| {row['what']} | {value} | {goal} | {row['reference']} |"


def _bottlenecks(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [(step["name"], step["facts"]["bottleneck"]) for step in steps if "bottleneck" in step["facts"]]
    return ["", "## Next bottleneck", "", *(f"- {name}: {text}" for name, text in found)] if found else []


def _decision(results: Mapping[str, Any]) -> list[str]:
    return ["", "## Which study", "", results["decision"]] if results.get("decision") else []


def _accuracies(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [row for step in steps for row in step["facts"].get("accuracies", [])]
    if not rows:
        return []
    lines = ["", "## Accuracies", "", "Part ALL, last epoch, top-1 in percent: mean [least, most] over the seeds that "]
    lines[-1] += "have ended."
    lines += ["", "| method | protocol | images | top-1 | seeds |", "|---|---|---|---|---|"]
    for row in rows:
        spread = f"{row['mean']:.2f} [{row['min']:.2f}, {row['max']:.2f}]"
        method = f"{row['backbone']} {row['method']} {row['augmentation']}"
        lines.append(f"| {method} | {row['protocol']} | {row['perturbation']} | {spread} | {row['count']} |")
    return lines


def _failures(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for step in steps:
        notes = {key: value for key, value in step["facts"].items() if key.startswith("pairs") or "bit-equal" in key}
        for key, value in notes.items():
            lines.append(f"- {step['name']}: {key}: {value}")
        if step["log"]:
            lines += ["", f"`{step['name']}` {step['status']}; the end of its log:", "", "```", step["log"], "```", ""]
    return ["", "## Notes and failures", "", *lines] if lines else []
