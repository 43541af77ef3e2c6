"""Follow a file that holds a number back to the evaluation, run and store that produced it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from clever.data.store import DESCRIPTION, content_checksum
from clever.data.verification import file_sha256
from clever.errors import UserError
from clever.provenance_chain.chain import Chain, Link
from clever.provenance_chain.reading import (
    collected_run,
    read_json,
    study_folder,
)
from clever.results.differing import first_difference, value_at
from clever.results.records import KEY, Evaluation, evaluation_data, read_evaluation, read_records
from clever.results.run_description import require_run
from clever.sealed import KEY as KEY_OF_SEAL
from clever.sealed import content_sha256

_RECORDED = ("commit", "recipe_digest", "data_checksum")
_RUN_FILES = {
    "backbone_sha256": "backbone.safetensors",
    "metrics_sha256": "metrics.csv",
    "predictor_sha256": "predictor.safetensors",
}
_RUN_FACTS = ("recipe_digest", "feature_dim", "ir_dim", "epochs", "iterations", "wall_seconds", "images_per_second")


def follow(paths: Sequence[Path], chosen: Mapping[str, str]) -> list[Chain]:
    """Follow the chains behind the content of some files.

    Args:
        paths: evaluation files, ``records.csv`` or ``run.json``. The other links are searched for in the results
            folder that holds the file: ``evaluations/<run>/<protocol>.json``, ``runs/<run>/run.json``,
            ``data/<name>/store.json``, ``records.csv`` and ``runs.json``.
        chosen: maps columns of ``records.csv`` to the text that a record must have in them.

    Raises:
        UserError: a file is missing, damaged or of another kind, or no record matches ``chosen``.
    """
    chains = [chain for path in paths for chain in _follow_file(path, chosen)]
    if not chains:
        wanted = ", ".join(f"{column} {value}" for column, value in chosen.items())
        raise UserError(f"{', '.join(map(str, paths))}: no record of {wanted or 'anything'} found")
    return chains


def _follow_file(path: Path, chosen: Mapping[str, str]) -> Iterator[Chain]:
    if path.suffix == ".csv":
        yield from _follow_table(path, chosen)
    elif path.name == "run.json":
        run = require_run(read_json(path), str(path))
        if chosen.get("run", run["run"]) == run["run"]:
            chain = Chain(run["run"], None, [])
            _follow_run(chain, run, str(path), path.parent, study_folder(path, "runs"))
            yield chain
    else:
        evaluation = read_evaluation(path, verify=False)
        records = [record for record in map(asdict, evaluation.records) if _fits(record, chosen)]
        if records:
            folder = study_folder(path, "evaluations")
            yield _follow_evaluation(path, evaluation, records, folder, folder and folder / "records.csv")


def _follow_table(path: Path, chosen: Mapping[str, str]) -> Iterator[Chain]:
    """The chains of a ``records.csv``: one for each evaluation file of its chosen rows."""
    table = read_records(path, verify=False)
    for column, value in chosen.items():
        table = table[table[column] == value]
    for run, rows in table.groupby("run", sort=True):
        evaluations = path.parent / "evaluations" / str(run)
        read = {file: read_evaluation(file, verify=False) for file in sorted(evaluations.glob("*.json"))}
        for (source, protocol), records in _by_file(_rows(rows), read).items():
            if source is not None:
                yield _follow_evaluation(source, read[source], records, path.parent, path)
            else:
                yield _follow_rows(path, records, protocol)


def _by_file(
    rows: list[dict[str, Any]], read: Mapping[Path, Evaluation]
) -> dict[tuple[Path | None, str], list[dict[str, Any]]]:
    """The rows of one run, grouped by the evaluation file that holds them, or by (None, protocol) if none does."""
    places: dict[tuple[object, ...], Path] = {}
    for file, evaluation in read.items():
        for record in map(asdict, evaluation.records):
            # One file may hold several protocols (kNN has one for each number of neighbours).
            places |= {_key(record): file, (record["protocol"],): file}
    found: dict[tuple[Path | None, str], list[dict[str, Any]]] = {}
    for row in rows:
        source = places.get(_key(row)) or places.get((row["protocol"],))
        found.setdefault((source, "" if source else row["protocol"]), []).append(row)
    return found


def _follow_rows(path: Path, records: list[dict[str, Any]], protocol: str) -> Chain:
    """The chain of table rows whose evaluation file is missing, as in a table that was copied or committed."""
    run, folder = records[0]["run"], path.parent
    chain = Chain(run, protocol, records, [_record_link(str(path), records)])
    chain.missing.append(
        f"{folder / 'evaluations' / run}: no file there holds {protocol}, so the table cannot be compared with it"
    )
    collected = folder / "runs.json"
    described = collected_run(collected, run)
    if described is None:
        chain.missing.append(f"{collected}: no description of {run}")
    else:
        _compare_records(chain, records, described, str(path), str(collected))
        _follow_run(chain, described, str(collected), folder / "runs" / run, folder)
        other = evaluation_data(protocol)
        if other is not None:
            _follow_store(chain, other, str(records[0]["data_checksum"]), str(path), folder)
    return chain


def _follow_evaluation(
    path: Path, evaluation: Evaluation, records: list[dict[str, Any]], folder: Path | None, table: Path | None
) -> Chain:
    """The chain of an evaluation file. ``records`` are its own records, or rows of ``table`` that it must contain."""
    origin = evaluation.provenance
    run = require_run(origin.get("run"), f"{path}: provenance.run")
    protocol = str(origin.get("protocol", records[0]["protocol"]))
    chain = Chain(records[0]["run"], protocol, records)
    measured = [asdict(record) for record in evaluation.records]
    embedded = f"the run described in {path}"

    if table is not None:
        _compare_with_table(chain, path, measured, table)
    known = {_key(record) for record in measured}
    for record in records:
        if _key(record) not in known:
            chain.broken.append(
                f"{chain.run}: {_name(record)}: the table says {record['value']!r}, {path} has no such record"
            )
    _compare_records(chain, measured, run, str(path), embedded)
    evaluated = origin.get("evaluated")
    if isinstance(evaluated, dict):
        _compare_checksums(chain, measured, str(path), (f"provenance.evaluated of {path}", evaluated.get("checksum")))
    _compare_content(chain, path, read_json(path))
    if folder is not None:
        found = path.absolute().relative_to(folder.absolute()).as_posix()
        chain.compare("place", ("the file's path", found), ("its content", f"evaluations/{run['run']}/{protocol}.json"))
    facts = {"options": origin.get("options")} | _code(origin)
    facts |= {key: origin.get(key) for key in ("versions", "hardware")}
    chain.links.append(Link("evaluation", str(path), facts))

    run_folder = None if folder is None else folder / "runs" / run["run"]
    described, where = run, embedded
    if run_folder is None or not (run_folder / "run.json").is_file():
        place = "a results folder" if run_folder is None else run_folder / "run.json"
        chain.missing.append(f"{place}: not found; the run is known only from the evaluation")
    else:
        where = str(run_folder / "run.json")
        described = require_run(read_json(run_folder / "run.json"), where)
        if described == run:
            chain.holds.append(f"run: {embedded} and {where} agree")
        else:
            key = first_difference(run, described)
            chain.compare(f"run.{key}", (embedded, value_at(run, key)), (where, value_at(described, key)))
    _follow_run(chain, described, where, run_folder, folder)
    if isinstance(evaluated, dict):
        _follow_store(chain, str(evaluated.get("data")), str(evaluated.get("checksum")), str(path), folder)
    return chain


def _follow_run(chain: Chain, run: Mapping[str, Any], where: str, run_folder: Path | None, folder: Path | None) -> None:
    recipe = run["recipe"]
    seed = recipe.get("seed")
    facts = {"seed": seed} | {key: run.get(key) for key in _RUN_FACTS}
    facts |= {"trained_by": run["trained_by"]} if run.get("trained_by") else _code(run)
    facts |= {key: run.get(key) for key in ("versions", "hardware", "health")}
    chain.links.append(Link("run", where, facts))

    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(canonical).hexdigest()[:16]
    _compare_content(chain, where, run)
    chain.compare("recipe digest", (where, run["recipe_digest"]), ("the recipe in it", digest))
    axes = [recipe.get(key) for key in ("data", "backbone_name", "method_name", "augmentation_name")]
    chain.compare("run id", (where, run["run"]), ("the recipe in it", "/".join([*map(str, axes), f"seed{seed}"])))
    if run_folder is not None:
        for key, name in _RUN_FILES.items():
            file = run_folder / name
            if run.get(key) is None:
                continue
            if file.is_file():
                chain.compare("SHA-256", (file, file_sha256(file)), (where, run[key]))
            else:
                chain.missing.append(f"{file}: not found, its content cannot be compared with {where}")
    if folder is not None:
        _compare_with_collected(chain, run, where, folder / "runs.json")
    _follow_store(chain, str(recipe.get("data")), run["data_checksum"], where, folder)


def _follow_store(chain: Chain, name: str, recorded: str, where: str, folder: Path | None) -> None:
    """Compare the checksum that ``where`` records for a data set with its store."""
    file = None if folder is None else folder / "data" / name / DESCRIPTION
    if file is None or not file.is_file():
        chain.missing.append(f"{file or 'a results folder'}: not found; the data are known only by their checksum")
        return
    store = read_json(file)
    try:
        counts = {name: split["count"] for name, split in store["splits"].items()}
        computed, checksum = content_checksum(store), store["checksum"]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: is not a description of a store ({error!r}); prepare the data set again") from None
    facts = {"checksum": checksum, "counts": counts, "origin": store.get("origin"), "options": store.get("options")}
    chain.links.append(Link("store", str(file), facts))
    chain.compare("data checksum", (where, recorded), (file, checksum))
    chain.compare("data checksum", (file, checksum), ("the files listed in it", computed))
    _compare_content(chain, file, store)


def _compare_content(chain: Chain, where: object, content: Mapping[str, Any]) -> None:
    """Verify the checksum inside a JSON file; files of older versions have none."""
    if KEY_OF_SEAL in content:
        sides = (f"{where}, {KEY_OF_SEAL}", content[KEY_OF_SEAL]), ("the rest of it", content_sha256(content))
        chain.compare("SHA-256 of the content", *sides)


def _compare_records(
    chain: Chain, records: Sequence[Mapping[str, Any]], run: Mapping[str, Any], records_name: str, description_name: str
) -> None:
    """Compare the run id, commit, recipe and data in the records with the run's description."""
    says = {"run": run["run"], "commit": run["git_commit"], "recipe_digest": run["recipe_digest"]}
    for column, expected in says.items():
        for found in sorted({str(record[column]) for record in records}):
            chain.compare(f"records' {column}", (records_name, found), (description_name, expected))
    own = [record for record in records if evaluation_data(str(record["protocol"])) is None]
    _compare_checksums(chain, own, records_name, (description_name, run["data_checksum"]))


