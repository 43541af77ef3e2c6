"""The paper's claims as testable statements, each of the form "a difference is above 0".

The same functions compute the differences from records and from published values, so that both are the same quantity.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from names import part_rank, reference_of
from pooled_differences import Comparison

from clever.results.run_id import UNTRAINED

MARGIN_POINTS = 0.5
"""Accuracy differences within this margin count as no difference: the smallest gain on unchanged images in the authors'
README (0.5 points, ResNet-50 and VMamba with baug)."""
MARGIN_R2 = 0.02
"""The same for R², for which nothing is published: a fiftieth of the variance."""
MARGIN_SHARE = 0.05
"""The same for the protocol ``equivariance``, whose measures run from 0 to about 1: a twentieth of the distance between
two images, of the features' variance, or of full similarity. Nothing is published for it."""
SHARE = "share"
"""The unit of these measures."""
CLAIMED_ADDON = "clever"
"""The add-on that the paper's claims are about; others (DDCL) are shown too, but not pooled."""
WORDS_OF_CLAIMS = {
    "a": "Higher accuracy than the baseline",
    "b": "More robust under rotation",
    "c": "Larger gain for small backbones",
    "d": "Stable under complex augmentation",
    "e": "IR and EF together are better than IR alone",
    "f": "The EF encodes the transformation",
    "g": "The EF is equivariant, the IR invariant",
}
_Seeds = dict[int, float]


@dataclass(frozen=True)
class Statement:
    """One difference that is above 0 according to a claim. ``unit`` is ``points``, ``R²`` or ``share``."""

    key: str
    claim: str
    text: str
    comparisons: tuple[Comparison, ...]
    unit: str = "points"

    @property
    def margin(self) -> float:
        """Differences within this margin count as no difference."""
        return {"R²": MARGIN_R2, SHARE: MARGIN_SHARE}.get(self.unit, MARGIN_POINTS)

    @property
    def claimed(self) -> list[Comparison]:
        """The comparisons that are pooled for the verdict."""
        return [comparison for comparison in self.comparisons if comparison.claimed]

    def without(self, runs: Iterable[str]) -> Statement:
        """The same statement without the comparisons that include one of ``runs``, in all of their seeds."""
        left_out = set(runs)
        return replace(self, comparisons=tuple(one for one in self.comparisons if not one.runs & left_out))


class Numbers:
    """Values by configuration, measurement and seed, from the last epoch only."""

    def __init__(self, frame: pd.DataFrame) -> None:
        """``frame`` has the columns of records.csv; ``run`` may be missing."""
        self._values: dict[tuple[str, ...], _Seeds] = defaultdict(dict)
        self._parts: dict[tuple[str, ...], set[str]] = defaultdict(set)
        columns = ["protocol", "metric", "part", "perturbation", "data", "backbone", "method", "augmentation"]
        last = frame[frame["selection"] == "last"]
        for *key, seed, value in last[[*columns, "seed", "value"]].itertuples(index=False, name=None):
            self._values[tuple(key)][int(seed)] = float(value)
            protocol, metric, part = key[:3]
            self._parts[(protocol, metric, *key[4:])].add(part)
        found = sorted({(key[4], key[5], key[6], key[7]) for key in self._values})
        self.trained = [where for where in found if where[2] != UNTRAINED]
        self.controls = [where for where in found if where[2] == UNTRAINED]
        self.protocols = sorted({key[0] for key in self._values})
        self.metrics = sorted({(key[0], key[1]) for key in self._values})

    def values(self, where: tuple[str, str, str, str], what: tuple[str, str, str, str]) -> _Seeds:
        """Values by seed. ``where``: data, backbone, method, augmentation. ``what``: protocol, metric, part,
        perturbation."""
        return self._values.get((*what, *where), {})

    def parts(self, where: tuple[str, str, str, str], protocol: str, metric: str) -> set[str]:
        """The parts of the representation that a protocol recorded."""
        return self._parts.get((protocol, metric, *where), set())


def _minus(one: Mapping[int, float], other: Mapping[int, float]) -> _Seeds:
    return {seed: one[seed] - other[seed] for seed in sorted(set(one) & set(other))}


def _runs(where: tuple[str, str, str, str], seeds: Iterable[int]) -> set[str]:
    return {f"{'/'.join(where)}/seed{seed}" for seed in seeds}


