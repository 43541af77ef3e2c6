"""How well features predict the latents: every method and way of evaluating, compared with its baseline alone."""

from __future__ import annotations

from collections.abc import Sequence

from arguments import add_records, add_runs, check_suffixes, make_parser, run_script
from table_matrix import SUFFIXES, Wording, compare, write_comparison

from clever.errors import UserError
from clever.results.records import read_records
from clever.results.run_description import read_runs, unhealthy_runs

PROTOCOL = "latents"
METRIC = "mean_mse"


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``: one column for each variant of the protocol ``latents``."""
    parser = make_parser(str(__doc__), SUFFIXES)
    add_records(parser)
    add_runs(parser)
    parser.add_argument("--part", default="ALL", help="part of the representation: ALL, IR, EF (default: ALL)")
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, SUFFIXES)
    records = read_records(arguments.records)
    variants = records["protocol"].str.partition("+")[0] == PROTOCOL
    chosen = records[variants & (records["metric"] == METRIC) & (records["part"] == arguments.part)]
    if chosen.empty:
        raise UserError(f"{arguments.records}: no record of protocol {PROTOCOL}, part {arguments.part}")
    # A column is a way of evaluating: the variant, plus the perturbation if it is not orig.
    plain = chosen["perturbation"] == "orig"
    ways = chosen["protocol"].where(plain, chosen["protocol"] + ", " + chosen["perturbation"])
    wording = Wording(
        title="Mean squared error of latents regressed from features",
        caption=(
            f"Mean over the latents of interest, in squared units; lower is better. Representation: "
            f"{arguments.part}; mean ± standard deviation over seeds. Columns: the protocol and its variants."
        ),
        decimals=4,
        unit="in the same unit (below 0: a smaller error)",
    )
    unhealthy = unhealthy_runs(read_runs(arguments.runs)) if arguments.runs else {}
    write_comparison(arguments.output, compare(chosen.assign(perturbation=ways)), unhealthy, wording)


if __name__ == "__main__":
    run_script(main)
