"""The report's section on runs: one table, the facts that they share, their recipes, and cards of unhealthy runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from table_provenance import NOT_RECORDED, commit_text, duration, flat

from clever.results.run_description import HEALTHY
from clever.results.run_id import UNTRAINED

FINAL_METRICS = (
    "loss_contrast",
    "loss_orthogonality",
    "loss_head_norm",
    "teacher_entropy_ratio",
    "teacher_student_divergence",
    "effective_rank_all",
    "effective_rank_ir",
    "effective_rank_ef",
)
"""Diagnostics whose last value is shown."""
AXES = ("data", "backbone", "method", "augmentation")

Run = Mapping[str, Any]
Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RunLine:
    """One run of the table; its cells are sorted by ``numbers``."""

    run: str
    health: str
    is_healthy: bool
    cells: tuple[str, ...]
    numbers: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """An unhealthy run: what went wrong, its own facts, and its last diagnostics."""

    run: str
    health: str
    facts: Facts


@dataclass(frozen=True)
class RunsSection:
    """``shared`` facts hold for every trained run; ``heads`` name the columns in which runs differ.

    ``prefix`` is the common beginning of all run ids, in whole axes.
    """

    lines: tuple[RunLine, ...]
    heads: tuple[str, ...]
    shared: Facts
    prefix: str
    controls: tuple[str, ...]
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Setting:
    """A setting of the recipes that differs between runs: the axes that decide it, and (where, value) pairs."""

    name: str
    axes: str
    values: Facts


@dataclass(frozen=True)
class Recipes:
    """The settings that all recipes share, and those that differ."""

    shared: Facts
    differing: tuple[Setting, ...]


def health_of(run: Run, trouble: Mapping[str, tuple[int, str]]) -> str:
    """A run's health: what ``runs.json`` says, or, if that is ok, the first trouble on its curves."""
    health = str(run.get("health") or f"health {NOT_RECORDED}")
    name = str(run["run"])
    if health == HEALTHY and name in trouble:
        epoch, reason = trouble[name]
        return f"ok at the end, but at epoch {epoch}: {reason}"
    return health


def runs_section(
    records: pd.DataFrame,
    runs: Sequence[Run],
    curves: pd.DataFrame | None,
    trouble: Mapping[str, tuple[int, str]],
) -> RunsSection:
    """The table of every trained run, on record or described. ``curves`` are numeric; see ``health_of``."""
    named = records["run"][(records["method"] != UNTRAINED) & (records["augmentation"] != "none")]
    described = {str(run["run"]): run for run in runs}
    trained = {name: run for name, run in described.items() if run.get("epochs") or name in set(named)}
    controls = tuple(sorted((set(records["run"]) | set(described)) - set(trained) - set(named)))
    finals = _finals(curves)
    metrics = [name for name in FINAL_METRICS if any(name in values for values in finals.values())]
    columns: list[tuple[str, Callable[[Run], str], Callable[[Run], object]]] = [
        ("epochs", lambda run: _text(run.get("epochs")), lambda run: run.get("epochs")),
        ("iterations", lambda run: _text(run.get("iterations")), lambda run: run.get("iterations")),
        ("time", lambda run: duration(run.get("wall_seconds")), lambda run: run.get("wall_seconds")),
        ("images/s", lambda run: _rounded(run.get("images_per_second")), lambda run: run.get("images_per_second")),
        ("peak memory", lambda run: _memory(run.get("peak_memory_bytes")), lambda run: run.get("peak_memory_bytes")),
        ("representation", _split, lambda run: run.get("feature_dim")),
        ("commit", _commit, _commit),
        ("data checksum", lambda run: _text(run.get("data_checksum")), lambda run: run.get("data_checksum")),
        ("hardware", lambda run: flat(run.get("hardware")), lambda run: flat(run.get("hardware"))),
        ("versions", lambda run: flat(run.get("versions")), lambda run: flat(run.get("versions"))),
    ]
    shared, differing = [], []
    for column in columns:
        found = {column[1](run) for run in trained.values()} - {""}
        if len(found) == 1:
            shared.append((column[0], found.pop()))
        elif found:
            differing.append(column)
    # Long texts get no column: the runs with each value are counted instead.
    long = [column for column in differing if column[0] in ("commit", "data checksum", "hardware", "versions")]
    shared += [(column[0], _counted([column[1](run) for run in trained.values()])) for column in long]
    differing = [column for column in differing if column not in long]
    lines, cards = [], []
    for name in sorted(set(trained) | set(named)):
        run = trained.get(name, {"run": name})
        health = health_of(run, trouble) if name in trained else "no entry in runs.json: health unknown"
        values = finals.get(name, {})
        cells = [column[1](run) for column in differing] + [_short(values.get(metric)) for metric in metrics]
        numbers = [_number(column[2](run)) for column in differing] + [
            _number(values.get(metric)) for metric in metrics
        ]
        lines.append(RunLine(name, health, health == HEALTHY, tuple(cells), tuple(numbers)))
        if health != HEALTHY:
            own = [(column[0], column[1](run)) for column in columns if column[1](run)]
            own += [("recipe digest", _text(run.get("recipe_digest")))]
            own += [(f"last {metric}", _short(values[metric])) for metric in FINAL_METRICS if metric in values]
            cards.append(Card(name, health, tuple(fact for fact in own if fact[1])))
    lines.sort(key=lambda line: line.is_healthy)
    heads = (*(column[0] for column in differing), *metrics)
    return RunsSection(tuple(lines), heads, tuple(shared), _prefix(lines), controls, tuple(cards))


