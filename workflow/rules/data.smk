# One prepared store per data set: store.json and its arrays are renamed into place together.
from clever.job_code import preparation_code


rule prepare:
    input:
        code=lambda wildcards: setup.code(
            f"prepare/{study.data[wildcards.data].source}",
            preparation_code(study.data[wildcards.data].source, package.parent),
        ),
    output:
        store="<results>/data/{data}/store.json",
    log:
        "<logs>/prepare/{data}.log",
    benchmark:
        "<benchmarks>/prepare/{data}.tsv"
    # Higher priority than every run on another data set that is ready to start.
    priority: 2 * len(urgency) + 1
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        mem_mb=lambda wildcards, attempt: 32000 * min(attempt, 3),
        runtime=lambda wildcards, attempt: 240 * min(attempt, 3),
    params:
        content=lambda wildcards: study.data[wildcards.data].content(),
        # A function of the output: Snakemake does not compare such parameters when it looks for changes.
        options=lambda wildcards, output: study.data_options(wildcards.data, setup.invocation.data_root).canonical(),
        folder=lambda wildcards, output: Path(output.store).parent,
    message:
        "prepare {wildcards.data}; log: {log}"
    shell:
        "clever prepare --options {params.options:q} --output {params.folder:q} >> {log:q} 2>&1"
