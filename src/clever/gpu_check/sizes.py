"""The sizes of all steps: on a card, and in a rehearsal on a CPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpeedCase:
    """One call of ``benchmarks/training_step.py``."""

    name: str
    backbone: str
    images: int
    views: str = "ten"
    augmentation: str = "caug"
    compiled: bool = False
    seconds: float = 40.0
    """Time limit in seconds."""


@dataclass(frozen=True)
class Sizes:
    """Sizes and time limits of all steps; limits are in seconds unless stated otherwise."""

    device: str
    correctness_seconds: float
    speed_seconds: float
    study_seconds: float
    """Minimum time for the study; the speed steps are shortened to leave it."""
    agreement_pairs: tuple[tuple[str, str, str], ...]
    """Baseline, add-on, backbone."""
    agreement_images: int
    waits_per_baseline: int
    """Number of add-ons to try with every baseline."""
    speed: tuple[SpeedCase, ...]
    rounds: int
    vmamba: tuple[int, int] | None
    """Image side and batch size for comparing VMamba-Tiny with ViT-Small."""
    sharing: tuple[int, ...]
    """Numbers of processes to try in the trial of sharing the card."""
    sharing_seconds: float


CARD = Sizes(
    device="cuda",
    correctness_seconds=90.0,
    speed_seconds=150.0,
    study_seconds=255.0,
    agreement_pairs=(
        ("simclr", "none", "resnet18"),
        ("simsiam", "clever", "resnet18"),
        ("dino", "clever", "vit_tiny"),
        ("dino", "none", "vmamba_tiny"),
        ("byol", "ddcl", "resnet18"),
        ("moco_v3", "clever", "vit_tiny"),
        ("barlow_twins", "augself", "resnet10t_half"),
        ("vicreg", "essl", "resnet10t_half"),
        ("swav", "none", "resnet10t_half"),
        ("nnclr", "equimod", "resnet10t_half"),
        ("mv_infonce", "sie", "resnet10t_half"),
        ("mv_dhel", "clever", "resnet10t_half"),
        ("dcl", "gradient", "resnet10t_half"),
        ("dclw", "none", "resnet10t_half"),
    ),
    agreement_images=32,
    waits_per_baseline=8,
    speed=(
        SpeedCase("resnet18", "resnet18", 512, "two", "baug"),
        SpeedCase("vit_small", "vit_small", 256),
        SpeedCase("vit_small_compiled", "vit_small", 256, compiled=True, seconds=55.0),
        SpeedCase("vit_tiny", "vit_tiny", 512),
        SpeedCase("resnet18_compiled", "resnet18", 512, "two", "baug", compiled=True, seconds=40.0),
        SpeedCase("vit_tiny_compiled", "vit_tiny", 512, compiled=True, seconds=45.0),
    ),
    rounds=3,
    vmamba=(224, 128),
    sharing=(1, 2, 4),
    sharing_seconds=3.0,
)

REHEARSAL = Sizes(
    device="cpu",
    correctness_seconds=200.0,
    speed_seconds=200.0,
    study_seconds=0.0,
    agreement_pairs=(("simclr", "none", "resnet10t_half"), ("dino", "clever", "test_vit")),
    agreement_images=4,
    waits_per_baseline=1,
    speed=(SpeedCase("vit", "test_vit", 4, "two", seconds=120.0),),
    rounds=1,
    vmamba=None,
    sharing=(1, 2),
    sharing_seconds=0.5,
)


def sizes_for(device: str) -> Sizes:
    """The sizes for a card on a GPU, or those for the rehearsal on a CPU."""
    return CARD if device.startswith("cuda") else REHEARSAL