def _prefix(lines: Sequence[RunLine]) -> str:
    """``cifar10/resnet18/`` if all runs share data and backbone; empty for fewer than two runs."""
    found = ""
    for parts in zip(*(line.run.split("/")[:-1] for line in lines), strict=False) if len(lines) > 1 else ():
        if len(set(parts)) > 1:
            break
        found += f"{parts[0]}/"
    return found


def recipes_of(runs: Sequence[Run]) -> Recipes:
    """The settings of all trained runs, each listed once: for all runs, or by the fewest axes that decide it."""
    trained = [run for run in runs if run.get("epochs") and run.get("recipe")]
    flattened = [(_axes(run), _flatten(run["recipe"])) for run in trained]
    shared, differing = [], []
    for name in sorted({key for _, settings in flattened for key in settings}):
        values = [(axes, settings.get(name, "")) for axes, settings in flattened]
        if len({value for _, value in values}) == 1:
            shared.append((name, values[0][1]))
        else:
            differing.append(_setting(name, values))
    return Recipes(tuple(shared), tuple(differing))


def _setting(name: str, values: Sequence[tuple[Mapping[str, str], str]]) -> Setting:
    """A setting by the fewest axes that decide it, which are tried in the order of the run's id."""
    choices = sorted(
        (tuple(axis for bit, axis in enumerate(AXES) if mask >> bit & 1) for mask in range(1, 1 << len(AXES))), key=len
    )
    for axes in choices:
        found: dict[str, set[str]] = {}
        for where, value in values:
            found.setdefault(" / ".join(where[axis] for axis in axes), set()).add(value)
        if all(len(group) == 1 for group in found.values()):
            pairs: dict[str, list[str]] = {}
            for where_text, group in found.items():
                pairs.setdefault(next(iter(group)), []).append(where_text)
            # A setting that a method does not have is not listed for it.
            by_value = tuple((", ".join(sorted(places)), value) for value, places in pairs.items() if value)
            return Setting(name, ", ".join(axes), by_value)
    return Setting(name, "run", (("differs between seeds", ", ".join(sorted({value for _, value in values}))),))


def _axes(run: Run) -> dict[str, str]:
    parts = str(run["run"]).split("/")
    return dict(zip(AXES, parts, strict=False)) if len(parts) == 5 else dict.fromkeys(AXES, str(run["run"]))


_OF_THE_RUN = ("data", "backbone_name", "method_name", "augmentation_name", "seed")
"""Keys of a recipe that are the run's own axes."""


def _flatten(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """``{"optimisation.epochs": "8", …}``; unset options are left out."""
    found: dict[str, str] = {}
    for key, value in recipe.items():
        if (not prefix and key in _OF_THE_RUN) or value is None:
            continue
        if isinstance(value, Mapping):
            found |= _flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found


def _finals(curves: pd.DataFrame | None) -> dict[str, dict[str, float]]:
    """Map run ids to metrics to the values of the last epoch."""
    if curves is None:
        return {}
    last = curves[curves["metric"].isin(FINAL_METRICS)].sort_values("epoch")
    last = last.drop_duplicates(["run", "metric"], keep="last")
    found: dict[str, dict[str, float]] = {}
    for run, metric, value in last[["run", "metric", "value"]].itertuples(index=False, name=None):
        found.setdefault(str(run), {})[str(metric)] = float(value)
    return found


def _commit(run: Run) -> str:
    entries = run.get("trained_by") or ([run] if run.get("git_commit") else [])
    return " then ".join(dict.fromkeys(map(commit_text, entries)))


def _split(run: Run) -> str:
    if run.get("feature_dim") is None:
        return ""
    width, invariant = int(run["feature_dim"]), run.get("ir_dim")
    if invariant is None:
        return f"{width}, not split"
    return f"{width} = {invariant} IR + {width - int(invariant)} EF"


def _counted(values: Sequence[str]) -> str:
    counts = {value: values.count(value) for value in sorted(set(values))}
    return "; ".join(f"{value or NOT_RECORDED} ({count} run{'s' * (count != 1)})" for value, count in counts.items())


def _text(value: object) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _rounded(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else ""


def _memory(value: object) -> str:
    return f"{value / 2**30:.2f} GiB" if isinstance(value, int | float) else ""


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _number(value: object) -> str:
    return repr(value) if isinstance(value, int | float) else "" if value is None else str(value)
