"""The model card of an exported backbone: drawn from the description of its run and from the study's records."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from clever import __version__
from clever.errors import UserError
from clever.results.records import read_records

if TYPE_CHECKING:
    from clever.pretrained import Source

CONFIDENCE = 0.95
METRICS = ("top1", "r2_all", "r2")
"""The metrics that a card shows."""


@dataclass(frozen=True)
class Number:
    """One measured number of a run, with two intervals of 95 %."""

    protocol: str
    part: str
    perturbation: str
    metric: str
    value: float
    n: int
    """Number of test images."""
    of_images: tuple[float, float] | None
    """Interval over test images (Wilson's interval of a share, in percent); None if the metric is not a share."""
    mean: float
    """Mean over the seeds of the same method."""
    of_seeds: tuple[float, float] | None
    """Interval over seeds (Student's t); None with one seed."""
    seeds: int


@dataclass(frozen=True)
class Numbers:
    """The numbers of a card, and the name of the file that they come from (None if there is no file)."""

    numbers: list[Number]
    file: str | None


def numbers_of(run: Mapping[str, Any], records: Path) -> Numbers:
    """Read the numbers of a run from a table of records.

    Raises:
        UserError: the table cannot be read, has no record of the run, or has records of another recipe or other data
            under the run's id.
    """
    frame = read_records(records)
    own = frame[(frame["run"] == run["run"]) & (frame["selection"] == "last")]
    if own.empty:
        raise UserError(f"{records}: has no record of {run['run']}; name the records.csv of its study")
    digests = set(own["recipe_digest"]) - {run["recipe_digest"]}
    if digests:
        raise UserError(
            f"{records}: its records of {run['run']} are of recipe {min(digests)}, but the run's is "
            f"{run['recipe_digest']}; evaluate the run again"
        )
    axes = ["data", "backbone", "method", "augmentation", "selection"]
    same = frame[(frame[axes] == own[axes].iloc[0]).all(axis=1)]
    found = []
    for row in own[own["metric"].isin(METRICS)].itertuples(index=False):
        keys = ("protocol", "part", "perturbation", "metric")
        over_seeds = same[(same[list(keys)] == [getattr(row, key) for key in keys]).all(axis=1)]["value"].to_numpy()
        found.append(
            Number(
                protocol=str(row.protocol),
                part=str(row.part),
                perturbation=str(row.perturbation),
                metric=str(row.metric),
                value=float(row.value),
                n=int(row.n),
                of_images=wilson(row.value, row.n) if row.metric == "top1" else None,
                mean=float(over_seeds.mean()),
                of_seeds=_student(over_seeds),
                seeds=len(over_seeds),
            )
        )
    return Numbers(found, records.name)


def wilson(percent: float, n: int) -> tuple[float, float]:
    """Wilson's interval of 95 % of a share, both in percent, measured on ``n`` images."""
    from scipy import stats

    z, share = float(stats.norm.ppf((1 + CONFIDENCE) / 2)), percent / 100
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return 100 * max(centre - reach, 0.0), 100 * min(centre + reach, 1.0)


def _student(values: Any) -> tuple[float, float] | None:
    from scipy import stats

    if len(values) < 2:
        return None
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return float(values.mean()) - reach, float(values.mean()) + reach


def model_card(
    source: Source,
    numbers: Numbers,
    licence: str | None,
    by_timm: bool,
    loading: str | None,
    onnx_difference: float | None,
) -> str:
    """Write the card: Markdown with the YAML header that the Hugging Face hub reads.

    Args:
        source: the run.
        numbers: measured numbers of the run.
        licence: identifier of the weights' licence.
        by_timm: whether timm can load the exported folder.
        loading: lines of Python that rebuild the network without this package; None if there are none.
        onnx_difference: see ``Export``.
    """
    run, recipe = source.run, source.run["recipe"]
    head: dict[str, Any] = {"license": licence} if licence else {}
    head |= {"library_name": "timm"} if by_timm else {}
    head |= {"pipeline_tag": "image-feature-extraction", "tags": ["self-supervised", "equivariance", "clever"]}
    lines = ["---", yaml.safe_dump(head, sort_keys=False).rstrip(), "---", f"# {run['run']}", ""]
    method = recipe["method"]
    names = "an untrained control" if method is None else f"`{recipe['method_name']}`"
    lines += [
        f"`{recipe['backbone']['name']}` after pre-training with {names} on `{recipe['data']}`, without a classifier.",
        "",
        "| | |",
        "|---|---|",
    ]
    facts: dict[str, object] = {
        "representation": _representation(source),
        "images": f"{source.transform.size} px, RGB; mean {_listed(source.transform.mean)}, "
        f"std {_listed(source.transform.std)}",
        "data": f"`{recipe['data']}`, prepared store {run['data_checksum'][:16]}",
        "licence of the weights": licence or "not stated; terms of the training images may apply",
        "recipe": f"digest {run['recipe_digest']}, in full below",
        "epochs": run.get("epochs", "unknown"),
        "health": run.get("health", "unknown"),
        "code": f"commit {run['git_commit']}; exported by clever {__version__}",
    }
    lines += [f"| {key} | {value} |" for key, value in facts.items()]
    lines += ["", "## Load", "", *_usage(source, by_timm, loading, onnx_difference), "", "## Measured", ""]
    lines += _table(numbers)
    lines += ["", "## Recipe", "", "```json", json.dumps(recipe, indent=2, sort_keys=True), "```", ""]
    return "\n".join(lines)


def _representation(source: Source) -> str:
    split = source.split
    if split is None:
        return f"{source.run['feature_dim']} features"
    return (
        f"{split.feature_dim} features: 0 to {split.ir_dim - 1} are the invariant representation (IR), "
        f"{split.ir_dim} to {split.feature_dim - 1} the equivariant factor (EF)"
    )


def _usage(source: Source, by_timm: bool, loading: str | None, onnx_difference: float | None) -> list[str]:
    lines = []
    if by_timm:
        lines += [
            "```python",
            "import timm",
            "",
            'backbone = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # or "hf-hub:OWNER/NAME"',
            "```",
            "",
        ]
    elif loading is not None:
        lines += ["timm cannot build this network from a name alone:", "", "```python", loading, "```", ""]
    else:
        lines += ["timm does not have this network; it needs the package clever.", ""]
    lines += ["```python", "import clever", "", 'backbone, split, transform = clever.load("FOLDER")', "```"]
    if onnx_difference is not None:
        size = source.transform.size
        lines += [
            "",
            f"`model.onnx`: `images` float32 [N, 3, {size}, {size}], normalised, to `features`, which differ from "
            f"torch's by at most {onnx_difference:.1e} of the largest.",
        ]
    return lines


def _table(numbers: Numbers) -> list[str]:
    if not numbers.numbers:
        return ["No records were given at export."]
    lines = [
        f"From `{numbers.file}`. The first interval is over test images, the second over seeds, both 95 %.",
        "",
        "| protocol | part | perturbation | metric | this run | mean over seeds | seeds | test images |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {n.protocol} | {n.part} | {n.perturbation} | {n.metric} | {_with(n.value, n.of_images)} | "
        f"{_with(n.mean, n.of_seeds)} | {n.seeds} | {n.n} |"
        for n in numbers.numbers
    ]
    return lines


def _with(value: float, interval: tuple[float, float] | None) -> str:
    return f"{value:.2f}" + ("" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]")


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
