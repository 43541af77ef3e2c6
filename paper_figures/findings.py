"""The findings: what a study says about each claim of the paper, with intervals and published values."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from arguments import PUBLISHED_FOLDER, add_records, add_runs, check_suffixes, make_parser, run_script
from baseline_checks import (
    LABEL_HEADS,
    Schedule,
    compare_with_references,
    not_above_untrained,
    pixels_accuracy,
    reasons,
    references_table,
    schedules,
    untrained_table,
)
from claims import (
    MARGIN_POINTS,
    MARGIN_R2,
    MARGIN_SHARE,
    WORDS_OF_CLAIMS,
    Numbers,
    PublishedDifference,
    means_by_part,
    other_parameters,
    published_differences,
    statements,
)
from differences import CONFIDENCE
from names import NOT_PUBLISHED
from parameter_counts import count_parameters
from pooled_differences import Comparison, format_difference, over_seeds, pool
from published_values import REFERENCE_FILE, read_published
from references import read_references
from scipy import stats
from table_provenance import origin_facts
from tables import Row, escape_markdown, markdown_code, markdown_grid
from verdicts import Finding, find

from clever.errors import UserError
from clever.files import write_text
from clever.results.records import read_records
from clever.results.run_description import read_runs, unhealthy_runs
from clever.results.run_id import UNTRAINED

SUFFIXES = (".md",)
NOTHING = "–"
TEMPLATE = "findings.md.jinja"
PAPER_IMAGES = 25_000_000
"""Images that one of the paper's runs trains on: 200 epochs of the 126,700 images of ImageNet-100."""


def render(
    records: pd.DataFrame,
    runs: Sequence[Mapping[str, Any]],
    published: pd.DataFrame,
    references: pd.DataFrame,
    parameters: Mapping[str, int],
    study: str,
    figure: str = "",
) -> str:
    """The page.

    ``parameters`` maps each backbone of known size to its number of parameters. ``figure`` is the path of the claims
    figure relative to the page; it may be empty.
    """
    numbers, unhealthy = Numbers(records), unhealthy_runs(runs)
    findings = find(statements(numbers, parameters), unhealthy)
    published_by_statement = published_differences(published)
    sources = _Sources()
    trained = records[records["method"] != UNTRAINED]
    seeds = len(set(trained["seed"]))
    known, unknown = schedules(runs), sorted(set(trained["run"]) - {str(run["run"]) for run in runs})
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).resolve().parent),
        autoescape=False,  # Markdown; text from outside passes through escape_markdown
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names_of_protocols = {name.partition("+")[0] for name in numbers.protocols}
    claims = [
        {
            "key": key,
            "words": words,
            "statements": [
                _section(finding, published_by_statement.get(finding.statement.key, []), sources)
                for finding in findings
                if finding.statement.claim == key
            ],
        }
        for key, words in WORDS_OF_CLAIMS.items()
    ]
    compared = compare_with_references(records, references, known)
    page = environment.get_template(TEMPLATE).render(
        study=study,
        figure=figure,
        facts=[(name, escape_markdown(value)) for name, value in origin_facts(records, runs)],
        costs=_costs(runs, known),
        passed=_spread([schedule.passed for schedule in known.values()], "{:,.0f}") if known else "",
        smaller=bool(known) and max(schedule.passed for schedule in known.values()) < PAPER_IMAGES,
        paper_images=f"{PAPER_IMAGES / 1e6:.0f} million",
        tests=_spread(sorted(set(records["n"][records["protocol"] == "linear"])), "{:,.0f}"),
        seeds=seeds,
        reach=f"{stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1) / math.sqrt(seeds):.1f}" if seeds > 1 else "",
        gap=_best_over_last(trained),
        confidence=f"{100 * CONFIDENCE:.0f}",
        margin_points=MARGIN_POINTS,
        margin_r2=MARGIN_R2,
        margin_share=MARGIN_SHARE,
        summary=_summary(findings, bool(unhealthy)),
        tests_corrected=sum(not math.isnan(finding.p_holm) for finding in findings),
        claims=claims,
        sizes=[(name, f"{count / 1e6:.2f}") for name, count in sorted(parameters.items(), key=lambda item: item[1])],
        unhealthy=[(markdown_code(run), escape_markdown(reason)) for run, reason in sorted(unhealthy.items())],
        unknown=[markdown_code(run) for run in unknown],
        has_runs=bool(runs),
        affected=any(finding.changes_without_unhealthy for finding in findings),
        has_parameters="parameters" in names_of_protocols,
        parameter_means=_parameter_means(numbers),
        other_parameters=_other_parameters(numbers),
        untrained=untrained_table(numbers),
        no_better=not_above_untrained(numbers),
        pixels=[(data, f"{pixels_accuracy(numbers, data):.1f}") for data in sorted(set(records["data"]))],
        references=references_table(compared, sources.number),
        reasons=reasons(compared, parameters),
        sources=[escape_markdown(source) for source in sources.listed],
        not_published=NOT_PUBLISHED,
    )
    return page.rstrip("\n") + "\n"


