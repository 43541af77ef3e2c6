# One job per run, including the control runs (no epochs). The training state is in state/ next to the outputs, where
# Snakemake does not delete it: a stopped job continues when it is started again.

from clever.job_code import training_code

# The names of every method's baseline and add-on, so that a new method does not retrain the runs of other methods.
method_names = {
    recipe.method_name: (recipe.method.baseline.name, recipe.method.equivariance.name)
    for recipe in setup.recipes.values()
    if recipe.method is not None
}

training_sums = {
    (baseline, equivariance): setup.code(
        f"pretrain/{baseline}+{equivariance}" if baseline else "pretrain/control",
        training_code(baseline, equivariance, package.parent),
    )
    for baseline, equivariance in {(None, None), *method_names.values()}
}

# A run that starts from a file, or from earlier runs, waits for the jobs that write them, and runs again when they
# change.
earlier_files = {run: recipe.earlier_files for run, recipe in setup.recipes.items()}


rule pretrain:
    input:
        store="<results>/data/{data}/store.json",
        earlier=lambda wildcards: earlier_files.get(run_id.format(**wildcards), []),
        code=lambda wildcards: training_sums[method_names.get(wildcards.method, (None, None))],
    output:
        backbone=f"<results>/runs/{run_id}/backbone.safetensors",
        description=f"<results>/runs/{run_id}/run.json",
        metrics=f"<results>/runs/{run_id}/metrics.csv",
    log:
        f"<logs>/pretrain/{run_id}.log",
    benchmark:
        f"<benchmarks>/pretrain/{run_id}.tsv"
    priority: lambda wildcards: urgency.get(wildcards.seed, 0) + 2
    conda:
        "../../environment.yml"
    # One thread on a CPU, because the last bits of a result depend on the number of threads; profiles for GPUs raise
    # it.
    threads: 1
    resources:
        # GPUs of one run, over all of its machines, with one process each (torchrun).
        gpu=lambda wildcards: 1 if wildcards.method in method_names else 0,
        nodes=1,
        # For a GPU job the Slurm plugin reads `tasks` as tasks per GPU unless this is given; 0 keeps it a total.
        tasks_per_gpu=0,
        # Requested from a scheduler. A retried job may have lacked memory or only time: it requests at most three times
        # as much.
        mem_mb=lambda wildcards, attempt: 48000 * min(attempt, 3),
        runtime=1440,
        # Slurm's warning before the time limit. Without "B:" it reaches the job's steps and so the trainer; with "B:" only
        # the batch shell would receive it.
        slurm_extra="--signal=TERM@120",
    params:
        recipe=lambda wildcards: setup.recipe(run_id.format(**wildcards)).canonical(),
        store=lambda wildcards, input: Path(input.store).parent,
        folder=lambda wildcards, output: Path(output.description).parent,
        launcher=source / "workflow" / "launch.sh",
    message:
        "pre-train {params.folder}; progress: {log}"
    shell:
        "exec {params.launcher:q} {resources.gpu} {resources.nodes}"
        " clever pretrain --recipe {params.recipe:q} --store {params.store:q} --output {params.folder:q}"
        " --threads {threads} --workers {threads} >> {log:q} 2>&1"