def _compare_checksums(
    chain: Chain, records: Sequence[Mapping[str, Any]], records_name: str, expected: tuple[str, object]
) -> None:
    """Compare the checksum of the data in the records with the one that is expected, named by its place."""
    for found in sorted({str(record["data_checksum"]) for record in records}):
        chain.compare("records' data_checksum", (records_name, found), expected)


def _compare_with_table(chain: Chain, path: Path, measured: Sequence[Mapping[str, Any]], table: Path) -> None:
    """Compare the evaluation's records with the rows of the study's table that have the same key."""
    if not table.is_file():
        chain.missing.append(f"{table}: the records have not been collected")
        return
    rows = {_key(row): row for row in _rows(read_records(table, verify=False)) if row["run"] == chain.run}
    absent = [record for record in measured if _key(record) not in rows]
    if absent:
        chain.missing.append(
            f"{table}: {len(absent)} records of {path} have not been collected: {_name(absent[0])}, ..."
        )
    equal = 0
    for record in measured:
        row = rows.get(_key(record))
        if row is None:
            continue
        differing = [key for key in record if row[key] != record[key]]
        equal += not differing
        for key in differing:
            chain.compare(f"{_name(record)}, {key}", (table, row[key]), (path, record[key]))
    if equal:
        chain.holds.append(f"records: {equal} in {table} and {path} agree")
    chain.links.append(_record_link(str(table), measured))


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _record_link(where: str, records: Sequence[Mapping[str, Any]]) -> Link:
    return Link("records", where, {key: "|".join(sorted({str(r[key]) for r in records})) for key in _RECORDED})


def _compare_with_collected(chain: Chain, run: Mapping[str, Any], where: str, collected: Path) -> None:
    if str(collected) == where:
        return
    entry = collected_run(collected, run["run"])
    if entry is None:
        chain.missing.append(f"{collected}: no description of {run['run']} has been collected")
    elif entry == run:
        chain.holds.append(f"run: {where} and {collected} agree")
    else:
        key = first_difference(run, entry)
        chain.compare(f"run.{key}", (where, value_at(run, key)), (collected, value_at(entry, key)))


def _key(record: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(record[name] for name in KEY)


def _fits(record: Mapping[str, Any], chosen: Mapping[str, str]) -> bool:
    return all(record[column] == value for column, value in chosen.items())


def _code(origin: Mapping[str, Any]) -> dict[str, Any]:
    return {"git_commit": origin.get("git_commit"), "git_dirty": origin.get("git_dirty")}


def _name(record: Mapping[str, Any]) -> str:
    return " ".join(str(record[key]) for key in ("part", "perturbation", "metric", "selection"))
