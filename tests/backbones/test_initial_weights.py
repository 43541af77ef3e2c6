"""Initial weights: matching tensors are loaded, positions are resized, the rest is listed; frozen layers stay as
loaded."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.models._hub import save_for_hf

from clever.backbones import Backbone, BackboneOptions, build_backbone
from clever.backbones.initial_weights import load_initial_weights
from clever.config import parse_study
from clever.data import Store
from clever.errors import UserError
from clever.pretraining.composition import compose
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def build(name: str, size: int, seed: int = 0, **options: Any) -> Any:
    return build_backbone(BackboneOptions(name=name, image_size=size, **options), seed=seed)


def test_a_backbone_s_own_file_is_loaded_whole(tmp_path: Path) -> None:
    saved, fresh = build("resnet10t_half", 32, seed=1), build("resnet10t_half", 32)
    saved.save(tmp_path / "backbone.safetensors")
    for source in (tmp_path / "backbone.safetensors", tmp_path):
        loaded = load_initial_weights(fresh, str(source))
        assert (loaded.loaded_share, loaded.resized, loaded.kept, loaded.unused) == (1.0, [], [], [])
        assert str(loaded) == f"100 % of the parameters loaded from {source}"
    assert _equal(saved, fresh)


def _equal(first: Backbone, second: Backbone) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_positions_are_resized_to_the_grid_of_the_backbone(tmp_path: Path) -> None:
    large, small = build("vit_micro", 32, seed=1, patch_size=4), build("vit_micro", 16, patch_size=4)
    large.save(tmp_path / "large.safetensors")
    loaded = load_initial_weights(small, str(tmp_path / "large.safetensors"))
    assert loaded.resized == ["pos_embed"]
    assert loaded.kept == []
    before, after = large.network.pos_embed.detach(), small.network.pos_embed.detach()
    grid = before[:, 1:].reshape(1, 8, 8, -1).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=(4, 4), mode="bicubic", antialias=True, align_corners=False)
    torch.testing.assert_close(after[:, 1:], expected.flatten(2).transpose(1, 2))
    assert torch.equal(after[:, :1], before[:, :1])
    assert torch.equal(small.network.blocks[3].mlp.fc1.weight, large.network.blocks[3].mlp.fc1.weight)


def test_a_patch_embedding_is_resized_so_that_an_enlarged_patch_keeps_its_token(tmp_path: Path) -> None:
    small, large = build("vit_micro", 16, seed=1, patch_size=4), build("vit_micro", 32, patch_size=8)
    small.save(tmp_path / "small.safetensors")
    assert load_initial_weights(large, str(tmp_path / "small.safetensors")).resized == ["patch_embed.proj.weight"]
    patch = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    enlarged = F.interpolate(patch, size=(8, 8), mode="bicubic", antialias=True)
    token, same = (
        F.conv2d(image, backbone.network.patch_embed.proj.weight)
        for image, backbone in ((patch, small), (enlarged, large))
    )
    torch.testing.assert_close(same, token, rtol=1e-4, atol=1e-5)


def test_tensors_that_do_not_fit_are_listed_and_keep_their_values(tmp_path: Path) -> None:
    source = timm.create_model("resnet18", num_classes=7)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "plain.pth")
    small = build("resnet18", 32)
    stem = small.network.conv1.weight.detach().clone()
    loaded = load_initial_weights(small, str(tmp_path / "plain.pth"))
    assert loaded.kept == ["conv1.weight (found 64x3x7x7)"]
    assert loaded.unused == ["fc.bias", "fc.weight"]
    assert 0.99 < loaded.loaded_share < 1
    assert "kept as initialised: conv1.weight (found 64x3x7x7); not used: fc.bias, fc.weight" in str(loaded)
    assert torch.equal(small.network.conv1.weight, stem)
    assert torch.equal(small.network.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


def test_the_teacher_of_a_training_checkpoint_is_taken(tmp_path: Path) -> None:
    student, teacher, fresh = (build("vit_micro", 16, seed=seed, patch_size=8) for seed in (1, 2, 0))
    named = [{f"module.backbone.{k}": v for k, v in b.network.state_dict().items()} for b in (student, teacher)]
    checkpoint = {"student": named[0], "teacher": named[1], "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    torch.save(checkpoint, tmp_path / "checkpoint.pth")
    assert load_initial_weights(fresh, str(tmp_path / "checkpoint.pth")).kept == []
    assert _equal(fresh, teacher)


@pytest.mark.parametrize("name", ["test_vit.r160_in1k", "test_resnet.r160_in1k", "test_convnext.r160_in1k"])
def test_timm_s_weights_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    released = timm.create_model(name, num_classes=1000).state_dict()
    for fetch in ("load_state_dict_from_hf", "load_state_dict_from_url"):
        monkeypatch.setattr(f"timm.models._builder.{fetch}", lambda *_, **__: dict(released))
    backbone = build(name.partition(".")[0], 64, stem="auto")
    state = torch.random.get_rng_state()
    loaded = load_initial_weights(backbone, f"timm:{name}")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert loaded.loaded_share > 0.9
    # A small stem has a different first convolution.
    assert [kept.partition(" ")[0] for kept in loaded.kept] in ([], ["conv1.weight"])
    own = backbone.network.state_dict()
    same = [key for key in own if key in released and torch.equal(own[key], released[key])]
    assert len(same) >= len(own) - len(loaded.resized) - len(loaded.kept)


def test_a_model_of_the_hub_and_a_folder_in_its_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = timm.create_model("test_vit", num_classes=0, img_size=32)
    save_for_hf(
        published, tmp_path, safe_serialization=True, model_config={"num_classes": 0, "model_args": {"img_size": 32}}
    )
    asked: list[tuple[str, str]] = []

    def download(repo_id: str, filename: str, **_: Any) -> str:
        asked.append((repo_id, filename))
        return str(tmp_path / filename)

    monkeypatch.setattr("timm.models._hub.hf_hub_download", download)
    for source in ("hf-hub:somebody/something", str(tmp_path)):
        backbone = build("test_vit", 32)
        assert load_initial_weights(backbone, source).kept == []
        assert torch.equal(backbone.network.pos_embed, published.pos_embed)
    assert asked[0] == ("somebody/something", "config.json")


def test_wrong_sources_give_one_line(tmp_path: Path) -> None:
    backbone = build("resnet10t_half", 32)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    (tmp_path / "text.pth").write_text("not a checkpoint")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    build("vit_micro", 16, patch_size=8).save(tmp_path / "other.safetensors")
    for source, words in {
        "timm:resnet18d_": "timm has no model resnet18d_; nearest: ",
        "timm:resnet10t_half": "timm has no model resnet10t_half",
        str(tmp_path / "missing.pth"): "no such file; initial weights are timm:NAME, hf-hub:OWNER/NAME, a checkpoint",
        str(tmp_path / "text.pth"): "is not a checkpoint of weights",
        str(tmp_path / "empty.pth"): "holds no weights by name",
        str(tmp_path / "other.safetensors"): "only 0 % of the parameters of backbone resnet10t_half are in it",
    }.items():
        with pytest.raises(UserError) as raised:
            load_initial_weights(backbone, source)
        assert str(raised.value).startswith(source)
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_frozen_layers_are_counted_from_the_input() -> None:
    vit = build("vit_micro", 16, patch_size=8)
    vit.freeze(3)
    trained = {name for name, parameter in vit.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[2] for name in trained if ".blocks." in name} == {"2", "3"}
    assert not any("patch_embed" in name or "pos_embed" in name or "cls_token" in name for name in trained)
    with pytest.raises(UserError, match=r"backbone vit_micro has \d+ layers that can be frozen, so frozen_depth 40"):
        vit.freeze(40)
    resnet = build("resnet10t_half", 32)
    resnet.freeze(2)
    resnet.train()
    assert not resnet.network.bn1.training
    assert not resnet.network.layer1[0].bn1.training
    assert resnet.network.layer2[0].bn1.training
    assert resnet.training


def execution() -> ExecutionOptions:
    return ExecutionOptions(device="cpu", threads=1)


def test_a_finished_run_is_continued_with_a_frozen_part(
    make_recipe: Any, digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, views = {"epochs": 1}, {"local_views": 0}
    first = make_recipe(optimisation=steps, augmentation=views, baseline={"momentum": 0.3})
    pretrain(first, digits_store, tmp_path / "first", execution())
    start = load_file(tmp_path / "first" / "backbone.safetensors")
    more: RunRecipe = make_recipe(
        optimisation=steps,
        augmentation=views,
        baseline={"momentum": 0.3},
        backbone={"init": str(tmp_path / "first"), "frozen_depth": 2},
        seed=1,
    )
    composed = compose(more)
    assert composed.teacher is not None
    for network in (composed.student, composed.teacher):
        for name, value in network.backbone._network_state().items():
            assert torch.equal(value, start[name]), name
    pretrain(more, digits_store, tmp_path / "more", execution())
    end = load_file(tmp_path / "more" / "backbone.safetensors")
    unchanged = {name for name in start if torch.equal(start[name], end[name])}
    frozen = {name for name in start if name.startswith(("conv1", "bn1", "layer1.0"))}
    assert frozen <= unchanged
    assert len(start) - len(unchanged) > 20
    recorded = json.loads((tmp_path / "more" / "run.json").read_text())["initial_weights"]
    described = json.loads((tmp_path / "first" / "run.json").read_text())
    assert recorded["run"] == {
        **{key: described[key] for key in ("run", "recipe_digest", "epochs", "backbone_sha256")},
        "initial_weights": None,
    }
    assert recorded["loaded_share"] == 1.0
    assert f"initial weights: 100 % of the parameters loaded from {tmp_path / 'first'}" in capsys.readouterr().err
    control = more.model_copy(update={"method": None, "augmentation": None, "optimisation": None})
    pretrain(control, digits_store, tmp_path / "control", execution())
    written = load_file(tmp_path / "control" / "backbone.safetensors")
    assert all(torch.equal(value, written[name]) for name, value in start.items())


def test_a_study_that_asks_timm_for_weights_it_lacks_is_refused() -> None:
    study: dict[str, Any] = {
        "study": "wrong",
        "data": {"digits": {"source": "digits"}},
        "backbones": {"tiny": {"name": "resnet18", "image_size": 32, "init": "timm:resnet18.nowhere"}},
        "augmentations": {"baug": {"name": "baug", "global_size": 32, "local_views": 0}},
        "methods": {"simsiam": {"baseline": {"name": "simsiam"}}},
        "pretrainings": [{"data": "digits", "backbones": ["tiny"], "methods": ["simsiam"], "augmentations": ["baug"]}],
        "paper": ["report"],
        "evaluations": {"linear": {}},
    }
    with pytest.raises(
        UserError,
        match=r"backbones\.tiny\.init: timm:resnet18\.nowhere: timm has no such weights; for .* resnet18\.a1_in1k",
    ):
        parse_study(study, "s.yaml")


def test_the_files_that_a_run_depends_on(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    for name in ("config.json", "model.safetensors", "README.md"):
        (tmp_path / "hub" / name).touch()
    hub = str(tmp_path / "hub")
    for source, files in {
        "timm:resnet18": [],
        "hf-hub:somebody/something": [],
        "runs/cifar10/resnet18/dino/caug/seed0": ["runs/cifar10/resnet18/dino/caug/seed0/backbone.safetensors"],
        "runs/cifar10/resnet18/dino@momentum=0.9/caug/seed0": [
            "runs/cifar10/resnet18/dino@momentum=0.9/caug/seed0/backbone.safetensors"
        ],
        "weights.pth": ["weights.pth"],
        hub: [f"{hub}/config.json", f"{hub}/model.safetensors"],
    }.items():
        assert BackboneOptions(name="resnet18", image_size=32, init=source).initial_files == files
    assert BackboneOptions(name="resnet18", image_size=32).initial_files == []
