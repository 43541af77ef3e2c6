"""``clever``: the only command line. The workflow and users call it; every job is one command."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clever import __version__
from clever.errors import UserError
from clever.parsing import decode_json, lacks_memory

if TYPE_CHECKING:
    from clever.config import Study
    from clever.pretraining.recipe import RunRecipe

LOG_TO = "CLEVER_LOG_TO"
"""Environment variable with the loggers of every run. A workflow's jobs get their loggers from it, so changing the
loggers does not make jobs run again."""

# torch takes seconds to import, so each command imports only what it needs; --help and wrong flags respond at once.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0: done. 2: an error that the user can fix, reported in one line. 75: interrupted after saving its state; start
        it again. 130: stopped with Ctrl-C.
    """
    parsed = _parser().parse_args(arguments)
    try:
        parsed.command(parsed)
    except UserError as error:
        return _refuse(error, parsed.debug)
    except (MemoryError, OSError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError):  # the program that reads our output, such as head, has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        elif lacks_memory(error):
            return _refuse(error, parsed.debug, f"{parsed.name}: {_MEMORY}")
        else:
            raise
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return parsed.status if hasattr(parsed, "status") else 0


_MEMORY = (
    "not enough memory; raise this process's limit (ulimit -v, or the scheduler's), free some memory, or lower the "
    "batch size"
)


def _refuse(error: BaseException, debug: bool, text: str | None = None) -> int:
    if debug:
        traceback.print_exception(error)
    line = "\\n".join((text or str(error)).splitlines())  # a file's name may contain a line break
    print(f"error: {line}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clever",
        description="CLeVER: contrastive learning via equivariant representation. Each job of a study is one of these "
        "commands; `snakemake --cores all` runs them in order.",
    )
    parser.set_defaults(debug=False)
    _add_debug(parser)
    parser.add_argument("--version", action="version", version=f"clever {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_study_new(commands)
    _add_check(commands)
    _add_prepare(commands)
    _add_pretrain(commands)
    _add_evaluate(commands)
    _add_checksums(commands)
    _add_collect(commands)
    _add_describe(commands)
    _add_export(commands)
    _add_release(commands)
    _add_fetch(commands)
    _add_methods(commands)
    _add_schema(commands)
    _add_doctor(commands)
    _add_progress(commands)
    _add_provenance(commands)
    _add_completion(commands, parser)
    return parser


if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def _add(commands: _Commands, name: str, summary: str, details: str = "") -> argparse.ArgumentParser:
    description = f"{summary[0].upper()}{summary[1:]}. {details}".strip()
    parser = commands.add_parser(name, help=summary, description=description)
    parser.set_defaults(name=name)
    _add_debug(parser)
    return parser


def _add_debug(parser: argparse.ArgumentParser) -> None:
    # The flag may precede or follow the command; a default here would overwrite a flag given before the command.
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="print the traceback behind an error's line"
    )


def _add_study(parser: argparse.ArgumentParser, item: str) -> None:
    parser.add_argument("--study", type=Path, metavar="FILE", help=f"study file to take the {item} from")


def _add_data_root(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument(
        "--data-root", metavar="FOLDER", help=f"folder that relative data roots are relative to (default: data){more}"
    )


def _add_study_new(commands: _Commands) -> None:
    actions = _add(commands, "study", "write a study").add_subparsers(required=True, metavar="ACTION")
    parser = _add(actions, "new", "write a commented study for a folder of images", "See docs/own_images.md.")
    parser.add_argument(
        "--images", type=Path, required=True, metavar="FOLDER", help="holds train and val, or just images"
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="study to write (default: <folder>.yaml)")
    parser.add_argument("--name", dest="study_name", help="name of the study and its data (default: the folder's)")
    parser.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "gpu"),
        help="device to write it for (default: a GPU if there is one)",
    )
    parser.set_defaults(command=_study_new)


