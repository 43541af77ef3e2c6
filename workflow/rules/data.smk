# One prepared store a data set: store.json is renamed into place together with the arrays beside it.
from clever.job_code import preparation_code


rule prepare:
    input:
        code=lambda wildcards: preparation_code(study.data[wildcards.data].source, package.parent),
    output:
        store="<results>/data/{data}/store.json",
    log:
        "<logs>/prepare/{data}.log",
    benchmark:
        "<benchmarks>/prepare/{data}.tsv"
    # Before every run of another data set that is ready.
    priority: 2 * len(urgency) + 1
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        mem_mb=lambda wildcards, attempt: 32000 * min(attempt, 3),
        runtime=lambda wildcards, attempt: 240 * min(attempt, 3),
    params:
        # What decides the content. Where the images lie does not: a folder that has moved is no reason to prepare them
        # anew and train every run again.
        content=lambda wildcards: study.data[wildcards.data].canonical(exclude={"root", "download"}),
        # Snakemake compares no parameter that is a function of the output, and so not this one.
        options=lambda wildcards, output: study.data_options(wildcards.data, setup.invocation.data_root).canonical(),
        folder=lambda wildcards, output: Path(output.store).parent,
    message:
        "prepare {wildcards.data}; log: {log}"
    shell:
        "clever prepare --options {params.options:q} --output {params.folder:q} >> {log:q} 2>&1"
