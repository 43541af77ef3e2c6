"""The online probe on the pretended GPU gives the CPU's accuracies, and waits in known places only."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from clever.backbones import BackboneOptions, build_backbone
from clever.data import Store
from clever.pretraining.online_probe import OnlineProbe
from clever.pretraining.options import OnlineProbeOptions

from .gpu import DEVICE, CudaTensor, pretended_gpu
from .test_evaluation import BATCHES

DECLARED = {
    "pretraining/online_probe.py:_Images.__init__": "the labels of the chosen images",
    "pretraining/online_probe.py:OnlineProbe.__init__": "the classifiers go to the device",
    "augmentation/constants.py:constant": "numbers that are brought once",
    "pretraining/online_probe.py:OnlineProbe.measure": "whether features are finite, and how many are right",
}


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", ["resnet10t_half", "vit_micro"])
def test_it_gives_the_cpu_s_accuracies(name: str, bf16: bool, digits_store: Store) -> None:
    patch = {"patch_size": 8} if name == "vit_micro" else {}
    backbone = build_backbone(BackboneOptions(name=name, image_size=16, **patch), seed=0)
    width = backbone.feature_dim
    parts = {"all": slice(0, width), "ef": slice(width // 4 * 3, width)}

    def measured(copied: Any, device: torch.device) -> tuple[dict[str, float], OnlineProbe]:
        probe = OnlineProbe(OnlineProbeOptions(passes=2), digits_store, parts, width, 16, device, bf16=bf16)
        probe.measure(copied, 0)
        return probe.measure(copied, 1), probe

    expected, _ = measured(backbone, torch.device("cpu"))
    with pretended_gpu() as gpu:
        copied = copy.deepcopy(backbone).to(DEVICE)
        with gpu.waits_forbidden(BATCHES | DECLARED):
            found, probe = measured(copied, DEVICE)
        assert all(isinstance(value, CudaTensor) for value in probe.state_dict()["classifiers"].values())
    # One image in 32 may change its class, because features are rounded to bfloat16.
    assert found == pytest.approx(expected, abs=7.0 if bf16 else 1e-3)