class _Sources:
    """Sources, numbered in the order of first mention."""

    def __init__(self) -> None:
        self.listed: list[str] = []

    def number(self, source: str) -> int:
        if source not in self.listed:
            self.listed.append(source)
        return self.listed.index(source) + 1


def _summary(findings: Sequence[Finding], with_healthy: bool) -> str:
    heads = ["comparisons", "seeds", "mean difference [95 %]", "p, Holm", "verdict"]
    if with_healthy:
        heads.append("without unhealthy runs")
    rows = []
    for finding in findings:
        difference, unit = finding.pooled.difference, finding.statement.unit
        cells = [
            str(len(finding.pooled.comparisons)),
            str(difference.seeds if difference else 0),
            format_difference(difference, unit) + (f" {unit}" if difference else ""),
            p_value(finding.p_holm),
            finding.shown,
        ]
        if with_healthy:
            counts = f"{len(finding.healthy.comparisons)} of {len(finding.pooled.comparisons)}"
            text = f"{format_difference(finding.healthy.difference, unit)}, {counts}: {finding.healthy_verdict}"
            cells.append(text if finding.changes_without_unhealthy else "the same")
        rows.append(Row((finding.statement.key, finding.statement.text), tuple(cells), "ours"))
    return markdown_grid(("", "statement"), heads, rows)


def p_value(value: float) -> str:
    """A p-value as text; a dash if there is none."""
    if math.isnan(value):
        return NOTHING
    return f"{value:.3f}" if value >= 0.001 else "below 0.001"


def _section(finding: Finding, published: Sequence[PublishedDifference], sources: _Sources) -> dict[str, Any]:
    statement = finding.statement
    shown = statement.comparisons
    pairs = {one.pair for one in shown}
    wanted = [one for one in published if one.comparison.claimed or one.comparison.pair in pairs]
    rows = [
        Row(
            (*one.labels[:3], one.pair),
            (
                str(len(one.by_seed)),
                format_difference(over_seeds(one.by_seed), statement.unit),
                _published_cell(one, wanted),
            ),
            "ours",
        )
        for one in shown
    ]
    for label, group in _subsets(shown):
        pooled = pool(group)
        if len(group) > 1 and pooled.difference is not None:
            seeds, text = str(pooled.difference.seeds), format_difference(pooled.difference, statement.unit)
            rows.append(Row((f"{len(pooled.comparisons)} pooled", *label), (seeds, text, ""), "ours"))
    heads = ("seeds", f"mean difference [95 %], {statement.unit}", "published")
    return {
        "key": statement.key,
        "text": statement.text,
        "verdict": finding.shown,
        "unit": statement.unit,
        "finding": finding,
        "table": markdown_grid(LABEL_HEADS, heads, rows) if rows else "",
        "left_out": [" / ".join(one.labels) for one in finding.pooled.left_out],
        "seeds_left_out": ", ".join(map(str, finding.pooled.seeds_left_out)),
        "published": _published_lines(wanted, sources),
        "claimed_published": any(one.comparison.claimed for one in wanted),
    }


def _subsets(shown: Sequence[Comparison]) -> list[tuple[tuple[str, str, str], list[Comparison]]]:
    """The pooled rows below a table: (backbone, augmentation, pair) in words, and the comparisons pooled in the row."""
    claimed = [one for one in shown if one.claimed]
    groups: list[tuple[tuple[str, str, str], list[Comparison]]] = []
    for pair in dict.fromkeys(one.pair for one in shown):
        groups.append((("all", "all", pair), [one for one in shown if one.pair == pair]))
    for augmentation in dict.fromkeys(one.augmentation for one in claimed):
        groups.append((("all", augmentation, "CLeVER"), [one for one in claimed if one.augmentation == augmentation]))
    for backbone in dict.fromkeys(one.backbone for one in claimed):
        groups.append(((backbone, "all", "CLeVER"), [one for one in claimed if one.backbone == backbone]))
    everything = (("all", "all", "CLeVER: for the verdict"), claimed)
    # A group with all claimed comparisons would repeat the verdict's number under a narrower name.
    return [group for group in groups if group[1] != claimed] + [everything]


def _published_cell(one: Comparison, published: Sequence[PublishedDifference]) -> str:
    """The published value of the same cell, else the range of the same pair and augmentation in other cells."""
    same = [other.value for other in published if other.comparison.labels == one.labels]
    if same:
        return "same cell: " + _range(same)
    alike = (one.pair, one.augmentation)
    other = [row.value for row in published if (row.comparison.pair, row.comparison.augmentation) == alike]
    return f"elsewhere: {_range(other)}" if other else NOT_PUBLISHED


def _range(values: Sequence[float]) -> str:
    low, high = _printed(min(values)), _printed(max(values))
    return low if len(values) == 1 else f"{low} to {high} ({len(values)} values)"


def _printed(value: float) -> str:
    """A difference between printed values, with one decimal if that is exact, else with two."""
    return f"{value:+.1f}" if math.isclose(value, round(value, 1), abs_tol=1e-6) else f"{value:+.2f}"


