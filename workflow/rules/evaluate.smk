# One job a run and protocol.

# Every protocol's options, and what its result depends on beside the backbone. A variant, <protocol>+<name>, is the same
# code with other options.
import re

protocols = study.evaluation_options()
further_code = {
    "linear": ["standardisation.py"],
    "logistic": ["labelled_subset.py", "logistic_regression.py"],
    "semi": ["finetuning.py", "labelled_subset.py", "linear.py"],
    "corruption": ["corruptions.py", "logistic_regression.py"],
    "attention": ["attention_maps.py", "grad_cam.py", "saliency/datasets.py"],
    "parameters": ["regression.py", "standardisation.py"],
    "latents": ["regression.py"],
    "relative_rotation": ["relative.py"],
    "relative_colour": ["regression.py", "relative.py"],
    "retrieval": ["relative.py"],
}
protocol_code = {
    name: [
        str(package / "evaluation" / file)
        for file in ("averaging.py", "features.py", "parts.py", *further_code.get(name, []))
    ]
    # A protocol is one file or, where its algorithms are its own, a folder.
    + sorted(map(str, [*(package / "evaluation").glob(f"{name}.py"), *(package / "evaluation" / name).glob("*.py")]))
    + [str(package / "augmentation" / file) for file in ("perturbations.py", "probe.py")]
    for name in {protocol.partition("+")[0] for protocol in protocols}
}


rule evaluate:
    input:
        backbone=f"<results>/runs/{run_id}/backbone.safetensors",
        description=f"<results>/runs/{run_id}/run.json",
        store="<results>/data/{data}/store.json",
        code=lambda wildcards: protocol_code[wildcards.protocol.partition("+")[0]],
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
        # A probe starts anew when it is tried again.
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
