"""SupReMix's loss against a float64 form that builds every mixture, its mixing shares, and its targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clever import threediebench
from clever.baselines import HeadOutput, Samples
from clever.baselines import supremix as module
from clever.baselines.options.supremix import SupremixOptions
from clever.baselines.supremix import COLUMNS, Supremix, supremix_loss
from clever.config import load_study
from clever.errors import UserError

TINY = {"window": 3.0}
STOPS_GRADIENTS = {"supremix": "the cosines that mixing reads"}

ROWS, WIDTH, T, WINDOW = 4, 5, 0.4, 2.5
TARGETS = torch.tensor([0.0, 1.0, 1.0, 3.0, 0.0, 2.0, 1.0, 6.0], dtype=torch.float64)


def by_mixtures(views: list[Tensor], shares: Tensor) -> Tensor:
    z = torch.cat([view / view.norm(dim=1, keepdim=True) for view in views])
    y, size = TARGETS, len(TARGETS)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(size):
        positives, everything = [], []
        for k in range(size):
            if k != i:
                score = z[i] @ z[k] / T
                everything.append((score, 1 + (y[i] - y[k]).abs()))
                if y[k] == y[i]:
                    positives.append(score)
                else:
                    a = shares[i, k].double()
                    mixed = (a * z[i] + (1 - a) * z[k]).detach()
                    label = a * y[i] + (1 - a) * y[k]
                    everything.append((z[i] @ (mixed / mixed.norm()) / T, 1 + (y[i] - label).abs()))
        for j in range(size):
            for k in range(size):
                if y[j] < y[i] < y[k] and y[i] - y[j] <= WINDOW and y[k] - y[i] <= WINDOW:
                    a = (y[k] - y[i]) / (y[k] - y[j])
                    assert torch.isclose(a * y[j] + (1 - a) * y[k], y[i])
                    mixed = (a * z[j] + (1 - a) * z[k]).detach()
                    score = z[i] @ (mixed / mixed.norm()) / T
                    positives.append(score)
                    everything.append((score, torch.ones((), dtype=torch.float64)))
        spread = sum(weight * score.exp() for score, weight in everything)
        for score in positives:
            total = total - (score - torch.as_tensor(spread).log()) / (len(positives) + 1) / size
    return total


@pytest.mark.parametrize("elements", [2**22, 2 * len(TARGETS) ** 2])
def test_loss_and_gradient(elements: int, draw: Any, agree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ELEMENTS", elements)  # all anchors at once, and two at a time
    shares = torch.rand(len(TARGETS), len(TARGETS), generator=torch.Generator().manual_seed(1))

    def mine(t: list[Tensor]) -> Tensor:
        return supremix_loss(torch.nn.functional.normalize(torch.cat(t), dim=1), TARGETS.float(), shares, T, WINDOW)

    agree(mine, lambda t: by_mixtures(t, shares), draw(2, ROWS, WIDTH))


def test_shares_have_a_beta_distribution() -> None:
    torch.manual_seed(0)
    for first, second in ((2, 8), (8, 2), (5, 5)):
        drawn = module._draw_beta(first, second, 200, torch.device("cpu"))
        true = torch.distributions.Beta(float(first), float(second))
        assert drawn.mean().item() == pytest.approx(true.mean.item(), abs=3e-3)
        assert drawn.var().item() == pytest.approx(true.variance.item(), rel=0.03)


def test_the_target_is_a_latent_or_the_label_in_units(draw: Any) -> None:
    views = [HeadOutput(view.float()) for view in draw(2, ROWS, WIDTH)]
    latents = torch.zeros(2, ROWS, len(threediebench.NAMES))
    # Two photographs of an object have different latents.
    latents[..., COLUMNS["floor_hue"]] = TARGETS.float().view(2, ROWS) / 100
    samples = Samples(torch.zeros(2, ROWS).long(), TARGETS.long().view(2, ROWS), latents)
    found = []
    for settings in ({"target": "floor_hue", "unit": 0.01}, {"target": None}):
        options = SupremixOptions.model_validate(settings)
        torch.manual_seed(0)
        found.append(Supremix(options).attract_samples(views, views, None, samples))
    torch.testing.assert_close(found[0], found[1])
    with pytest.raises(TypeError, match="attract_samples"):
        Supremix(SupremixOptions()).attract(views, views)


STUDY = """
study: s
data: {{d: {{source: {source}}}}}
backbones: {{b: {{name: resnet10t_half, image_size: 32}}}}
augmentations: {{v: {{name: {views}, global_size: 32, local_views: 0}}}}
methods: {{supremix: {{baseline: {{name: supremix, target: {target}}}}}}}
pretrainings: [{{data: d, backbones: [b], methods: [supremix], augmentations: [v]}}]
evaluations: {{latents: {{}}}}
paper: [figure_loss_terms]
"""


@pytest.mark.parametrize(
    ("source", "views", "target", "words"),
    [
        ("spirograph", "spirograph", "rotation_x", "has no latent 'rotation_x'; choose one of m, b"),
        ("spirograph", "spirograph", "gfore", "gfore is a nuisance of augmentations.v"),
        ("spirograph", "spirograph", "sigma", None),
    ],
)
def test_a_target_that_the_data_lack_is_rejected(
    tmp_path: Path, source: str, views: str, target: str, words: str | None
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(STUDY.format(source=source, views=views, target=target), encoding="utf-8")
    if words is None:
        assert load_study(path).recipes()
        return
    with pytest.raises(UserError, match=r"methods\.supremix\.baseline\.target") as caught:
        load_study(path)
    assert words in str(caught.value)
