"""Checks that the baselines of a study work: compares them with their controls and with published accuracies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from claims import Numbers
from pooled_differences import Comparison, format_difference, over_seeds
from tables import Row, escape_markdown, markdown_grid

from clever.results.run_id import PIXELS, UNTRAINED

LABEL_HEADS = ("data", "backbone", "augmentation", "comparison")
PUBLISHED_TRAINING_IMAGES = {"cifar10": 50_000, "cifar100": 50_000}
"""Images in one epoch of a published run, for data sets that come in one size."""


@dataclass(frozen=True)
class Schedule:
    """How long one kind of run was trained; ``images`` is the number of images per epoch (whole batches only)."""

    epochs: int
    images: int
    image_size: int | None
    """Side in pixels."""

    @property
    def passed(self) -> int:
        """Images that a run trains on, counted over all epochs."""
        return self.epochs * self.images


@dataclass(frozen=True)
class ComparedBaseline:
    """A baseline alone, and the published accuracy with the nearest schedule; ``protocol`` is ours."""

    data: str
    backbone: str
    baseline: str
    augmentation: str
    protocol: str
    value: float
    seeds: int
    schedule: Schedule | None
    reference: pd.Series
    """A row of ``references.read_references``."""


def schedules(runs: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str, str], Schedule]:
    """Map (data, backbone, method, augmentation) to the schedule, for the trained runs that record it."""
    found = {}
    for run in runs:
        recipe, epochs, iterations = run.get("recipe") or {}, run.get("epochs"), run.get("iterations")
        batch = (recipe.get("optimisation") or {}).get("batch_size")
        where = str(run["run"]).split("/")
        if epochs and iterations and batch and len(where) == 5:
            size = (recipe.get("backbone") or {}).get("image_size")
            data, backbone, method, augmentation, _ = where
            found[(data, backbone, method, augmentation)] = Schedule(epochs, iterations * batch // epochs, size)
    return found


def over_untrained(numbers: Numbers, protocol: str = "linear", metric: str = "top1") -> list[Comparison]:
    """Every baseline alone minus the same backbone as initialised, with the same seeds, on unchanged images."""
    asked, found = (protocol, metric, "ALL", "orig"), []
    for data, backbone, method, augmentation in numbers.trained:
        if "+" in method:
            continue
        ours = numbers.values((data, backbone, method, augmentation), asked)
        control = numbers.values((data, backbone, UNTRAINED, "none"), asked)
        by_seed = {seed: ours[seed] - control[seed] for seed in sorted(set(ours) & set(control))}
        if by_seed:
            found.append(Comparison(data, backbone, augmentation, f"{method} − {UNTRAINED}", by_seed))
    return found


def pixels_accuracy(numbers: Numbers, data: str, protocol: str = "linear", metric: str = "top1") -> float:
    """Top-1 of raw pixels; NaN where that control was not run."""
    found = numbers.values((data, PIXELS, UNTRAINED, "none"), (protocol, metric, "ALL", "orig"))
    return sum(found.values()) / len(found) if found else math.nan


def compare_with_references(
    records: pd.DataFrame, references: pd.DataFrame, known: Mapping[tuple[str, str, str, str], Schedule]
) -> list[ComparedBaseline]:
    """Compare every baseline alone, by linear probe and by kNN, with the published accuracy of the nearest schedule.

    References must have the same data set and baseline, and a probe of the same kind. Among these, we prefer the same
    backbone, then an offline probe to an online head, then the smallest ratio of epochs, then the first in the source.
    Runs trained with baug are preferred, because the references use no rotation either.
    """
    chosen = records[
        (records["perturbation"] == "orig")
        & (records["part"] == "ALL")
        & (records["selection"] == "last")
        & (records["metric"] == "top1")
        & ~records["method"].str.contains("+", regex=False)
        & (records["method"] != UNTRAINED)
    ]
    found = []
    keys = ["data", "backbone", "method", "protocol"]
    for (data, backbone, method, protocol), rows in chosen.groupby(keys, sort=True):
        kind = "knn" if str(protocol).startswith("knn") else "linear" if protocol == "linear" else ""
        fitting = references[
            (references["data"] == data)
            & (references["method"] == method)
            & (references["metric"] == "top1")
            & references["epochs"].notna()
            & references["protocol"].str.endswith(kind or "nothing")
        ]
        if fitting.empty:
            continue
        augmentations = sorted(set(rows["augmentation"]), key=lambda name: (name != "baug", name))
        here = rows[rows["augmentation"] == augmentations[0]]
        schedule = known.get((str(data), str(backbone), str(method), augmentations[0]))
        epochs = schedule.epochs if schedule else 1
        ranked = sorted(
            fitting.index,
            key=lambda row: (
                fitting["backbone"][row] != backbone,
                fitting["protocol"][row] != kind,
                abs(math.log(fitting["epochs"][row] / epochs)),
            ),
        )
        found.append(
            ComparedBaseline(
                data=str(data),
                backbone=str(backbone),
                baseline=str(method),
                augmentation=augmentations[0],
                protocol=str(protocol),
                value=float(here["value"].mean()),
                seeds=len(here),
                schedule=schedule,
                reference=fitting.loc[ranked[0]],
            )
        )
    return found


def untrained_table(numbers: Numbers) -> str:
    """Every baseline alone minus its untrained backbone, as Markdown; empty if there is no such control."""
    rows = [
        Row(one.labels, (str(len(one.by_seed)), format_difference(over_seeds(one.by_seed), "points")), "ours")
        for one in over_untrained(numbers)
    ]
    return markdown_grid(LABEL_HEADS, ("seeds", "mean difference [95 %], points"), rows) if rows else ""


def not_above_untrained(numbers: Numbers) -> list[str]:
    """The baselines whose features are, on average, no better than those of the initialisation."""
    found = []
    for one in over_untrained(numbers):
        difference = over_seeds(one.by_seed)
        if difference is not None and difference.mean <= 0:
            found.append(f"{one.method}, {one.backbone}, {one.augmentation}")
    return found


def references_table(compared: Sequence[ComparedBaseline], number: Callable[[str], int]) -> str:
    """The accuracies side by side, as Markdown; ``number`` gives a source's number in the list of sources."""
    rows = []
    for one in compared:
        row = one.reference
        cells = (
            f"{one.value:.1f} ({one.seeds})",
            str(one.schedule.epochs) if one.schedule else "not recorded",
            f"{row['value']:g}",
            f"{row['backbone']}, {row['protocol']}",
            f"{row['epochs']:.0f}",
            f"{one.value - row['value']:+.1f}",
            str(number(str(row["source"]))),
        )
        labels = (one.data, f"{one.baseline}, {one.backbone}", one.augmentation, one.protocol)
        rows.append(Row(labels, cells, "ours"))
    labels = ("data", "ours", "augmentation", "protocol")
    heads = ("top-1 (seeds)", "epochs", "reference", "its backbone, protocol", "its epochs", "gap", "source")
    return markdown_grid(labels, heads, rows) if rows else ""


