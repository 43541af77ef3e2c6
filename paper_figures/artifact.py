"""The page for artifact reviewers: claims with commands, cost, expected values and tolerances; compute; check lists.

``python paper_figures/artifact.py > docs/artifact.md`` writes it. Expected values, tolerances, times and energies are
computed from ``paper_figures/measured``; the rest is in ``artifact.md.jinja``.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from report_compute import energy, training_seconds
from scipy import stats
from table_provenance import duration
from tables import Row, markdown_grid

from clever.config import load_study
from clever.data.registry import SOURCES
from clever.results.run_description import read_runs
from clever.results.run_id import UNTRAINED

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "paper_figures" / "measured"
CONFIDENCE = 0.95
PAIRED = ["data", "backbone", "augmentation", "seed"]


@dataclass(frozen=True)
class Claim:
    """One number to check: a mean, or a mean difference paired by seed, of the last epoch.

    ``method`` may be ``*+clever``: every method that ends in ``+clever``, minus its own baseline (``minus="*"``).
    ``part`` and ``minus_part`` select the columns of the representation. ``unit`` is a key of ``UNITS``.
    """

    text: str
    method: str
    perturbation: str
    minus: str = ""
    part: str = "ALL"
    minus_part: str = "ALL"
    augmentation: str = ""
    backbone: str = ""
    protocol: str = "linear"
    metric: str = "top1"
    unit: str = "%"


UNITS = {"%": (1, "%", "points"), "error": (4, "", "")}
"""Decimals, unit of a value and unit of a difference, for percentages and for mean squared errors."""


@dataclass(frozen=True)
class Committed:
    """A committed study with its claims.

    ``cost`` is the measured elapsed time at the top of the study's file, ``disk`` what ``clever doctor --study``
    computes.
    """

    name: str
    cost: str
    disk: str
    claims: tuple[Claim, ...]


CLEVER = "*+clever"
_LATENTS = {"protocol": "latents", "metric": "mean_mse", "unit": "error"}
_AVERAGED = _LATENTS | {"protocol": "latents+averaged"}
STUDIES = (
    Committed(
        "cifar10_simclr",
        "5 minutes on one NVIDIA H100 with 16 cores, ten runs at a time",
        "1.2 GB",
        (
            Claim("the baseline has learned: SimCLR, unchanged images", "simclr", "orig"),
            Claim("SimCLR, rotated images", "simclr", "cj_rot"),
            Claim("CLeVER minus SimCLR, unchanged images", CLEVER, "orig", "*"),
            Claim("CLeVER minus SimCLR, rotated images", CLEVER, "cj_rot", "*"),
            Claim("CLeVER: IR and EF minus IR alone", "simclr+clever", "orig", "simclr+clever", minus_part="IR"),
        ),
    ),
    Committed(
        "photographs_cpu",
        "2 h 26 min on 2 cores",
        "0.6 GB",
        (
            Claim("CLeVER minus its baselines, unchanged images", CLEVER, "orig", "*"),
            Claim("CLeVER minus its baselines, rotated images", CLEVER, "cj_rot", "*"),
        ),
    ),
    Committed(
        "cifar10_gpu_short",
        "5 minutes on one NVIDIA H100, two runs at a time",
        "3 GB",
        (
            Claim("SimCLR, unchanged images", "simclr", "orig"),
            Claim("SimCLR+CLeVER, unchanged images", "simclr+clever", "orig"),
        ),
    ),
    Committed(
        "cifar10_cpu",
        "11 minutes on 2 cores",
        "0.3 GB",
        (
            Claim("DINO trained with rotations, rotated images", "dino", "cj_rot", augmentation="caug"),
            Claim("DINO trained without, rotated images", "dino", "cj_rot", augmentation="baug"),
        ),
    ),
    Committed(
        "matrix_cpu",
        "84 minutes of processor time, at least 42 minutes on 2 cores",
        "1.2 GB",
        (
            Claim("SimCLR on digits, unchanged images", "simclr", "orig"),
            Claim("SimCLR+CLeVER on digits, rotated images", "simclr+clever", "cj_rot"),
        ),
    ),
    Committed(
        "interclr_obow",
        "8 minutes on 2 cores",
        "0.3 GB",
        (
            Claim("InterCLR on digits, unchanged images", "interclr", "orig"),
            Claim("OBoW on digits, unchanged images", "obow", "orig"),
        ),
    ),
    Committed(
        "spirograph",
        "14 minutes on 2 cores",
        "0.2 GB",
        (
            Claim("SimCLR", "simclr", "orig", **_LATENTS),
            Claim("SimCLR, features averaged over 30 renderings", "simclr", "orig", **_AVERAGED),
            Claim("gradient regulariser minus SimCLR", "simclr+gradient", "orig", "simclr", **_LATENTS),
        ),
    ),
    Committed(
        "mcl_stages",
        "11 minutes on 2 cores that other work shared",
        "0.2 GB",
        (
            Claim("features of SimCLR and of stage 1, unchanged images", "simclr_stage1", "orig", protocol="stages"),
            Claim("features of two SimCLR runs, unchanged images", "simclr_pair", "orig", protocol="stages"),
        ),
    ),
    Committed(
        "essl_groups",
        "16 minutes on 2 cores that other work shared",
        "0.2 GB",
        (
            Claim("SimCLR, unchanged images", "simclr", "orig"),
            Claim("SimCLR+E-SSL that predicts rotations, unchanged images", "simclr+essl", "orig"),
        ),
    ),
    Committed(
        "supremix",
        "29 minutes on 2 cores that other work shared",
        "0.2 GB",
        (
            Claim("SimCLR, the number m alone", "simclr", "orig", **_LATENTS | {"metric": "mse_m"}),
            Claim("SupReMix, ordered by m, the number m alone", "supremix", "orig", **_LATENTS | {"metric": "mse_m"}),
            Claim("SupReMix, mean over the four numbers", "supremix", "orig", **_LATENTS),
        ),
    ),
    Committed(
        "temperature",
        "8 minutes on 2 cores",
        "0.2 GB",
        (
            Claim("SimCLR at temperature 0.07, unchanged images", "simclr@temperature=0.07", "orig"),
            Claim("SimCLR at temperature 1, unchanged images", "simclr@temperature=1", "orig"),
        ),
    ),
    Committed(
        "paper_cpu",
        "35 minutes on 2 cores that other work shared",
        "0.5 GB",
        (
            Claim("ResNet, untrained, unchanged images", UNTRAINED, "orig", backbone="resnet10t_half"),
            Claim("ResNet, SimSiam, unchanged images", "simsiam", "orig", backbone="resnet10t_half"),
        ),
    ),
)


def records_file(study: str) -> Path:
    """``records.csv``, or ``records.csv.gz`` if the records are committed compressed."""
    plain = MEASURED / study / "records.csv"
    return plain if plain.is_file() else plain.with_name("records.csv.gz")


def per_seed(claim: Claim, records: pd.DataFrame) -> pd.Series:
    """The claim's number for every seed that has it, averaged over data, backbones, augmentations and baselines."""
    chosen = records[(records["protocol"] == claim.protocol) & (records["metric"] == claim.metric)]
    chosen = chosen[(chosen["selection"] == "last") & (chosen["perturbation"] == claim.perturbation)]
    for axis in ("augmentation", "backbone"):
        if getattr(claim, axis):
            chosen = chosen[chosen[axis] == getattr(claim, axis)]
    if claim.method == CLEVER:
        left = chosen[chosen["method"].str.endswith("+clever") & (chosen["part"] == claim.part)]
        left = left.assign(method=left["method"].str.removesuffix("+clever"))
    else:
        left = chosen[(chosen["method"] == claim.method) & (chosen["part"] == claim.part)]
    if not claim.minus:
        return left.groupby("seed")["value"].mean()
    right = chosen[chosen["part"] == claim.minus_part]
    if claim.minus not in ("*", claim.method):
        right = right[right["method"] == claim.minus].assign(method=claim.method)
    pairs = left.merge(right, on=[*PAIRED, "method"], suffixes=("", "_right"), validate="one_to_one")
    return (pairs["value"] - pairs["value_right"]).groupby(pairs["seed"]).mean()


