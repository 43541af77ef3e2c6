# One job a run and protocol.

import re

from clever.job_code import evaluation_code


rule evaluate:
    input:
        backbone=f"<results>/runs/{run_id}/backbone.safetensors",
        description=f"<results>/runs/{run_id}/run.json",
        store="<results>/data/{data}/store.json",
        code=lambda wildcards: evaluation_code(wildcards.protocol.partition("+")[0], package.parent),
    output:
        records=f"<results>/evaluations/{run_id}/{{protocol}}.json",
    log:
        f"<logs>/evaluate/{run_id}/{{protocol}}.log",
    benchmark:
        f"<benchmarks>/evaluate/{run_id}/{{protocol}}.tsv"
    wildcard_constraints:
        protocol="|".join(re.escape(protocol) for protocol in protocols),
    priority: lambda wildcards: urgency.get(wildcards.seed, 0) + 1
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 48000 * min(attempt, 3),
        # A retried probe starts from the beginning.
        runtime=lambda wildcards, attempt: 240 * min(attempt, 3),
    params:
        options=lambda wildcards: protocols[wildcards.protocol].canonical(),
        run=lambda wildcards, input: Path(input.description).parent,
        store=lambda wildcards, input: Path(input.store).parent,
    message:
        "evaluate {params.run}: {wildcards.protocol}; log: {log}"
    shell:
        "clever evaluate --protocol {wildcards.protocol:q} --options {params.options:q} --run {params.run:q}"
        " --store {params.store:q} --output {output.records:q} --threads {threads} >> {log:q} 2>&1"