def reasons(compared: Sequence[ComparedBaseline], parameters: Mapping[str, int]) -> list[str]:
    """The differences between our baselines and their references, one line each, with the numbers of both."""
    protocols: dict[tuple[str, str], list[str]] = {}
    for one in compared:
        row, schedule = one.reference, one.schedule
        parts = []
        if schedule:
            ours = f"{schedule.epochs} epochs of {schedule.images:,} images, {schedule.passed:,} in total"
            theirs, full = int(row["epochs"]), PUBLISHED_TRAINING_IMAGES.get(one.data)
            if full:
                ratio = theirs * full / schedule.passed
                parts.append(
                    f"{ours}, against {theirs} epochs of {full:,}, {theirs * full:,} in total ({ratio:,.0f} times)"
                )
            else:
                parts.append(f"{ours}, against {theirs} epochs of the whole training set")
        if row["backbone"] != one.backbone:
            size = f" of {parameters[one.backbone] / 1e6:.2f} M parameters" if one.backbone in parameters else ""
            parts.append(f"our backbone{size}, against {row['backbone']}")
        if schedule and schedule.image_size:
            parts.append(f"our images have {schedule.image_size} px")
        parts.append(f"theirs: {row['note']}")
        alike = protocols.setdefault((f"{one.data}, {one.baseline}, {one.backbone}", "; ".join(parts)), [])
        if one.protocol not in alike:
            alike.append(one.protocol)
    return [escape_markdown(f"{what}, {' and '.join(alike)}: {text}") for (what, text), alike in protocols.items()]
