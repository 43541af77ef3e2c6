"""Written facts about backbones, against the networks themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clever.backbones import build_backbone
from clever.backbones.facts import facts, refusal
from clever.backbones.options import OWN_NAMES, BackboneOptions
from clever.errors import UserError

SIZES = (1, 2, 3, 5, 8, 12, 16, 17, 24, 32)


@pytest.mark.parametrize("name", [name for name in OWN_NAMES if name != "pixels"])
def test_facts_of_our_own_backbones_match_the_network(name: str) -> None:
    options = BackboneOptions(name=name, image_size=32)
    network = build_backbone(options, seed=0).eval()
    known = facts(options)
    assert known.batch_norm == any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
    assert (known.blocks is not None) == network.has_blocks
    assert known.maps == len(network.feature_map_widths)
    if known.blocks is not None:
        network.last_blocks(torch.zeros(1, 3, 32, 32), known.blocks)
        with pytest.raises(UserError, match="blocks, but the last"):
            network.last_blocks(torch.zeros(1, 3, 32, 32), known.blocks + 1)


@pytest.mark.parametrize("name", ["resnet18", "resnet10t_half", "vit_micro", "vmamba_tiny"])
def test_a_size_is_rejected_exactly_if_the_network_rejects_it(name: str) -> None:
    options = BackboneOptions(name=name, image_size=32)
    network = build_backbone(options, seed=0).eval()
    for size in SIZES:
        try:
            with torch.no_grad():
                network(torch.zeros(1, 3, size, size))
            fits = True
        except (UserError, RuntimeError):
            fits = False
        assert (refusal(options, size) is None) == fits, size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 5, "name": "vit_tiny"}, "patches of 5 px, which do not divide 32"),
        ({"patch_size": 4, "name": "resnet18"}, "no patch_size"),
        ({"patch_size": 4, "name": "vmamba_tiny"}, "no patch_size"),
        ({"stem": "small", "name": "vit_tiny"}, "no small stem"),
        ({"stem": "small", "name": "vmamba_tiny"}, "no small stem"),
        ({"stem": "small", "name": "convnext_atto"}, "no small stem"),
        ({"patch_size": 4, "name": "convnext_atto"}, "no patch_size"),
    ],
)
def test_options_that_the_builder_rejects_are_rejected_without_it(changes: dict[str, object], message: str) -> None:
    options = BackboneOptions.model_validate({"image_size": 32, **changes})
    with pytest.raises(UserError):
        build_backbone(options, seed=0)
    assert message in (refusal(options) or "")


@pytest.mark.parametrize("name", ["convnext_atto", "mobilenetv3_small_050", "vit_tiny_patch16_224", "mixer_s32_224"])
def test_a_trial_on_the_meta_device_agrees_with_a_real_image(name: str) -> None:
    options = BackboneOptions(name=name, image_size=64)
    network = build_backbone(options, seed=0).eval()
    for size in (8, 16, 20, 32, 64):
        try:
            with torch.no_grad():
                network(torch.zeros(2, 3, size, size))
            fits = True
        except Exception:  # each family fails in a different way
            fits = False
        assert (refusal(options, size) is None) == fits, size
    assert facts(options).batch_norm == any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()
    )
