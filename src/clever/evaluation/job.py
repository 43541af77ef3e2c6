"""One evaluation job: reads a finished run's folder and a store, and writes one file of records."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from clever.backbones import BackboneOptions, load_backbone
from clever.data import Store
from clever.data.verification import file_sha256
from clever.errors import UserError
from clever.evaluation import PROTOCOLS
from clever.evaluation.notes import collected_notes
from clever.evaluation.subject import Subject
from clever.execution.device import held_device
from clever.options import parse, parse_json
from clever.parsing import foreign
from clever.provenance import hardware, package_versions, source_commit
from clever.results.records import RunIdentity, write_evaluation
from clever.results.run_description import read_run
from clever.results.run_id import PIXELS


def evaluate_run(
    protocol: str,
    options_json: str,
    *,
    run_folder: Path,
    store_folder: Path,
    output: Path,
    device: str = "auto",
    threads: int | None = None,
) -> None:
    """Evaluate the backbone of a finished run and write its records with their provenance.

    Args:
        protocol: a name of ``PROTOCOLS``, or <name>+<variant>, which names its records accordingly.
        options_json: the protocol's options as JSON.
        run_folder: contains run.json and backbone.safetensors, and predictor.safetensors if the run has a predictor.
        store_folder: the prepared store of the run's data set.
        output: the JSON file to write.
        device: as ``held_device`` takes it; a GPU that ``auto`` chose is held until the records are written.
        threads: CPU threads of torch; None leaves torch's choice.

    Raises:
        UserError: the protocol is unknown, its options are wrong, the run is unfinished, the store is not the one
            that the run was trained on, or a file is not the one that was written (see ``Store.verify``).
    """
    known = PROTOCOLS.get(protocol.partition("+")[0])
    if known is None:
        raise UserError(f"protocol {protocol!r} is unknown; there are: {', '.join(PROTOCOLS)}")
    options = parse_json(known.options, options_json, f"options of {protocol}")
    if threads:
        torch.set_num_threads(threads)
    run = read_run(run_folder / "run.json")
    store = Store.open(store_folder)
    if store.checksum != run["data_checksum"]:
        raise UserError(
            f"{store_folder}: its checksum {store.checksum[:12]} is not that of the data of {run['run']} "
            f"({str(run['data_checksum'])[:12]}); prepare the run's data set, or train the run again"
        )
    store.verify(remember=True)
    recipe, weights = run["recipe"], run_folder / "backbone.safetensors"
    _require_content(weights, run)
    built = parse(BackboneOptions, recipe["backbone"], f"{run_folder / 'run.json'}: recipe.backbone")
    backbone = load_backbone(built, weights)
    if backbone.feature_dim != run["feature_dim"]:
        raise UserError(
            f"{run_folder / 'run.json'}: feature_dim is {run['feature_dim']}, but the backbone of its recipe has "
            f"{backbone.feature_dim}; train the run again"
        )
    identity = RunIdentity(
        data=recipe["data"],
        backbone=recipe["backbone_name"],
        method=recipe["method_name"],
        augmentation=recipe["augmentation_name"],
        seed=recipe["seed"],
        commit=run["git_commit"],
        recipe_digest=run["recipe_digest"],
        data_checksum=store.checksum,
    )
    with held_device(device) as chosen, collected_notes() as said:
        notes: dict[str, Any] = {}
        if known.needs_map and recipe["backbone_name"] == PIXELS:
            print(f"{protocol}: {run['run']} has no feature map: no records", file=sys.stderr, flush=True)
            records = []
        elif known.takes_subject:
            states = output.parent / "state" / output.stem
            subject = Subject(backbone, run["ir_dim"], store, identity, chosen, options.seed, states, notes)
            records = known.evaluate(subject, options)
            for folder in (states, states.parent):
                with suppress(OSError):  # it was never created, or holds another evaluation's state
                    folder.rmdir()
        else:
            further = _predictor(run_folder, chosen) if known.needs_predictor else {}
            records = known.evaluate(
                backbone,
                run["ir_dim"],
                store,
                options,
                run_identity=identity,
                device=chosen,
                seed=options.seed,
                **further,
            )
    for text in said:
        print(f"note: {text}", file=sys.stderr)
    commit, dirty = source_commit()
    provenance = {
        "run": run,
        "protocol": protocol,
        "options": options.model_dump(mode="json"),
        "git_commit": commit,
        "git_dirty": dirty,
        "versions": package_versions(),
        "hardware": hardware(chosen),
        "said": said,
    }
    if notes:
        provenance["notes"] = notes
    # A protocol may give its records several names (knn20, knn200): a variant's name is appended.
    variant = protocol.removeprefix(protocol.partition("+")[0])
    write_evaluation(output, [replace(record, protocol=record.protocol + variant) for record in records], provenance)


def _predictor(run_folder: Path, device: torch.device) -> dict[str, Any]:
    """Extra arguments of a protocol that needs a predictor: the run's predictor or None, and its inputs."""
    from clever.equivariance import load_predictor  # only few protocols need one

    predictor = load_predictor(run_folder)
    if predictor is None:
        return {"predictor": None}
    return {"predictor": predictor.to(device), "told": predictor.shape.relative_names}


def _require_content(weights: Path, run: Mapping[str, Any]) -> None:
    with foreign(weights, "cannot be read", "train the run again"):
        found = file_sha256(weights)
    if found != run["backbone_sha256"]:
        raise UserError(
            f"{weights}: is not the backbone of {run['run']}: its SHA-256 is {found[:12]}, run.json says "
            f"{run['backbone_sha256'][:12]}; restore the file, or train the run again"
        )
