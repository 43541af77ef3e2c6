# One rule per table or figure of the paper, so that each can be redrawn alone. An item of clever.drawings has the
# script paper_figures/<item>.py and the caption workflow/report/<item>.rst.

from clever.drawings import DRAWINGS, FILES, contained_items
from clever.job_code import drawing_code

figures = source / "paper_figures"
captions = source / "workflow" / "report"
published = sorted(str(file) for file in (figures / "published").glob("*.csv"))
# Committed records may lack the curves, which are large.
lacking = {name for name, file in FILES.items() if setup.invocation.from_measured and file not in committed_files}

for item, drawing in DRAWINGS.items():

    rule:
        name:
            item
        input:
            **drawing.inputs(study, lacking),
            **setup.uncommitted(drawing),
            script=figures / f"{item}.py",
            templates=sorted(file for name in drawing.templates for file in figures.glob(name)),
            captions=[captions / f"{name}.rst" for name in contained_items(study)] if drawing.embeds else [],
            published=published if drawing.published else [],
            code=setup.code(f"draw/{item}", drawing_code(figures / f"{item}.py", package.parent)),
        output:
            report(
                multiext(f"<results>/paper/{item}", *drawing.suffixes),
                caption=f"../report/{item}.rst",
                category=drawing.category,
            ),
        log:
            f"<logs>/{item}.log",
        # Seconds of work on a few text files, which are not worth a cluster's queue.
        localrule: True
        conda:
            "../../environment.yml"
        params:
            # `drawing` is bound here because Snakemake calls this after the loop. `shell` is evaluated then too, so it must
            # not use a loop variable.
            arguments=lambda wildcards, input, drawing=drawing: [
                *drawing.arguments(study, input, lacking, made_by),
                *drawing.uncommitted_arguments(input),
            ],
        message:
            "draw {output}"
        shell:
            "python {input.script:q} {params.arguments:q} --output {output:q} > {log:q} 2>&1"
