"""The notebook runs on a backbone with IR and EF, and its measurements are correct."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import clever
from clever.data import Store
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from tests.conftest import RecipeMaker

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


def run_notebook(path: Path) -> dict[str, Any]:
    """Run the code cells in order; returns the names that they define."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{path.name}:{cell.id}", "exec"), names)
    return names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_valid_and_contains_no_output(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_rotation_notebook_runs(
    digits_store: Store, make_recipe: RecipeMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = os.environ.get("CLEVER_NOTEBOOK_RUN")  # CI uses the demo's
    run = tmp_path / "run" if given is None else Path(given)
    if given is None:
        pretrain(make_recipe(optimisation={"epochs": 1}), digits_store, run, ExecutionOptions(device="cpu"))
    monkeypatch.setenv("CLEVER_BACKBONE", str(run))
    mpl.use("Agg")
    (path,) = [path for path in NOTEBOOKS if path.stem == "rotation"]
    names = run_notebook(path)

    backbone, split, transform = clever.load(run)
    assert split is not None
    quarter = int(np.flatnonzero(names["ANGLES"] == 90)[0])
    pixels = np.rint(load_digits().images[: names["COUNT"]] * (255 / 16)).astype(np.uint8)
    upright = torch.stack([transform(np.stack([one] * 3, axis=2)) for one in pixels])
    with torch.no_grad():
        # A quarter turn moves pixels without interpolation.
        features = [backbone(images).double() for images in (upright, upright.rot90(1, (2, 3)))]
    for name, cut in (("IR", split.ir), ("EF", split.ef)):
        still, moved = (cut(part) for part in features)
        cosines = (still * moved).sum(1) / (still.norm(dim=1) * moved.norm(dim=1))
        found = names["similarity"][name]
        assert found[0] == pytest.approx(1, abs=1e-5)
        assert found[quarter] == pytest.approx(cosines.mean().item(), abs=1e-4)
    left, right = names["left"], names["right"]
    assert len(left.lines) == 4  # two curves, each with the level of other images
    assert len(right.collections[0].get_offsets()) == len(names["ANGLES"])


def test_a_backbone_without_a_split_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))["cells"][1]["source"]
    monkeypatch.setenv("CLEVER_BACKBONE", "some/run")
    monkeypatch.setattr(clever, "load", lambda _: (None, None, None), raising=False)
    with pytest.raises(SystemExit, match="some/run: was trained without IR and EF"):
        exec("".join(first), {})
