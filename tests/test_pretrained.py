"""A trained backbone loaded from a run's folder: the same as in evaluations; damaged folders are rejected."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clever
from clever.backbones import BackboneOptions, load_backbone
from clever.data import Store
from clever.errors import UserError
from clever.files import write_json
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.sealed import sealed
from tests.conftest import RecipeMaker


@pytest.fixture(scope="module")
def run(digits_store: Store, make_recipe: RecipeMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step, in the folder where a workflow would put it."""
    trained = make_recipe(equivariance={"name": "clever", "separation_ratio": 0.8, "split_rounding": "nearest"})
    study = tmp_path_factory.mktemp("study")
    folder = study / "runs" / trained.run
    pretrain(_one_step(trained), digits_store, folder, ExecutionOptions(device="cpu"))
    shutil.copytree(digits_store.folder, study / "data" / "digits")
    return folder


def _one_step(recipe: RunRecipe) -> RunRecipe:
    changed = recipe.model_dump(mode="json")
    changed["optimisation"] |= {"epochs": 1, "batch_size": 96}
    return RunRecipe.model_validate(changed)


def test_a_run_gives_backbone_split_and_transform(run: Path, digits_store: Store) -> None:
    backbone, split, transform = clever.load(run)
    assert not backbone.training
    assert split is not None
    assert (split.ir_dim, split.ef_dim) == (205, 51)  # of 204.8; the default truncates
    described = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert described["ir_dim"] == split.ir_dim
    assert (transform.size, transform.mean, transform.std) == (16, digits_store.mean, digits_store.std)
    expected = load_backbone(
        BackboneOptions.model_validate(described["recipe"]["backbone"]), run / "backbone.safetensors"
    )
    image = np.full((16, 16, 3), 128, dtype=np.uint8)
    assert torch.equal(backbone(transform(image)[None]), expected(transform(image)[None]))


def test_the_transform_equals_torchvision(run: Path, tmp_path: Path) -> None:
    from torchvision.transforms import v2

    _, _, transform = clever.load(run)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 57, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "image.png")
    reference = v2.Compose(
        [
            v2.Resize(16, v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(16),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(transform.mean, transform.std),
        ]
    )(image)
    for given in (image, pixels, tmp_path / "image.png", str(tmp_path / "image.png")):
        torch.testing.assert_close(transform(given), reference, rtol=0, atol=1e-6)


def test_a_run_without_normalisation_takes_it_from_the_store(run: Path, digits_store: Store, tmp_path: Path) -> None:
    """Applies to runs of earlier versions, in their study's folder or with the store's folder given."""
    described = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del described["images"]
    alone = tmp_path / "alone"
    shutil.copytree(run, alone)
    write_json(alone / "run.json", sealed(described))
    with pytest.raises(UserError, match="--store"):
        clever.load(alone)
    assert clever.load(alone, store=digits_store.folder).transform == clever.load(run).transform
    moved = tmp_path / "study" / "runs" / described["run"]
    shutil.copytree(alone, moved)
    shutil.copytree(digits_store.folder, tmp_path / "study" / "data" / "digits")
    assert clever.load(moved).transform == clever.load(run).transform


def test_another_store_is_refused(run: Path, colourful_store: Store, tmp_path: Path) -> None:
    described = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del described["images"]
    shutil.copytree(run, tmp_path / "run")
    write_json(tmp_path / "run" / "run.json", sealed(described))
    with pytest.raises(UserError, match="is not that of the data"):
        clever.load(tmp_path / "run", store=colourful_store.folder)


def test_damaged_and_missing_files_are_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds neither"):
        clever.load(tmp_path)
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    weights = folder / "backbone.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"backbone\.safetensors: its SHA-256"):
        clever.load(folder)
    weights.unlink()
    with pytest.raises(UserError, match=r"backbone\.safetensors: cannot be read"):
        clever.load(folder)


def test_an_input_that_is_not_an_image_is_rejected(run: Path, tmp_path: Path) -> None:
    _, _, transform = clever.load(run)
    (tmp_path / "text.jpg").write_text("not an image", encoding="utf-8")
    with pytest.raises(UserError, match=r"text\.jpg: is not a readable image"):
        transform(tmp_path / "text.jpg")
    with pytest.raises(UserError, match=r"none\.jpg: cannot be read"):
        transform(tmp_path / "none.jpg")
    with pytest.raises(UserError, match=r"uint8 \[H, W, 3\], not float32"):
        transform(np.zeros((4, 4, 3), dtype=np.float32))  # type: ignore[arg-type]


def test_importing_the_package_imports_no_torch() -> None:
    program = "import sys, clever; print([name for name in ('torch', 'timm', 'numpy', 'PIL') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
