"""One evaluation job: reads a finished run's folder and a store, and writes one file of records per protocol."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from clever.backbones import Backbone, BackboneOptions, load_backbone
from clever.data import Store
from clever.data.source import SPLITS
from clever.data.verification import file_sha256
from clever.earlier_runs import open_earlier
from clever.errors import UserError
from clever.evaluation import PROTOCOLS, Protocol
from clever.evaluation.notes import collected_notes
from clever.evaluation.options.protocol import ProtocolOptions
from clever.evaluation.shared_features import SharedFeatures
from clever.evaluation.subject import RunPredictor, Subject
from clever.execution.device import held_device
from clever.files import replacing
from clever.job_code import digest, evaluation_code
from clever.options import parse
from clever.parsing import foreign, lacks_memory
from clever.provenance import hardware, package_versions, source_commit
from clever.results.pictures import Pictures, write_pictures
from clever.results.records import RunIdentity, read_evaluation, write_evaluation
from clever.results.run_description import read_run
from clever.results.run_id import PIXELS


@dataclass(frozen=True)
class Evaluation:
    """One protocol, or a variant of it, with its options."""

    name: str
    """A name of ``PROTOCOLS``, or <name>+<variant>."""
    protocol: Protocol[Any]
    options: ProtocolOptions

    @property
    def variant(self) -> str:
        """The suffix of the protocol's name in its records: empty, or ``+`` and the variant's name."""
        return self.name.removeprefix(self.name.partition("+")[0])

    @property
    def code(self) -> str:
        """Digest of the source files on which the records depend."""
        return digest(evaluation_code(self.name.partition("+")[0]))


def parse_evaluations(content: object, source: str) -> list[Evaluation]:
    """The evaluations named by a mapping from protocol to options, in its order.

    Args:
        content: ``{"linear": {"epochs": 100}, "knn+few": {"neighbours": [5]}}``.
        source: the file or flag from which it comes, for messages.

    Raises:
        UserError: the content is empty or not a mapping, a protocol is unknown, or its options are wrong.
    """
    if not isinstance(content, dict) or not content:
        raise UserError(f'{source}: options by protocol are expected, as in {{"knn": {{}}}}, got {content!r:.100}')
    found = []
    for name, options in content.items():
        known = PROTOCOLS.get(name.partition("+")[0])
        if known is None:
            raise UserError(f"protocol {name!r} is unknown; there are: {', '.join(PROTOCOLS)}")
        found.append(Evaluation(name, known, parse(known.options, options, f"options of {name}")))
    return found


def evaluate_run(
    evaluations: Mapping[str, Any],
    *,
    run_folder: Path,
    store_folder: Path,
    output_folder: Path,
    other_stores: Mapping[str, Path] | None = None,
    device: str = "auto",
    threads: int | None = None,
    again: bool = False,
) -> None:
    """Evaluate the backbone of a finished run with some protocols, and write the records of each with their provenance.

    The backbone is loaded, and the store verified, once. Features of the same view are computed once for all protocols
    (`SharedFeatures`). Each protocol's file ``<protocol>.json`` is written as soon as it is measured, and a copy is
    kept in ``state/``, because Snakemake deletes a job's outputs when the job fails and before it runs again. Pictures,
    ``<protocol>.npz``, are handled in the same way. A protocol is not measured again if its file or kept copy matches
    the run, the options and the code.

    Args:
        evaluations: options by protocol, in the form for :func:`parse_evaluations`.
        run_folder: contains run.json and backbone.safetensors, and predictor.safetensors if the run has a predictor.
        store_folder: the prepared store of the run's data set.
        other_stores: the prepared stores of other data sets that evaluations name (``transfer``), by name.
        output_folder: folder for the JSON files and ``state/``.
        device: as for ``held_device``; a GPU that ``auto`` chose is held until the records are written.
        threads: CPU threads of torch; None leaves torch's choice.
        again: measure everything, including up-to-date evaluations.

    Raises:
        UserError: before anything is measured, if a protocol is unknown, its options are wrong, the run is unfinished,
            the run was trained on another store, another data set's store is not given, or a file has changed since it
            was written (see ``Store.verify``). A protocol that fails is reported at once; the others are still
            measured, and the failure is raised at the end.
    """
    chosen = parse_evaluations(evaluations, "evaluations")
    if threads:
        torch.set_num_threads(threads)
    run = read_run(run_folder / "run.json")
    subject = _subject(run, run_folder, store_folder)
    others = _other_stores(chosen, other_stores or {})
    for evaluation in chosen:
        if evaluation.options.listed_files():
            evaluation.options.require()
    failures: dict[str, Exception] = {}
    waiting = []
    for evaluation in chosen:
        if not again and _restored(evaluation, run, output_folder, others):
            print(f"{evaluation.name}: up to date", file=sys.stderr, flush=True)
        else:
            waiting.append(evaluation)
    if not waiting:
        return
    for name in sorted({data for evaluation in waiting if (data := evaluation.options.evaluation_data())}):
        others[name].verify(remember=True)
    with held_device(device) as held:
        for evaluation in waiting:
            started = time.monotonic()
            try:
                measured = replace(_on_its_data(evaluation, subject, others), device=held)
                _evaluate(evaluation, measured, run, run_folder, output_folder, _evaluated(evaluation, others))
            except Exception as error:
                failures[evaluation.name] = error
                if len(chosen) > 1:
                    print(f"{evaluation.name}: failed: {error}", file=sys.stderr, flush=True)
            else:
                seconds = time.monotonic() - started
                print(f"{evaluation.name}: measured in {seconds:.1f} s", file=sys.stderr, flush=True)
    _raise(failures)


def _subject(run: Mapping[str, Any], run_folder: Path, store_folder: Path) -> Subject:
    """The run's checked backbone and its verified store, not moved to a device yet."""
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
    features = SharedFeatures(backbone)
    return Subject(backbone, run["ir_dim"], store, identity, torch.device("cpu"), 0, features=features)


