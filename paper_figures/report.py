"""The report: one self-contained HTML file with every table, the figures and a card for every run."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from arguments import add_records, add_runs, check_suffixes, make_parser, run_script
from names import METRICS, PROTOCOLS, part_rank
from published_values import read_published
from summary import published_cells, summarise
from table_1 import build_tables
from table_provenance import Facts, commit_text, duration, flat, origin_facts
from tables import Table

from clever.errors import UserError
from clever.files import write_text
from clever.results.curves import health_of_curves, numeric_curves, read_curves
from clever.results.records import read_records
from clever.results.run_description import HEALTHY, read_runs

SUFFIXES = (".html",)
FIGURE_CAPTIONS = {
    "figure_robustness": "Accuracy under test-time perturbations, by method and training augmentation.",
    "figure_loss_terms": "Loss terms and diagnostics of every run over its epochs.",
}
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


@dataclass(frozen=True)
class Card:
    """The report's entry for one run; ``facts`` are (name, value) in order, ``finals`` its last diagnostics."""

    run: str
    healthy: bool
    health: str
    facts: tuple[tuple[str, str], ...]
    finals: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Shown:
    """A table of the page and the origin of its numbers (empty for published values, which name their sources)."""

    table: Table
    origin: Facts


@dataclass(frozen=True)
class Picture:
    """A figure inside the page."""

    name: str
    caption: str
    address: str


def render(
    records: pd.DataFrame,
    published: pd.DataFrame,
    runs: Sequence[Mapping[str, Any]],
    curves: pd.DataFrame | None,
    trouble: Mapping[str, tuple[int, str]],
    pictures: Sequence[Picture],
    title: str,
) -> str:
    """The page. ``curves`` are numeric; ``trouble`` is the health found in them, used if runs.json says ok."""
    trained = records[(records["method"] != "untrained") & (records["augmentation"] != "none")]
    known = {str(run["run"]) for run in runs}
    cards = [_card(run, curves, trouble) for run in runs]
    cards += [
        Card(run, False, "no entry in runs.json: health unknown", (), ()) for run in sorted(set(trained["run"]) - known)
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).resolve().parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tables = _tables(records, published, runs)
    return environment.get_template("report.html.jinja").render(
        title=title,
        main_tables=tables[0][1],
        more_tables=tables[1:],
        pictures=pictures,
        cards=cards,
        unhealthy=[card for card in cards if not card.healthy],
        checksums=sorted({(str(data), str(total)) for data, total in records[["data", "data_checksum"]].to_numpy()}),
        commits=sorted({str(commit) for commit in records["commit"]}),
        count=len(records),
    )


def _tables(
    records: pd.DataFrame, published: pd.DataFrame, runs: Sequence[Mapping[str, Any]]
) -> list[tuple[str, list[Shown]]]:
    """(heading, tables) for every protocol, part and metric on record, the paper's own choice first."""
    choices = {(str(a), str(b), str(c)) for a, b, c in records[["protocol", "part", "metric"]].to_numpy()}

    def rank(choice: tuple[str, str, str]) -> tuple[object, ...]:
        protocol, part, metric = choice
        return (protocol != "linear", protocol, metric != "top1", metric, part_rank(part))

    found = []
    for protocol, part, metric in sorted(choices, key=rank):
        cells = summarise(records, protocol, part, metric)
        tables = build_tables(
            cells,
            published_cells(published, protocol, part, metric),
            runs,
            protocol=protocol,
            part=part,
            metric=metric,
        )
        chosen = records[(records["protocol"] == protocol) & (records["part"] == part) & (records["metric"] == metric)]
        # The first tables are ours, one per data set in this order.
        origins = [origin_facts(chosen[chosen["data"] == data], runs) for data in sorted(set(chosen["data"]))]
        origins += [()] * (len(tables) - len(origins))
        shown = [Shown(table, origin) for table, origin in zip(tables, origins, strict=True)]
        found.append((f"{PROTOCOLS.get(protocol, protocol)}, {METRICS.get(metric, metric)}, {part}", shown))
    return found


def _card(run: Mapping[str, Any], curves: pd.DataFrame | None, trouble: Mapping[str, tuple[int, str]]) -> Card:
    name = str(run["run"])
    health = str(run.get("health") or "not recorded")
    if health == HEALTHY and name in trouble:
        epoch, reason = trouble[name]
        health = f"ok at the end, but at epoch {epoch}: {reason}"
    split = ""
    if run.get("feature_dim") is not None:
        width, invariant = int(run["feature_dim"]), run.get("ir_dim")
        split = (
            f"{width}, not split" if invariant is None else f"{width} = {invariant} IR + {width - int(invariant)} EF"
        )
    memory = run.get("peak_memory_bytes")
    facts = (
        ("epochs", _text(run.get("epochs")) if run.get("epochs") else "none: a control"),
        ("iterations", _text(run.get("iterations") or None)),
        ("wall time", duration(run.get("wall_seconds") or None)),
        ("images/s", "" if run.get("images_per_second") is None else f"{float(run['images_per_second']):,.0f}"),
        ("peak memory", "" if memory is None else f"{float(memory) / 2**30:.2f} GiB"),
        ("representation", split),
        ("commit", commit_text(run)),
        ("data checksum", _text(run.get("data_checksum"))),
        ("recipe digest", _text(run.get("recipe_digest"))),
        ("hardware", flat(run.get("hardware"))),
        ("versions", flat(run.get("versions"))),
    )
    return Card(name, health == HEALTHY, health, tuple(fact for fact in facts if fact[1]), _finals(name, curves))


def _finals(run: str, curves: pd.DataFrame | None) -> tuple[tuple[str, str], ...]:
    if curves is None:
        return ()
    last = curves[curves["run"] == run].sort_values("epoch").drop_duplicates("metric", keep="last").set_index("metric")
    return tuple((metric, f"{float(last['value'][metric]):.4g}") for metric in FINAL_METRICS if metric in last.index)


def _text(value: object) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def read_picture(path: Path) -> Picture:
    """A PNG as a data URL, so that the page needs no second file."""
    if not path.is_file():
        raise UserError(f"--figures {path}: no such file")
    content = path.read_bytes()
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise UserError(f"--figures {path}: not a PNG file")
    caption = FIGURE_CAPTIONS.get(path.stem, path.stem.replace("_", " "))
    return Picture(path.stem, caption, "data:image/png;base64," + base64.b64encode(content).decode("ascii"))


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``--output``."""
    parser = make_parser(str(__doc__), SUFFIXES)
    add_records(parser)
    add_runs(parser)
    parser.add_argument("--curves", type=Path, metavar="CSV", help="the study's curves.csv: adds the last diagnostics")
    parser.add_argument(
        "--figures", type=Path, nargs="*", default=[], metavar="PNG", help="figures to put into the page, in this order"
    )
    parser.add_argument("--title", default="CLeVER: reproduction report", help="heading of the page")
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, SUFFIXES)
    records, published = read_records(arguments.records), read_published(arguments.published)
    runs = read_runs(arguments.runs) if arguments.runs else []
    curves = read_curves(arguments.curves) if arguments.curves else None
    page = render(
        records,
        published,
        runs,
        None if curves is None else numeric_curves(curves, arguments.curves),
        {} if curves is None else health_of_curves(curves),
        [read_picture(path) for path in arguments.figures],
        arguments.title,
    )
    for output in arguments.output:
        write_text(output, page)


if __name__ == "__main__":
    run_script(main)
