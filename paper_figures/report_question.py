"""The question that a study answers, and its answer: the first section of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import measures
import pandas as pd
from baseline_checks import over_untrained
from claims import Numbers, gains, statements
from names import PERTURBATIONS
from parameter_counts import parameters_to_compare
from pooled_differences import Comparison, Pooled, judge, over_seeds, pool
from report_matrix import Column, main_columns, protocol_name
from verdicts import Finding, find

from clever.results.run_description import unhealthy_runs
from clever.results.run_id import UNTRAINED

NO_COMPARISON = "nothing to compare"
MAIN_STATEMENT = "a"
"""The statement that says whether CLeVER helps: higher accuracy than the baseline, on unchanged images."""


@dataclass(frozen=True)
class Answer:
    """A question, its verdict, and the numbers behind the verdict.

    ``tone`` is ``good``, ``bad`` or ``open``: it sets the colour of the verdict.
    """

    question: str
    verdict: str
    numbers: str
    basis: str
    tone: str


@dataclass(frozen=True)
class Check:
    """A condition without which the answer means little, whether it holds, and the numbers."""

    text: str
    holds: bool


def claims_of(records: pd.DataFrame, runs: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """The verdict on every statement, as in the findings and the claims figure; empty without a trained run."""
    if records[records["method"] != UNTRAINED].empty:
        return []
    return find(statements(Numbers(records), parameters_to_compare(runs)), unhealthy_runs(runs))


def answer(records: pd.DataFrame, findings: Sequence[Finding]) -> Answer:
    """Answer the study's own question.

    The question is whether CLeVER raises the accuracy of its baselines, if the study measured that. Otherwise it is
    whether the study's other add-ons improve on their baselines by its main metric, and without add-ons whether
    pre-training improves on the initialisation.
    """
    main = next((one for one in findings if one.statement.key == MAIN_STATEMENT and one.pooled.comparisons), None)
    if main is not None:
        return _of_claim(main)
    column = main_columns(records)[0]
    numbers = Numbers(records)
    what = (column.protocol, column.metric)
    added = [replace(one, claimed=True) for one in gains(numbers, column.perturbation, what=what)]
    if added:
        names = sorted({one.method.partition("+")[2] for one in added})
        alone = sorted({one.method.partition("+")[0] for one in added})
        verb = "lower" if measures.lower_is_better(column.metric) else "raise"
        question = f"Does {' or '.join(names)} {verb} the {_measure(column)} of {', '.join(alone)}?"
        return _of_comparisons(question, added, column, "each method minus its baseline alone")
    trained = over_untrained(numbers, *what) if column.perturbation == "orig" else []
    if trained:
        question = f"Does pre-training improve on an untrained backbone, by {_measure(column)}?"
        return _of_comparisons(question, trained, column, "each baseline minus its untrained backbone")
    methods = sorted(set(records["method"]) - {UNTRAINED})
    question = f"What {_measure(column)} do {', '.join(methods) or 'the controls'} reach?"
    return Answer(
        question, NO_COMPARISON, "", "The study has no pair of methods to compare; see the main table.", "open"
    )


def _of_claim(finding: Finding) -> Answer:
    statement, pooled = finding.statement, finding.pooled
    alone = sorted({one.method.partition("+")[0] for one in pooled.comparisons})
    data = sorted({one.data for one in pooled.comparisons})
    question = f"Does CLeVER help {_listed(alone)} on {_listed(data)}?"
    basis = (
        f"Top-1 accuracy of a linear probe on unchanged test images: CLeVER minus its baseline alone, {_pool(pooled)}."
    )
    if pooled.left_out:
        names = "; ".join(f"{one.pair} ({one.backbone}, {one.augmentation})" for one in pooled.left_out)
        basis += f" Left out because a seed is missing: {names}."
    if finding.changes_without_unhealthy:
        counts = f"{len(finding.healthy.comparisons)} of {len(pooled.comparisons)}"
        numbers = _interval(finding.healthy, 2, statement.unit)
        basis += f" Without unhealthy runs ({counts} comparisons): {finding.healthy_verdict}, {numbers}."
    return Answer(question, finding.shown, _interval(pooled, 2, statement.unit), basis, _tone(finding.verdict))


def _of_comparisons(question: str, comparisons: Sequence[Comparison], column: Column, pairs: str) -> Answer:
    """The pooled difference, judged as a claim is. Where lower is better the difference is reversed for the verdict."""
    falling = measures.lower_is_better(column.metric)
    pooled = pool(comparisons)
    judged = pool([replace(one, by_seed={seed: -value for seed, value in one.by_seed.items()}) for one in comparisons])
    # No margin is known in the unit of an arbitrary metric: an interval around 0 is undecided.
    verdict = judge((judged if falling else pooled).difference, 0.0)
    if falling and verdict.endswith(": lower"):
        verdict = verdict.replace(": lower", ": higher")
    direction = "; lower is better" if falling else ""
    basis = (
        f"{protocol_name(column.protocol)}, {measures.metric_name(column.metric)}{direction}: {pairs}, {_pool(pooled)}."
    )
    digits = max(2, measures.decimals(column.metric))
    return Answer(question, verdict, _interval(pooled, digits, measures.unit(column.metric)), basis, _tone(verdict))


def checks(records: pd.DataFrame, runs: Sequence[Mapping[str, Any]], unhealthy: Mapping[str, str]) -> list[Check]:
    """Whether the runs were healthy, and whether every baseline beats its untrained backbone by the main metric."""
    found = []
    trained = sorted(set(records["run"][records["method"] != UNTRAINED]))
    if trained:
        failed = sum(run in unhealthy for run in trained)
        known = {str(run["run"]) for run in runs}
        unknown = sum(run not in known and run not in unhealthy for run in trained)
        text = f"{len(trained) - failed - unknown} of {len(trained)} runs healthy"
        found.append(Check(text + (f", {unknown} of unknown health" if unknown else ""), not failed and not unknown))
    column = main_columns(records)[0]
    numbers, falling = Numbers(records), measures.lower_is_better(column.metric)
    gained = _over_untrained(numbers, column)
    if gained:
        above = [one for one in gained if (_mean(one) < 0) == falling and _mean(one) != 0]
        least = min(gained, key=lambda one: -_mean(one) if falling else _mean(one))
        digits = measures.decimals(column.metric)
        text = (
            f"{len(above)} of {len(gained)} trained rows better than their untrained backbone; the weakest "
            f"({least.method}, {least.backbone}, {least.augmentation}): "
            f"{_mean(least):+.{digits}f} {measures.unit(column.metric)}"
        )
        found.append(Check(text, len(above) == len(gained)))
    return found


def _over_untrained(numbers: Numbers, column: Column) -> list[Comparison]:
    """Every trained row, with add-ons too, minus the same backbone as initialised: means over the seeds of each."""
    asked, found = (column.protocol, column.metric, "ALL", column.perturbation), []
    for data, backbone, method, augmentation in numbers.trained:
        ours = numbers.values((data, backbone, method, augmentation), asked)
        control = numbers.values((data, backbone, UNTRAINED, "none"), asked)
        shared = {seed: ours[seed] - control[seed] for seed in sorted(set(ours) & set(control))}
        if shared:
            found.append(Comparison(data, backbone, augmentation, method, shared))
    return found


def _mean(one: Comparison) -> float:
    return sum(one.by_seed.values()) / len(one.by_seed)


def _measure(column: Column) -> str:
    metric = measures.metric_name(column.metric)
    where = (
        ""
        if column.perturbation in ("orig", "views")
        else f" on {PERTURBATIONS.get(column.perturbation, column.perturbation)}"
    )
    return f"{metric}{where}"


def _pool(pooled: Pooled) -> str:
    comparisons, seeds = len(pooled.comparisons), len(pooled.by_seed)
    return f"mean over {comparisons} comparison{'s' * (comparisons != 1)} and {seeds} seed{'s' * (seeds != 1)}" + (
        ", with the 95 % interval of Student's t over seeds" if seeds > 1 else "; one seed has no interval"
    )


def _interval(pooled: Pooled, digits: int, unit: str) -> str:
    difference = over_seeds(pooled.by_seed)
    if difference is None:
        return ""
    digits = 3 if unit == "R²" else digits
    if difference.seeds == 1:
        return f"{difference.mean:+.{digits}f} {unit}"
    return f"{difference.mean:+.{digits}f} {unit} [{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"


def _tone(verdict: str) -> str:
    return "good" if verdict.startswith("supported") else "bad" if verdict.startswith("not supported") else "open"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{len(names)} baselines"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
