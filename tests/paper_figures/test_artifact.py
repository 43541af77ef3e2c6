"""docs/artifact.md equals its script's output; its numbers agree with independent computations and with the
findings."""

from __future__ import annotations

import math
import re

import pandas as pd
import pytest
from artifact import CLEVER, MEASURED, ROOT, STUDIES, Claim, expected, per_seed, records_file, render


def test_the_page_is_current() -> None:
    page = (ROOT / "docs" / "artifact.md").read_text(encoding="utf-8")
    assert page == render(), "run: python paper_figures/artifact.py > docs/artifact.md"


def test_the_tolerance_is_for_a_difference_of_two_means() -> None:
    mean, tolerance = expected(pd.Series([1.0, 3.0, 5.0]))
    assert mean == 3.0
    # t at 0.975 with two degrees of freedom, from a printed table; the standard deviation is 2.
    assert tolerance == pytest.approx(4.3027 * 2 * math.sqrt(2 / 3), rel=1e-4)
    assert expected(pd.Series([4.0])) == (4.0, None)


def test_a_difference_is_paired_within_its_seed() -> None:
    common = {"data": "d", "backbone": "b", "augmentation": "a", "protocol": "linear", "part": "ALL"}
    common |= {"perturbation": "orig", "metric": "top1", "selection": "last"}
    values = {("dino", 0): 10.0, ("dino+clever", 0): 11.0, ("dino", 1): 20.0, ("dino+clever", 1): 18.0}
    # A seed that only CLeVER has forms no pair.
    values |= {("dino+clever", 2): 50.0}
    records = pd.DataFrame([common | {"method": m, "seed": s, "value": v} for (m, s), v in values.items()])
    assert per_seed(Claim("", CLEVER, "orig", "*"), records).to_dict() == {0: 1.0, 1: -2.0}
    assert per_seed(Claim("", "dino", "orig"), records).to_dict() == {0: 10.0, 1: 20.0}


def test_the_pooled_difference_equals_the_findings() -> None:
    """The findings compute it with other code, and the README quotes it: +0.13."""
    records = pd.read_csv(records_file("photographs_cpu"))
    mean, _ = expected(per_seed(Claim("", CLEVER, "orig", "*"), records))
    page = (ROOT / "docs" / "findings_photographs_cpu.md").read_text(encoding="utf-8")
    verdict = next(line for line in page.splitlines() if "CLeVER: for the verdict" in line)
    assert f" {mean:+.2f} \\[" in verdict


def test_every_study_is_listed_and_every_claim_has_a_number() -> None:
    for study in STUDIES:
        assert (ROOT / "workflow" / "studies" / f"{study.name}.yaml").is_file()
        assert (MEASURED / study.name / "runs.json").is_file()
    assert not re.search(r"\bnan\b", render())


def test_a_difference_of_errors_equals_the_one_stated_in_its_study_file() -> None:
    (claim,) = [claim for study in STUDIES if study.name == "spirograph" for claim in study.claims if claim.minus]
    mean, tolerance = expected(per_seed(claim, pd.read_csv(records_file("spirograph"))))
    header = (ROOT / "workflow" / "studies" / "spirograph.yaml").read_text(encoding="utf-8")
    assert f"by {mean:.4f}" in header
    assert f"+{mean:.4f}" in render()
    assert tolerance is not None
    # The interval of a single study's mean is narrower by a factor of sqrt(2).
    assert f"[{mean - tolerance / math.sqrt(2):.4f}, " in header.replace("\n# ", " ")


def test_every_committed_study_has_claims() -> None:
    assert {path.parent.name for path in MEASURED.glob("*/runs.json")} == {study.name for study in STUDIES}


def test_runs_of_the_same_recipe_have_the_same_values_in_two_studies() -> None:
    """``interclr_obow`` repeats runs of ``matrix_cpu`` that were trained by an earlier commit."""
    keys = ["recipe_digest", "data_checksum", "protocol", "part", "perturbation", "metric", "selection"]
    first, second = (pd.read_csv(records_file(name)) for name in ("matrix_cpu", "interclr_obow"))
    both = first.merge(second, on=keys, validate="one_to_one")
    trained = {
        f"digits/resnet10t_half/{method}/caug/seed{seed}" for method in ("simclr", "moco_v2") for seed in range(3)
    }
    assert trained < set(both["run_x"])
    assert set(both["commit_x"]).isdisjoint(both["commit_y"])
    assert (both["value_x"] == both["value_y"]).all()
