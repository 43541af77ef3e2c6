"""MoCo v2's loss against a float64 form and lightly's, and its queue, momentum and shuffled BatchNorm."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss
from torch import Tensor, nn

from clever.backbones import Backbone
from clever.baselines import HeadOutput
from clever.baselines.moco_v2 import MocoV2
from clever.baselines.options.moco_v2 import MocoV2Options
from clever.equivariance import Heads
from clever.errors import UserError
from clever.pretraining.network import Network
from clever.pretraining.shuffled_groups import encode_in_groups

TINY = {"queue_length": 16, "momentum": 0.9, "key_groups": 2}
JOINED = {"queue_length": 32}

ROWS, WIDTH, LENGTH = 5, 10, 12


def moco(**settings: Any) -> MocoV2:
    return MocoV2(
        MocoV2Options.model_validate({"hidden_dim": 12, "out_dim": WIDTH, "queue_length": LENGTH, **settings})
    )


def outputs(tensors: list[Tensor]) -> list[HeadOutput]:
    return [HeadOutput(tensor) for tensor in tensors]


def by_rows(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for i in range(ROWS):
        q, k = queries[i] / queries[i].norm(), keys[i].detach() / keys[i].detach().norm()
        logits = torch.stack([q @ k, *(q @ row for row in queue.double())]) / temperature
        total = total - (logits[0] - torch.logsumexp(logits, 0)) / ROWS
    return total


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_and_gradient_of_the_symmetric_form(temperature: float, draw: Any, agree: Any) -> None:
    baseline = moco(temperature=temperature)
    keys = outputs([tensor.float() for tensor in draw(2, ROWS, WIDTH, 1)])
    k = [output.projection.double() for output in keys]

    def reference(t: list[Tensor]) -> Tensor:
        of_first = by_rows(t[0], k[1], baseline.queue[1], temperature)
        return (of_first + by_rows(t[1], k[0], baseline.queue[0], temperature)) / 2

    agree(lambda t: baseline.attract(outputs(t), keys), reference, draw(2, ROWS, WIDTH))


def test_in_the_papers_form_the_first_view_is_the_query(draw: Any, agree: Any) -> None:
    baseline = moco(symmetric=False)
    keys = outputs([tensor.float() for tensor in draw(2, ROWS, WIDTH, 1)])
    agree(
        lambda t: baseline.attract(outputs([t[0], keys[0].projection]), keys),
        lambda t: by_rows(t[0], keys[1].projection.double(), baseline.queue[1], 0.2),
        draw(1, ROWS, WIDTH),
    )


def test_with_the_same_queue_the_loss_equals_lightly(draw: Any) -> None:
    tensors = [tensor.float() for tensor in draw(2, ROWS, WIDTH)]
    baseline = moco(symmetric=False)
    lightly = NTXentLoss(temperature=0.2, memory_bank_size=(LENGTH, WIDTH))
    lightly.memory_bank.bank = baseline.queue[1].clone()
    lightly.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
    mine = baseline.attract(outputs(tensors), outputs(tensors))
    torch.testing.assert_close(mine, lightly(tensors[0].requires_grad_(), tensors[1]))


def test_each_view_has_a_queue_of_the_newest_keys(draw: Any) -> None:
    baseline, views = moco(), [tensor.float() for tensor in draw(6, ROWS, WIDTH)]
    for first, second in zip(views[:3], views[3:], strict=True):
        baseline.observe(outputs([first, second]))
    for number, seen in enumerate((views[:3], views[3:])):
        expected = F.normalize(torch.cat(seen[::-1]), dim=1)[:LENGTH]
        torch.testing.assert_close(baseline.queue[number], expected, rtol=0, atol=1e-7)
    restored = moco()
    restored.load_state_dict(baseline.state_dict())
    assert torch.equal(restored.queue, baseline.queue)


def test_the_momentum_goes_from_start_to_end() -> None:
    rising = moco(momentum=0.99, final_momentum=0.999)
    assert [rising.options.teacher_momentum(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.99, 0.9945, 0.999])
    constant = moco(momentum=0.999, final_momentum=0.999)
    assert {constant.options.teacher_momentum(p) for p in (0.0, 0.3, 1.0)} == {0.999}


class Normed(Backbone):
    """A BatchNorm applied to the mean colour."""

    def __init__(self) -> None:
        super().__init__("normed", 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.norm(images.mean((2, 3)))
        return features


def test_shuffled_groups_are_normalised_separately_and_return_in_order() -> None:
    network = Network(Normed(), Heads({"ALL": moco().make_head(3)}), {"ALL": slice(0, 3)}, views_apart=True)
    views = [torch.randn(12, 3, 2, 2, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    torch.manual_seed(4)
    with torch.no_grad():
        encoded = encode_in_groups(network, views, {}, 3)
    torch.manual_seed(4)
    groups = torch.randperm(12).chunk(3)
    assert sorted(torch.cat(groups).tolist()) == list(range(12))
    assert torch.cat(groups).tolist() != list(range(12))
    for view, features, output in zip(views, encoded.features, encoded.outputs["ALL"], strict=True):
        for group in groups:
            colours = view[group].mean((2, 3))
            normed = (colours - colours.mean(0)) / (colours.var(0, correction=0) + 1e-5).sqrt()
            torch.testing.assert_close(features[group], normed)
        torch.testing.assert_close(output.projection, network.heads["ALL"](features).projection)


@pytest.mark.parametrize("groups", [5, 12])
def test_groups_that_do_not_fit_are_rejected(groups: int) -> None:
    network = Network(Normed(), Heads({"ALL": moco().make_head(3)}), {"ALL": slice(0, 3)})
    with pytest.raises(UserError, match=f"key_groups {groups}: 12 images"):
        encode_in_groups(network, [torch.zeros(12, 3, 2, 2)], {}, groups)


def test_batches_that_do_not_divide_are_rejected_before_a_run() -> None:
    options = MocoV2Options(key_groups=5)
    assert options.refusal(20) is None
    assert "12 images do not divide" in (options.refusal(12) or "")
    assert "5 images do not divide" in (options.refusal(5) or "")


def test_a_step_with_shuffled_keys(make_recipe: Any, colourful_store: Any) -> None:
    from clever.data import Batches
    from clever.pretraining.recipe import RunRecipe
    from clever.pretraining.trainer import Trainer

    losses = {}
    for groups in (1, 2):
        head = {"name": "moco_v2", "hidden_dim": 12, "out_dim": 8, "queue_length": 16, "key_groups": groups}
        whole = make_recipe(augmentation={"local_views": 0}, optimisation={"batch_size": 8}).model_dump()
        recipe = RunRecipe.model_validate(whole | {"method": {"baseline": head, "equivariance": {"name": "none"}}})
        trainer = Trainer(recipe, colourful_store.mean, colourful_store.std, 6, torch.device("cpu"))
        batch = next(iter(Batches(colourful_store.split("train"), 8, seed=0, device="cpu").epoch(0)))
        losses[groups] = trainer.step(batch, 0)["loss"].item()
    assert losses[1] != losses[2]
    assert losses[1] == pytest.approx(losses[2], rel=0.2)
