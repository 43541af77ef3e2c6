"""The main table, parsed back from each of its formats and compared with pandas on the synthetic records."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import table_1
from synthetic_study import COLLAPSED, PERTURBATIONS, MakeStudy, Study
from tables import escape_latex

from clever.errors import UserError

Cells = dict[tuple[str, ...], dict[str, str]]


def _render(study: Study, suffix: str, *more: str) -> str:
    path = study.folder / f"table_1{suffix}"
    table_1.main(["--records", str(study.records_path), "--output", str(path), *more])
    return path.read_text(encoding="utf-8")


def _parse_markdown(text: str) -> list[Cells]:
    """One mapping per section, from (backbone, method, augmentation, values) to column to text."""
    sections = []
    for section in text.split("## ")[1:]:
        lines = [
            [cell.strip().replace("\\", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in section.splitlines()
            if line.startswith("|")
        ]
        heads, rows = lines[0], lines[2:]
        assert {len(row) for row in rows} == {len(heads)}
        sections.append({tuple(row[:4]): dict(zip(heads[4:], row[4:], strict=True)) for row in rows})
    return sections


def _parse_latex(text: str) -> list[Cells]:
    sections = []
    for body in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, flags=re.DOTALL):
        plain = body.replace("\\midrule\n", "").replace(r"$\pm$", "±").replace("--", "–").replace(r"\_", "_")
        plain = plain.replace(r"$\dagger$", "†").replace(r"$\ddagger$", "‡")
        lines = [line.removesuffix(r" \\").split(" & ") for line in plain.splitlines()]
        heads, rows = lines[0], lines[1:]
        sections.append({tuple(row[:4]): dict(zip(heads[4:], row[4:], strict=True)) for row in rows})
    return sections


def _expected(study: Study, method: str, augmentation: str, perturbation: str, selection: str = "last") -> str:
    frame = study.records
    values = frame[
        (frame["method"] == method)
        & (frame["augmentation"] == augmentation)
        & (frame["perturbation"] == perturbation)
        & (frame["selection"] == selection)
        & (frame["part"] == "ALL")
        & (frame["backbone"] != "pixels")
    ]["value"].to_numpy()
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.1f}"
    spread = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
    return f"{mean:.1f} ± {spread:.1f}"


@pytest.mark.parametrize("suffix", [".md", ".tex"])
def test_every_cell_is_mean_and_sample_deviation_over_seeds(make_study: MakeStudy, suffix: str) -> None:
    study = make_study(seeds=3)
    text = _render(study, suffix)
    ours = (_parse_markdown(text) if suffix == ".md" else _parse_latex(text))[0]
    for method in ("dino", "dino+clever"):
        for augmentation in ("baug", "caug"):
            row = ours["resnet10t", method, augmentation, "ours, 3 seeds"]
            for perturbation in PERTURBATIONS:
                assert row[perturbation] == _expected(study, method, augmentation, perturbation)
            assert row["orig, best †"] == _expected(study, method, augmentation, "orig", "best")
    control = ours["resnet10t", "control: untrained", "none", "ours, 1 seed"]
    assert control["cj_rot"] == _expected(study, "untrained", "none", "cj_rot")
    assert "n = 360 images" in text
    assert "Data: digits" in text


def test_csv_is_tidy_and_unrounded(make_study: MakeStudy) -> None:
    study = make_study(seeds=3)
    _render(study, ".csv", "--runs", str(study.runs_path))
    table = pd.read_csv(study.folder / "table_1.csv")
    chosen = study.records[study.records["part"] == "ALL"]
    keys = ["data", "backbone", "method", "augmentation", "perturbation", "selection"]
    expected = chosen.groupby(keys)["value"].agg(["mean", "std", "count"])
    ours = table[table["kind"] != "published"].set_index(keys)
    assert len(ours) == len(expected)
    ours = ours.loc[expected.index]
    pd.testing.assert_series_equal(ours["value"], expected["mean"], check_names=False, rtol=1e-14)
    pd.testing.assert_series_equal(ours["std"], expected["std"], check_names=False, rtol=1e-14)
    assert (ours["seeds"] == expected["count"]).all()
    assert set(ours.loc[ours["kind"] == "ours", "epochs"]) == {7}
    assert set(ours.loc[ours["kind"] == "control", "seeds"]) == {1}
    published = table[table["kind"] == "published"]
    assert set(published["data"]) == {"imagenet100"}
    assert len(published) == 40
    assert published["source"].str.contains("71772da").all()


@pytest.mark.parametrize("suffix", [".md", ".tex"])
def test_values_published_on_other_data_are_separate(make_study: MakeStudy, suffix: str) -> None:
    text = _render(make_study(), suffix)
    ours, theirs = _parse_markdown(text) if suffix == ".md" else _parse_latex(text)
    assert not any("published" in key[3] for key in ours)
    assert all(key[3].startswith("published, 200 epochs") for key in theirs)
    assert len(theirs) == 20
    assert theirs["resnet18", "dino+clever", "baug", "published, 200 epochs (1)"] == {"orig": "76.8", "cj_rot": "46.5"}
    assert theirs["vit_tiny", "dino", "caug", "published, 200 epochs (1,2)"]["orig"] == "66.2 ± 0.086"
    assert "Published values on a different data set: imagenet100" in text
    assert "Not comparable with our numbers on digits" in text
    assert "Published values on digits: not published in the sources we have." in text


@pytest.mark.parametrize("suffix", [".md", ".tex"])
def test_on_the_same_data_the_published_value_is_below_ours(make_study: MakeStudy, suffix: str) -> None:
    study = make_study(data="imagenet100", backbones=("vit_tiny", "resnet50"), methods=("dino+clever", "simclr"))
    text = _render(study, suffix)
    sections = _parse_markdown(text) if suffix == ".md" else _parse_latex(text)
    assert len(sections) == 1
    keys = list(sections[0])
    printed = ("vit_tiny", "dino+clever", "baug", "published, 200 epochs (1)")
    assert keys[keys.index(printed) - 1] == ("vit_tiny", "dino+clever", "baug", "ours, 2 seeds")
    assert sections[0][printed] == {
        **{"orig": "74.9", "cj": "n. p.", "cj_flip": "n. p.", "cj_rot": "48.3", "cj_rot_et": "n. p."},
        "orig, best †": "",
    }
    assert sections[0]["resnet50", "dino+clever", "caug", "published, 200 epochs (1,2)"]["cj_rot"] == "77.7"
    missing = sections[0]["vit_tiny", "simclr", "caug", "not published in the sources we have"]
    assert set(missing.values()) == {"n. p.", ""}


def test_simsiam_is_shown_with_the_values_of_ddcl_s_readme(make_study: MakeStudy) -> None:
    study = make_study(data="imagenet100", backbones=("resnet50",), methods=("simsiam", "simsiam+clever"))
    ours = _parse_markdown(_render(study, ".md"))[0]
    assert ours["resnet50", "simsiam+clever", "caug", "published, 500 epochs (1)"] == {
        **{"orig": "80.7", "cj": "80.2", "cj_flip": "80.0", "cj_rot": "77.6", "cj_rot_et": "48.1"},
        "orig, best †": "",
    }


def test_parts_have_no_published_values(make_study: MakeStudy) -> None:
    study = make_study(data="imagenet100", backbones=("vit_tiny",))
    ours = _parse_markdown(_render(study, ".md", "--part", "IR"))[0]
    assert ("vit_tiny", "dino+clever", "baug", "ours, 2 seeds") in ours
    assert not any(key[3].startswith("published") for key in ours)


@pytest.mark.parametrize("controls", [True, False])
def test_both_controls_are_in_every_table_unless_the_study_has_none(make_study: MakeStudy, controls: bool) -> None:
    study = make_study(backbones=("resnet10t", "vit_tiny"), controls=controls)
    ours = _parse_markdown(_render(study, ".md"))[0]
    rows = {key for key in ours if key[1].startswith("control")}
    assert rows == (
        {
            ("resnet10t", "control: untrained", "none", "ours, 1 seed"),
            ("vit_tiny", "control: untrained", "none", "ours, 1 seed"),
            ("pixels", "control: raw pixels", "none", "ours, 1 seed"),
        }
        if controls
        else set()
    )
    assert all(set(ours[key].values()) != {"–"} for key in rows)


def test_an_unhealthy_run_is_marked_with_its_reason(make_study: MakeStudy) -> None:
    sick = "digits/resnet10t/dino/caug/seed1"
    study = make_study(collapsed=[sick])
    text = _render(study, ".md", "--runs", str(study.runs_path))
    marked = [key for key in _parse_markdown(text)[0] if key[3].endswith("‡")]
    assert marked == [("resnet10t", "dino", "caug", "ours, 7 epochs, 2 seeds ‡")]
    assert f"{sick}: {COLLAPSED}" in text.replace("\\", "")


def test_latex_is_escaped_and_balanced(make_study: MakeStudy) -> None:
    study = make_study(collapsed=["digits/resnet10t/dino/caug/seed1"])
    text = _render(study, ".tex", "--runs", str(study.runs_path))
    assert escape_latex(r"a_b & 5% {x} \y ~^#$") == (
        r"a\_b \& 5\% \{x\} \textbackslash{}y \textasciitilde{}\textasciicircum{}\#\$"
    )
    body = text.split("\n", 1)[1]
    assert body.isascii()
    assert not re.search(r"(?<!\\)[_#%]", body.replace("\\footnotesize", ""))
    assert r"\textless{}one\textgreater{} output \& more" in body
    assert body.count(r"\begin{") == body.count(r"\end{")
    unescaped = re.sub(r"\\[{}]", "", body)
    assert unescaped.count("{") == unescaped.count("}")


def test_the_same_records_give_the_same_bytes_in_any_order(make_study: MakeStudy) -> None:
    study = make_study(seeds=3)
    first = [_render(study, suffix) for suffix in table_1.SUFFIXES]
    study.records.sample(frac=1.0, random_state=3).to_csv(study.records_path, index=False)
    assert [_render(study, suffix) for suffix in table_1.SUFFIXES] == first


def test_a_protocol_that_was_not_run_is_named_with_those_that_were(make_study: MakeStudy) -> None:
    study = make_study()
    with pytest.raises(UserError, match="knn ALL top1; the records have: linear ALL top1; linear EF top1"):
        _render(study, ".md", "--protocol", "knn")


def test_one_call_writes_all_formats(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study()
    outputs = [tmp_path / "paper" / f"table_1{suffix}" for suffix in table_1.SUFFIXES]
    table_1.main(["--records", str(study.records_path), "--output", *map(str, outputs)])
    assert sorted(outputs[0].parent.iterdir()) == sorted(outputs)
