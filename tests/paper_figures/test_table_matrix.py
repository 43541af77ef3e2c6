"""The matrix, parsed back and compared with pandas and SciPy on synthetic records."""

from __future__ import annotations

import csv
import io

import pytest
import table_matrix
from scipy import stats
from synthetic_study import COLLAPSED, MakeStudy, Study

from clever.errors import UserError

METHODS = ("simclr", "dino+clever", "dino", "dino+ddcl")


def render(study: Study, suffix: str, *more: str) -> str:
    path = study.folder / f"table_matrix{suffix}"
    table_matrix.main(["--records", str(study.records_path), "--output", str(path), *more])
    return path.read_text(encoding="utf-8")


def of(study: Study, method: str, perturbation: str) -> list[float]:
    frame = study.records
    chosen = (frame["backbone"] == "resnet10t") & (frame["augmentation"] == "caug") & (frame["part"] == "ALL")
    chosen &= (frame["method"] == method) & (frame["perturbation"] == perturbation) & (frame["selection"] == "last")
    return [float(value) for value in frame[chosen].sort_values("seed")["value"]]


def test_every_number_matches_the_records(make_study: MakeStudy) -> None:
    study = make_study(methods=METHODS, seeds=3)
    rows = list(csv.DictReader(io.StringIO(render(study, ".csv"))))
    found = {(r["backbone"], r["augmentation"], r["method"], r["perturbation"]): r for r in rows}
    assert len(found) == len(rows)
    for method in METHODS:
        for perturbation in ("orig", "cj_rot"):
            row, values = found["resnet10t", "caug", method, perturbation], of(study, method, perturbation)
            assert float(row["mean"]) == pytest.approx(sum(values) / 3)
            if "+" not in method:
                assert row["difference"] == row["verdict"] == row["reference"] == ""
                continue
            test = stats.ttest_rel(values, of(study, "dino", perturbation))
            interval = test.confidence_interval(0.95)
            assert row["reference"] == "dino"
            assert (float(row["low"]), float(row["high"])) == pytest.approx((interval.low, interval.high))
            decided = row["verdict"] != "undecided"
            assert decided == (test.pvalue < 0.05)


def test_rows_list_controls_then_each_baseline_before_its_add_ons(make_study: MakeStudy) -> None:
    study = make_study(methods=METHODS, seeds=2)
    lines = [line for line in render(study, ".md").splitlines() if line.startswith("| ")][1:]
    methods = [line.split("|")[3].strip() for line in lines if "caug" in line or "none" in line]
    assert methods == ["control: raw pixels", "control: untrained", "dino", "dino+clever", "dino+ddcl", "simclr"]


def test_markdown_shows_mean_deviation_difference_and_interval(make_study: MakeStudy) -> None:
    study = make_study(methods=METHODS, seeds=3)
    line = next(row for row in render(study, ".md").splitlines() if "dino+clever" in row and "| caug" in row)
    ours, reference = of(study, "dino+clever", "orig"), of(study, "dino", "orig")
    interval = stats.ttest_rel(ours, reference).confidence_interval(0.95)
    difference = sum(ours) / 3 - sum(reference) / 3
    assert f"{sum(ours) / 3:.1f} ± " in line
    assert f"{difference:+.1f} \\[{interval.low:+.1f}, {interval.high:+.1f}\\]" in line


def test_one_seed_has_a_difference_without_interval(make_study: MakeStudy) -> None:
    study = make_study(methods=("dino", "dino+clever"), seeds=1)
    line = next(row for row in render(study, ".md").splitlines() if "dino+clever" in row and "| caug" in row)
    difference = of(study, "dino+clever", "orig")[0] - of(study, "dino", "orig")[0]
    assert f" {difference:+.1f} |" in line


def test_an_unhealthy_run_is_marked_and_named(make_study: MakeStudy) -> None:
    sick = "digits/resnet10t/dino+clever/caug/seed1"
    study = make_study(methods=("dino", "dino+clever"), seeds=2, collapsed=(sick,))
    text = render(study, ".md", "--runs", str(study.runs_path))
    assert "dino+clever ‡" in text
    assert sick in text
    assert COLLAPSED.split("<")[0] in text


def test_all_formats_and_a_clear_error(make_study: MakeStudy) -> None:
    study = make_study(methods=("dino", "dino+clever"), seeds=2)
    assert r"\begin{tabular}" in render(study, ".tex")
    with pytest.raises(UserError, match="no record of protocol, part, metric = nothing ALL top1"):
        render(study, ".md", "--protocol", "nothing")
