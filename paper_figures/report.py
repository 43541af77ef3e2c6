"""The report: one self-contained page that answers the study's question and holds all of its tables and figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import measures
import pandas as pd
from arguments import add_records, add_runs, check_suffixes, make_parser, run_script
from findings import p_value
from markupsafe import Markup, escape
from parameter_counts import count_parameters
from pooled_differences import format_difference
from published_values import read_published
from report_compute import compute_facts
from report_items import Item, read_item
from report_matrix import Column, main_columns, main_matrices, protocol_matrices, protocol_name
from report_published import published_tables
from report_question import answer, checks, claims_of
from report_runs import health_of, recipes_of, runs_section
from table_provenance import origin_facts
from verdicts import Finding

from clever.files import write_text
from clever.results.curves import health_of_curves, numeric_curves, read_curves
from clever.results.records import read_records
from clever.results.run_description import HEALTHY, read_runs

SUFFIXES = (".html",)
TEMPLATE = "report.html.jinja"
CLAIMS_FIGURE = "figure_claims"
MAIN_ITEMS = {"linear": ("table_1", "table_matrix"), "latents": ("table_latents",)}
"""Protocol of the main table to the items that the main table contains: their means and their differences."""


def render(
    records: pd.DataFrame,
    published: pd.DataFrame,
    runs: Sequence[Mapping[str, Any]],
    curves: pd.DataFrame | None,
    trouble: Mapping[str, tuple[int, str]],
    items: Sequence[Item],
    study: str,
    command: str = "",
) -> str:
    """The page.

    Args:
        records: from ``read_records``.
        published: from ``read_published``.
        runs: from ``read_runs``; empty if they are unknown.
        curves: from ``numeric_curves``, for the last diagnostics of each run.
        trouble: from ``health_of_curves``; used for runs that are healthy according to ``runs``.
        items: the study's other items, in its order.
        study: its name.
        command: the command that made the page; may be empty.
    """
    columns = main_columns(records)
    epochs = {str(run["run"]): int(run["epochs"]) for run in runs if run.get("epochs")}
    unhealthy = {str(run["run"]): health for run in runs if (health := health_of(run, trouble)) != HEALTHY}
    findings = claims_of(records, runs)
    contained = MAIN_ITEMS.get(measures.family(columns[0].protocol), ())
    claims_figure = next((item for item in items if item.name == CLAIMS_FIGURE), None)
    others = [item for item in items if item is not claims_figure and item.name not in contained]
    pictures, documents = [item for item in others if item.is_figure], [item for item in others if not item.is_figure]
    measured = [finding for finding in findings if finding.pooled.difference is not None]
    recipes, compute = recipes_of(runs), compute_facts(runs, count_parameters(runs))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).resolve().parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template(TEMPLATE).render(
        study=study,
        command=command,
        count=len(records),
        answer=answer(records, findings),
        checks=checks(records, runs, unhealthy),
        claims_figure=claims_figure,
        findings=[_finding(finding) for finding in measured],
        unmeasured=[f"{one.statement.key}: {one.statement.text}" for one in findings if one not in measured],
        margins=list(dict.fromkeys(f"±{one.statement.margin} {one.statement.unit}" for one in measured)),
        main_items=[item.name for item in items if item.name in contained],
        main_tables=main_matrices(records, epochs, unhealthy, columns),
        published=_published(records, published, columns),
        pictures=pictures,
        documents=documents,
        protocols=[(protocol_name(name), matrices) for name, matrices in protocol_matrices(records, epochs, unhealthy)],
        runs=runs_section(records, runs, curves, trouble),
        recipes=recipes,
        compute=compute,
        origin=origin_facts(records, runs),
        contents=_contents(bool(measured), pictures, documents, bool(recipes.shared), bool(compute)),
    )


def _contents(
    claims: bool, pictures: Sequence[Item], documents: Sequence[Item], recipe: bool, compute: bool
) -> list[tuple[str, str]]:
    """(address, name) of every section, and of every item by its name."""
    found = [("claims", "The paper's claims")] if claims else []
    found += [("main", "Main table")]
    found += [(item.name, item.title) for item in (*pictures, *documents)]
    found += [("protocols", "Everything that was measured"), ("runs", "Runs")]
    found += [("recipe", "Recipe")] if recipe else []
    found += [("compute", "Compute")] if compute else []
    return [*found, ("origin", "Origin of the numbers")]


def _breakable(name: str) -> Markup:
    """A name that can be broken after its separators on a narrow page, not in the middle of a word."""
    return Markup(re.sub(r"([@+=_/])", r"\1<wbr>", str(escape(name))))


def _finding(finding: Finding) -> dict[str, str]:
    """A row of the verdicts, in the words of the findings."""
    statement, difference = finding.statement, finding.pooled.difference
    counts = f"{len(finding.healthy.comparisons)} of {len(finding.pooled.comparisons)}"
    return {
        "key": statement.key,
        "text": statement.text,
        "verdict": finding.shown,
        "numbers": f"{format_difference(difference, statement.unit)} {statement.unit}",
        "comparisons": str(len(finding.pooled.comparisons)),
        "seeds": str(difference.seeds if difference else 0),
        "p_value": p_value(finding.p_holm),
        "healthy": f"{counts}: {finding.healthy_verdict}" if finding.changes_without_unhealthy else "the same",
    }


def _published(records: pd.DataFrame, published: pd.DataFrame, columns: Sequence[Column]) -> list[Any]:
    """Published values of the main table's quantity, if the table has one protocol and the paper prints this
    quantity."""
    protocols = {column.protocol for column in columns}
    if len(protocols) != 1:
        return []
    return published_tables(records, published, protocols.pop(), columns[0].metric)


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``--output``."""
    parser = make_parser(str(__doc__), SUFFIXES)
    add_records(parser)
    add_runs(parser)
    parser.add_argument("--curves", type=Path, metavar="CSV", help="the study's curves.csv: adds the last diagnostics")
    parser.add_argument(
        "--drawn",
        type=Path,
        nargs="*",
        default=[],
        metavar="FILE",
        help="the study's other items, in this order: the .svg of a figure, the .md of a table or page",
    )
    parser.add_argument("--study", default="", metavar="NAME", help="the study's name (default: its data sets)")
    parser.add_argument("--command", default="", metavar="TEXT", help="the command that made the page, quoted on it")
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, SUFFIXES)
    records, published = read_records(arguments.records), read_published(arguments.published)
    runs = read_runs(arguments.runs) if arguments.runs else []
    curves = read_curves(arguments.curves) if arguments.curves else None
    names = {path.stem for path in arguments.drawn}
    page = render(
        records,
        published,
        runs,
        None if curves is None else numeric_curves(curves, arguments.curves),
        {} if curves is None else health_of_curves(curves),
        [read_item(path, names, place) for place, path in enumerate(arguments.drawn)],
        arguments.study or ", ".join(sorted(set(records["data"]))),
        arguments.command,
    )
    for output in arguments.output:
        write_text(output, page)


if __name__ == "__main__":
    run_script(main)