def earlier_backbones(run: Mapping[str, Any]) -> tuple[Backbone, ...]:
    """The checked backbones of the earlier runs of a run's chain; empty for any other run."""
    return tuple(
        open_earlier(entry["folder"], run["data_checksum"], entry["backbone_sha256"]).backbone
        for entry in run.get("stage", {}).get("runs", [])
    )


def _other_stores(evaluations: Sequence[Evaluation], folders: Mapping[str, Path]) -> dict[str, Store]:
    """The stores of the data sets that evaluations name, not verified yet."""
    found: dict[str, Store] = {}
    for evaluation in evaluations:
        name = evaluation.options.evaluation_data()
        if name is None or name in found:
            continue
        if name not in folders:
            raise UserError(
                f"{evaluation.name}: needs the prepared store of the data set {name}: --other-store {name}=FOLDER"
            )
        found[name] = Store.open(folders[name])
        for split in SPLITS:
            if not found[name].info["splits"][split]["count"]:
                raise UserError(f"{folders[name]}: has no {split} images, which {evaluation.name} needs")
    return found


def _evaluated(evaluation: Evaluation, others: Mapping[str, Store]) -> dict[str, Any]:
    """An evaluation file's entries about its data set, if it differs from the run's, and about the content of files
    that its options name."""
    name = evaluation.options.evaluation_data()
    found: dict[str, Any] = {}
    if name is not None:
        found["evaluated"] = {"data": name, "checksum": others[name].checksum}
    files = evaluation.options.listed_files()
    if files:
        found["files"] = {file: file_sha256(Path(file)) for file in files}
    return found


def _on_its_data(evaluation: Evaluation, subject: Subject, others: Mapping[str, Store]) -> Subject:
    """The subject on the data set that the evaluation names; images are normalised as in pre-training."""
    name = evaluation.options.evaluation_data()
    if name is None:
        return subject
    return replace(
        subject,
        store=replace(others[name], mean=subject.store.mean, std=subject.store.std),
        identity=replace(subject.identity, data_checksum=others[name].checksum),
        features=SharedFeatures(subject.backbone),
    )


