"""Exported backbones: loaded by plain timm, by this package and by ONNX Runtime, with equal features."""

from __future__ import annotations

import errno
import importlib.util
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import clever
from clever.cli import main
from clever.data import Store
from clever.errors import UserError
from clever.export import export_run
from clever.model_card import wilson
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.results.records import RunIdentity, write_records
from tests.conftest import RecipeMaker

RunMaker = Callable[..., Path]

BY_TIMM = """
import sys
sys.path += sys.argv[2:]
sys.modules["clever"] = None  # importing the package would raise an error
import json, pathlib, numpy, timm, torch
found = {}
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    model = timm.create_model(f"local-dir:{folder / 'exported'}", pretrained=True).eval()
    with torch.no_grad():
        numpy.save(folder / "features.npy", model(torch.from_numpy(numpy.load(folder / "images.npy"))).numpy())
    config = timm.data.resolve_data_config({}, model=model)
    classifier = timm.create_model(f"local-dir:{folder / 'exported'}", pretrained=True, num_classes=7)
    found[folder.name] = [config["input_size"], config["mean"], classifier.num_classes]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def make_run(digits_store: Store, make_recipe: RecipeMaker, tmp_path_factory: pytest.TempPathFactory) -> RunMaker:
    """A control run of a backbone; its files have the same form as a trained run's."""

    def make(**backbone: object) -> Path:
        content = make_recipe(backbone=backbone).model_dump(mode="json")
        content |= {"method": None, "augmentation": None, "optimisation": None}
        recipe = RunRecipe.model_validate(content)
        folder = tmp_path_factory.mktemp("study") / "runs" / recipe.run
        pretrain(recipe, digits_store, folder, ExecutionOptions(device="cpu"))
        return folder

    return make


