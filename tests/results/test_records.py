"""Evaluation files and the tables collected from them."""

from __future__ import annotations

import hashlib
import json
import math
import random
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clever.errors import UserError
from clever.results.records import COLUMNS, Record, RunIdentity, collect, read_evaluation, read_records, write_evaluation, write_records
from clever.results.curves import collect_curves, health_of_curves, numeric_curves, read_curves, write_curves
from clever.results.run_description import collect_runs, write_runs
from clever.sealed import sealed

IDENTITY = RunIdentity("digits", "resnet10t", "dino+clever", "caug", 0, "abc123", "d1", "c1")


def record(value: float = 100 / 3, seed: int = 0, **changes: object) -> Record:
    made = replace(IDENTITY, seed=seed).record(
        protocol="linear", part="ALL", perturbation="orig", metric="top1", value=value, n=360, epoch=100
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_columns_match_the_documented_ones() -> None:
    assert ",".join(COLUMNS) == (
        "run,data,backbone,method,augmentation,seed,protocol,part,perturbation,metric,value,n,selection,epoch,"
        "commit,recipe_digest,data_checksum"
    )
    assert record().run == "digits/resnet10t/dino+clever/caug/seed0"


def test_a_run_id_survives_a_round_trip() -> None:
    assert RunIdentity.parse("digits/pixels/untrained/none/seed12") == RunIdentity(
        "digits", "pixels", "untrained", "none", 12
    )


@pytest.mark.parametrize(
    "wrong", ["digits/pixels/untrained/none/12", "a/b/c/seed0", "a/b/c/d/e/seed0", "a//c/d/seed0", "a/b/c/d/seed-1"]
)
def test_a_wrong_run_id_is_refused(wrong: str) -> None:
    with pytest.raises(UserError, match="is not a run id"):
        RunIdentity.parse(wrong)


def test_an_evaluation_file_reads_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "evaluations" / IDENTITY.run / "linear.json"
    records = [record(), record(part="IR", value=0.1 + 0.2)]
    write_evaluation(path, records, {"versions": {"torch": "2"}})
    evaluation = read_evaluation(path)
    assert evaluation.records == records
    assert evaluation.provenance == {"versions": {"torch": "2"}}
    assert [entry.name for entry in path.parent.iterdir()] == ["linear.json"]


def test_a_value_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"top1 of digits/.*ALL, orig.* not finite"):
        write_evaluation(tmp_path / "linear.json", [record(value=math.nan)], {})
    assert not list(tmp_path.iterdir())