def _published_lines(published: Sequence[PublishedDifference], sources: _Sources) -> list[str]:
    groups: dict[tuple[str, float, str, str, int, str], list[str]] = defaultdict(list)
    for one in published:
        data, backbone, augmentation, pair = one.comparison.labels
        key = (data, one.epochs, augmentation, pair, sources.number(one.source), one.exactness)
        groups[key].append(f"{backbone} {_printed(one.value)}")
    return [
        escape_markdown(f"{data}, {_epochs(epochs)}, {augmentation}, {pair}: {'; '.join(values)}")
        + f" (source {number}, {exactness})"
        for (data, epochs, augmentation, pair, number, exactness), values in groups.items()
    ]


def _epochs(epochs: float) -> str:
    return "epochs not stated" if math.isnan(epochs) else f"{epochs:.0f} epochs"


def _costs(runs: Sequence[Mapping[str, Any]], known: Mapping[tuple[str, str, str, str], Schedule]) -> str:
    """Time and speed by data, backbone and method, as recorded in the runs' descriptions."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        where = str(run["run"]).split("/")
        if run.get("epochs") and len(where) == 5:
            groups[(where[0], where[1], where[2])].append(run)
    rows = []
    for key, group in sorted(groups.items()):
        trained = {schedule for where, schedule in known.items() if where[:3] == key}
        cells = (
            str(len(group)),
            _spread([float(run["epochs"]) for run in group], "{:.0f}"),
            _spread([float(schedule.images) for schedule in trained], "{:,.0f}"),
            _spread([run["wall_seconds"] / 60 for run in group if run.get("wall_seconds")], "{:.1f}"),
            _spread([run["images_per_second"] for run in group if run.get("images_per_second")], "{:,.0f}"),
        )
        rows.append(Row(key, cells, "ours"))
    heads = ("runs", "epochs", "images per epoch", "minutes per run", "images/s")
    return markdown_grid(("data", "backbone", "method"), heads, rows) if rows else ""


def _spread(values: Sequence[float], form: str) -> str:
    """One value if all of them print alike, else the range from the lowest to the highest."""
    if not values:
        return "not recorded"
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def _best_over_last(trained: pd.DataFrame) -> str:
    """How much the best epoch of the probe exceeds the last one, on average; empty if no best epoch is recorded."""
    probes = trained[
        (trained["protocol"] == "linear")
        & (trained["metric"] == "top1")
        & (trained["perturbation"] == "orig")
        & (trained["part"] == "ALL")
    ].pivot_table(index="run", columns="selection", values="value")
    if not {"best", "last"} <= set(probes.columns):
        return ""
    return f"{(probes['best'] - probes['last']).mean():.2f}"


def _parameter_means(numbers: Numbers) -> str:
    rows, parts = [], ("ALL", "IR", "IR_cut", "EF", "EF_cut")
    for protocol in [name for name in numbers.protocols if name.partition("+")[0] == "parameters"]:
        for where, means in means_by_part(numbers, protocol, "r2_angle").items():
            cells = tuple(f"{means[part]:.3f}" if part in means else NOTHING for part in parts)
            rows.append(Row((protocol, *where), cells, "ours"))
    return markdown_grid(("protocol", "data", "backbone", "method", "augmentation"), parts, rows) if rows else ""


def _other_parameters(numbers: Numbers) -> str:
    rows = []
    for (protocol, metric), comparisons in other_parameters(numbers).items():
        pooled = pool([one for one in comparisons if one.claimed])
        if pooled.difference is not None:
            unit = "R²" if metric.startswith("r2_") else "points"
            text = f"{format_difference(pooled.difference, unit)} {unit}"
            counts = str(len(pooled.comparisons)), str(pooled.difference.seeds)
            rows.append(Row((protocol, metric), (*counts, text), "ours"))
    return markdown_grid(("protocol", "metric"), ("comparisons", "seeds", "EF − IR [95 %]"), rows) if rows else ""


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``--output``."""
    parser = make_parser(str(__doc__), SUFFIXES)
    add_records(parser)
    add_runs(parser)
    parser.add_argument("--study", required=True, metavar="NAME", help="the study's name")
    parser.add_argument("--figure", default="", metavar="FILE", help="path of the claims figure, relative to the page")
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, SUFFIXES)
    records = read_records(arguments.records)
    if records[records["method"] != UNTRAINED].empty:
        raise UserError(f"{arguments.records}: controls only; there is no trained run to draw findings from")
    runs = read_runs(arguments.runs) if arguments.runs else []
    references = arguments.published / REFERENCE_FILE
    page = render(
        records,
        runs,
        read_published(arguments.published),
        read_references(references if references.is_file() else PUBLISHED_FOLDER / REFERENCE_FILE),
        count_parameters(runs),
        arguments.study,
        arguments.figure,
    )
    for output in arguments.output:
        write_text(output, page)


if __name__ == "__main__":
    run_script(main)
