"""Every registered backbone, and a sample of timm's families, behind the same interface."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor

from clever.backbones import (
    BACKBONES,
    SPLITS,
    Backbone,
    BackboneOptions,
    Split,
    build_backbone,
    load_backbone,
    read_description,
)
from clever.backbones.options import OWN_NAMES
from clever.backbones.registry import check_name
from clever.errors import UserError

OTHER_FAMILIES = (
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "mixer_s32_224",
    "efficientvim_m1",
    "test_vit",
    "resnet34",
)
TRANSFORMERS = ("vit_tiny", "vit_small", "vit_micro")
LEARNED = [name for name in BACKBONES if name != "pixels"]
SIZE = 32


def build(name: str, seed: int | None = 0, **settings: object) -> Backbone:
    return build_backbone(BackboneOptions.model_validate({"name": name, "image_size": SIZE, **settings}), seed=seed)


def images(n: int = 2, size: int = SIZE, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", [*BACKBONES, *OTHER_FAMILIES])
def test_features_and_split(name: str) -> None:
    size = 64 if name in OTHER_FAMILIES else SIZE
    backbone = build(name, image_size=size)
    z = backbone(images(2, size))
    assert z.shape == (2, backbone.feature_dim)
    assert z.dtype == torch.float32
    assert torch.isfinite(z).all()
    assert not torch.equal(z[0], z[1])
    split = Split(backbone.feature_dim, 0.8)
    assert split.ir(z).shape[1] == int(0.8 * backbone.feature_dim)
    assert torch.equal(torch.cat([split.ir(z), split.ef(z)], dim=1), z)


@pytest.mark.parametrize("name", LEARNED)
def test_every_parameter_receives_a_finite_gradient(name: str) -> None:
    backbone = build(name)
    weights = torch.randn(4, backbone.feature_dim, generator=torch.Generator().manual_seed(1))
    (backbone(images(4)) * weights).sum().backward()
    for parameter_name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
    assert sum(p.grad.abs().sum() > 0 for p in backbone.parameters() if p.grad is not None) > 0.9 * len(
        list(backbone.parameters())
    )


@pytest.mark.parametrize("name", LEARNED)
def test_parameters_are_a_pure_function_of_the_seed(name: str) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = build(name, seed=5).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(4)
    again = build(name, seed=5).state_dict()
    other = build(name, seed=6).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("sizes", [(64, 32), (32, 16)])
def test_crops_of_two_sizes(name: str, sizes: tuple[int, int]) -> None:
    backbone = build(name, image_size=sizes[0])
    for size in sizes:
        assert backbone(images(2, size)).shape == (2, backbone.feature_dim)


@pytest.mark.parametrize("name", [*BACKBONES, "convnext_atto"])
def test_save_and_load_are_bit_exact(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run" / "backbone.safetensors"
    saved = build(name, seed=1).to(memory_format=torch.channels_last)
    saved(images(4))  # changes the running statistics, which are saved too
    saved.save(path)
    loaded = load_backbone(BackboneOptions(name=name, image_size=SIZE), path)
    expected, found = saved.state_dict(), loaded.state_dict()
    assert list(expected) == list(found)
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    # A channels-last convolution rounds differently from a contiguous one, so both run contiguous.
    saved.to(memory_format=torch.contiguous_format)
    assert torch.equal(saved.eval()(images()), loaded(images()))
    assert not loaded.training
    first = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "size"), [(n, s) for n in LEARNED if n != "vmamba_tiny" for s in (32, 96)] + [("convnext_atto", 64)]
)
def test_plain_timm_loads_the_file_as_its_header_says(
    name: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = build(name, seed=2, image_size=size).eval()
    backbone.save(tmp_path / "backbone.safetensors")
    description = read_description(tmp_path / "backbone.safetensors")
    x = images(2, size)
    monkeypatch.chdir(tmp_path)
    Path("load.py").write_text(description["loading"])  # exactly as the file's header says
    scope = runpy.run_path("load.py")
    assert torch.equal(scope["model"].eval()(x), backbone(x))
    if description["stem"] != "small":
        plain = timm.create_model(**description["create_model"])
        plain.load_state_dict(load_file(tmp_path / "backbone.safetensors"))
        assert torch.equal(plain.eval()(x), backbone(x))
        by_path = timm.create_model(**description["create_model"], checkpoint_path="backbone.safetensors")
        assert torch.equal(by_path.eval()(x), backbone(x))


def test_loading_the_wrong_file_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    build("resnet10t_half").save(path)
    options = BackboneOptions(name="resnet10t_half", image_size=SIZE)
    with pytest.raises(UserError, match=r"backbone.safetensors: was saved with backbone resnet10t_half, but resnet18"):
        load_backbone(BackboneOptions(name="resnet18", image_size=SIZE), path)
    with pytest.raises(UserError, match="stem imagenet, but small"):
        load_backbone(options.model_copy(update={"stem": "small"}), path)
    with pytest.raises(UserError, match=r"missing.safetensors: no such file"):
        load_backbone(options, tmp_path / "missing.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        load_backbone(options, path)
    build("vit_tiny", patch_size=8).save(path)
    with pytest.raises(UserError, match="patch_size"):
        load_backbone(BackboneOptions(name="vit_tiny", image_size=SIZE), path)


@pytest.mark.parametrize(
    ("name", "nearest"), [("resnet81", "resnet18"), ("vit_smal", "vit_small"), ("vmamba", "vmamba_tiny")]
)
def test_unknown_name_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UserError, match=rf"backbone {name}: no such name; nearest: [^(]*\b{nearest}\b"):
        build(name)


@pytest.mark.parametrize("name", [n for n in BACKBONES if n not in TRANSFORMERS] + ["convnext_atto"])
def test_an_unsupported_request_names_backbone_and_request(name: str) -> None:
    backbone = build(name)
    assert not backbone.has_blocks
    for ask, lacking in (
        (lambda: backbone.last_blocks(images(), 4), "last_blocks"),
        (lambda: backbone.patch_tokens(images()), "patch_tokens"),
        (lambda: backbone.attention(images()), "attention"),
        (lambda: backbone.keys(images()), "keys"),
    ):
        with pytest.raises(UserError, match=rf"backbone {name} has no .*{lacking}"):
            ask()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("resnet18", {"patch_size": 8}, "resnet18 has no patch_size"),
        ("vit_tiny", {"stem": "small"}, "vit_tiny has no small stem"),
        ("convnext_atto", {"stem": "small"}, "convnext_atto has no small stem"),
        ("vit_tiny", {"image_size": 100}, "image_size 100 is not a multiple of patch_size 16"),
        ("mixer_s32_224", {"image_size": 8}, "mixer_s32_224 cannot be built for image_size 8"),
    ],
)
def test_unsupported_options_are_rejected(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, **settings)


def test_a_backbone_of_fixed_size_says_so() -> None:
    with pytest.raises(
        UserError, match="mixer_s32_224 accepts only images of the size it was built for, 64 px, not 32x32"
    ):
        build("mixer_s32_224", image_size=64)(images(2, 32))
    with pytest.raises(UserError, match="pixels needs images of 32 px, not 16x16"):
        build("pixels")(images(2, 16))


def test_pixels_are_the_image() -> None:
    x = images()
    assert torch.equal(build("pixels")(x.contiguous(memory_format=torch.channels_last)), x.flatten(1))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_equal_torchvision(name: str) -> None:
    ours = build(name, image_size=96).eval()
    theirs = getattr(torchvision.models, name)(weights=None)
    theirs.fc = torch.nn.Identity()
    theirs.load_state_dict(ours._network_state())
    assert torch.allclose(theirs.eval()(images(2, 96)), ours(images(2, 96)), atol=1e-5)
    assert all(block.bn2.weight.abs().min() > 0 for block in ours.network.layer1)


def test_small_stem_keeps_every_pixel() -> None:
    """A small-stem ResNet-18 at 32 px sees maps of 32, 16, 8 and 4 px; the ImageNet stem would see 8, 4, 2 and 1."""
    sides: dict[str, list[int]] = {}
    for stem in ("auto", "imagenet"):
        backbone = build("resnet18", stem=stem)
        seen = sides[stem] = []
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            getattr(backbone.network, stage).register_forward_hook(
                lambda _module, _inputs, out, seen=seen: seen.append(out.shape[-1])
            )
        backbone(images())
    assert sides == {"auto": [32, 16, 8, 4], "imagenet": [8, 4, 2, 1]}
    assert build("resnet18", image_size=96).network.conv1.kernel_size == (7, 7)


@pytest.mark.parametrize("name", LEARNED)
def test_weight_decay_rules(name: str) -> None:
    backbone = build(name)
    parameters = dict(backbone.named_parameters())
    authors, standard = backbone.no_weight_decay_names("authors"), backbone.no_weight_decay_names()
    assert authors == {n for n, p in parameters.items() if p.ndim <= 1 or n.endswith(".bias")}
    assert authors <= standard <= set(parameters)
    extra = {n.rsplit(".", 1)[-1] for n in standard - authors}
    expected = {"vmamba_tiny": {"A_logs", "dt_projs_bias"}}.get(
        name, {"cls_token", "pos_embed"} if "vit" in name else set()
    )
    assert extra == expected


@pytest.mark.parametrize("name", SPLITS)
def test_presets_fit_their_backbones(name: str) -> None:
    assert build(name).feature_dim == SPLITS[name].feature_dim


def test_the_names_known_without_timm_match_the_registry() -> None:
    assert tuple(BACKBONES) == OWN_NAMES


def test_a_nearest_name_is_suggested_once() -> None:
    with pytest.raises(UserError) as caught:
        check_name("resnet81")
    near = str(caught.value).split("nearest: ")[1].split(" (")[0].split(", ")
    assert len(near) == len(set(near))
    assert "resnet18" in near
