# One job per run, which measures all protocols: imports, store and backbone are loaded once, and features are shared.
#
# Each protocol's JSON is an output. Snakemake deletes a job's outputs before the job runs again and when it fails, so
# the job keeps a copy of each in state/ next to them. It measures only those protocols whose copy does not match the
# run, the options and the code, so adding or editing one protocol leaves the records of the others unchanged. Protocols
# that show pictures keep some for figures, in an NPZ next to the JSON.
import json

from clever.job_code import evaluation_code

if protocols:

    rule evaluate:
        input:
            backbone=f"<results>/runs/{run_id}/backbone.safetensors",
            description=f"<results>/runs/{run_id}/run.json",
            store="<results>/data/{data}/store.json",
            # Data sets for the protocol transfer.
            others=[f"<results>/data/{name}/store.json" for name in study.evaluation_data()],
            # Lists of the images that keep their labels.
            lists=[file for options in protocols.values() for file in options.listed_files() if Path(file).exists()],
            code=setup.code(
                "evaluate",
                {
                    file
                    for protocol in protocols
                    for file in evaluation_code(protocol.partition("+")[0], package.parent)
                },
            ),
        output:
            [f"<results>/evaluations/{run_id}/{protocol}.json" for protocol in protocols],
            [f"<results>/evaluations/{run_id}/{protocol}.npz" for protocol in setup.pictured],
        log:
            f"<logs>/evaluate/{run_id}.log",
        benchmark:
            f"<benchmarks>/evaluate/{run_id}.tsv"
        priority: lambda wildcards: urgency.get(wildcards.seed, 0) + 1
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            gpu=1,
            mem_mb=lambda wildcards, attempt: 48000 * min(attempt, 3),
            # Four hours per protocol, at most a day. A job that is retried continues with the remaining protocols.
            runtime=min(240 * len(protocols), 1440),
        params:
            # By protocol, sorted. The job itself finds out which of them have changed.
            options=json.dumps(
                {protocol: options.model_dump(mode="json") for protocol, options in protocols.items()}, sort_keys=True
            ),
            run=lambda wildcards, input: Path(input.description).parent,
            store=lambda wildcards, input: Path(input.store).parent,
            others=lambda wildcards, input: [
                word
                for name, store in zip(study.evaluation_data(), input.others, strict=True)
                for word in ("--other-store", f"{name}={Path(store).parent}")
            ],
            folder=lambda wildcards, output: Path(output[0]).parent,
        message:
            "evaluate {params.run}; log: {log}"
        shell:
            "clever evaluate --options {params.options:q} --run {params.run:q} --store {params.store:q}"
            " {params.others:q} --output-folder {params.folder:q} --threads {threads} >> {log:q} 2>&1"
