"""Train a detector epoch by epoch, so that a killed training resumes with the same bits on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from clever.errors import UserError
from clever.evaluation.detection.coco import CocoSet
from clever.evaluation.resumption import ResumableState
from clever.randomness import derive_seed, make_generator


@dataclass(frozen=True)
class DetectionSettings:
    """Settings of torchvision's reference (references/detection): 26 epochs of COCO with 16 images per step."""

    epochs: int = 26
    batch_size: int = 16
    learning_rate: float = 0.02
    """Learning rate for a batch of 16; it is multiplied by ``batch_size`` / 16."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    milestones: tuple[int, ...] = (16, 22)
    """Epochs after which the learning rate falls to a tenth."""
    warmup_steps: int = 1000
    """Number of steps over which the learning rate rises from a thousandth of its value; at most the first epoch."""


def train_detector(
    model: MaskRCNN,
    data: CocoSet,
    settings: DetectionSettings,
    *,
    seed: int,
    run: str,
    state: ResumableState | None = None,
    report: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train ``model`` in place; return the mean loss of each epoch.

    Images come in an order drawn for each epoch, each mirrored with probability 1/2; those without an object are
    skipped, as torchvision does.

    Args:
        model: on its device; left in evaluation mode.
        data: the training images.
        seed: seeds the order, the flips and the detector's sampling.
        run: names the run in messages.
        state: where to save after each epoch; None does not save.
        report: called with the finished epochs and the last one's mean loss.

    Raises:
        UserError: no image has an object, the loss is not finite, or the state cannot be read or written.
    """
    rows = [row for row in range(len(data)) if len(data.target(row)["labels"])]
    if not rows:
        raise UserError(f"{run}: none of the {len(data)} images of {data.folder} has an object that is not a crowd")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    device = parameters[0].device
    peak = settings.learning_rate * settings.batch_size / 16
    optimiser = torch.optim.SGD(parameters, lr=peak, momentum=settings.momentum, weight_decay=settings.weight_decay)
    losses: list[float] = []
    saved = state.load(device) if state else None
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        losses = list(saved["losses"])
    for epoch in range(len(losses), settings.epochs):
        losses.append(_epoch(model, optimiser, data, rows, settings, peak, epoch, seed, device))
        if not losses[-1] < float("inf"):
            raise UserError(
                f"{run}: the detector diverged in epoch {epoch + 1}; lower learning_rate ({settings.learning_rate})"
            )
        if state is not None:
            state.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "losses": losses})
        if report is not None:
            report(epoch + 1, losses[-1])
    model.eval()
    return losses


def _epoch(
    model: MaskRCNN,
    optimiser: torch.optim.Optimizer,
    data: CocoSet,
    rows: list[int],
    settings: DetectionSettings,
    peak: float,
    epoch: int,
    seed: int,
    device: torch.device,
) -> float:
    rate = peak * 0.1 ** sum(epoch >= milestone for milestone in settings.milestones)
    generator = make_generator(seed, "detection", epoch)
    order = torch.randperm(len(rows), generator=generator).tolist()
    flips = torch.rand(len(rows), generator=generator) < 0.5
    steps = range(0, len(order), settings.batch_size)
    warmup = min(settings.warmup_steps, len(steps) - 1)
    total, count = 0.0, 0
    model.train()
    # The detector samples anchors and proposals from torch's global generators.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, "detection", "samples", epoch))
        for step, start in enumerate(steps):
            rising = 0.001 + 0.999 * step / warmup if epoch == 0 and step < warmup else 1.0
            for group in optimiser.param_groups:
                group["lr"] = rate * rising
            images, targets = [], []
            for place in order[start : start + settings.batch_size]:
                image, target = _sample(data, rows[place], bool(flips[place]))
                images.append(image.to(device))
                targets.append({name: tensor.to(device) for name, tensor in target.items()})
            loss: Tensor = torch.stack(list(model(images, targets).values())).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += float(loss.detach()) * len(images)
            count += len(images)
    return total / count


def _sample(data: CocoSet, row: int, flip: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """An image float32 [3, H, W] in [0, 1] and its target, mirrored left to right if ``flip``."""
    image = torch.from_numpy(data.pixels(row).copy()).permute(2, 0, 1).float() / 255
    target = data.target(row)
    if flip:
        width = image.shape[2]
        left, top, right, bottom = target["boxes"].unbind(1)
        boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
        image, target = image.flip(2), {**target, "boxes": boxes, "masks": target["masks"].flip(2)}
    return image, target
