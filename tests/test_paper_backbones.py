"""The paper's five backbones through the whole pipeline, on real photographs of 64 px."""

from __future__ import annotations

import os
from pathlib import Path
from types import FrameType

import pytest
import timm
import torch
from safetensors.torch import load_file

from clever.backbones import load_backbone
from clever.data import DataOptions, Store, prepare
from clever.evaluation import PROTOCOLS
from clever.evaluation.subject import Subject
from clever.pretraining.engine import pretrain
from clever.pretraining.interruption import Interrupted, Interruption
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer
from clever.results.records import RunIdentity

BACKBONES = ("vit_tiny", "vit_small", "resnet18", "resnet50", "vmamba_tiny")
# On photographs of 64 px, the ImageNet stem is faster; drop path is the same as in the paper.
DROP_PATH = {"vit_tiny": 0.1, "vit_small": 0.1, "resnet18": 0.0, "resnet50": 0.0, "vmamba_tiny": 0.2}
EXECUTION = ExecutionOptions(device="cpu", threads=1)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """16 training and 8 test images of four Tiny-ImageNet classes."""
    folder = Path(os.environ.get("CLEVER_REAL_DATA", "")) / "tinyimagenet100"
    if not os.environ.get("CLEVER_REAL_DATA") or not folder.is_dir():
        pytest.skip("real photographs are absent: CLEVER_REAL_DATA names no folder with tinyimagenet100")
    classes = sorted(path.name for path in (folder / "train").iterdir())[:4]
    options = DataOptions(
        source="image_folder", root=str(folder), image_size=64, classes=classes, train_limit=16, test_limit=8
    )
    return prepare(options, tmp_path_factory.mktemp("stores") / "photographs", progress=False)


def make_recipe(backbone: str) -> RunRecipe:
    """The recipe of four steps of dino+clever, in two epochs."""
    head = {"name": "dino", "out_dim": 64, "hidden_dim": 32, "bottleneck_dim": 16}
    return RunRecipe.model_validate(
        {
            "data": "photographs",
            "backbone_name": backbone,
            "backbone": {"name": backbone, "image_size": 64, "stem": "imagenet", "drop_path": DROP_PATH[backbone]},
            "method_name": "dino+clever",
            "method": {"baseline": head, "equivariance": {"name": "clever"}},
            "augmentation_name": "caug",
            "augmentation": {"name": "caug", "global_size": 64, "local_size": 32, "local_views": 1},
            "optimisation": {"epochs": 2, "batch_size": 8, "warmup_epochs": 0},
            "seed": 0,
        }
    )


@pytest.mark.parametrize("name", BACKBONES)
def test_each_backbone_trains_resumes_bit_for_bit_saves_and_is_probed(
    name: str, photographs: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(name)
    pretrain(recipe, photographs, tmp_path / "whole", EXECUTION)
    whole = load_file(tmp_path / "whole" / "backbone.safetensors")

    # SIGTERM arrives during the third of four steps.
    interruptions: list[Interruption] = []
    plain_step = Trainer.step

    def note(self: Interruption) -> None:
        interruptions.append(self)

    def step(self: Trainer, batch: object, iteration: int) -> dict[str, torch.Tensor]:
        if iteration == 2:
            interruptions[-1]._note(15, FRAME)
        return plain_step(self, batch, iteration)  # type: ignore[arg-type]

    monkeypatch.setattr(Interruption, "__init__", note)
    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(Interrupted, match="step 3"):
        pretrain(recipe, photographs, tmp_path / "cut", EXECUTION)
    monkeypatch.undo()
    pretrain(recipe, photographs, tmp_path / "cut", EXECUTION)
    resumed = load_file(tmp_path / "cut" / "backbone.safetensors")
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)

    backbone = load_backbone(recipe.backbone, tmp_path / "cut" / "backbone.safetensors")
    started = Trainer(recipe, photographs.mean, photographs.std, 2, torch.device("cpu")).trained_backbone()
    moved = [k for k, v in backbone.state_dict().items() if v.dtype.is_floating_point and v.ndim > 1]
    assert any(not torch.equal(backbone.state_dict()[k], started.state_dict()[k]) for k in moved)

    protocol = PROTOCOLS["linear"]
    options = protocol.options.model_validate({"perturbations": ["orig", "cj_rot"], "epochs": 2, "training_views": 1})
    ir_dim, identity = int(backbone.feature_dim * 0.8), RunIdentity.parse(recipe.run)
    records = protocol.evaluate(Subject(backbone, ir_dim, photographs, identity, torch.device("cpu"), 0), options)
    assert {record.part for record in records} >= {"ALL", "IR", "EF"}
    assert all(record.n == 8 and 0 <= record.value <= 100 for record in records)


FRAME: FrameType | None = None


@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "vmamba_tiny"])
def test_a_trained_backbone_has_timm_s_parameter_names(name: str, photographs: Store, tmp_path: Path) -> None:
    recipe = make_recipe(name).model_copy(
        update={"method": None, "augmentation": None, "optimisation": None, "method_name": "untrained"}
    )
    pretrain(recipe, photographs, tmp_path, EXECUTION)
    saved = load_file(tmp_path / "backbone.safetensors")
    timm_name = {"vit_tiny": "vit_tiny_patch16_224", "vit_small": "vit_small_patch16_224"}.get(name, name)
    assert saved.keys() == timm.create_model(timm_name, num_classes=0).state_dict().keys()
