"""Format-independent tables, written as Markdown or LaTeX (the report renders them as HTML)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clever.errors import one_line

Kind = Literal["ours", "control", "published"]


@dataclass(frozen=True)
class Row:
    """One row: its labels, its numbers as text (``cells``) and its kind."""

    labels: tuple[str, ...]
    cells: tuple[str, ...]
    kind: Kind


@dataclass(frozen=True)
class Table:
    """A table in plain text, without markup; ``caption`` is one paragraph, each of ``notes`` one or two sentences."""

    title: str
    caption: str
    label_heads: tuple[str, ...]
    value_heads: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def to_markdown(tables: Sequence[Table]) -> str:
    """One section per table, in GitHub's dialect; columns are padded so that the source is readable too."""
    return "\n".join(_markdown_section(table) for table in tables)


def _markdown_section(table: Table) -> str:
    notes = [f"- {escape_markdown(note)}" for note in table.notes]
    head = [f"## {escape_markdown(table.title)}", "", escape_markdown(table.caption), ""]
    return "\n".join([*head, markdown_grid(table.label_heads, table.value_heads, table.rows), "", *notes, ""])


def markdown_grid(label_heads: Sequence[str], value_heads: Sequence[str], rows: Sequence[Row]) -> str:
    """The lines of a Markdown table without title and notes: labels left-aligned, values right-aligned."""
    # Heads may contain square brackets, as of an interval; their names come from checked records.
    heads = [escape_markdown(text, brackets=False) for text in (*label_heads, *value_heads)]
    lines = [[escape_markdown(text) for text in (*row.labels, *row.cells)] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(heads, *lines, strict=True)]
    labels = len(label_heads)

    def render(texts: Sequence[str]) -> str:
        padded = [
            text.ljust(width) if index < labels else text.rjust(width)
            for index, (text, width) in enumerate(zip(texts, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if index < labels else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    return "\n".join([render(heads), render(rule), *(render(line) for line in lines)])


def escape_markdown(text: str, *, brackets: bool = True) -> str:
    """Text for one line of Markdown: markup characters are escaped; a line break becomes a space."""
    line = one_line(" ".join(text.split("\n")))
    special = "\\`*|<>&" + ("[]" if brackets else "")
    return "".join(f"\\{character}" if character in special else character for character in line)


def markdown_code(text: str) -> str:
    """A name as inline code on one line of Markdown; a backtick, which would end the code, becomes an apostrophe."""
    return f"`{one_line(' '.join(text.split(chr(10)))).replace('`', chr(39))}`"


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "°": r"$^\circ$",
    "–": "--",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
}


def escape_latex(text: str) -> str:
    """Text for LaTeX: special characters, and the few non-ASCII characters of our tables, become commands."""
    return "".join(_LATEX.get(character, character) for character in one_line(" ".join(text.split("\n"))))


def to_latex(tables: Sequence[Table]) -> str:
    """One ``table*`` float per table; needs the packages booktabs and, for quotation marks, fontenc with T1."""
    return "\n".join(
        ["% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}", *(_latex_float(table) for table in tables)]
    )


def _latex_float(table: Table) -> str:
    def render(texts: Sequence[str]) -> str:
        return " & ".join(escape_latex(text) for text in texts) + r" \\"

    body: list[str] = []
    for index, row in enumerate(table.rows):
        if index > 0 and row.labels[0] != table.rows[index - 1].labels[0]:
            body.append(r"\midrule")
        body.append(render((*row.labels, *row.cells)))
    notes = [rf"\par {escape_latex(note)}" for note in table.notes]
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escape_latex(table.title)}. {escape_latex(table.caption)}}}",
            rf"\begin{{tabular}}{{{'l' * len(table.label_heads)}{'r' * len(table.value_heads)}}}",
            r"\toprule",
            render((*table.label_heads, *table.value_heads)),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\begin{minipage}{\linewidth}\footnotesize",
            *notes,
            r"\end{minipage}",
            r"\end{table*}",
            "",
        ]
    )
