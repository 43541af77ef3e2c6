"""The parts of the report: questions for every kind of study, recipes stated once, and the cost of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import report_question
from markupsafe import Markup
from report_compute import compute_facts
from report_items import inline_svg, markdown_to_html
from report_matrix import main_columns, main_matrices
from report_runs import recipes_of
from synthetic_study import SCRIPTS, MakeStudy

from clever.results.records import read_records
from clever.results.run_description import read_runs


def _answer(records: pd.DataFrame) -> report_question.Answer:
    return report_question.answer(records, report_question.claims_of(records, []))


def test_a_study_of_clever_asks_whether_clever_helps(make_study: MakeStudy) -> None:
    """The difference is averaged over the comparisons for each seed, and Student's t covers the two seeds."""
    records = make_study().records
    chosen = records[
        (records["perturbation"] == "orig") & (records["part"] == "ALL") & (records["selection"] == "last")
    ]
    seeds = chosen.pivot_table(index="seed", columns=["method", "augmentation"], values="value")
    by_seed = (seeds["dino+clever"] - seeds["dino"]).mean(axis=1)
    reach = 12.706205 * by_seed.std(ddof=1) / 2**0.5
    found = _answer(records)
    assert found.question == "Does CLeVER help dino on digits?"
    mean = by_seed.mean()
    assert found.numbers == f"{mean:+.2f} points [{mean - reach:+.2f}, {mean + reach:+.2f}]"
    assert "mean over 2 comparisons and 2 seeds" in found.basis


def test_one_seed_has_no_interval(make_study: MakeStudy) -> None:
    found = _answer(make_study(seeds=1).records)
    assert found.verdict == "undecided: one seed"
    assert found.tone == "open"
    assert "[" not in found.numbers


def test_a_study_of_latents_asks_about_its_add_on() -> None:
    folder = SCRIPTS / "measured" / "spirograph"
    records, runs = read_records(folder / "records.csv"), read_runs(folder / "runs.json")
    found = report_question.answer(records, report_question.claims_of(records, runs))
    assert found.question == "Does gradient lower the mean squared error of simclr?"
    # The docs and the head of the study file state this difference: 0.0156 [0.0080, 0.0232].
    assert found.verdict == "not supported: higher"
    assert found.numbers == "+0.0156 squared units [+0.0080, +0.0232]"
    assert found.tone == "bad"
    checks = report_question.checks(records, runs, {})
    assert [check.holds for check in checks] == [True, True]
    assert "2 of 2 trained rows better than their untrained backbone" in checks[1].text
    [matrix] = main_matrices(records, {}, [], main_columns(records))
    best = {row.label: [cell.is_best for cell in row.cells] for row in matrix.rows}
    assert best == {"control: untrained": [False] * 2, "simclr": [True] * 2, "simclr+gradient": [False] * 2}


def test_a_lower_error_supports_an_add_on(make_study: MakeStudy) -> None:
    records = make_study(methods=["simclr", "simclr+gradient"], seeds=3).records
    records = records[
        (records["part"] == "ALL") & (records["perturbation"] == "orig") & (records["selection"] == "last")
    ]
    added = records["method"] == "simclr+gradient"
    records = records.assign(
        protocol="latents", metric="mean_mse", value=0.5 - 0.1 * added + 0.001 * records["seed"] * added
    )
    found = _answer(records)
    assert found.verdict == "supported"
    assert found.numbers.startswith("-0.0990 squared units [")


def test_a_study_without_add_ons_compares_with_the_untrained_backbone(make_study: MakeStudy) -> None:
    records = make_study(methods=["dino"], seeds=1).records
    found = _answer(records)
    assert found.question == "Does pre-training improve on an untrained backbone, by top-1 accuracy?"
    assert found.verdict == "undecided: one seed"


def test_a_study_with_nothing_to_compare_says_so(make_study: MakeStudy) -> None:
    study = make_study(methods=["dino"], controls=False)
    assert _answer(study.records).verdict == report_question.NO_COMPARISON
    controls = study.records.assign(method="untrained", augmentation="none")
    controls = controls.drop_duplicates(["run", "part", "perturbation", "selection", "seed"])
    assert _answer(controls).question == "What top-1 accuracy do the controls reach?"


def test_checks_name_the_weakest_row(make_study: MakeStudy) -> None:
    study = make_study(seeds=1)
    records = study.records
    main = (records["part"] == "ALL") & (records["perturbation"] == "orig") & (records["selection"] == "last")
    values = {"untrained": 50.0, "dino": 60.0, "dino+clever": 45.0}
    records.loc[main, "value"] = records.loc[main, "method"].map(values)
    health, above = report_question.checks(records, study.runs, {study.runs[0]["run"]: "sick"})
    assert (health.text, health.holds) == ("3 of 4 runs healthy", False)
    assert not above.holds
    assert above.text.startswith("2 of 4 trained rows better than their untrained backbone; the weakest (dino+clever, ")
    assert above.text.endswith(": -5.0 points")


def _run(method: str, augmentation: str, seed: int, **settings: Any) -> dict[str, Any]:
    return {
        "run": f"d/b/{method}/{augmentation}/seed{seed}",
        "epochs": 2,
        "recipe": {"seed": seed, "optimisation": settings},
    }