def _study_new(arguments: argparse.Namespace) -> None:
    from clever.new_study import described, name_of, unlabelled_note, write_study

    device = arguments.device
    if device == "auto":
        import torch

        device = "gpu" if torch.cuda.is_available() else "cpu"
    name = arguments.study_name or name_of(arguments.images)
    file = arguments.to or Path(f"{name}.yaml")
    folder = write_study(arguments.images, file, device, name)
    print(f"{file}: {described(folder)}", file=sys.stderr)
    note = unlabelled_note(folder)
    if note is not None:
        print(f"note: {note}", file=sys.stderr)


def _add_check(commands: _Commands) -> None:
    parser = _add(commands, "check", "check a study file and list its runs")
    parser.add_argument("study", type=Path, metavar="FILE", help="study file")
    _add_data_root(parser, "; when given, the folders of the data are checked too")
    parser.set_defaults(command=_check)


def _check(arguments: argparse.Namespace) -> None:
    from clever.config import load_study
    from clever.crosschecks import refuse_for_stores
    from clever.crosschecks.missing_data import folder_faults, missing_data
    from clever.crosschecks.steps import step_warnings
    from clever.crosschecks.teachers import teacher_warnings

    study, results, root = load_study(arguments.study), Path("results"), _data_root(arguments)
    stores = results / study.study / "data"
    refuse_for_stores(study, results, str(arguments.study))
    missing = [] if arguments.data_root is None else missing_data(study, root, stores)
    for line in (*missing, *folder_faults(study, root, stores)):
        raise UserError(f"{arguments.study}: {line}")
    warnings = [*teacher_warnings(study, stores, root), *step_warnings(study, stores, root)]
    for line in dict.fromkeys(warnings):
        print(f"WARNING, {arguments.study}: {line}", file=sys.stderr)
    for run, recipe in study.recipes().items():
        print(f"{run}  {recipe.digest}")


def _add_prepare(commands: _Commands) -> None:
    parser = _add(
        commands,
        "prepare",
        "turn a data set into a prepared store",
        "Give either --study and --data, or --options.",
    )
    _add_study(parser, "data set")
    _add_data_root(parser)
    parser.add_argument("--data", metavar="NAME", help="the data set's name in the study")
    parser.add_argument("--options", metavar="JSON", help="the data set's options, as the workflow passes them")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the store to write")
    parser.set_defaults(command=_prepare)


def _prepare(arguments: argparse.Namespace) -> None:
    from clever.data import DataOptions, prepare
    from clever.options import parse_json

    if arguments.options is not None:
        options = parse_json(DataOptions, arguments.options, "--options")
    elif arguments.study and arguments.data:
        options = _load_study(arguments).data_options(arguments.data, _data_root(arguments))
    else:
        raise UserError("prepare needs --study and --data, or --options")
    store = prepare(options, arguments.output)
    counts = ", ".join(f"{len(store.split(name))} {name}" for name in ("train", "test"))
    print(f"{arguments.output}: {counts} images", file=sys.stderr)