def damaged(changes: dict[str, object]) -> str:
    return json.dumps({"format": 1, "provenance": {}, "records": [asdict(record()) | changes]})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is not an evaluation file"),
        ('{"format": 1', "is not an evaluation file"),
        ('{"format": 1, "provenance": {}}', "records: Field required"),
        ('{"format": 3, "provenance": {}, "records": []}', "has format 3"),
        ('{"format": 2, "provenance": {}, "records": []}', "content_sha256 is missing"),
        (damaged({"value": "high"}), r"records\.0\.value"),
        (damaged({"value": math.nan}), r"records\.0\.value"),
        (damaged({"selection": "first"}), r"records\.0\.selection"),
        (damaged({"extra": 1}), r"records\.0\.extra"),
    ],
)
def test_a_damaged_evaluation_file_is_named(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "linear.json"
    path.write_text(content)
    with pytest.raises(UserError, match=words) as caught:
        collect([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_evaluation_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.json: cannot be read \(No such file"):
        read_evaluation(tmp_path / "absent.json")


def test_records_csv_does_not_depend_on_the_order_of_its_sources(tmp_path: Path) -> None:
    made = [
        record(value=100 * hits / 7, seed=seed, part=part, perturbation=perturbation, data=data)
        for data in ("digits", "cifar10")
        for seed in (10, 9)
        for part in ("IR", "ALL")
        for hits, perturbation in enumerate(("orig", "cj"))
    ]
    paths = []
    for number in range(4):
        paths.append(tmp_path / f"{number}.json")
        write_evaluation(paths[-1], made[number::4], {})
    reference = b""
    for attempt in range(5):
        random.Random(attempt).shuffle(paths)
        write_records(collect(paths), tmp_path / "records.csv")
        content = (tmp_path / "records.csv").read_bytes()
        reference = reference or content
        assert content == reference
    lines = reference.decode().splitlines()
    assert len(lines) == 17
    # Seeds sort as numbers.
    assert [line.split(",")[5] for line in lines[1:]] == (["9"] * 4 + ["10"] * 4) * 2


def test_records_csv_reads_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "linear.json"
    # "none" and "nan" must stay words; 0.1 + 0.2 needs all 17 digits; an untracked checkout has no commit.
    made = [
        record(value=0.1 + 0.2, augmentation="none", commit=""),
        record(value=100.0, augmentation="nan", recipe_digest="123"),
        record(value=100 / 3, method="a+b", commit='a,"b'),
    ]
    write_evaluation(path, made, {})
    collected = collect([path])
    write_records(collected, tmp_path / "records.csv")
    read = read_records(tmp_path / "records.csv")
    pd.testing.assert_frame_equal(read, collected)
    assert {str(read[name].dtype) for name in ("seed", "n", "epoch")} == {"int64"}
    assert str(read["value"].dtype) == "float64"
    rows = [Record(*row) for row in read.itertuples(index=False, name=None)]
    assert sorted(rows, key=lambda row: row.value) == sorted(made, key=lambda row: row.value)
    write_records(read, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "records.csv").read_bytes()


def test_no_evaluations_make_an_empty_table(tmp_path: Path) -> None:
    write_records(collect([]), tmp_path / "records.csv")
    assert (tmp_path / "records.csv").read_text() == ",".join(COLUMNS) + "\n"
    with pytest.raises(UserError, match="the file has a header but no rows"):
        read_records(tmp_path / "records.csv")


def test_equal_records_count_once_and_different_ones_are_refused(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.json" for name in "abc")
    write_evaluation(first, [record()], {})
    write_evaluation(second, [record()], {})
    write_evaluation(third, [record(value=50.0)], {})
    assert len(collect([first, second])) == 1
    with pytest.raises(UserError, match=r"c\.json and .*a\.json disagree on digits/.*part ALL, perturbation orig"):
        collect([third, first])


def test_last_and_best_are_kept_separate(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a.json", [record(), record(selection="best", epoch=7)], {})
    assert collect([tmp_path / "a.json"])["selection"].tolist() == ["best", "last"]


def test_a_table_with_repeated_rows_or_without_a_column_is_not_written(tmp_path: Path) -> None:
    frame = pd.DataFrame([asdict(record()), asdict(record(value=1.0))])
    with pytest.raises(UserError, match="two rows record digits, resnet10t"):
        write_records(frame, tmp_path / "records.csv")
    with pytest.raises(UserError, match="lacks the column 'part'"):
        write_records(frame.drop(columns="part"), tmp_path / "records.csv")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file is empty"),
        ("run,value\na,1\n", "missing column"),
        (",".join(COLUMNS) + "\na,b,c,d,e,zero,l,A,o,top1,1.0,5,last,0,c,r,d\n", "line 2: seed is 'zero'"),
        (",".join(COLUMNS) + "\na,b,c,d,e,0,l,A,o,top1,high,5,last,0,c,r,d\n", "line 2: value is 'high'"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "records.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=words) as caught:
        read_records(path)
    assert str(path) in str(caught.value)


def metrics(folder: Path, run: str, text: str) -> Path:
    path = folder / "runs" / run / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_curves_are_tidy_and_skip_metrics_that_a_method_lacks(tmp_path: Path) -> None:
    plain = metrics(
        tmp_path,
        "digits/r/dino/caug/seed0",
        "epoch,iteration,loss,loss_orthogonality,health\n1,5,2.5,,ok\n2,10,nan,,loss is not finite\n",
    )
    # The third line repeats epoch 2 after a resume.
    split = metrics(tmp_path, "digits/r/dino+clever/caug/seed0", "epoch,loss_orthogonality\n1,0.5\n2,0.25\n2,0.125\n")
    curves = collect_curves([plain, split])
    assert ",".join(curves.columns) == "run,data,backbone,method,augmentation,seed,epoch,metric,value"
    found = {
        (method, epoch, metric): value if metric == "health" else float(value)
        for method, epoch, metric, value in zip(
            curves["method"], curves["epoch"], curves["metric"], curves["value"], strict=True
        )
    }
    assert math.isnan(float(found.pop(("dino", 2, "loss"))))
    assert found == {
        ("dino", 1, "iteration"): 5.0,
        ("dino", 2, "iteration"): 10.0,
        ("dino", 1, "loss"): 2.5,
        ("dino", 1, "health"): "ok",
        ("dino", 2, "health"): "loss is not finite",
        ("dino+clever", 1, "loss_orthogonality"): 0.5,
        ("dino+clever", 2, "loss_orthogonality"): 0.125,
    }
    write_curves(curves, tmp_path / "curves.csv")
    again = read_curves(tmp_path / "curves.csv")
    pd.testing.assert_frame_equal(again, curves, check_dtype=False)
    assert health_of_curves(again) == {"digits/r/dino/caug/seed0": (2, "loss is not finite")}
    assert numeric_curves(again, tmp_path / "curves.csv")["value"].tolist() == [5.0, 10.0, 2.5, 0.5, 0.125]
    write_curves(collect_curves([split, plain]), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "curves.csv").read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line must name the columns"),
        ("loss\n1\n", "first line must name the columns"),
        ("epoch,loss\n1,high\n", "line 2: loss is 'high'"),
        ("epoch,loss\n1,2\nlast,2\n", "line 3: epoch is 'last'"),
        ("epoch,loss\n1,2\n2\n", "line 3: 1 cells, but 2 columns"),
    ],
)
def test_a_damaged_metrics_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = metrics(tmp_path, "digits/r/dino/caug/seed0", text)
    with pytest.raises(UserError, match=words) as caught:
        collect_curves([path])
    assert str(path) in str(caught.value)


def described(run: str, **changes: object) -> dict[str, object]:
    """A consistent run.json."""
    recipe = make_recipe(run)
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]
    return sealed(
        {
            "format": 2,
            "run": run,
            "recipe": recipe,
            "recipe_digest": digest,
            "data_checksum": "c1",
            "git_commit": "abc123",
            "backbone_sha256": "0" * 64,
            "feature_dim": 256,
            "ir_dim": 204,
            "health": "ok",
        }
        | changes
    )


def make_recipe(run: str) -> dict[str, object]:
    data, backbone, method, augmentation, seed = run.split("/")
    return {
        "data": data,
        "backbone_name": backbone,
        "backbone": {"name": "resnet10t_half"},
        "method_name": method,
        "method": {"baseline": {"name": "dino"}, "equivariance": {"name": "clever", "separation_ratio": 0.8}},
        "augmentation_name": augmentation,
        "seed": int(seed.removeprefix("seed")),
    }


def test_runs_are_listed_by_id(tmp_path: Path) -> None:
    paths = []
    for name in ("b/b/b/b/seed0", "a/a/a/a/seed0"):
        paths.append(tmp_path / f"{name[0]}.json")
        paths[-1].write_text(json.dumps(described(name)))
    runs = collect_runs(paths)
    assert [run["run"] for run in runs] == ["a/a/a/a/seed0", "b/b/b/b/seed0"]
    write_runs(runs, tmp_path / "runs.json")
    assert json.loads((tmp_path / "runs.json").read_text()) == runs
    (tmp_path / "c.json").write_text(paths[1].read_text())
    with pytest.raises(UserError, match=r"both describe the run a/a/a/a/seed0"):
        collect_runs([*paths, tmp_path / "c.json"])


def test_a_run_in_the_folder_of_another_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a/a/a/a/seed0" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(described("a/a/a/a/seed7")))
    with pytest.raises(UserError, match="describes a/a/a/a/seed7, but is in the folder of a/a/a/a/seed0"):
        collect_runs([path])


def test_files_of_an_older_version_are_read_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        old = described(f"a/a/a/a/seed{number}", format=1)
        del old["content_sha256"]
        (tmp_path / f"run{number}.json").write_text(json.dumps(old))
        (tmp_path / f"knn{number}.json").write_text(
            json.dumps({"format": 1, "provenance": {}, "records": [asdict(record(seed=number))]})
        )
    assert len(collect_runs(tmp_path.glob("run*.json"))) == 2
    assert len(collect(tmp_path.glob("knn*.json"))) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("WARNING: 2 run.json of an older version have no checksum of their content")
    assert second.startswith("WARNING: 2 evaluation files of an older version")


def test_a_changed_digit_of_an_evaluation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "linear.json"
    write_evaluation(path, [record(value=62.5)], {})
    path.write_text(path.read_text().replace("62.5", "63.5"))
    with pytest.raises(UserError, match=r"linear\.json: was changed or damaged: the SHA-256 .*; restore the file"):
        collect([path])


def test_an_evaluation_of_another_run_is_refused_with_both_values(tmp_path: Path) -> None:
    run = described(IDENTITY.run)
    origin = {"run": run}
    made = record(commit="abc123", recipe_digest=str(run["recipe_digest"]), data_checksum="c1")
    write_evaluation(tmp_path / "a.json", [made], origin)
    assert len(collect([tmp_path / "a.json"], [run])) == 1
    with pytest.raises(UserError, match=r"its ir_dim is 204, run\.json of .* says 100; evaluate again"):
        collect([tmp_path / "a.json"], [run | {"ir_dim": 100}])
    write_evaluation(tmp_path / "b.json", [replace(made, seed=7, run=made.run.replace("seed0", "seed7"))], origin)
    with pytest.raises(UserError, match=r"run of a record is .*seed7, but run of the run is .*seed0; evaluate again"):
        collect([tmp_path / "b.json"])


def test_metrics_that_changed_after_their_run_are_rejected(tmp_path: Path) -> None:
    run = "digits/r/dino/caug/seed0"
    path = metrics(tmp_path, run, "epoch,loss\n0,1.5\n1,1.25\n")
    written = described(run, metrics_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(collect_curves([path], [written])) == 2
    path.write_text("epoch,loss\n0,1.5\n")
    with pytest.raises(UserError, match=r"metrics\.csv: was changed or damaged: .*run\.json says"):
        collect_curves([path], [written])


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"run": 3}'])
def test_a_damaged_run_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json: damaged"):
        collect_runs([tmp_path / "run.json"])


@pytest.mark.parametrize("column", ["run", "data", "backbone", "method", "augmentation", "perturbation", "metric"])
@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a\n# forged", "[a](b)", "", "`a`"])
def test_a_name_that_contains_markup_is_rejected(tmp_path: Path, column: str, name: str) -> None:
    path = tmp_path / "records.csv"
    frame = pd.DataFrame([asdict(record())])
    frame[column] = name
    frame.to_csv(path, index=False)
    with pytest.raises(UserError, match=rf"records\.csv: line 2: {column} is .*; a name may contain only letters") as caught:
        read_records(path)
    assert "\n" not in str(caught.value)
