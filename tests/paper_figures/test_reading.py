"""The scripts' errors for files that are missing, empty, truncated or wrong: one line that names the place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from synthetic_study import SCRIPTS, MakeStudy

from clever.errors import UserError
from clever.results.curves import health_of_curves, numeric_curves, read_curves
from clever.results.records import COLUMNS, read_records
from clever.results.run_description import read_runs


def test_reading_returns_the_written_values(make_study: MakeStudy) -> None:
    study = make_study()
    pd.testing.assert_frame_equal(read_records(study.records_path), study.records, check_dtype=False)
    curves = numeric_curves(read_curves(study.curves_path), study.curves_path)
    pd.testing.assert_frame_equal(curves, study.curves, check_dtype=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("", "the file is empty"),
        (",".join(COLUMNS) + "\n", "the file has a header but no rows"),
        ("run,value\na,1\n", "missing column\\(s\\) data, backbone"),
        ('"run\n', "not a readable CSV"),
    ],
)
def test_a_file_that_is_not_a_table(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "records.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"records\.csv: {message}"):
        read_records(path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("value", "much", "line 4: value is 'much', which is not a finite number"),
        ("value", "nan", "line 4: value is 'nan'"),
        ("seed", "0.5", "line 4: seed is '0.5', which is not a whole number"),
        ("selection", "lucky", "line 4: selection is 'lucky'"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(make_study: MakeStudy, column: str, value: str, message: str) -> None:
    study = make_study()
    table = study.records.astype(str)
    table.loc[2, column] = value
    table.to_csv(study.records_path, index=False)
    with pytest.raises(UserError, match=message):
        read_records(study.records_path)


def test_a_truncated_line_is_named(make_study: MakeStudy) -> None:
    study = make_study()
    text = study.records_path.read_text(encoding="utf-8")
    study.records_path.write_text(text[: text.rindex(",")][: -len("d1935,5")], encoding="utf-8")
    with pytest.raises(UserError, match=rf"line {len(study.records) + 1} has 15 fields, but the header has 17"):
        read_records(study.records_path)


def test_a_repeated_record_is_rejected(make_study: MakeStudy) -> None:
    study = make_study()
    pd.concat([study.records, study.records.iloc[[0]]]).to_csv(study.records_path, index=False)
    with pytest.raises(UserError, match="records a second value for digits/resnet10t/untrained/none/seed0 linear ALL"):
        read_records(study.records_path)


def test_curves_keep_health_separate_and_omit_values_that_cannot_be_drawn(make_study: MakeStudy) -> None:
    study = make_study()
    first = study.curves.iloc[0]
    reported = [("health", 0, "ok"), ("health", 2, "gone"), ("health", 1, "going"), ("loss", 0, "nan"), ("loss", 1, "")]
    more = [{**first, "metric": metric, "epoch": epoch, "value": value} for metric, epoch, value in reported]
    pd.concat([study.curves, pd.DataFrame(more)]).to_csv(study.curves_path, index=False)
    curves = read_curves(study.curves_path)
    assert health_of_curves(curves) == {first["run"]: (1, "going")}
    assert len(numeric_curves(curves, study.curves_path)) == len(study.curves)
    assert "loss" not in set(numeric_curves(curves, study.curves_path)["metric"])


@pytest.mark.parametrize("content", ["{", '{"run": "a"}', '[{"name": "a"}]'])
def test_a_file_that_is_not_a_list_of_runs(tmp_path: Path, content: str) -> None:
    path = tmp_path / "runs.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"runs\.json: "):
        read_runs(path)


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("table_1.py", ["--records", "none.csv", "--output", "table_1.md"]),
        ("figure_robustness.py", ["--records", "none.csv", "--output", "figure.png"]),
        ("figure_loss_terms.py", ["--curves", "none.csv", "--output", "figure.pdf"]),
        ("report.py", ["--records", "none.csv", "--output", "report.html"]),
    ],
)
def test_a_script_ends_with_one_line_and_status_2(tmp_path: Path, script: str, arguments: list[str]) -> None:
    command = [sys.executable, str(SCRIPTS / script)]
    done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: none.csv: no such file\n")
    assert list(tmp_path.iterdir()) == []


def test_an_output_of_unknown_type_is_refused_before_any_work(tmp_path: Path) -> None:
    import table_1

    with pytest.raises(UserError, match=r"--output .*table_1\.docx: the suffix must be one of \.md, \.csv, \.tex"):
        table_1.main(["--records", "none.csv", "--output", str(tmp_path / "table_1.docx")])


def test_runs_come_back_sorted(make_study: MakeStudy) -> None:
    study = make_study()
    study.runs_path.write_text(json.dumps(study.runs[::-1]), encoding="utf-8")
    names = [run["run"] for run in read_runs(study.runs_path)]
    assert names == sorted(run["run"] for run in study.runs)