def _add_pretrain(commands: _Commands) -> None:
    parser = _add(
        commands,
        "pretrain",
        "pre-train one run, or resume it",
        "Give either --study and --run, or --recipe. A stopped run resumes from its state with the same "
        "result; delete FOLDER/state to start again.",
    )
    _add_recipe(parser)
    parser.add_argument("--store", type=Path, required=True, metavar="FOLDER", help="prepared store of the run's data")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder for the run's files")
    parser.add_argument(
        "--device",
        default="auto",
        help="auto (default): a GPU that no other job holds, waiting for one if necessary, or the CPU without a GPU. "
        "cpu, cuda, cuda:1: that device, even if others use it",
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="CPU threads of all processes on this machine together. More is faster up to the number of cores; the "
        "last bits of a CPU run depend on it",
    )
    parser.add_argument(
        "--accept-other-threads",
        action="store_true",
        help="resume a run on the CPU whose state was trained with another number of threads or processes: its "
        "last bits will differ, and run.json lists each part",
    )
    parser.add_argument(
        "--placement",
        default="auto",
        choices=("auto", "device", "host", "stream"),
        help="where training images are (default auto, by size and free memory). Force host when the GPU is shared",
    )
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="decoding threads for encoded stores; 0: all cores"
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile the backbone: pays for hours on a GPU")
    parser.add_argument(
        "--log-every", type=int, default=20, metavar="STEPS", help="steps between two checks of the loss (default 20)"
    )
    parser.add_argument(
        "--state-every",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="longest time between two saved states (default 300); lower it where jobs are killed without warning",
    )
    parser.add_argument("--keep-state", action="store_true", help="keep the last training state after success")
    parser.add_argument(
        "--log-to",
        action="append",
        metavar="NAME",
        help="also send each epoch's metrics to tensorboard (files in FOLDER/tensorboard) or wandb; may be given "
        f"several times. Default: the names in the environment variable {LOG_TO}, separated by commas",
    )
    parser.set_defaults(command=_pretrain)


def _pretrain(arguments: argparse.Namespace) -> None:
    from clever.data import Store
    from clever.execution.threads import require_threads
    from clever.loggers import require_loggers
    from clever.options import parse
    from clever.pretraining.engine import pretrain
    from clever.pretraining.interruption import REQUEUE_STATUS, STOPPED_STATUS, Interrupted
    from clever.pretraining.options import ExecutionOptions

    require_threads(arguments.threads, "--threads")
    require_threads(arguments.workers, "--workers")
    given = os.environ.get(LOG_TO, "").split(",")
    log_to = arguments.log_to or [name.strip() for name in given if name.strip()]
    require_loggers(log_to, "--log-to" if arguments.log_to else LOG_TO)
    recipe = _load_recipe(arguments)
    execution = parse(
        ExecutionOptions,
        {
            # A control run is only initialised, so it need not wait for a GPU.
            "device": arguments.device if recipe.method else "cpu",
            "threads": _share(arguments.threads),
            "accept_other_threads": arguments.accept_other_threads,
            "placement": arguments.placement,
            "workers": _share(arguments.workers),
            "compile": arguments.compile,
            "log_every": arguments.log_every,
            "state_every_seconds": arguments.state_every,
            "keep_state": arguments.keep_state,
            "log_to": log_to,
        },
        "command line",
    )
    try:
        pretrain(recipe, Store.open(arguments.store), arguments.output, execution)
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        arguments.status = STOPPED_STATUS if interruption.by_hand else REQUEUE_STATUS


