"""Names along an ablation's axis: their order in tables, their baseline, and their use in tables of records."""

from __future__ import annotations

from pathlib import Path

import pytest
from names import configuration_rank, reference_of
from synthetic_study import write_study

from clever.errors import UserError
from clever.results.records import read_records


def test_rows_follow_the_axis_in_numerical_order() -> None:
    methods = ["dino", "dino+clever", *(f"dino+clever@head_norm_weight={w}" for w in ("0", "1e-05", "0.001", "10"))]
    augmentations = ["baug", "caug", "caug@epochs=100", "caug@epochs=1000", "caug_plus"]
    rows = [("vit_tiny", method, augmentation) for augmentation in augmentations for method in methods]
    reordered = rows[::-1]
    assert sorted(reordered, key=lambda row: configuration_rank(*row)) == rows


@pytest.mark.parametrize(
    ("method", "reference"),
    [
        ("dino", "dino"),
        ("dino+clever", "dino"),
        ("dino+clever@ef_baseline.out_dim=64", "dino"),
        ("simsiam+clever@learning_rate=1e+05", "simsiam"),
        ("dino@teacher_temperature=0.07", "dino@teacher_temperature=0.07"),
    ],
)
def test_reference_of_a_method(method: str, reference: str) -> None:
    assert reference_of(method) == reference


def test_records_may_only_name_an_axis(tmp_path: Path) -> None:
    good = write_study(tmp_path / "good", methods=("dino", "dino+clever@separation_ratio=0.5"))
    assert "dino+clever@separation_ratio=0.5" in set(read_records(good.records_path)["method"])
    for place, method in enumerate(("dino@", "dino@x", "dino@x=<b>", "@x=1", "dino@x=1@y=2", "dino=1")):
        bad = write_study(tmp_path / str(place), methods=(method,))
        with pytest.raises(UserError, match="may contain only letters"):
            read_records(bad.records_path)
