"""Fine-tuning: a frozen backbone gives the linear probe; steps equal torch's SGD; a killed run ends with the same
bits."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.backbones import Backbone
from clever.errors import UserError
from clever.evaluation.finetuning import Classifier, FineTuningSettings, Progress, fine_tune
from clever.evaluation.linear import SoftmaxRegression, cosine_rate
from clever.evaluation.parts import part_selections
from clever.evaluation.resumption import ResumableState
from clever.randomness import make_generator

CPU = torch.device("cpu")
CLASSES = 3


class Small(Backbone):
    """Convolution, batch normalisation and dropout, which depend on the training mode."""

    def __init__(self) -> None:
        super().__init__("small", 10)
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.net = nn.Sequential(nn.Conv2d(3, 10, 3, stride=2), nn.BatchNorm2d(10), nn.ReLU(), nn.Dropout(0.2))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.net(images).mean((2, 3))
        return features


def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = make_generator(0, "test batches", epoch)
    labels = torch.randperm(37, generator=generator) % CLASSES
    images = torch.randn(37, 3, 8, 8, generator=generator) + labels[:, None, None, None]
    yield from zip(images.split(12), labels.split(12), strict=True)  # the last batch holds one image


def model(part: str = "ALL") -> Classifier:
    return Classifier(Small(), part_selections(10, 8)[part], 1, CLASSES, seed=1)


@pytest.mark.parametrize("part", ["ALL", "IR", "EF"])
def test_a_frozen_backbone_gives_the_linear_probe(part: str) -> None:
    settings = FineTuningSettings(epochs=3, batch_size=64, head_rate=2.0, backbone_rate=0.0, weight_decay=0.01)
    ours = model(part)
    before = copy.deepcopy(ours.backbone.state_dict())
    fine_tune(ours, batches, settings, seed=0, run="run")
    for name, tensor in ours.backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name

    backbone, columns = Small().eval(), part_selections(10, 8)[part]
    width = len(torch.arange(10)[columns])
    probe = SoftmaxRegression.initial(width, CLASSES, make_generator(1, "fine-tuning", "weights"), CPU)
    with torch.no_grad():
        for epoch in range(3):
            for images, labels in batches(epoch):
                if len(images) > 1:
                    rate = cosine_rate(2.0 * 64 / 256, epoch, 3)
                    probe.step(backbone(images)[:, columns], labels, rate, 0.9, 0.01)
    torch.testing.assert_close(ours.head.weight.detach(), probe.weight)
    torch.testing.assert_close(ours.head.bias.detach(), probe.bias)


def test_both_rates_and_the_cosine_equal_torch_s_sgd() -> None:
    """Compared with a loop with two optimisers and torch's scheduler; there is no dropout, so nothing is random."""
    settings = FineTuningSettings(epochs=4, batch_size=128, head_rate=0.4, backbone_rate=0.1)
    ours, reference = model(), model()
    ours.backbone.net[3], reference.backbone.net[3] = nn.Identity(), nn.Identity()
    progress = fine_tune(ours, batches, settings, seed=0, run="run")
    optimisers = [
        torch.optim.SGD(reference.backbone.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
        torch.optim.SGD(reference.head.parameters(), lr=0.2, momentum=0.9, weight_decay=1e-4),
    ]
    schedulers = [torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 4) for optimiser in optimisers]
    reference.train()
    losses = []
    for epoch in range(4):
        total = 0.0
        for images, labels in batches(epoch):
            if len(images) == 1:
                continue
            loss = F.cross_entropy(reference(images), labels)
            for optimiser in optimisers:
                optimiser.zero_grad()
            loss.backward()
            for optimiser in optimisers:
                optimiser.step()
            total += float(loss.detach()) * len(images)
        losses.append(total / 36)
        for scheduler in schedulers:
            scheduler.step()
    for name, tensor in reference.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, msg=name)
    assert progress.losses == pytest.approx(losses, rel=1e-5)
    assert progress.losses[-1] < progress.losses[0]


class KilledError(Exception):
    pass


def test_a_killed_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    settings = FineTuningSettings(epochs=5, batch_size=256, head_rate=0.1, backbone_rate=0.1)

    def measure(trained: Classifier) -> dict[str, float]:
        assert not trained.training
        return {"first": float(trained(torch.ones(1, 3, 8, 8))[0, 0])}

    whole = model()
    expected = fine_tune(whole, batches, settings, seed=2, run="run", measure=measure)

    def kill(progress: Progress) -> None:
        if progress.epochs == 3:
            raise KilledError

    identity = {"run": "run", "options": "{}"}
    state = ResumableState(tmp_path / "state" / "semi.pt", identity)
    with pytest.raises(KilledError):
        fine_tune(
            model(), batches, settings, seed=2, run="run", measure=measure, state=state, save_every=2, report=kill
        )
    resumed = model()
    epochs: list[int] = []
    found = fine_tune(
        resumed,
        lambda epoch: (epochs.append(epoch), batches(epoch))[1],
        settings,
        seed=2,
        run="run",
        measure=measure,
        state=state,
    )
    assert epochs == [2, 3, 4]
    assert found == expected
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name

    # A state with other options belongs to another evaluation; a damaged state is named.
    assert ResumableState(state.path, {"run": "run", "options": "other"}).load() is None
    state.path.write_bytes(state.path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"semi\.pt: damaged"):
        state.load()
    state.clear()
    assert state.load() is None


def test_divergence_is_reported() -> None:
    settings = FineTuningSettings(epochs=3, head_rate=1e30, backbone_rate=1e30)
    with pytest.raises(UserError, match=r"toy/run: fine-tuning diverged in epoch \d"):
        fine_tune(model(), batches, settings, seed=0, run="toy/run")
