"""The figure and the table of equivariance, read back against planted values."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import figure_equivariance
import numpy as np
import pandas as pd
import pytest
import style
import table_equivariance
from figure_equivariance import Line, read_curves
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from summary import Configuration

from clever.errors import UserError
from clever.evaluation.equivariance.lie import GENERATORS
from clever.evaluation.equivariance.operations import FIXED, OPERATIONS
from clever.results.records import COLUMNS

ANGLES = (45, 90, 180, 360)
STRENGTH = {"dino": 0.5, "dino+clever": 0.2, "untrained": 0.8, "pixels": 0.9}


def height(method: str, part: str, angle: int, seed: int) -> float:
    """The planted relative distance."""
    return STRENGTH[method] * (1.0 + (part == "EF")) * (angle < 360) * angle / 180 + 0.1 * seed * (angle == 90)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = []

    def add(backbone: str, method: str, part: str, seed: int, perturbation: str, metric: str, value: float) -> None:
        augmentation = "none" if method == "untrained" else "caug"
        run = f"d/{backbone}/{method}/{augmentation}/seed{seed}"
        rows.append(
            dict.fromkeys(COLUMNS, "x")
            | {"run": run, "data": "d", "backbone": backbone, "method": method, "augmentation": augmentation}
            | {"seed": seed, "protocol": "equivariance", "part": part, "perturbation": perturbation, "metric": metric}
            | {"value": value, "n": 60, "selection": "last", "epoch": 0}
        )

    runs = [("vit", "dino", s) for s in range(2)] + [("vit", "dino+clever", s) for s in range(2)]
    for backbone, method, seed in [*runs, ("vit", "untrained", 0), ("pixels", "untrained", 0)]:
        for part in ("ALL", "IR", "EF", "IR_cut") if "+" in method else ("ALL",):
            planted = "pixels" if backbone == "pixels" else method
            for angle in ANGLES:
                value = height(planted, part, angle, seed)
                add(backbone, method, part, seed, f"rotation_{angle}", "relative_distance", value)
                add(backbone, method, part, seed, f"rotation_{angle}", "distance", value / 4)
            add(backbone, method, part, seed, "rotation_45", "floor", 0.01)
            add(backbone, method, part, seed, "crop_0.2", "relative_distance", 0.3)
            add(backbone, method, part, seed, "rotation", "relative_distance", 0.4 + 0.01 * seed)
            add(backbone, method, part, seed, "rotation", "equivariance_error", 0.123 + 0.001 * (part == "IR"))
            add(backbone, method, part, seed, "shear", "lie", 1.5)
        if "+" in method:
            add(backbone, method, "ALL", seed, "orig", "cka_ir_ef", 0.25)
    path = tmp_path / "records.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def lines_of(axes: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in axes.lines if not str(line.get_label()).startswith("_")}


def test_curves_contain_the_seeds_and_start_at_no_change(records: Path) -> None:
    curves = read_curves(pd.read_csv(records))
    assert list(curves) == ["rotation", "crop"]
    clever = Configuration("d", "vit", "dino+clever", "caug")
    assert set(curves["rotation"]) >= {Line(clever, part) for part in ("ALL", "IR", "EF")}
    curve = curves["rotation"][Line(clever, "EF")]
    assert curve[0.0] == [0.0]
    assert curve[90.0] == pytest.approx([0.2, 0.3])
    with pytest.raises(UserError, match="no record of protocol equivariance"):
        read_curves(pd.read_csv(records).assign(protocol="linear"))


def test_panels_show_parts_baseline_and_controls(records: Path) -> None:
    frame = pd.read_csv(records)
    floors = figure_equivariance.relative_floors(frame)
    # The floor is 0.01 if the distance between two images is a quarter of the relative distance's unit.
    assert floors["value"].to_numpy() == pytest.approx(0.04)
    curves, found = read_curves(frame), read_curves(floors, "relative_floor")["rotation"]
    figure = figure_equivariance.draw(curves, found)
    rotation, crop = figure.axes
    expected = {"dino", "dino+clever, IR", "dino+clever, EF", "control: untrained", "control: raw pixels"}
    drawn = lines_of(rotation)
    assert set(drawn) == expected | {"interpolation alone (largest of all lines)"}
    assert set(lines_of(crop)) == expected
    line = drawn["dino+clever, EF"]
    assert np.asarray(line.get_xdata()).tolist() == [0, *ANGLES]
    means = [np.mean([height("dino+clever", "EF", angle, seed) for seed in (0, 1)]) for angle in ANGLES]
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx([0.0, *means])
    assert line.get_color() == style.METHOD_MARKS["dino+clever"].colour
    # The baseline and both parts have bands; controls have one seed.
    assert len(rotation.collections) == 3
    colour = to_rgba(style.METHOD_MARKS["dino+clever"].colour)[:3]
    bands = [b for b in rotation.collections if tuple(np.asarray(b.get_facecolor())[0][:3]) == colour]
    corners = max((np.asarray(band.get_paths()[0].vertices) for band in bands), key=lambda found: found[:, 1].max())
    at_90 = [y for x, y in corners if x == 90]
    spread = np.std([height("dino+clever", "EF", 90, seed) for seed in (0, 1)], ddof=1)
    assert max(at_90) - min(at_90) == pytest.approx(2 * spread)
    floor = np.asarray(drawn["interpolation alone (largest of all lines)"].get_xydata())
    assert dict(map(tuple, floor.tolist()))[135.0] == pytest.approx(0.04)
    assert dict(map(tuple, floor.tolist()))[180.0] == 0.0
    assert "2 seeds" in str(figure.get_suptitle())
    # Each panel is scaled to its trained networks; raw pixels, which change most, exceed it.
    highest = max(np.asarray(drawn[name].get_ydata()).max() for name in expected if not name.startswith("control"))
    assert rotation.get_ylim() == pytest.approx((0.0, 1.15 * highest))
    assert crop.get_ylim() == pytest.approx((0.0, 1.15 * 0.3))
    assert np.asarray(drawn["control: raw pixels"].get_ydata()).max() > 1.15 * highest


def test_redrawing_gives_the_same_bytes_and_names_match_the_protocol(records: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("one.pdf", "two.pdf", "one.png", "two.svg")]
    figure_equivariance.main(["--records", str(records), "--output", *map(str, outputs)])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert outputs[3].stat().st_size > 5000
    assert set(figure_equivariance.OPERATIONS) == {"rotation", *OPERATIONS}
    known = {"rotation", "shift", "orig", *OPERATIONS, *FIXED, *GENERATORS}
    columns = {**table_equivariance.COLUMNS, **table_equivariance.OTHERS, **table_equivariance.SIMILARITY}
    assert {perturbation for perturbation, _ in columns.values()} <= known
    assert set(GENERATORS) == set(table_equivariance.LIE)


def test_the_table_has_a_row_for_each_part_compared_with_the_baseline(records: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / f"table{suffix}" for suffix in (".md", ".csv", ".tex")]
    table_equivariance.main(["--records", str(records), "--output", *map(str, outputs)])
    text = outputs[0].read_text(encoding="utf-8")
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "## Distances and linear maps: d",
        "## Lie derivatives and shifts: d",
        "## Similarity of IR and EF: d",
    ]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| vit")]
    first = {tuple(row[1:4:2]): row for row in rows[:6]}
    assert set(first) == {
        ("control: untrained", "ALL"),
        ("dino", "ALL"),
        *itertools.product(["dino+clever"], ["ALL", "IR", "IR_cut", "EF"]),
    }
    assert first["dino+clever", "IR"][5] == "0.405 ± 0.007"
    assert first["dino+clever", "IR"][7:9] == ["0.124 ± 0.000", r"+0.001 \[+0.001, +0.001\] \*"]
    assert "in the unit of the column" in text
    assert "in points" not in text
    table = pd.read_csv(outputs[1])
    [cka] = table[table["column"] == "CKA of IR and EF"]["value"]
    assert cka == pytest.approx(0.25)
    assert r"\begin{tabular}" in outputs[2].read_text(encoding="utf-8")
