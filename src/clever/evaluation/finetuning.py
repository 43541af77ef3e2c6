"""Fine-tuning: backbone and a linear head trained together on labelled images.

The paper's settings (clever's eval_linear_ds.py) are the defaults of :class:`FineTuningSettings`: SGD with momentum 0.9
on backbone and head at 0.001 for a batch of 256, weight decay 1e-4 on everything, a cosine by epoch to 0 over 200
epochs, the network in training mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.backbones import Backbone
from clever.errors import UserError
from clever.evaluation.core_tuning import CoreTuning
from clever.evaluation.linear import cosine_rate
from clever.evaluation.options.core_tuning import CoreTuningOptions
from clever.evaluation.parts import Selection
from clever.evaluation.resumption import ResumableState
from clever.randomness import derive_seed, make_generator


@dataclass(frozen=True)
class FineTuningSettings:
    """Length and learning rates of fine-tuning. Rates are given for a batch of 256 and multiplied by ``batch_size`` /
    256."""

    epochs: int = 200
    batch_size: int = 256
    head_rate: float = 0.001
    backbone_rate: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 1e-4
    nesterov: bool = False
    precision: str = "fp32"


class Classifier(nn.Module):
    """A backbone and a linear layer on some columns of its features.

    Args:
        backbone: trained in place.
        columns: the columns, of ``blocks * feature_dim``, that the layer sees (:func:`part_selections`).
        blocks: number of a transformer's last blocks whose class tokens are used; 1 means the output vector.
        classes: number of outputs.
        seed: seed of the layer's weights, drawn from N(0, 0.01); the bias is 0.
        core_tuning: options of Core-tuning, to train with its loss instead of the cross-entropy.
    """

    def __init__(
        self,
        backbone: Backbone,
        columns: Selection,
        blocks: int,
        classes: int,
        seed: int,
        core_tuning: CoreTuningOptions | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self._blocks = blocks
        chosen = torch.arange(blocks * backbone.feature_dim)[columns]
        self.register_buffer("columns", chosen, persistent=False)
        self.head = nn.Linear(len(chosen), classes)
        with torch.no_grad():
            self.head.weight.normal_(0.0, 0.01, generator=make_generator(seed, "fine-tuning", "weights"))
            self.head.bias.zero_()
        self.core_tuning = None if core_tuning is None else CoreTuning(core_tuning, len(chosen), seed)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [N, 3, H, W] to logits [N, classes]."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Normalised images [N, 3, H, W] to the features [N, D] that the layer sees."""
        if self._blocks == 1:
            features: Tensor = self.backbone(images)
        else:
            features = torch.cat(self.backbone.last_blocks(images, self._blocks), dim=1)
        return features[:, self.get_buffer("columns")]

    def loss(self, images: Tensor, labels: Tensor, autocast: torch.autocast) -> Tensor:
        """The objective: the cross-entropy, or Core-tuning's loss in float32 on features computed under
        ``autocast``."""
        if self.core_tuning is None:
            with autocast:
                logits = self(images)
            return F.cross_entropy(logits.float(), labels)
        with autocast:
            features = self.features(images)
        return self.core_tuning.loss(features.float(), labels, self.head)


@dataclass
class Progress:
    """Progress: finished epochs, and the mean loss and measured values of each."""

    epochs: int = 0
    losses: list[float] = field(default_factory=list)
    measured: list[dict[str, float]] = field(default_factory=list)


def fine_tune(
    model: Classifier,
    batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]],
    settings: FineTuningSettings,
    *,
    seed: int,
    run: str,
    measure: Callable[[Classifier], dict[str, float]] | None = None,
    state: ResumableState | None = None,
    save_every: int = 1,
    report: Callable[[Progress], None] | None = None,
) -> Progress:
    """Train ``model`` in place and return its progress.

    A killed training resumes from its last saved epoch and ends with the same bits on the same machine, if
    ``batches(epoch)`` depends only on the epoch. A batch of a single image is skipped if the epoch has others, because
    batch normalisation cannot be trained on it.

    Args:
        model: on its device; left in evaluation mode.
        batches: epoch (from 0) to batches of normalised images [N, 3, H, W] and labels int64 [N] on that device.
        settings: its ``batch_size`` scales the learning rates; the batches themselves come from ``batches``.
        seed: seeds the network's random draws (stochastic depth) of each epoch.
        run: names the run in messages.
        measure: called in evaluation mode, without gradients, after each epoch; returns numbers to keep (test
            accuracy).
        state: where to save; None does not save.
        save_every: epochs between two saved states; the last epoch is always saved.
        report: called after each epoch.

    Raises:
        UserError: the loss is no longer finite, or the state cannot be read or written.
    """
    device = next(model.head.parameters()).device
    scale = settings.batch_size / 256
    parameters = list(model.backbone.parameters())
    # A learning rate of 0 freezes the backbone, including its weight decay and batch normalisation's running
    # statistics.
    frozen = settings.backbone_rate == 0.0 or not parameters
    for parameter in parameters:
        parameter.requires_grad_(not frozen)
    heads = [module for module in (model.head, model.core_tuning) if module is not None]
    of_heads = [parameter for head in heads for parameter in head.parameters()]
    groups = [{"params": of_heads, "peak": settings.head_rate * scale}]
    if not frozen:
        groups.append({"params": parameters, "peak": settings.backbone_rate * scale})
    optimiser = torch.optim.SGD(
        groups, lr=0.0, momentum=settings.momentum, weight_decay=settings.weight_decay, nesterov=settings.nesterov
    )
    progress = Progress()
    saved = state.load(device) if state else None
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        progress = Progress(saved["epochs"], list(saved["losses"]), [dict(each) for each in saved["measured"]])

    while progress.epochs < settings.epochs:
        epoch = progress.epochs
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(group["peak"], epoch, settings.epochs)
        model.train()
        if frozen:
            model.backbone.eval()
        loss = _epoch(model, optimiser, batches(epoch), derive_seed(seed, "fine-tuning", epoch), settings.precision)
        if not loss < float("inf"):
            raise UserError(
                f"{run}: fine-tuning diverged in epoch {epoch + 1} (loss {loss}); lower the learning rates "
                f"(backbone {settings.backbone_rate}, head {settings.head_rate})"
            )
        model.eval()
        measured: dict[str, float] = {}
        if measure is not None:
            with torch.no_grad():
                measured = measure(model)
        progress.epochs += 1
        progress.losses.append(loss)
        progress.measured.append(measured)
        if state and (progress.epochs % save_every == 0 or progress.epochs == settings.epochs):
            state.save(
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "epochs": progress.epochs,
                    "losses": progress.losses,
                    "measured": progress.measured,
                }
            )
        if report is not None:
            report(progress)
    model.eval()
    return progress


def _epoch(
    model: Classifier,
    optimiser: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    seed: int,
    precision: str,
) -> float:
    """Train one epoch; return the mean loss over its images, NaN if the epoch has none."""
    device = next(model.head.parameters()).device
    total, images_seen = torch.zeros((), device=device), 0
    on_gpu = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=on_gpu):
        torch.manual_seed(seed)
        for images, labels in batches:
            if len(images) == 1 and images_seen:
                continue
            autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
            loss = model.loss(images, labels, autocast)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += loss.detach() * len(images)
            images_seen += len(images)
    return float(total) / images_seen if images_seen else float("nan")