def _is_claimed(method: str) -> bool:
    return method.partition("+")[2] == CLAIMED_ADDON


def gains(numbers: Numbers, perturbation: str, *, what: tuple[str, str] = ("linear", "top1")) -> list[Comparison]:
    """Every method with an add-on minus its baseline alone, on the whole vector; ``what`` is protocol and metric."""
    found = []
    for data, backbone, method, augmentation in numbers.trained:
        alone = reference_of(method)
        if alone == method:
            continue
        ours, theirs = (data, backbone, method, augmentation), (data, backbone, alone, augmentation)
        protocol, metric = what
        wanted = (protocol, metric, "ALL", perturbation)
        by_seed = _minus(numbers.values(ours, wanted), numbers.values(theirs, wanted))
        if by_seed:
            runs = frozenset(_runs(ours, by_seed) | _runs(theirs, by_seed))
            pair = f"{method} − {alone}"
            found.append(Comparison(data, backbone, augmentation, pair, by_seed, runs, _is_claimed(method)))
    return found


def changes(later: Sequence[Comparison], earlier: Sequence[Comparison]) -> list[Comparison]:
    """The later gain minus the earlier gain of the same comparison, where both exist."""
    before = {comparison.labels: comparison for comparison in earlier}
    found = []
    for one in later:
        other = before.get(one.labels)
        by_seed = _minus(one.by_seed, other.by_seed) if other else {}
        if other and by_seed:
            found.append(replace(one, by_seed=by_seed, runs=one.runs | other.runs))
    return found


def between_augmentations(found: Sequence[Comparison], complex_one: str, simple: str) -> list[Comparison]:
    """The gain with one training augmentation minus that with another."""
    label = f"{complex_one} − {simple}"
    return changes(
        [replace(one, augmentation=label) for one in found if one.augmentation == complex_one],
        [replace(one, augmentation=label) for one in found if one.augmentation == simple],
    )


def between_backbones(found: Sequence[Comparison], parameters: Mapping[str, float]) -> list[Comparison]:
    """The gain of the smallest backbone minus that of the largest, along a line fitted to gain over log(parameters).

    With two backbones the line passes through both, so this is their plain difference. Backbones of unknown size are
    left out.
    """
    groups: dict[tuple[str, str, str], list[Comparison]] = defaultdict(list)
    for one in found:
        if one.backbone in parameters:
            groups[(one.data, one.augmentation, one.pair)].append(one)
    contrasts = []
    for group in groups.values():
        sizes = np.log([parameters[one.backbone] for one in group])
        if np.ptp(sizes) == 0:
            continue
        weights = (sizes - sizes.mean()) / np.square(sizes - sizes.mean()).sum() * (sizes.min() - sizes.max())
        seeds = sorted(set.intersection(*(set(one.by_seed) for one in group)))
        if not seeds:
            continue
        label = f"{group[sizes.argmin()].backbone} − {group[sizes.argmax()].backbone}"
        if len(group) > 2:
            label += f", line through {len(group)}"
        by_seed = {seed: float(weights @ [one.by_seed[seed] for one in group]) for seed in seeds}
        runs = frozenset().union(*(one.runs for one in group))
        contrasts.append(replace(group[0], backbone=label, by_seed=by_seed, runs=runs))
    return contrasts


def between_parts(
    numbers: Numbers,
    protocol: str,
    metric: str,
    perturbation: str,
    choose: Callable[[set[str]], tuple[str, str] | None],
) -> list[Comparison]:
    """One part of a representation minus another of the same run; ``choose`` picks the two from the recorded parts."""
    found = []
    for where in numbers.trained:
        parts = choose(numbers.parts(where, protocol, metric))
        if parts is None:
            continue
        one, other = (numbers.values(where, (protocol, metric, part, perturbation)) for part in parts)
        by_seed = _minus(one, other)
        if by_seed:
            data, backbone, method, augmentation = where
            pair, runs = f"{method}: {parts[0]} − {parts[1]}", frozenset(_runs(where, by_seed))
            found.append(Comparison(data, backbone, augmentation, pair, by_seed, runs, _is_claimed(method)))
    return found


def whole_and_ir(parts: set[str]) -> tuple[str, str] | None:
    """The whole vector and the IR."""
    return ("ALL", "IR") if {"ALL", "IR"} <= parts else None