def _evaluate(
    evaluation: Evaluation,
    shared: Subject,
    run: Mapping[str, Any],
    run_folder: Path,
    output_folder: Path,
    evaluated: Mapping[str, Any],
) -> None:
    """Measure one protocol and write its file; the kept copy is written first."""
    known, options = evaluation.protocol, evaluation.options
    with _state_folder(output_folder / "state" / evaluation.name) as states, collected_notes() as said:
        subject = replace(
            shared,
            seed=options.seed,
            state_folder=states,
            predictor=_predictor(run_folder, shared.device) if known.needs_predictor else None,
            earlier=earlier_backbones(run) if known.needs_earlier else (),
            variant=evaluation.variant,
            notes={},
            picture_facts={},
            pictures={},
        )
        if known.needs_map and run["recipe"]["backbone_name"] == PIXELS:
            print(f"{evaluation.name}: {run['run']} has no feature map: no records", file=sys.stderr, flush=True)
            records = []
        else:
            records = known.evaluate(subject, options)
    for text in said:
        print(f"note: {text}", file=sys.stderr)
    commit, dirty = source_commit()
    provenance = {
        "run": run,
        "protocol": evaluation.name,
        "options": options.model_dump(mode="json"),
        "evaluated_by": evaluation.code,
        **evaluated,
        "git_commit": commit,
        "git_dirty": dirty,
        "versions": package_versions(),
        "hardware": hardware(shared.device),
        "said": said,
    }
    if subject.notes:
        provenance["notes"] = subject.notes
    kept, output = _files(evaluation, output_folder)
    if known.pictures:
        facts = {"run": run["run"], "protocol": evaluation.name, **subject.picture_facts}
        write_pictures(_pictures(kept), Pictures(facts, subject.pictures))
        provenance["pictures_sha256"] = file_sha256(_pictures(kept))
    write_evaluation(kept, records, provenance)
    _copy(kept, output, known.pictures)


def _files(evaluation: Evaluation, output_folder: Path) -> tuple[Path, Path]:
    """The kept copy and the output of an evaluation."""
    name = f"{evaluation.name}.json"
    return output_folder / "state" / name, output_folder / name


def _pictures(file: Path) -> Path:
    """The pictures that belong to a file of records."""
    return file.with_suffix(".npz")


def _copy(kept: Path, output: Path, pictures: bool) -> None:
    """Copy an evaluation, its pictures first."""
    for source, target in ([(_pictures(kept), _pictures(output))] if pictures else []) + [(kept, output)]:
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)


def _restored(evaluation: Evaluation, run: Mapping[str, Any], output_folder: Path, others: Mapping[str, Store]) -> bool:
    """Whether the output is up to date, after restoring it from its kept copy if necessary."""
    kept, output = _files(evaluation, output_folder)
    if _fits(output, evaluation, run, others):
        return True
    if not _fits(kept, evaluation, run, others):
        return False
    _copy(kept, output, evaluation.protocol.pictures)
    return True


def _fits(path: Path, evaluation: Evaluation, run: Mapping[str, Any], others: Mapping[str, Store]) -> bool:
    """Whether there is an undamaged file, with its pictures, for the current run and data set, these options and this
    code."""
    try:
        found = read_evaluation(path).provenance
    except UserError:
        return False
    expected = {
        "run": run,
        "protocol": evaluation.name,
        "options": evaluation.options.model_dump(mode="json"),
        "evaluated_by": evaluation.code,
        **_evaluated(evaluation, others),
    }
    if {key: found.get(key) for key in expected} != expected:
        return False
    if not evaluation.protocol.pictures:
        return True
    pictures = _pictures(path)
    return pictures.is_file() and file_sha256(pictures) == found.get("pictures_sha256")


@contextmanager
def _state_folder(folder: Path) -> Iterator[Path]:
    """The folder in which a protocol may keep its state; it is removed afterwards if it is empty."""
    yield folder
    with suppress(OSError):  # it was never created
        folder.rmdir()


def _raise(failures: Mapping[str, Exception]) -> None:
    """Raise the error of a failed protocol: a fault of the program before an error of the user."""
    unexpected = [e for e in failures.values() if not isinstance(e, UserError) and not lacks_memory(e)]
    if unexpected or len(failures) == 1:
        raise (unexpected or list(failures.values()))[0]
    if failures:
        raise UserError("; ".join(f"{name}: {error}" for name, error in failures.items()))


def _predictor(run_folder: Path, device: torch.device) -> RunPredictor | None:
    """The run's predictor; None if it has none."""
    from clever.equivariance import load_predictor  # few protocols need one

    predictor = load_predictor(run_folder)
    if predictor is None:
        return None
    return RunPredictor(predictor.to(device), predictor.shape.relative_names)


def _require_content(weights: Path, run: Mapping[str, Any]) -> None:
    with foreign(weights, "cannot be read", "train the run again"):
        found = file_sha256(weights)
    if found != run["backbone_sha256"]:
        raise UserError(
            f"{weights}: is not the backbone of {run['run']}: its SHA-256 is {found[:12]}, run.json says "
            f"{run['backbone_sha256'][:12]}; restore the file, or train the run again"
        )
