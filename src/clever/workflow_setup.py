"""The values that the Snakefile computes before it declares its rules, from the validated study."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clever.code_sums import code_sums
from clever.config import Study, parse_study
from clever.crosschecks import refuse_for_stores
from clever.crosschecks.missing_data import folder_faults, missing_data
from clever.drawings import Drawing
from clever.errors import UserError
from clever.evaluation import PROTOCOLS
from clever.evaluation.options.protocol import ProtocolOptions
from clever.invocation import Invocation, refuse_settings, separate
from clever.pretraining.recipe import RunRecipe
from clever.study_file import read_study

RESULTS = Path("results")
"""Folder of all studies' results, in the working folder."""
CODE_SUMS = Path(".snakemake", "clever")
"""Folder of the files that represent the source files of jobs. Every plan writes them."""
DRY_RUN = frozenset({"-n", "--dry-run", "--dryrun"})
"""Snakemake's options for a plan."""


@dataclass(frozen=True)
class Setup:
    """Values that the rules share."""

    study: Study
    recipes: dict[str, RunRecipe]
    """Recipe of every run by its id, computed once because Snakemake asks for each of them."""
    invocation: Invocation
    protocols: dict[str, ProtocolOptions]
    """Options of every protocol, with its data under ``data_root``. A variant, ``<protocol>+<name>``, is the same code
    with other options."""
    results: str
    """Folder of the study's results. Drawings of committed records are kept apart from drawings of records measured
    here."""
    urgency: dict[str, int]
    """Priority of the runs of each seed: Snakemake starts jobs of equal priority in arbitrary order. All runs of a
    seed, evaluated, come before the next seed, so that a study that is stopped early has complete columns."""

    @property
    def pictured(self) -> list[str]:
        """Names of the protocols, with their variants, that keep pictures for figures."""
        return [name for name in self.protocols if PROTOCOLS[name.partition("+")[0]].pictures]

    def uncommitted(self, drawing: Drawing) -> dict[str, list[str]]:
        """Inputs of a drawing that are never committed, by their names in the rule.

        A drawing of committed records uses the inputs that an earlier run of the study left here, if there are any.
        """
        found = drawing.uncommitted_inputs(self.study)
        if not self.invocation.from_measured:
            return {name: [f"<results>/{file}" for file in files] for name, files in found.items()}
        here = RESULTS / self.study.study
        return {name: [str(here / file) for file in files if (here / file).is_file()] for name, files in found.items()}

    def code(self, job: str, files: Iterable[Path]) -> str:
        """The input that represents the source files of a kind of job: it changes when one of them does.

        Args:
            job: a name for the kind of job, unique in the study.
            files: its source files (see ``clever.job_code``).

        Raises:
            SystemExit: the file cannot be written.
        """
        try:
            return code_sums(CODE_SUMS / self.study.study / f"{job}.sha256", tuple(sorted(files)))
        except UserError as error:
            sys.exit(f"error: {error}")

    def recipe(self, run: str) -> RunRecipe:
        """The recipe of one run.

        Raises:
            UserError: the study has no such run.
        """
        return self.recipes[run] if run in self.recipes else self.study.recipe(run)


def source_folder(basedir: object) -> Path:
    """Folder of the Snakefile, relative to the working folder.

    Args:
        basedir: its location according to Snakemake: a path, or an address if the file is read from a hosted
            repository.

    Raises:
        SystemExit: it is not a local folder. The rules need the package and the scripts of a checkout.
    """
    if not isinstance(basedir, str | os.PathLike):
        sys.exit(
            f"error: {basedir}: this workflow runs the package and the scripts of its checkout, so a hosted Snakefile "
            'is not enough; clone the repository and give the local path, for example snakefile: "../clever/Snakefile"'
        )
    return Path(os.path.relpath(basedir))


def default_study(source: Path, module: bool = False) -> str:
    """The study file to read if the command line names none: the working folder's config.yaml, else the demo.

    Args:
        source: folder of the Snakefile.
        module: whether another workflow loads this one; its config.yaml is then not a study.
    """
    return "config.yaml" if Path("config.yaml").exists() and not module else str(source / "config.yaml")


def set_up(config: Mapping[str, object], files: Sequence[str | Path], arguments: Sequence[str]) -> Setup:
    """Read and check the study, and let jobs find ``clever`` and ``python`` where Snakemake itself was found.

    Missing data end a run. A plan needs no data, so it only prints a note.

    Args:
        config: Snakemake's configuration: the study files and ``--config`` merged.
        files: the study files, to be read strictly; none where another workflow loads this one as a module and
            ``config`` is its argument.
        arguments: Snakemake's command line. It is the only sign of a plan while the Snakefile is read.

    Raises:
        SystemExit: the study cannot be run; its message is one line. Snakemake would put any other exception between
            two lines about the Snakefile, which is not at fault.
    """
    try:
        setup = _checked(config, [Path(os.path.relpath(file)) for file in files], not DRY_RUN.isdisjoint(arguments))
    except UserError as error:
        sys.exit(f"error: {error}")
    # Then the environment need not be activated.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return setup


def _checked(config: Mapping[str, object], files: Sequence[Path], plan: bool) -> Setup:
    source = ", ".join(map(str, files)) or "the module's config"
    for file in files:
        # Snakemake's loader keeps the last of two equal keys; this one rejects them.
        refuse_settings(read_study(file), str(file))
    invocation, content = separate(config)
    study = parse_study(content, source, invocation.from_measured)
    results = RESULTS / study.study
    if not invocation.from_measured:
        refuse_for_stores(study, RESULTS, source)
        for line in missing_data(study, invocation.data_root, results / "data"):
            if not plan:
                raise UserError(line)
            print(f"note: {line}", file=sys.stderr)
        for line in folder_faults(study, invocation.data_root, results / "data"):
            raise UserError(f"{source}: {line}")
    recipes = study.recipes()
    last_first = sorted({recipe.seed for recipe in recipes.values()}, reverse=True)
    return Setup(
        study=study,
        recipes=recipes,
        invocation=invocation,
        protocols=study.evaluation_options(invocation.data_root),
        results=str(results / "measured" if invocation.from_measured else results),
        urgency={str(seed): 2 * place for place, seed in enumerate(last_first)},
    )