def ef_and_ir(parts: set[str]) -> tuple[str, str] | None:
    """EF and IR, cut to the same width if that was recorded: the wider part then has a cut version."""
    if not {"IR", "EF"} <= parts:
        return None
    ef, ir = (f"{part}_cut" if f"{part}_cut" in parts else part for part in ("EF", "IR"))
    return ef, ir


def ir_and_ef(parts: set[str]) -> tuple[str, str] | None:
    """The parts of `ef_and_ir` in the opposite order."""
    found = ef_and_ir(parts)
    return found and (found[1], found[0])


def statements(numbers: Numbers, parameters: Mapping[str, float]) -> list[Statement]:
    """Every statement, measured or not; ``parameters`` maps each backbone of known size to its parameter count."""
    plain = gains(numbers, "orig")
    found = [Statement("a", "a", "top-1 on orig is higher than the baseline's", tuple(plain))]
    for number, name in enumerate(("cj_rot", "cj_rot_et"), start=1):
        found.append(Statement(f"b{number}", "b", f"top-1 on {name} is higher", tuple(gains(numbers, name))))
    for number, name in enumerate(("cj_rot", "cj_rot_et"), start=3):
        text = f"accuracy drops less from orig to {name}: the gain on {name} is larger than the gain on orig"
        found.append(Statement(f"b{number}", "b", text, tuple(changes(gains(numbers, name), plain))))
    for number, name in enumerate(("orig", "cj_rot"), start=1):
        text = f"the gain on {name} is larger for the smaller backbone"
        contrasts = between_backbones(gains(numbers, name), parameters)
        found.append(Statement(f"c{number}", "c", text, tuple(contrasts)))
    augmentations = {one.augmentation for one in plain}
    complex_ones = [name for name in ("caug", "caug_plus") if name in augmentations] or ["caug"]
    for number, name in enumerate(complex_ones, start=1):
        text = f"the gain on orig is larger after training with {name} than with baug"
        found.append(Statement(f"d{number}", "d", text, tuple(between_augmentations(plain, name, "baug"))))
    for number, name in enumerate(("orig", "cj_rot"), start=1):
        pairs = between_parts(numbers, "linear", "top1", name, whole_and_ir)
        found.append(Statement(f"e{number}", "e", f"top-1 on {name} of ALL is higher than that of IR", tuple(pairs)))
    return [*found, *_of_parameters(numbers), *_of_equivariance(numbers)]


def _of_parameters(numbers: Numbers) -> list[Statement]:
    """Claim f, on the angle, for the protocol ``parameters`` and each of its variants."""
    variants = [name for name in numbers.protocols if name.partition("+")[0] == "parameters"] or ["parameters"]
    found = []
    for place, protocol in enumerate(variants):
        number, where = 2 * place + 1, "" if protocol == "parameters" else f" ({protocol})"
        pairs = between_parts(numbers, protocol, "r2_angle", "views", ef_and_ir)
        text = f"the EF predicts the angle better than an equally wide slice of the IR{where}"
        found.append(Statement(f"f{number}", "f", text, tuple(pairs), "R²"))
        whole = gains(numbers, "views", what=(protocol, "r2_angle"))
        text = f"the whole vector predicts the angle better than the baseline's{where}"
        found.append(Statement(f"f{number + 1}", "f", text, tuple(whole), "R²"))
    return found


def _of_equivariance(numbers: Numbers) -> list[Statement]:
    """Claim g, on rotations, by the protocol ``equivariance``. All four were stated before any of them was measured."""
    distance, error = ("relative_distance", "rotation"), ("equivariance_error", "rotation")
    return [
        Statement(
            "g1",
            "g",
            "under rotation, the EF moves farther than an equally wide slice of the IR",
            tuple(between_parts(numbers, "equivariance", *distance, ef_and_ir)),
            SHARE,
        ),
        Statement(
            "g2",
            "g",
            "under rotation, the IR moves less than the baseline's whole vector",
            tuple(_below_baseline(numbers, ("IR", *distance), ("ALL", *distance))),
            SHARE,
        ),
        Statement(
            "g3",
            "g",
            "a linear map expresses rotations of the EF with less error than of an equally wide slice of the IR",
            tuple(between_parts(numbers, "equivariance", *error, ir_and_ef)),
            SHARE,
        ),
        Statement(
            "g4",
            "g",
            "IR and EF are less similar (linear CKA) than two random groups of the baseline's columns",
            tuple(_below_baseline(numbers, ("ALL", "cka_ir_ef", "orig"), ("ALL", "cka_random", "orig"))),
            SHARE,
        ),
    ]


