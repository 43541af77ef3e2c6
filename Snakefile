# The DAG of one study, from raw images to the tables and figures of the paper:
#
#   prepare -> pretrain -> evaluate -> collect -> table_1, figure_robustness, figure_loss_terms -> report
#
# `snakemake --cores all` runs the demo of config.yaml; `--configfile workflow/studies/cifar10.yaml` runs another study.
import sys
from pathlib import Path

from snakemake.utils import min_version

from clever.invocation import command
from clever.results.run_id import AXIS_PATTERN, VARIED_PATTERN
from clever.workflow_setup import default_study, set_up, source_folder

min_version("9.27")

# Another workflow may load this one as a module, with the study as `config`.
as_module = not workflow.modifier.is_main_snakefile()
# The source, relative to the working folder: inputs keep their names when the checkout is moved.
source = source_folder(workflow.current_basedir)
package = source / "src" / "clever"

# A study given on the command line replaces the default one. If they were merged, every study would contain the demo's
# methods.
if not workflow.overwrite_configfiles:

    configfile: default_study(source, as_module)


study_files = [] if as_module else workflow.overwrite_configfiles or [default_study(source)]
setup = set_up(config, study_files, sys.argv)
study, protocols, urgency = setup.study, setup.protocols, setup.urgency
# Quoted by the report; another workflow has its own command.
made_by = "" if as_module else command(workflow.overwrite_configfiles, workflow.config_settings.config)

run_id = "{data}/{backbone}/{method}/{augmentation}/seed{seed}"


pathvars:
    results=setup.results,
    logs=f"results/{study.study}/logs",
    benchmarks=f"results/{study.study}/benchmarks",


wildcard_constraints:
    data=AXIS_PATTERN,
    backbone=AXIS_PATTERN,
    method=VARIED_PATTERN,
    augmentation=VARIED_PATTERN,
    seed=r"\d+",


include: "workflow/rules/data.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/records.smk"
include: "workflow/rules/paper.smk"


rule all:
    default_target: True
    input:
        [getattr(rules, item).output for item in study.paper],
    localrule: True
