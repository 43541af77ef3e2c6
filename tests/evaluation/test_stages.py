"""Protocol stages: the linear probe on the unit representations of all stages, concatenated by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clever.backbones import Backbone
from clever.evaluation.linear import evaluate as evaluate_linear
from clever.evaluation.options.linear import LinearOptions
from clever.evaluation.options.stages import StagesOptions
from clever.evaluation.stages import evaluate

from .subjects import build, subject_of
from .toys import coloured

REHEARSALS = [("resnet10t_half", {"training_views": "plain", "epochs": 2})]
WAITS_OF = ("linear",)

SETTINGS: dict[str, Any] = {"epochs": 3, "training_views": "plain", "perturbations": ["orig"], "learning_rate": 1.0}


class ByHand(Backbone):
    """Three networks, each scaled by a factor that must not matter."""

    def __init__(self, networks: list[Backbone]) -> None:
        super().__init__("by_hand", sum(network.feature_dim for network in networks))
        self.networks = torch.nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        vectors = [7.0 * network(images) for network in self.networks]
        return torch.cat([vector / vector.norm(dim=1, keepdim=True) for vector in vectors], 1)


def test_all_stages_are_probed_together(tmp_path: Path) -> None:
    store = coloured(tmp_path, classes=3)
    networks = [build("resnet10t_half", 8) for _ in range(3)]
    with torch.no_grad():
        for number, network in enumerate(networks):
            for parameter in network.parameters():
                parameter.add_(0.01 * number * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    subject = replace(subject_of(networks[2], store, ir_dim=200), earlier=tuple(networks[:2]), variant="+few")
    found = evaluate(subject, StagesOptions.model_validate(SETTINGS))
    whole = subject_of(ByHand(networks), store)
    expected = evaluate_linear(whole, LinearOptions.model_validate(SETTINGS))
    assert {(record.protocol, record.part) for record in found} == {("stages+few", "ALL")}
    assert [record.value for record in found] == pytest.approx([record.value for record in expected])
    alone = evaluate(subject_of(networks[2], store), StagesOptions.model_validate(SETTINGS))
    assert [record.protocol for record in alone] == ["stages"] * len(found)
    assert [record.value for record in alone] != [record.value for record in found]