def expected(values: pd.Series) -> tuple[float, float | None]:
    """Mean over seeds, and the tolerance for the mean of a second run of the same design; None for a single seed."""
    count = len(values)
    if count < 2:
        return float(values.mean()), None
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    return float(values.mean()), quantile * float(np.std(values, ddof=1)) * math.sqrt(2 / count)


def render() -> str:
    """The page's text."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.trim_blocks = True
    studies = []
    for study in STUDIES:
        records = pd.read_csv(records_file(study.name))
        peak = max(run["peak_memory_bytes"] or 0 for run in read_runs(MEASURED / study.name / "runs.json"))
        studies.append(
            {
                "name": study.name,
                "has_folders": _has_folders(study.name),
                "cost": study.cost,
                "memory": f"{peak / 1e9:.1f} GB",
                "disk": study.disk,
                "records": records_file(study.name).name,
                "claims": _claims(study, records),
            }
        )
    return environment.get_template("artifact.md.jinja").render(studies=studies, compute=_compute())


def _has_folders(study: str) -> bool:
    """Whether the study reads images from folders, rather than from a package or a formula."""
    data = load_study(ROOT / "workflow" / "studies" / f"{study}.yaml").data.values()
    return not all(SOURCES[options.source].rootless for options in data)


def _claims(study: Committed, records: pd.DataFrame) -> str:
    rows = []
    for claim in study.claims:
        values = per_seed(claim, records)
        mean, tolerance = expected(values)
        decimals, plain, difference = UNITS[claim.unit]
        sign, unit = ("+", difference) if claim.minus else ("", plain)
        within = "one seed: none" if tolerance is None else f"±{tolerance:.{decimals}f}"
        value = f"{mean:{sign}.{decimals}f} {unit}".rstrip()
        rows.append(Row((claim.text, value, within, str(len(values))), (), "ours"))
    heading = "top-1 of the linear probe" if study.claims[0].unit == "%" else "mean squared error of the latents"
    return markdown_grid((f"claim: {heading}", "expected", "tolerance", "seeds"), (), rows)


def _compute() -> str:
    rows = []
    for path in sorted(MEASURED.glob("*/runs.json")):
        trained = [run for run in read_runs(path) if run["epochs"]]
        devices = sorted({str(run["hardware"].get("gpu", "CPU")) for run in trained})
        cells = (path.parent.name, str(len(trained)), ", ".join(devices), duration(training_seconds(trained)))
        rows.append(Row((*cells, f"{energy(trained):.2g}"), (), "ours"))
    return markdown_grid(("study", "trained runs", "device", "time, summed over runs", "kWh, estimated"), (), rows)


def main() -> None:
    """Print the page."""
    sys.stdout.write(render())


if __name__ == "__main__":
    main()
