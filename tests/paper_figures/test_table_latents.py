"""The table of latents against numbers computed by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import table_latents

from clever.errors import UserError
from clever.results.records import COLUMNS

ERRORS = {
    ("simclr", "latents"): [0.03, 0.04],
    ("simclr+gradient", "latents"): [0.02, 0.03],
    ("simclr", "latents+averaged"): [0.010, 0.012],
    ("simclr+gradient", "latents+averaged"): [0.011, 0.012],
}


@pytest.fixture
def records(tmp_path: Path) -> Path:
    rows = [
        dict.fromkeys(COLUMNS, "x")
        | {"run": f"s/b/{method}/v/seed{seed}", "data": "s", "backbone": "b", "method": method, "augmentation": "v"}
        | {"seed": seed, "protocol": protocol, "part": "ALL", "perturbation": "orig", "metric": metric}
        | {"value": value if metric == "mean_mse" else 9.0, "n": 10, "selection": "last", "epoch": 0}
        for (method, protocol), values in ERRORS.items()
        for seed, value in enumerate(values)
        for metric in ("mean_mse", "r2_m")
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "records.csv", index=False)
    return tmp_path / "records.csv"


def test_columns_are_the_variants_and_differences_are_paired(records: Path, tmp_path: Path) -> None:
    table_latents.main(["--records", str(records), "--output", str(tmp_path / "t.md"), str(tmp_path / "t.csv")])
    lines = [line for line in (tmp_path / "t.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    heads, baseline, regularised = ([cell.strip() for cell in line.split("|")[5:-1]] for line in (lines[0], *lines[2:]))
    assert heads[::2] == ["latents", "latents+averaged"]
    assert baseline == ["0.0350 ± 0.0071", "–", "0.0110 ± 0.0014", "–"]
    # Both seeds fall by 0.01, so there is no spread. With averaging, they fall by 0.001 and 0: the mean is 0.0005, and
    # t with one degree of freedom is 12.706.
    assert regularised[1].startswith("-0.0100 \\[-0.0100, -0.0100\\]")
    assert regularised[3].startswith("+0.0005 \\[-0.0059, +0.0069\\]")
    text = (tmp_path / "t.md").read_text(encoding="utf-8")
    assert "in the same unit (below 0: a smaller error), paired by seed" in text
    assert "Perturbations:" not in text  # there are no columns
    table = pd.read_csv(tmp_path / "t.csv")
    assert set(table["perturbation"]) == {"latents", "latents+averaged"}
    assert table["verdict"].dropna().tolist() == ["lower", "undecided"]


def test_a_study_without_latents_is_named(records: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(records)
    frame["protocol"] = "linear" + frame["protocol"]
    frame.to_csv(records, index=False)
    with pytest.raises(UserError, match="no record of protocol latents, part ALL"):
        table_latents.main(["--records", str(records), "--output", str(tmp_path / "t.md")])
