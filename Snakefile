# The DAG of one study, from raw images to the tables and figures of the paper:
#
#   prepare -> pretrain -> evaluate -> collect -> table_1, figure_robustness, figure_loss_terms -> report
#
# `snakemake --cores all` runs the demo of config.yaml; `--configfile workflow/studies/cifar10.yaml` runs another study.
import os
import sys
from pathlib import Path

from snakemake.utils import min_version

from clever.config import parse_study
from clever.crosschecks import refuse_for_stores
from clever.errors import UserError
from clever.evaluation.external import ExternalOptions
from clever.files import expanded
from clever.results.run_id import AXIS_PATTERN
from clever.study_file import read_study

min_version("9.27")

# A study given on the command line stands alone. Declaring the default all the same would merge the two, and the
# demo's methods would turn up in every study.
# In another working folder (--directory) without one of its own it is the demo of the source.
default_study = "config.yaml" if os.path.exists("config.yaml") else os.path.join(workflow.basedir, "config.yaml")

if not workflow.overwrite_configfiles:

    configfile: default_study


study_files = [os.path.relpath(file) for file in workflow.overwrite_configfiles or [default_study]]
try:
    for file in study_files:
        read_study(Path(file))  # refuses a key that stands twice, of which Snakemake has kept the last
    study = parse_study(config, ", ".join(study_files))
    refuse_for_stores(study, Path("results"), ", ".join(study_files))
    for name in study.data:
        options = study.data_options(name)
        prepared = Path("results", study.study, "data", name, "store.json").exists()
        needless = study.from_measured or prepared or options.download
        if options.root and not (needless or expanded(options.root).is_dir()):
            absent = f"data.{name}: there is no folder {options.root}; give its parent with --config data_root=FOLDER"
            # A plan needs no data. Snakemake itself knows only after this file whether it is to plan or to run.
            if not {"-n", "--dry-run", "--dryrun"}.intersection(sys.argv):
                raise UserError(absent)
            print(f"note: {absent}", file=sys.stderr)
    for name, options in study.evaluation_options().items():
        if isinstance(options, ExternalOptions) and not study.from_measured:
            try:
                options.require()
            except UserError as error:
                absent = f"evaluations.{name}: {error}"
                if not {"-n", "--dry-run", "--dryrun"}.intersection(sys.argv):
                    raise UserError(absent) from error
                print(f"note: {absent}", file=sys.stderr)
except UserError as error:
    # Snakemake would put the line between two of its own about this file, which is not where the fault is.
    sys.exit(f"error: {error}")

# Jobs find `clever` and `python` where Snakemake itself was found, also when its environment is not activated.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]))

# The source as seen from the working folder: inputs keep their names when the checkout is moved.
source = Path(os.path.relpath(workflow.basedir))
package = source / "src" / "clever"

run_id = "{data}/{backbone}/{method}/{augmentation}/seed{seed}"

# Snakemake starts jobs of one priority in no order of its own. One seed of everything, evaluated, comes before the next,
# so that a study that is stopped early has whole columns; within a seed the long jobs, so that no core waits for one.
last_first = sorted({recipe.seed for recipe in study.recipes().values()}, reverse=True)
urgency = {str(seed): 2 * place for place, seed in enumerate(last_first)}

# What is drawn from committed records stands apart from what was measured here.
results = f"results/{study.study}/measured" if study.from_measured else f"results/{study.study}"


pathvars:
    results=results,
    logs=f"results/{study.study}/logs",
    benchmarks=f"results/{study.study}/benchmarks",


wildcard_constraints:
    data=AXIS_PATTERN,
    backbone=AXIS_PATTERN,
    method=AXIS_PATTERN,
    augmentation=AXIS_PATTERN,
    seed=r"\d+",


# Seconds of work on a few text files: not worth a cluster's queue.
localrules:
    all,
    table_1,
    table_matrix,
    table_latents,
    table_references,
    figure_robustness,
    figure_loss_terms,
    figure_claims,
    report,
    findings,


include: "workflow/rules/data.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/records.smk"
include: "workflow/rules/paper.smk"


rule all:
    default_target: True
    input:
        [getattr(rules, item).output for item in study.paper],
