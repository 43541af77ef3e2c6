# All measurements in three files: collected from the runs, or committed after an earlier run of the study.

from clever.job_code import collection_code

if setup.invocation.from_measured:
    measured = source / "paper_figures" / "measured" / study.study
    # Large files are committed compressed.
    committed_files = {path.name.removesuffix(".gz"): path for path in measured.glob("*.*")}

    rule committed_sums:
        input:
            measured / "SHA256SUMS",
        output:
            "<results>/SHA256SUMS",
        log:
            "<logs>/committed/SHA256SUMS.log",
        localrule: True
        conda:
            "../../environment.yml"
        message:
            "take {input}"
        shell:
            "cp {input:q} {output:q} 2> {log:q}"

    rule committed:
        input:
            file=lambda wildcards: committed_files.get(wildcards.file, measured / wildcards.file),
            # Every reader compares the file with these checksums.
            sums=rules.committed_sums.output,
        output:
            "<results>/{file}",
        log:
            "<logs>/committed/{file}.log",
        wildcard_constraints:
            file=r"records\.csv|curves\.csv|runs\.json",
        localrule: True
        conda:
            "../../environment.yml"
        message:
            "take {input.file}"
        shell:
            # With --force, an uncompressed file passes unchanged.
            "gzip --decompress --stdout --force < {input.file:q} > {output:q} 2> {log:q}"

else:

    rule collect:
        input:
            evaluations=[
                f"<results>/evaluations/{run}/{protocol}.json" for run in setup.recipes for protocol in protocols
            ],
            descriptions=[f"<results>/runs/{run}/run.json" for run in setup.recipes],
            metrics=[f"<results>/runs/{run}/metrics.csv" for run in setup.recipes],
            code=setup.code("collect", collection_code(package.parent)),
        output:
            records="<results>/records.csv",
            curves="<results>/curves.csv",
            runs="<results>/runs.json",
            sums="<results>/SHA256SUMS",
        log:
            "<logs>/collect.log",
        localrule: True
        conda:
            "../../environment.yml"
        params:
            runs=lambda wildcards, input: [Path(file).parent for file in input.descriptions],
            folder=lambda wildcards, output: Path(output.records).parent,
        message:
            "collect the records of {params.folder}"
        shell:
            "clever collect --evaluations {input.evaluations:q} --runs {params.runs:q} --output {params.folder:q} > {log:q} 2>&1"