def _below_baseline(numbers: Numbers, ours: tuple[str, str, str], theirs: tuple[str, str, str]) -> list[Comparison]:
    """A measure of the baseline alone minus a measure of the method; each is given by part, metric and perturbation."""
    found = []
    for where in numbers.trained:
        data, backbone, method, augmentation = where
        alone = (data, backbone, reference_of(method), augmentation)
        if alone == where:
            continue
        low, high = (
            numbers.values(run, ("equivariance", metric, part, perturbation))
            for run, (part, metric, perturbation) in ((where, ours), (alone, theirs))
        )
        by_seed = _minus(high, low)
        if by_seed:
            runs = frozenset(_runs(where, by_seed) | _runs(alone, by_seed))
            pair = f"{method}: {_label(theirs)} of {alone[2]} − {_label(ours)}"
            found.append(Comparison(data, backbone, augmentation, pair, by_seed, runs, _is_claimed(method)))
    return found


def _label(measure: tuple[str, str, str]) -> str:
    """Name the part, or the parts whose similarity is measured."""
    part, metric, _ = measure
    return {"cka_ir_ef": "IR and EF", "cka_random": "random groups"}.get(metric, part)


def other_parameters(numbers: Numbers) -> dict[tuple[str, str], list[Comparison]]:
    """Map (protocol, metric) to EF minus IR, for the other regressed parameters, which have no verdict."""
    return {
        (protocol, metric): between_parts(numbers, protocol, metric, "views", ef_and_ir)
        for protocol, metric in numbers.metrics
        if protocol.partition("+")[0] == "parameters" and metric != "r2_angle"
    }


def means_by_part(numbers: Numbers, protocol: str, metric: str) -> dict[tuple[str, str, str, str], dict[str, float]]:
    """Map (data, backbone, method, augmentation) to the mean over seeds of each recorded part, controls last."""
    found = {}
    for where in [*numbers.trained, *numbers.controls]:
        parts = sorted(numbers.parts(where, protocol, metric), key=part_rank)
        values = {part: list(numbers.values(where, (protocol, metric, part, "views")).values()) for part in parts}
        means = {part: float(np.mean(seeds)) for part, seeds in values.items() if seeds}
        if means:
            found[where] = means
    return found


@dataclass(frozen=True)
class PublishedDifference:
    """A comparison of published values: ``value`` is its one difference."""

    comparison: Comparison
    value: float
    epochs: float
    source: str
    exactness: str


def published_differences(published: pd.DataFrame) -> dict[str, list[PublishedDifference]]:
    """Map statement keys to the same differences between published values of one table, without repetitions.

    The authors' README comes first; other tables only add values that it does not print.
    """
    counted = published[published["metric"] == "parameters_million"]
    sizes = dict(zip(counted["backbone"].astype(str), counted["value"].astype(float), strict=True))
    named = (published[["protocol", "method", "augmentation"]] != "").all(axis=1)
    accuracies = published[named]
    found: dict[str, list[PublishedDifference]] = defaultdict(list)
    seen = set()
    items = sorted(set(accuracies["item"]), key=lambda item: (not item.endswith("_readme"), item))
    for item in items:
        rows = accuracies[accuracies["item"] == item].copy()
        elsewhere = rows["evaluation_data"] != rows["data"]
        rows.loc[elsewhere, "data"] += " → " + rows["evaluation_data"]
        for epochs, group in rows.groupby("epochs", dropna=False):
            table = group.assign(seed=0, selection="last")
            for statement in statements(Numbers(table), sizes):
                for one in statement.comparisons:
                    if (statement.key, one.labels, epochs) in seen:
                        continue
                    seen.add((statement.key, one.labels, epochs))
                    source, exactness = str(group["source"].iloc[0]), str(group["exactness"].iloc[0])
                    found[statement.key].append(
                        PublishedDifference(one, one.by_seed[0], float(epochs), source, exactness)
                    )
    return found