def test_plain_timm_loads_exports_with_equal_features(make_run: RunMaker, digits_store: Store, tmp_path: Path) -> None:
    sizes, expected = {"resnet10t_half": 16, "vit_micro": 16, "convnext_atto": 32}, {}
    for name, size in sizes.items():
        run = make_run(name=name, image_size=size)
        assert export_run(run, tmp_path / "all" / name / "exported").by_timm
        images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
        np.save(tmp_path / "all" / name / "images.npy", images.numpy())
        with torch.no_grad():
            expected[name] = clever.load(run).backbone(images)
    done = subprocess.run(
        # Without PYTHONPATH and the working folder (-I), and without links in site-packages (-S), this package cannot
        # be imported.
        [sys.executable, "-IS", "-c", BY_TIMM, tmp_path / "all", sysconfig.get_path("purelib")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The store's images have 16 px, whatever size the network expects.
    assert json.loads(done.stdout) == {name: [[3, 16, 16], list(digits_store.mean), 7] for name in sizes}
    for name, features in expected.items():
        found = torch.from_numpy(np.load(tmp_path / "all" / name / "features.npy"))
        torch.testing.assert_close(found, features, rtol=0, atol=1e-6)


def test_an_export_loads_back_and_starts_another_run(make_run: RunMaker, tmp_path: Path) -> None:
    from clever.backbones import BackboneOptions, build_backbone
    from clever.backbones.initial_weights import load_initial_weights

    run = make_run(name="resnet10t_half", image_size=16)
    folder = export_run(run, tmp_path / "exported").folder
    first, split, transform = clever.load(run)
    second, again, same = clever.load(folder)
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(first(images), second(images))
    assert (again, same) == (split, transform)
    fresh = build_backbone(BackboneOptions(name="resnet10t_half", image_size=16), seed=1)
    assert load_initial_weights(fresh, str(folder)).loaded_share == 1.0


def test_a_backbone_that_timm_cannot_build_is_exported_only_for_this_package(
    make_run: RunMaker, tmp_path: Path
) -> None:
    run = make_run(name="resnet18", image_size=16)  # with the stem for small images
    exported = export_run(run, tmp_path / "exported")
    assert not exported.by_timm
    assert not (exported.folder / "config.json").exists()
    backbone, _, _ = clever.load(exported.folder)
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert "timm cannot build this network" in card
    lines = re.findall(r"```python\n(import safetensors.*?)```", card, flags=re.DOTALL)[0]
    names: dict[str, object] = {}
    exec(lines.replace("'backbone.safetensors'", repr(str(exported.folder / "backbone.safetensors"))), names)
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(names["model"].eval()(images), backbone(images), rtol=0, atol=1e-6)  # type: ignore


def test_the_card_shows_the_runs_numbers_with_intervals(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run(name="resnet10t_half", image_size=16)
    described = json.loads((run / "run.json").read_text(encoding="utf-8"))
    recipe = described["recipe"]
    rows = []
    for seed, value in enumerate((80.0, 84.0)):
        identity = RunIdentity(
            "digits", "tiny", "tiny", "tiny", seed, described["git_commit"], described["recipe_digest"], "c"
        )
        shared = {"protocol": "linear", "part": "ALL", "perturbation": "orig"}
        rows.append(asdict(identity.record(**shared, metric="top1", value=value, n=100)))
    write_records(pd.DataFrame(rows), tmp_path / "records.csv")
    folder = export_run(run, tmp_path / "exported", records=tmp_path / "records.csv", licence="mit").folder
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "mit"
    assert described["recipe_digest"] in card
    assert described["git_commit"] in card
    assert recipe["data"] in card
    # Wilson's interval for 80 of 100 (statsmodels' proportion_confint: 0.7112, 0.8666); t interval of 80 and 84 with
    # one degree of freedom.
    assert "| linear | ALL | orig | top1 | 80.00 [71.12, 86.66] | 82.00 [56.59, 107.41] | 2 | 100 |" in card


def test_wilsons_interval_solves_its_equation() -> None:
    """At its ends, the observed share is 1.96 standard errors away."""
    for end in wilson(80.0, 100):
        share = end / 100
        assert abs(0.8 - share) / np.sqrt(share * (1 - share) / 100) == pytest.approx(1.959964, abs=1e-5)


def test_records_of_another_run_or_recipe_are_refused(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run(name="resnet10t_half", image_size=16)
    for identity, message in (
        (RunIdentity("digits", "tiny", "tiny", "tiny", 5, "c", "d", "e"), "has no record of"),
        (RunIdentity("digits", "tiny", "tiny", "tiny", 0, "c", "d", "e"), "are of recipe d"),
    ):
        record = identity.record(protocol="knn", part="ALL", perturbation="orig", metric="top1", value=1.0, n=3)
        write_records(pd.DataFrame([asdict(record)]), tmp_path / "records.csv")
        with pytest.raises(UserError, match=message):
            export_run(run, tmp_path / "exported", records=tmp_path / "records.csv")
    assert not (tmp_path / "exported").exists()


def test_a_nonempty_folder_is_rejected_and_kept(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run(name="resnet10t_half", image_size=16)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept", encoding="utf-8")
    assert main(["export", "--run", str(run), "--to", str(tmp_path / "mine")]) == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_full_disk_leaves_no_files(
    make_run: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(name="resnet10t_half", image_size=16)

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("clever.export.model_card", full)
    assert main(["export", "--run", str(run), "--to", str(tmp_path / "exported")]) == 2
    assert "the disk or quota is full" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_changed_export_is_refused(make_run: RunMaker, tmp_path: Path) -> None:
    folder = export_run(make_run(name="resnet10t_half", image_size=16), tmp_path / "exported").folder
    described = json.loads((folder / "clever.json").read_text(encoding="utf-8"))
    described["images"]["size"] = 17
    (folder / "clever.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(UserError, match=r"clever\.json: was changed or damaged"):
        clever.load(folder)


def test_onnx_has_equal_features(make_run: RunMaker, tmp_path: Path) -> None:
    if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnxscript") is None:
        pytest.skip("onnxruntime and onnxscript are not installed (the extra onnx)")
    import onnxruntime

    run = make_run(name="resnet10t_half", image_size=16)
    exported = export_run(run, tmp_path / "exported", onnx=True)
    assert exported.onnx_difference is not None
    assert exported.onnx_difference <= 1e-4
    backbone, _, _ = clever.load(run)
    images = torch.randn(7, 3, 16, 16)
    session = onnxruntime.InferenceSession(str(exported.folder / "model.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), backbone(images), rtol=1e-4, atol=1e-4)


def test_onnx_without_its_packages_is_refused_in_one_line(
    make_run: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("clever.onnx_export.PACKAGES", ("onnx_that_is_not_there",))
    run = make_run(name="resnet10t_half", image_size=16)
    assert main(["export", "--run", str(run), "--to", str(tmp_path / "exported"), "--onnx"]) == 2
    error = capsys.readouterr().err
    assert "pip install '.[onnx]'" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "exported").exists()
