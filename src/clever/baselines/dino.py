"""DINO: self-distillation with no labels (Caron et al. 2021, arXiv 2104.14294)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from clever.baselines.baseline import Baseline, Head, HeadOutput
from clever.baselines.distillation import cosine, cross_entropy, teacher_distribution
from clever.baselines.options.dino import DinoOptions
from clever.collectives import average_over_processes


class DinoHead(Head):
    """MLP, l2-normalisation, weight-normalised linear layer without bias (authors' vision_transformer.py:257-291).

    The hidden layers are initialised from a normal distribution of standard deviation 0.02, truncated at -2 and 2, with
    zero biases. The last layer keeps PyTorch's default initialisation, with the norm ``g`` of every row fixed to 1, so
    that the logits are cosines in [-1, 1].
    """

    def __init__(self, width: int, options: DinoOptions) -> None:
        super().__init__()
        hidden = options.hidden_dim
        layers: list[nn.Module] = []
        for inputs in (width, hidden):
            layers.append(nn.Linear(inputs, hidden))
            if options.batch_norm_in_head:
                layers.append(nn.BatchNorm1d(hidden))
            layers.append(nn.GELU())
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden, options.bottleneck_dim))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.last_layer = weight_norm(nn.Linear(options.bottleneck_dim, options.out_dim, bias=False))
        row_norm: nn.Parameter = self.last_layer.parametrizations.weight.original0
        nn.init.ones_(row_norm)
        row_norm.requires_grad_(False)

    def forward(self, features: Tensor) -> HeadOutput:
        """Features [M, width] to logits [M, out_dim]."""
        bottleneck = F.normalize(self.mlp(features).float(), dim=-1)
        return HeadOutput(self.last_layer(bottleneck))

    def last_layer_parameters(self) -> list[nn.Parameter]:
        return list(self.last_layer.parameters())


class Dino(Baseline[DinoHead]):
    """Cross-entropy between the centred, sharpened teacher and the student over all pairs of different views.

    >>> import torch
    >>> from clever.baselines.dino import Dino
    >>> from clever.baselines.options.dino import DinoOptions
    >>> _ = torch.manual_seed(0)
    >>> dino = Dino(DinoOptions(hidden_dim=32, out_dim=8, bottleneck_dim=8))
    >>> head = dino.make_head(16)  # for 16 features
    >>> features = torch.randn(2, 32, 16)  # two views of 32 images
    >>> teacher = [head(view) for view in features]  # in training from a momentum copy of the head
    >>> loss = dino.attract([head(view) for view in features], teacher, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    5.6
    """

    options: DinoOptions
    centre: Tensor

    def __init__(self, options: DinoOptions) -> None:
        super().__init__(options)
        self.teacher_temperature = options.teacher_temperature
        self.register_buffer("centre", torch.zeros(1, options.out_dim))

    def make_head(self, width: int) -> DinoHead:
        return DinoHead(width, self.options)

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        return cross_entropy(
            [view.projection for view in student],
            [view.projection for view in teacher],
            self.centre,
            student_temperature=self.options.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )

    def similarity(
        self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None
    ) -> Tensor:
        return cosine(
            [view.projection for view in student],
            [view.projection for view in teacher],
            self.centre,
            student_temperature=self.options.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )

    @torch.no_grad()
    def observe(self, teacher: Sequence[HeadOutput]) -> None:
        """Move the centre towards the mean of all teacher logits of all processes (authors' main_dino.py:582-604)."""
        mean = torch.cat([view.projection.float() for view in teacher]).mean(dim=0, keepdim=True)
        self.centre.lerp_(average_over_processes(mean), 1 - self.options.centre_momentum)

    def start_epoch(self, epoch: int) -> None:
        start, end = self.options.warmup_teacher_temperature, self.options.teacher_temperature
        epochs = self.options.warmup_teacher_epochs
        self.teacher_temperature = end if epoch >= epochs else start + (end - start) * epoch / max(1, epochs - 1)

    def frozen_parameters(self, head: DinoHead, epoch: int) -> list[nn.Parameter]:
        return head.last_layer_parameters() if epoch < self.options.freeze_last_layer_epochs else []

    @torch.no_grad()
    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        """The teacher's entropy and KL(teacher || student) across the global views, both divided by ln K, the maximum
        entropy.

        An entropy ratio near 1 with a divergence near 0 indicates collapse to the uniform distribution, a ratio near 0
        collapse to one output (Caron et al. 2021, fig. 7).
        """
        targets = [teacher_distribution(view.projection, self.centre, self.teacher_temperature) for view in teacher]
        entropy = sum(torch.special.entr(target).sum(-1).mean() for target in targets) / len(targets)
        loss = cross_entropy(
            [view.projection for view in student[: len(teacher)]],
            [view.projection for view in teacher],
            self.centre,
            student_temperature=self.options.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
        largest = math.log(self.options.out_dim)
        divergence = loss - entropy
        return {
            "teacher_entropy_ratio": torch.as_tensor(entropy) / largest,
            "teacher_student_divergence": divergence,
            "teacher_student_divergence_ratio": divergence / largest,
        }
