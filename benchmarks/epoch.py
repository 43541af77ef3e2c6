"""A whole epoch of two-view DINO on small images: this package against lightly's loop with its own transforms.

    python benchmarks/epoch.py                                      # ResNet-18, 128 images of 32 px: minutes on a CPU
    CLEVER_REAL_DATA=FOLDER python benchmarks/epoch.py              # CIFAR-10 from FOLDER/cifar10 instead of noise
    python benchmarks/epoch.py --device cuda --images 50000 --batch 512 --precision bf16 --rounds 2

Ours uses the package's trainer and batches, with two views of BAug. The reference is lightly's DINO example on the same
backbone, batch and head: its DINOTransform on Pillow images, a DataLoader with two persistent workers,
DINOProjectionHead, DINOLoss, one forward pass per view, update_momentum, AdamW. Its augmentation strengths are set to
BAug's. Both use the given precision and the same number of threads, each in a separate process.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import rounds
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from clever.backbones import BackboneOptions, build_backbone
from clever.data import Batches, DataOptions, Store, prepare
from clever.pretraining.malloc import keep_freed_memory
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer


def make_images(count: int) -> NDArray[np.uint8]:
    """uint8 [count, 32, 32, 3]: CIFAR-10's training images if available, else blocks of noise."""
    folder = os.environ.get("CLEVER_REAL_DATA")
    if folder:
        with tempfile.TemporaryDirectory() as temporary:
            options = DataOptions(source="cifar10", root=str(Path(folder) / "cifar10"))
            split = prepare(options, Path(temporary) / "store", progress=False).split("train")
            return split.images(range(count)).pixels.permute(0, 2, 3, 1).contiguous().numpy()
    coarse = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def recipe_for(arguments: argparse.Namespace) -> RunRecipe:
    return RunRecipe.model_validate(
        {
            "data": "images",
            "backbone_name": arguments.backbone,
            "backbone": {"name": arguments.backbone, "image_size": 32},
            "method_name": "dino",
            "method": {"baseline": {"name": "dino", "out_dim": arguments.outputs}},
            "augmentation_name": "baug",
            "augmentation": {"name": "baug", "global_size": 32, "local_views": 0},
            "optimisation": {"batch_size": arguments.batch, "precision": arguments.precision},
            "seed": 0,
        }
    )


def ours(arguments: argparse.Namespace, store: Store) -> Callable[[], None]:
    """Each call is one epoch of this package's trainer and batches."""
    device = torch.device(arguments.device)
    if device.type == "cpu":
        keep_freed_memory()  # as pre-training does
    batches = Batches(store.split("train"), arguments.batch, seed=0, device=device)
    images = len(store.split("train"))
    trainer = Trainer(
        recipe_for(arguments), store.mean, store.std, len(batches), device, arguments.compile, training_images=images
    )
    done = 0

    def epoch() -> None:
        nonlocal done
        losses = []
        for step, batch in enumerate(batches.epoch(done)):
            losses.append(trainer.step(batch, done * len(batches) + step)["loss"])
        done += 1
        torch.stack(losses).mean().item()

    return epoch


