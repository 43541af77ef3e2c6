"""Untrusted text in Markdown and LaTeX stays plain text on its line."""

from __future__ import annotations

import tables

HOSTILE = "a\n# forged\n<script>alert(1)</script> & [x](y) `c` | d\x1b[31m"


def test_no_text_of_a_table_breaks_out_of_it() -> None:
    table = tables.Table(
        HOSTILE, HOSTILE, (HOSTILE,), (HOSTILE,), (tables.Row((HOSTILE,), (HOSTILE,), "ours"),), (HOSTILE,)
    )
    plain = tables.Table("t", "c", ("l",), ("v",), (tables.Row(("a",), ("1",), "ours"),), ("n",))
    for render in (tables.to_markdown, tables.to_latex):
        page = render([table])
        assert page.count("\n") == render([plain]).count("\n")
        assert "<script>" not in page.replace("\\<", "")
        assert "\x1b" not in page
    assert tables.to_markdown([table]).startswith("## a # forged ")
