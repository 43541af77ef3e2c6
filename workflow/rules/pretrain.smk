# One job a run, the control runs (no epochs) included. The training state lives in state/ beside the outputs, where
# Snakemake does not delete it: a job that was stopped goes on when it is started again.

from clever.baselines import BASELINES
from clever.equivariance import EQUIVARIANCES
from clever.provenance import source_files

# What every run's result depends on. Perturbations and probe views belong to the evaluation.
training_code = sorted(
    str(file)
    for folder in ("augmentation", "backbones", "pretraining")
    for file in (package / folder).glob("*.py")
    if file.stem not in ("__init__", "describe", "perturbations", "probe")
)
training_code += [
    str(package / file)
    for file in (
        "buffers.py",
        "data/loading.py",
        "data/pairs.py",
        "data/store.py",
        "randomness.py",
        "spirograph.py",
        "threediebench.py",
    )
]

# Each method's own files, so that a new method leaves the runs of the others alone.
method_code = {
    name: [
        os.path.relpath(file)
        for file in source_files(
            BASELINES[method.baseline.name][0],
            EQUIVARIANCES[method.equivariance.name][0],
            packages=("clever.baselines", "clever.equivariance"),
        )
    ]
    for name, method in study.methods.items()
}


rule pretrain:
    input:
        store="<results>/data/{data}/store.json",
        code=lambda wildcards: training_code + method_code.get(wildcards.method, []),
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
    # One thread on a CPU, because the last bits depend on their number; profiles for GPUs raise it.
    threads: 1
    resources:
        # GPUs of one run, with a process for each (torchrun); all of its machines together.
        gpu=lambda wildcards: 1 if wildcards.method in study.methods else 0,
        nodes=1,
        # For a GPU job the Slurm plugin reads `tasks` as tasks per GPU unless this is given; 0 keeps it a total.
        tasks_per_gpu=0,
        # What a scheduler is asked for. A job that is tried again may have lacked memory, or only time: no more than threefold.
        mem_mb=lambda wildcards, attempt: 48000 * min(attempt, 3),
        runtime=1440,
        # Slurm's warning before the time limit. Without "B:" it goes to the job's steps, where the trainer is; with it only
        # the batch shell would hear it.
        slurm_extra="--signal=TERM@120",
    params:
        recipe=lambda wildcards: study.recipe(run_id.format(**wildcards)).canonical(),
        store=lambda wildcards, input: Path(input.store).parent,
        folder=lambda wildcards, output: Path(output.description).parent,
        launcher=source / "workflow" / "launch.sh",
    message:
        "pre-train {params.folder}; progress: {log}"
    shell:
        "exec {params.launcher:q} {resources.gpu} {resources.nodes}"
        " clever pretrain --recipe {params.recipe:q} --store {params.store:q} --output {params.folder:q}"
        " --threads {threads} --workers {threads} >> {log:q} 2>&1"
