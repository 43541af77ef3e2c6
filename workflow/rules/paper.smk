# One rule a table or figure of the paper, named as its script and its outputs. Each is redrawn alone when it is asked for.

figures = source / "paper_figures"
published = sorted(str(file) for file in (figures / "published").glob("*.csv"))
# What the scripts share.
drawing_code = [
    str(figures / f"{name}.py") for name in ("arguments", "names", "published_values", "style", "summary", "tables")
]


rule table_1:
    input:
        script=figures / "table_1.py",
        records="<results>/records.csv",
        runs="<results>/runs.json",
        published=published,
        code=drawing_code,
    output:
        report(
            multiext("<results>/paper/table_1", ".md", ".csv", ".tex"),
            caption="../report/table_1.rst",
            category="Tables",
        ),
    log:
        "<logs>/table_1.log",
    conda:
        "../../environment.yml"
    message:
        "draw {output}"
    shell:
        "python {input.script:q} --records {input.records:q} --runs {input.runs:q} --output {output:q} > {log:q} 2>&1"


rule table_matrix:
    input:
        script=figures / "table_matrix.py",
        records="<results>/records.csv",
        runs="<results>/runs.json",
        code=[*drawing_code, str(figures / "differences.py")],
    output:
        report(
            multiext("<results>/paper/table_matrix", ".md", ".csv", ".tex"),
            caption="../report/table_matrix.rst",
            category="Tables",
        ),
    log:
        "<logs>/table_matrix.log",
    conda:
        "../../environment.yml"
    message:
        "draw {output}"
    shell:
        "python {input.script:q} --records {input.records:q} --runs {input.runs:q} --output {output:q} > {log:q} 2>&1"


rule table_latents:
    input:
        script=figures / "table_latents.py",
        records="<results>/records.csv",
        runs="<results>/runs.json",
        code=[*drawing_code, str(figures / "differences.py"), str(figures / "table_matrix.py")],
    output:
        report(
            multiext("<results>/paper/table_latents", ".md", ".csv", ".tex"),
            caption="../report/table_latents.rst",
            category="Tables",
        ),
    log:
        "<logs>/table_latents.log",
    conda:
        "../../environment.yml"
    message:
        "draw {output}"
    shell:
        "python {input.script:q} --records {input.records:q} --runs {input.runs:q} --output {output:q} > {log:q} 2>&1"


rule table_references:
    input:
        script=figures / "table_references.py",
        records="<results>/records.csv",
        runs="<results>/runs.json",
        published=published,
        code=[*drawing_code, str(figures / "references.py"), str(figures / "table_1.py")],
    output:
        report(
            multiext("<results>/paper/table_references", ".md", ".csv", ".tex"),
            caption="../report/table_references.rst",
            category="Tables",
        ),
    log:
        "<logs>/table_references.log",
    conda:
        "../../environment.yml"
    message:
        "draw {output}"
    shell:
        "python {input.script:q} --records {input.records:q} --runs {input.runs:q} --output {output:q} > {log:q} 2>&1"


rule figure_robustness:
    input:
        script=figures / "figure_robustness.py",
        records="<results>/records.csv",
        published=published,
        code=drawing_code,
    output:
        report(
            multiext("<results>/paper/figure_robustness", ".pdf", ".png"),
            caption="../report/figure_robustness.rst",
            category="Figures",
        ),
    log:
        "<logs>/figure_robustness.log",
    conda:
        "../../environment.yml"
    message:
        "draw {output}"
    shell:
        "python {input.script:q} --records {input.records:q} --output {output:q} > {log:q} 2>&1"


rule figure_loss_terms:
    input:
        script=figures / "figure_loss_terms.py",
        curves="<results>/curves.csv",
        runs="<results>/runs.json",
        code=drawing_code,
    output:
        report(
            multiext("<results>/paper/figure_loss_terms", ".pdf", ".png"),
            caption="../report/figure_loss_terms.rst",
            category="Figures",
        ),
    log:
        "<logs>/figure_loss_terms.log",
    conda:
        "../../environment.yml"
    message:
        "draw {output}"
    shell:
        "python {input.script:q} --curves {input.curves:q} --runs {input.runs:q} --output {output:q} > {log:q} 2>&1"


rule report:
    input:
        script=figures / "report.py",
        template=figures / "report.html.jinja",
        records="<results>/records.csv",
        curves="<results>/curves.csv",
        runs="<results>/runs.json",
        figures=[
            "<results>/paper/figure_robustness.png",
            "<results>/paper/figure_loss_terms.png",
        ],
        published=published,
        code=[*drawing_code, str(figures / "table_1.py"), str(figures / "table_provenance.py")],
    output:
        report("<results>/paper/report.html", caption="../report/report.rst", category="Report"),
    log:
        "<logs>/report.log",
    conda:
        "../../environment.yml"
    params:
        title=f"CLeVER, study {study.study}",
    message:
        "draw {output}"
    shell:
        "python {input.script:q} --records {input.records:q} --runs {input.runs:q} --curves {input.curves:q}"
        " --figures {input.figures:q} --title {params.title:q} --output {output:q} > {log:q} 2>&1"


# What judges the claims, shared by the page and the figure.
judging_code = [
    str(figures / f"{name}.py")
    for name in ("claims", "differences", "pooled_differences", "parameter_counts", "table_matrix", "verdicts")
]


rule figure_claims:
    input:
        script=figures / "figure_claims.py",
        records="<results>/records.csv",
        runs="<results>/runs.json",
        published=published,
        code=[*drawing_code, *judging_code],
    output:
        report(
            multiext("<results>/paper/figure_claims", ".pdf", ".png"),
            caption="../report/figure_claims.rst",
            category="Figures",
        ),
    log:
        "<logs>/figure_claims.log",
    conda:
        "../../environment.yml"
    params:
        study=study.study,
    message:
        "draw {output}"
    shell:
        "python {input.script:q} --records {input.records:q} --runs {input.runs:q} --study {params.study:q}"
        " --output {output:q} > {log:q} 2>&1"


rule findings:
    input:
        script=figures / "findings.py",
        template=figures / "findings.md.jinja",
        records="<results>/records.csv",
        runs="<results>/runs.json",
        published=published,
        code=[
            *drawing_code,
            *judging_code,
            *(str(figures / f"{name}.py") for name in ("baseline_checks", "references", "table_provenance")),
        ],
    output:
        report("<results>/paper/findings.md", caption="../report/findings.rst", category="Report"),
    log:
        "<logs>/findings.log",
    conda:
        "../../environment.yml"
    params:
        study=study.study,
        # Beside the page, where the study draws it.
        figure="--figure figure_claims.png" if "figure_claims" in study.paper else "",
    message:
        "draw {output}"
    shell:
        "python {input.script:q} --records {input.records:q} --runs {input.runs:q} --study {params.study:q}"
        " {params.figure} --output {output:q} > {log:q} 2>&1"