class TwoViews(Dataset[list[Tensor]]):
    """lightly's transform on Pillow images, as its own datasets apply it."""

    def __init__(self, images: NDArray[np.uint8], transform: Callable[[Image.Image], list[Tensor]]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(Image.fromarray(self.images[index]))


def lightlys(arguments: argparse.Namespace, store: Store) -> Callable[[], None]:
    """Each call is one epoch of lightly's loop."""
    from lightly.loss import DINOLoss
    from lightly.models.modules import DINOProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.transforms import DINOTransform

    device = torch.device(arguments.device)
    split = store.split("train")
    images = split.images(range(len(split))).pixels.permute(0, 2, 3, 1).contiguous().numpy()
    transform = DINOTransform(
        global_crop_size=32,
        n_local_views=0,
        cj_strength=1.0,
        cj_bright=0.4,
        cj_contrast=0.4,
        cj_sat=0.2,
        cj_hue=0.1,
        normalize={"mean": list(store.mean), "std": list(store.std)},
    )
    loader = DataLoader(
        TwoViews(images, transform),
        arguments.batch,
        shuffle=True,
        drop_last=True,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
        pin_memory=device.type == "cuda",
    )
    backbone = build_backbone(BackboneOptions(name=arguments.backbone, image_size=32), seed=0)
    head, teacher_head = (
        DINOProjectionHead(backbone.feature_dim, 2048, 256, arguments.outputs, freeze_last_layer=freeze)
        for freeze in (1, -1)
    )
    student = nn.Sequential(backbone, head).to(device)
    teacher = nn.Sequential(copy.deepcopy(backbone), teacher_head).to(device)
    deactivate_requires_grad(teacher)
    criterion = DINOLoss(arguments.outputs).to(device)
    optimiser = torch.optim.AdamW(student.parameters(), lr=0.001)
    done = 0

    def epoch() -> None:
        nonlocal done
        total = torch.zeros((), device=device)
        for batch in loader:
            update_momentum(student, teacher, m=0.996)
            views = [view.to(device, non_blocking=True) for view in batch]
            with torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bf16"):
                targets = [teacher(view) for view in views]
                outputs = [student(view) for view in views]
            loss = criterion([t.float() for t in targets], [o.float() for o in outputs], epoch=done)
            total += loss.detach()
            loss.backward()
            head.cancel_last_layer_gradients(current_epoch=done)
            optimiser.step()
            optimiser.zero_grad()
        done += 1
        total.item()

    return epoch


CONTENDERS: dict[str, Callable[[argparse.Namespace, Store], Callable[[], None]]] = {"ours": ours, "lightly": lightlys}


def serve(name: str, arguments: argparse.Namespace, folder: Path, orders: Connection) -> None:
    """Build a contender, and run one epoch per command."""
    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    epoch = CONTENDERS[name](arguments, Store.open(folder))
    while orders.recv():
        epoch()
        orders.send(True)


def main() -> None:
    parser = rounds.parser(__doc__)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--images", type=int, default=128, help="images of the epoch")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--outputs", type=int, default=4096, help="width of the head")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--workers", type=int, default=2, help="of the reference's DataLoader")
    parser.add_argument("--compile", action="store_true", help="torch.compile our backbone")
    arguments = rounds.parse(parser)

    images = make_images(arguments.images)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for split, part in (("train", images), ("test", images[:2])):
            np.save(root / f"{split}_images.npy", part)
            np.save(root / f"{split}_labels.npy", np.zeros(len(part), np.int64))
        prepare(DataOptions(source="arrays", root=temporary), root / "store", progress=False)
        contenders: dict[str, Callable[[], object]] = {}
        lines: list[Connection] = []
        context = multiprocessing.get_context("spawn")
        for name in CONTENDERS:
            mine, its = context.Pipe()
            context.Process(target=serve, args=(name, arguments, root / "store", its)).start()
            its.close()
            lines.append(mine)
            contenders[name] = lambda line=mine: (line.send(True), line.recv())
        try:
            seconds = rounds.alternate(contenders, arguments.rounds, torch.device("cpu"))
            for line in lines:
                line.send(False)
        finally:
            for line in lines:
                line.close()
    seen = arguments.images // arguments.batch * arguments.batch
    what = f"{arguments.backbone}, {seen} images of 32 px, batch {arguments.batch}, {arguments.precision}"
    ratio = rounds.median_ratio(seconds["lightly"], seconds["ours"])
    goal = 20000.0 if arguments.device.startswith("cuda") and arguments.backbone == "resnet18" else None
    rates = {name: seen / sorted(spent)[len(spent) // 2] for name, spent in seconds.items()}
    rounds.report(
        arguments,
        [
            rounds.row(f"speed-up of an epoch, {what}", ratio, "x", "lightly's DINO loop", 1.2),
            rounds.row("source images per second, ours", rates["ours"], "images/s", "", goal),
            rounds.row("source images per second, lightly", rates["lightly"], "images/s", ""),
        ],
    )


if __name__ == "__main__":
    main()
