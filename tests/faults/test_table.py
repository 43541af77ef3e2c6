"""The page of faults: every row with its counts; equal outcomes give equal text."""

from __future__ import annotations

from faults.row import Outcome, Row
from faults.table import page


def outcome(group: int, fault: str, said: list[str], unexpected: list[str]) -> Outcome:
    tries = [lambda _: ""] * (len(said) + len(unexpected))
    return Outcome(Row(group, fault, "works | or not", tries), said, unexpected, seconds=1.25)


FIRST = outcome(1, "a kill", ["resumes at step 3"] * 2, [])
SECOND = outcome(2, "a lock", ["", ""], ["it hung"])
THIRD = outcome(10, "an archive", ["error: /tmp/a b/row03/try00/files/x: `bad`\nprocess 17 on host-1"], [])


def test_the_page_counts_sorts_and_shortens() -> None:
    text = page([THIRD, SECOND, FIRST], "2 cores of a processor", 61.4)
    assert "5 of 6 tries as expected, in 61 s on 2 cores of a processor." in text
    table = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert table == [
        r"| 1 | a kill | 2 | 2 | 1.2 | works \| or not |",
        r"| 2 | a lock | 3 | 2 | 1.2 | works \| or not |",
        r"| 10 | an archive | 1 | 1 | 1.2 | works \| or not |",
    ]
    said = [line for line in text.splitlines() if line.startswith("- ")]
    assert said == [
        "- **1 a kill**: `resumes at step 3`",
        "- **10 an archive**: `error: …/x: 'bad' process 4711 on node1`",
    ]


def test_a_very_long_line_is_truncated() -> None:
    text = page([outcome(1, "a kill", ["word " * 300], [])], "a machine", 1)
    assert max(map(len, text.splitlines())) < 600


def test_the_layout_does_not_depend_on_the_order_of_the_rows() -> None:
    assert page([FIRST, SECOND, THIRD], "m", 1) == page([THIRD, FIRST, SECOND], "m", 1)