def _share(threads: int | None) -> int | None:
    """This process's share of the machine's threads; None and 0 (all cores) are returned unchanged."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(threads // processes, 1) if threads and threads > 0 else threads


def _add_evaluate(commands: _Commands) -> None:
    parser = _add(
        commands,
        "evaluate",
        "evaluate a run's backbone, and write the records of each protocol",
        "Give either --study, with --protocol for some of its protocols alone, or --options. A protocol whose file "
        "fits the run, the options and the code is not measured again.",
    )
    _add_study(parser, "protocols and their options")
    _add_data_root(parser)
    parser.add_argument(
        "--protocol",
        action="append",
        metavar="NAME",
        help="only this protocol of the study, <name> or <name>+<variant>; may be given several times",
    )
    parser.add_argument("--options", metavar="JSON", help='options by protocol, as in {"knn": {"neighbours": [5]}}')
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="folder of a finished run")
    parser.add_argument("--store", type=Path, required=True, metavar="FOLDER", help="prepared store to evaluate on")
    parser.add_argument(
        "--other-store",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="prepared store of another data set that transfer names; may be given several times",
    )
    parser.add_argument(
        "--output-folder",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder for <protocol>.json, the records of each protocol, and for state/, from which a restart continues",
    )
    parser.add_argument("--again", action="store_true", help="also measure what is up to date")
    parser.add_argument("--device", default="auto", help="as `clever pretrain --device`")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads")
    parser.set_defaults(command=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    from clever.evaluation.job import evaluate_run
    from clever.execution.threads import require_threads
    from clever.pretraining.state import drop_finished_state

    require_threads(arguments.threads, "--threads")
    evaluate_run(
        _evaluations(arguments),
        run_folder=arguments.run,
        store_folder=arguments.store,
        output_folder=arguments.output_folder,
        other_stores=_other_stores(arguments.other_store),
        device=arguments.device,
        threads=arguments.threads,
        again=arguments.again,
    )
    drop_finished_state(arguments.run)


def _other_stores(given: Sequence[str]) -> dict[str, Path]:
    """Folders by name, from NAME=FOLDER."""
    found = {}
    for text in given:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise UserError(f"--other-store {text}: expected NAME=FOLDER, as in pets=results/study/data/pets")
        found[name] = Path(folder)
    return found


def _evaluations(arguments: argparse.Namespace) -> dict[str, object]:
    """Options by protocol, as plain values."""
    if arguments.options is not None:
        given = decode_json(arguments.options, "--options")
        if not isinstance(given, dict):
            raise UserError('--options: a mapping is expected, as in {"knn": {"neighbours": [5]}}')
        found = given
    elif arguments.study:
        study = _load_study(arguments).evaluation_options(_data_root(arguments))
        found = {name: options.model_dump(mode="json") for name, options in study.items()}
    else:
        raise UserError("evaluate needs --study or --options")
    named = dict.fromkeys(arguments.protocol or found)
    for name in named:
        if name not in found:
            raise UserError(f"{arguments.study or '--options'}: evaluations has no {name}; it has: {', '.join(found)}")
    return {name: found[name] for name in named}


def _add_collect(commands: _Commands) -> None:
    parser = _add(commands, "collect", "gather records, metrics and run descriptions of a study into three files")
    parser.add_argument("--evaluations", type=Path, nargs="*", default=[], metavar="FILE", help="evaluation JSON files")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], metavar="FOLDER", help="folders of finished runs")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder for records.csv, curves.csv, runs.json and SHA256SUMS",
    )
    parser.set_defaults(command=_collect)


def _collect(arguments: argparse.Namespace) -> None:
    from clever.results.curves import collect_curves, write_curves
    from clever.results.records import collect, write_records
    from clever.results.run_description import collect_runs, write_runs
    from clever.results.sums import COLLECTED, write_sums

    folder: Path = arguments.output
    runs = collect_runs([run / "run.json" for run in arguments.runs])
    collected = collect(arguments.evaluations, runs)
    curves = collect_curves([run / "metrics.csv" for run in arguments.runs], runs)
    write_records(collected, folder / "records.csv")
    write_curves(curves, folder / "curves.csv")
    write_runs(runs, folder / "runs.json")
    write_sums(folder, COLLECTED)


def _add_checksums(commands: _Commands) -> None:
    parser = _add(commands, "checksums", "write SHA256SUMS into folders of measured studies that are to be committed")
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="holds records.csv, runs.json and curves.csv[.gz]"
    )
    parser.set_defaults(command=_checksums)


def _checksums(arguments: argparse.Namespace) -> None:
    from clever.results.sums import write_sums_of_committed

    for folder in arguments.folders:
        write_sums_of_committed(folder)


def _add_describe(commands: _Commands) -> None:
    parser = _add(commands, "describe", "describe a backbone: parameters, multiply-accumulates, widths, memory")
    parser.add_argument(
        "--backbone", help="a backbone of this project or any timm model; without it, the table of the paper's five"
    )
    parser.add_argument("--image-size", type=int, default=224, metavar="PIXELS", help="side of the image (default 224)")
    parser.add_argument(
        "--separation-ratio", type=float, default=0.8, metavar="RATIO", help="share of IR in the representation (0.8)"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.set_defaults(command=_describe)


def _describe(arguments: argparse.Namespace) -> None:
    from clever.backbones import SPLITS
    from clever.backbones.describe import backbone_table, describe

    size, ratio = arguments.image_size, arguments.separation_ratio
    if arguments.backbone:
        _print_mapping(describe(arguments.backbone, size, ratio), arguments.json)
    elif arguments.json:
        print(json.dumps([describe(name, size, ratio) for name in SPLITS], indent=2))
    else:
        print(backbone_table())


def _add_export(commands: _Commands) -> None:
    parser = _add(
        commands,
        "export",
        "export a run's backbone for timm, the Hugging Face hub and clever.load",
        "Writes config.json, model.safetensors, clever.json and a model card, README.md. A backbone that timm cannot "
        "build is exported for clever.load alone.",
    )
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="folder of a finished run")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="folder to write; new or empty")
    parser.add_argument(
        "--records",
        type=Path,
        metavar="FILE",
        help="records.csv with the numbers for the card (default: that of the run's study, if it is there)",
    )
    parser.add_argument("--licence", metavar="ID", help="licence of the weights, for the card: mit, cc-by-nc-4.0")
    parser.add_argument("--onnx", action="store_true", help="also write model.onnx, and compare its features")
    parser.add_argument(
        "--store", type=Path, metavar="FOLDER", help="prepared store of the data, for runs of earlier versions"
    )
    parser.set_defaults(command=_export)


def _export(arguments: argparse.Namespace) -> None:
    from clever.export import export_run

    done = export_run(
        arguments.run,
        arguments.to,
        store=arguments.store,
        records=arguments.records,
        licence=arguments.licence,
        onnx=arguments.onnx,
    )
    if done.by_timm:
        print(f'{done.folder}: timm.create_model("local-dir:{done.folder}", pretrained=True) loads it', file=sys.stderr)
    else:
        print(f"{done.folder}: timm cannot build this backbone by its name; clever.load reads it", file=sys.stderr)
    if done.onnx_difference is not None:
        print(f"model.onnx: features differ by at most {done.onnx_difference:.1e} of the largest", file=sys.stderr)


def _add_release(commands: _Commands) -> None:
    parser = _add(
        commands,
        "release",
        "gather the exported backbones of a study into a folder of release assets",
        "Writes an archive per backbone and manifest.json with name, size, SHA-256, run, commit and recipe of each. "
        "`clever fetch` reads the folder wherever it is published.",
    )
    parser.add_argument(
        "--results", type=Path, required=True, metavar="FOLDER", help="a study's results, as in results/demo"
    )
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="folder to write; new or empty")
    parser.add_argument(
        "--run", action="append", metavar="ID", help="only this run; may be given several times (default: all trained)"
    )
    parser.add_argument("--licence", metavar="ID", help="licence of the weights, for the cards: mit, cc-by-nc-4.0")
    parser.set_defaults(command=_release)


def _release(arguments: argparse.Namespace) -> None:
    from clever.release.gathering import gather

    manifest = gather(arguments.results, arguments.to, runs=arguments.run, licence=arguments.licence)
    for asset in manifest.assets:
        print(f"{asset.name}  {asset.sha256}  {asset.bytes}")


def _add_fetch(commands: _Commands) -> None:
    parser = _add(
        commands,
        "fetch",
        "download a backbone of a release and check its SHA-256",
        "Without NAME, lists the backbones of the release.",
    )
    parser.add_argument("backbone", nargs="?", metavar="NAME", help="the backbone, or the id of its run")
    parser.add_argument(
        "--from",
        dest="place",
        metavar="PLACE",
        help="folder, file:// or https:// address of the release (default: the environment variable CLEVER_RELEASE)",
    )
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="folder to write; new or empty (default: NAME)")
    parser.set_defaults(command=_fetch)


def _fetch(arguments: argparse.Namespace) -> None:
    from clever.release.fetching import RELEASE, fetch, read_manifest

    place = arguments.place or os.environ.get(RELEASE)
    if not place:
        raise UserError(f"fetch needs --from PLACE or the environment variable {RELEASE}; no release is built in")
    if arguments.backbone is None:
        for asset in read_manifest(place).assets:
            print(f"{asset.name}  {asset.run}  {asset.bytes}")
        return
    folder = fetch(arguments.backbone, place, arguments.to)
    print(f'{folder}: clever.load("{folder}") reads it', file=sys.stderr)


def _add_methods(commands: _Commands) -> None:
    parser = _add(commands, "methods", "list baselines, equivariance add-ons, backbones, augmentations and protocols")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.set_defaults(command=_methods)


def _methods(arguments: argparse.Namespace) -> None:
    from importlib.resources import files

    written = (files("clever") / "catalogue.json").read_text(encoding="utf-8")
    _print_mapping(json.loads(written), arguments.json)


def _add_completion(commands: _Commands, whole: argparse.ArgumentParser) -> None:
    parser = _add(
        commands,
        "completion",
        "print a script that completes commands and options in a shell",
        'Usage: eval "$(clever completion bash)"',
    )
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.set_defaults(command=lambda arguments: _complete(whole, arguments.shell))


def _complete(parser: argparse.ArgumentParser, shell: str) -> None:
    import shtab

    print(shtab.complete(parser, shell))


def _add_schema(commands: _Commands) -> None:
    parser = _add(commands, "schema", "print the JSON schema of a study file, for editors")
    parser.set_defaults(command=_schema)


def _schema(_: argparse.Namespace) -> None:
    from clever.config import Study

    print(json.dumps(Study.model_json_schema(), indent=2, sort_keys=True))


def _add_doctor(commands: _Commands) -> None:
    parser = _add(
        commands,
        "doctor",
        "check this machine before a study",
        "One line per check: ok, warning, or FAIL with what to do. Status 2 if any check fails. Without --study, only "
        "the machine and its packages are checked.",
    )
    _add_study(parser, "needs")
    _add_data_root(parser)
    parser.add_argument("--verify", action="store_true", help="read prepared stores in full and verify checksums")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> None:
    from clever.doctor import examine

    findings = []
    for finding in examine(arguments.study, arguments.data_root, arguments.verify):
        findings.append(finding)
        if not arguments.json:
            print(finding, flush=True)
    if arguments.json:
        print(json.dumps([vars(finding) for finding in findings], indent=2))
    if any(finding.state == "FAIL" for finding in findings):
        arguments.status = 2


def _add_progress(commands: _Commands) -> None:
    parser = _add(
        commands,
        "progress",
        "report the progress of a study and its remaining time",
        "Reads the files that jobs write, during or after a run of Snakemake. Jobs differ widely in length, so "
        "Snakemake's percentage says little. The remaining time is estimated from the jobs that have ended.",
    )
    parser.add_argument("study", type=Path, metavar="FILE", help="study file")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="FOLDER", help="folder of all studies' results"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.set_defaults(command=_progress)


def _progress(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from clever.config import load_study
    from clever.progress import shown, survey

    study = load_study(arguments.study)
    progress = survey(study, arguments.results / study.study)
    print(json.dumps(asdict(progress), indent=2) if arguments.json else shown(progress))


_RECORD_FILTERS = ("run", "protocol", "part", "perturbation", "metric", "selection")


def _add_provenance(commands: _Commands) -> None:
    parser = _add(
        commands,
        "provenance",
        "trace a number back to the data, and check every link",
        "FILE is an evaluation's JSON, a records.csv or a run.json; the other links are searched in the same results "
        "folder. Status 2 if two of them disagree. With --crate, FILE is a study's results folder, and its records, "
        "runs, tables and figures are written as an RO-Crate. If FILE is a crate, its files are compared with their "
        "checksums.",
    )
    parser.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="the file that holds the number, a results folder or a crate",
    )
    for column in _RECORD_FILTERS:
        parser.add_argument(f"--{column}", metavar="NAME", help=f"only records of this {column}")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument("--crate", type=Path, metavar="OUT", help="RO-Crate to write: a new folder, or a .zip file")
    parser.add_argument(
        "--study",
        type=Path,
        metavar="FILE",
        help="with --crate: the study's file (default: found by the folder's name)",
    )
    parser.add_argument("--weights", action="store_true", help="with --crate: include the runs' backbones")
    parser.set_defaults(command=_provenance)


def _provenance(arguments: argparse.Namespace) -> None:
    from clever.research_crate.checking import is_crate

    named = {column: getattr(arguments, column) for column in _RECORD_FILTERS}
    chosen = {column: value for column, value in named.items() if value is not None}
    if arguments.crate is not None or any(map(is_crate, arguments.files)):
        _crate(arguments, [*chosen, *(["json"] if arguments.json else [])])
        return
    for option in ("study", "weights"):
        if getattr(arguments, option):
            raise UserError(f"--{option}: needs --crate OUT")
    from clever.provenance_chain import as_mapping, follow, shown

    chains = follow(arguments.files, chosen)
    if arguments.json:
        print(json.dumps([as_mapping(chain) for chain in chains], indent=2))
    else:
        print("\n\n".join(map(shown, chains)))
    broken = [line for chain in chains for line in chain.broken]
    if broken:
        more = f" (and {len(broken) - 1} more, see above)" if len(broken) > 1 else ""
        raise UserError(f"broken link: {broken[0]}{more}")


def _crate(arguments: argparse.Namespace, unused: list[str]) -> None:
    """Write the crate of a study, or check crates."""
    from clever.research_crate.checking import check_crate
    from clever.research_crate.contents import gather
    from clever.research_crate.packing import write_crate

    if unused:
        raise UserError(f"--{unused[0]}: does not apply to a crate, which holds a whole study")
    if arguments.crate is None:
        for path in arguments.files:
            print(f"{path}: {len(check_crate(path))} files, each with the size and SHA-256 that its description states")
        return
    if len(arguments.files) != 1:
        raise UserError("--crate: give one FILE, the results folder of one study")
    contents = gather(arguments.files[0], arguments.study, arguments.weights)
    paths = write_crate(contents, arguments.crate)
    print(f"{arguments.crate}: {len(paths)} files, {len(contents.runs)} runs, {len(contents.records)} records")
    if contents.left_out:
        print(f"left out, because they show images of a data set: {', '.join(contents.left_out)}")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    _add_study(parser, "run")
    parser.add_argument("--run", metavar="ID", help="the run's id, e.g. digits/resnet10t_half/dino/baug/seed0")
    parser.add_argument("--recipe", metavar="JSON", help="the run's recipe, as the workflow passes it")


def _load_recipe(arguments: argparse.Namespace) -> RunRecipe:
    from clever.options import parse_json
    from clever.pretraining.recipe import RunRecipe

    if arguments.recipe is not None:
        return parse_json(RunRecipe, arguments.recipe, "--recipe")
    if arguments.study and arguments.run:
        return _load_study(arguments).recipe(arguments.run)
    raise UserError("pretrain needs --study and --run, or --recipe")


def _load_study(arguments: argparse.Namespace) -> Study:
    from clever.config import load_study

    return load_study(arguments.study)


def _data_root(arguments: argparse.Namespace) -> str:
    from clever.invocation import DATA_ROOT

    return arguments.data_root or DATA_ROOT


def _print_mapping(content: object, as_json: bool) -> None:
    if as_json:
        print(json.dumps(content, indent=2))
        return
    assert isinstance(content, dict)
    width = max(len(key) for key in content)
    for key, value in content.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list | dict) else value
        print(f"{key:<{width}}  {shown}")


if __name__ == "__main__":
    sys.exit(main())