def test_a_setting_is_stated_once_by_the_axis_that_determines_it() -> None:
    runs = [
        _run("m1", "baug", 0, epochs=2, rate=0.1, crop=1, both=1),
        _run("m1", "caug", 0, epochs=2, rate=0.1, crop=2, both=2),
        _run("m2", "baug", 0, epochs=2, rate=0.2, crop=1, both=3, own=True),
        _run("m2", "caug", 1, epochs=2, rate=0.2, crop=2, both=4, own=True),
    ]
    found = recipes_of(runs)
    assert found.shared == (("optimisation.epochs", "2"),)
    by_name = {
        setting.name.removeprefix("optimisation."): (setting.axes, setting.values) for setting in found.differing
    }
    assert by_name["rate"] == ("method", (("m1", "0.1"), ("m2", "0.2")))
    assert by_name["crop"] == ("augmentation", (("baug", "1"), ("caug", "2")))
    assert by_name["own"] == ("method", (("m2", "true"),))
    assert by_name["both"][0] == "method, augmentation"
    assert ("m1 / caug", "2") in by_name["both"][1]


def test_costs_are_sums_and_the_energy_states_its_assumption() -> None:
    cpu = {"device": "cpu", "cores": 64, "threads": 2, "processes": 1}
    gpu = {"device": "cuda", "gpu": "NVIDIA H100 80GB HBM3", "processes": 2}
    recipe = {"optimisation": {"batch_size": 50}}
    runs = [
        {"run": "a", "epochs": 2, "iterations": 10, "wall_seconds": 3600.0, "hardware": cpu, "recipe": recipe},
        {"run": "b", "epochs": 2, "iterations": 30, "wall_seconds": 1800.0, "hardware": gpu, "recipe": recipe},
        {"run": "c", "epochs": 2, "iterations": 30, "recipe": recipe},
        {"run": "control", "epochs": 0, "iterations": 0, "wall_seconds": 99.0},
    ]
    facts = dict(compute_facts(runs, {"big": 2_000_000, "small": 140_000}))
    assert facts["trained runs"] == "3"
    assert facts["training time"] == "1 h 30 min (1.50 hours), evaluations not included; of 1 not recorded"
    assert facts["images trained on"] == "3,500, counted over all epochs; 500 to 1,500 per run"
    assert facts["backbone parameters"] == "small 0.14 million, big 2.00 million"
    # 2 cores of 10 W for one hour, and two cards of 700 W for half an hour.
    assert facts["energy, estimated"].startswith("0.72 kWh of training. Not measured: it assumes ")
    assert "10 W per CPU core × 2 for 1.00 hours" in facts["energy, estimated"]
    assert "700 W per GPU (NVIDIA H100 80GB HBM3, rated power) × 2 for 0.50 hours" in facts["energy, estimated"]
    assert compute_facts(runs[-1:], {}) == ()


def test_markdown_becomes_tables_folds_and_links() -> None:
    text = (
        "# Page\n\n<details><summary>More (2)</summary>\n\n- one\n\n</details>\n\n## Part\n\n"
        "| name | value |\n|---|---:|\n| a\\|b | 1 \\< 2 |\n\n![the claims](figure_claims.png) ![gone](other.png)\n"
    )
    html = markdown_to_html(text, "table_x", {"figure_claims"})
    assert isinstance(html, Markup)
    assert "<details><summary>More (2)</summary>" in html
    assert html.count("</details>") == 1
    assert "<h4>Page</h4>" in html
    assert "<h5>Part</h5>" in html
    assert '<caption class="hidden">Part</caption>' in html
    assert '<th scope="col" class="number">value</th>' in html
    assert '<td class="number">1 &lt; 2</td>' in html
    assert "<td>a|b</td>" in html
    assert '<a href="#figure_claims">the claims</a> gone' in html
    # An unclosed fold would hide the rest of the page.
    assert "<details>" not in markdown_to_html("<details><summary>a</summary>\n\ntext\n", "t")


@pytest.mark.parametrize("name", ["matrix_cpu", "cifar10_cpu"])
def test_the_main_table_of_a_committed_study_states_shared_facts_once(name: str) -> None:
    records = read_records(Path(SCRIPTS / "measured" / name / "records.csv"))
    [matrix] = main_matrices(records, {}, [], main_columns(records))
    assert "backbone: resnet10t_half" in matrix.facts
    assert "backbone" not in matrix.axis_heads
    assert not any("best" in head for head in matrix.value_heads)


def test_a_comparison_that_is_left_out_is_named(make_study: MakeStudy) -> None:
    """The question names only the comparisons on which the answer is based."""
    records = make_study(methods=["dino", "dino+clever", "simsiam", "simsiam+clever"], seeds=3).records
    lacking = records["method"].str.startswith("simsiam") & (records["seed"] > 0)
    found = _answer(records[~lacking])
    assert found.question == "Does CLeVER help dino on digits?"
    assert "mean over 2 comparisons and 3 seeds" in found.basis
    assert (
        "Left out because a seed is missing: simsiam+clever − simsiam (resnet10t, baug); simsiam+clever" in found.basis
    )


def test_a_style_that_elements_share_is_written_once(tmp_path: Path) -> None:
    """It is confined to its graphic; a style that could end its rule is left in place."""
    dull, sly = "fill: #d55e00; stroke-width: 0.4", "fill: red} body {display: none"
    path = tmp_path / "figure_x.svg"
    shapes = "".join(f'<path d="M 0 {place}" style="{style}"/>' for style in (dull, sly) for place in range(3))
    lone = '<path d="M 9 9" style="fill: blue"/>'
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{shapes}{lone}</svg>')
    text = inline_svg(path, "X", "", "g4")
    assert text.count(dull) == 1
    assert "#g4-graphic .s0 {fill: #d55e00; stroke-width: 0.4}" in text
    assert text.count('class="s0"') == 3
    assert 'style="fill: blue"' in text
    assert f'style="{sly}"' in text
