"""docs/paper.md equals its script's output, lists all items of the paper, and names existing rules and studies."""

from __future__ import annotations

import pytest
from paper import FIGURES, PAPER_STUDY, ROOT, TABLES, Item, Studies, read_studies, render

from clever.config import load_study
from clever.drawings import DRAWINGS
from clever.evaluation import PROTOCOLS


def test_the_page_is_current() -> None:
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    assert page == render(read_studies()), "run: python paper_figures/paper.py > docs/paper.md"


def test_the_paper_has_ten_tables_and_eight_figures() -> None:
    assert len(TABLES) == 10
    assert len(FIGURES) == 8


@pytest.mark.parametrize("item", [*TABLES, *FIGURES], ids=lambda item: item.label)
def test_an_item_has_rules_and_a_study_that_lists_them(item: Item) -> None:
    assert item.known
    assert item.draws
    assert set(item.draws) <= set(DRAWINGS)
    path = ROOT / "workflow" / "studies" / f"{item.study}.yaml"
    if item.study.startswith("no study"):
        assert not path.exists()
    else:
        assert set(item.draws) <= set(load_study(path).paper)


def test_measured_means_committed_records_of_a_study_that_lists_the_item() -> None:
    studies = Studies({"a": ["table_1"], "b": ["table_1"], "c": ["report"]}, frozenset({"a", "c", "gone"}))
    assert studies.measured_for("table_1") == ["a"]
    assert studies.measured_for("table_semi") == []
    page = render(studies)
    rows = {cells[3].strip(): cells[5].strip() for line in page.splitlines() if len(cells := line.split("|")) == 8}
    assert rows["table_1"] == "a"
    assert rows["table_semi"] == "not yet"


def test_imagenet100_has_every_protocol_of_photographs_and_every_item() -> None:
    study = load_study(ROOT / "workflow" / "studies" / f"{PAPER_STUDY}.yaml")
    given = {name.partition("+")[0] for name in study.evaluation_options()}
    # These need latents or known objects, which photographs do not have.
    of_drawn_images = {"latents", "relative_rotation", "relative_colour", "retrieval"}
    # The paper has no chains of runs.
    of_chains = {"stages"}
    assert set(PROTOCOLS) - given == of_drawn_images | of_chains
    assert {item for one in (*TABLES, *FIGURES) for item in one.draws} <= set(study.paper)
