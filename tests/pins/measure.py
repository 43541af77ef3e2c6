"""Computes the pinned numbers; ``PYTHONPATH=src:tests python -m pins.measure`` rewrites ``pins.json``.

Rewrite it only for a change that is meant to change numbers, and name every changed key and the reason in the commit.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from clever import threediebench
from clever.backbones import BackboneOptions, build_backbone
from clever.data import Batches, DataOptions, Store, prepare
from clever.evaluation import PROTOCOLS
from clever.evaluation.subject import RunPredictor, Subject
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer
from clever.provenance import hardware
from clever.results.records import RunIdentity

from .cases import PINNED_EVALUATIONS, SIDE, pinned_recipes, whole_runs

FILE = Path(__file__).parent / "pins.json"
STEPS = 4
STEPS_PER_EPOCH = 3
"""The last step is in epoch 1, when the parameters frozen in epoch 0 are trained."""
_BITS_DEPEND_ON = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow")

Pin = dict[str, Any]


def machine() -> dict[str, str]:
    """Everything except our code on which the last bits of a float may depend."""
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        flags = next(line for line in described.splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        flags = ""
    return {
        "processor": str(hardware(torch.device("cpu"))["processor"]),
        "processor_flags": hashlib.sha256(flags.encode()).hexdigest()[:16],
        "capability": torch.backends.cpu.get_cpu_capability(),
        **{name: importlib.metadata.version(name) for name in _BITS_DEPEND_ON},
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread, because sums are split among threads, and the order of additions must be the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stores(folder: Path) -> dict[str, Store]:
    """The data that the cases name: coloured noise, photographs of objects, spirographs."""
    draw = np.random.default_rng(0)
    colours, photographs = folder / "colours", folder / "photographs"
    colours.mkdir(parents=True)
    for split, count in (("train", 24), ("test", 20)):
        labels = np.arange(count) % 2
        noise = draw.integers(0, 200, (count, SIDE, SIDE, 3)) + 15 * labels[:, None, None, None]
        np.save(colours / f"{split}_images.npy", noise.astype(np.uint8))
        np.save(colours / f"{split}_labels.npy", labels)
    low, high = np.array([-1.57] * 3 + [0.0] * 4), np.array([1.57] * 3 + [1.0, 0.785, 6.28, 1.0])
    for number in range(10):
        place = photographs / f"synset{number % 2}" / f"object{number}"
        place.mkdir(parents=True)
        for view in range(50):
            blocks = draw.integers(20, 236, (4, 4, 3)).astype(np.uint8)
            pixels = np.kron(blocks, np.ones((SIDE // 4, SIDE // 4, 1), dtype=np.uint8))
            Image.fromarray(pixels).save(place / f"image_{view}.jpg", quality=100, subsampling=0)
            latents = draw.uniform(low, high).astype(np.float32)
            assert latents.shape == (len(threediebench.NAMES),)
            np.save(place / f"latent_{view}.npy", latents)
    options = {
        "colours": DataOptions(source="arrays", root=str(colours)),
        "photographs": DataOptions(source="threediebench", root=str(photographs), image_size=SIDE),
        "spirographs": DataOptions(source="spirograph", train_limit=24, test_limit=8),
    }
    return {name: prepare(o, folder / "stores" / name, progress=False) for name, o in options.items()}


def digest(module: nn.Module) -> str:
    """The first 16 digits of the SHA-256 over the names and bits of a module's parameters and buffers."""
    whole = hashlib.sha256()
    for name, value in module.state_dict().items():
        whole.update(name.encode() + b"\0" + value.detach().contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]


def trained(recipe: RunRecipe, store: Store) -> Pin:
    """Train a few steps of a run; return the backbones' bits, the losses of the first and last step, the diagnosis, and
    the distance moved."""
    images = len(store.split("train"))
    trainer = Trainer(recipe, store.mean, store.std, STEPS_PER_EPOCH, torch.device("cpu"), training_images=images)
    start = [p.detach().double().clone() for p in trainer.student.backbone.parameters()]
    assert recipe.augmentation is not None
    batches = Batches(store.split("train"), 8, seed=0, device="cpu", pairs=recipe.augmentation.pairs)
    losses: list[dict[str, float]] = []
    for iteration in range(STEPS):
        epoch, within = divmod(iteration, len(batches))
        batch = next(iter(batches.epoch(epoch, start=within)))
        losses.append({name: value.item() for name, value in trainer.step(batch, iteration).items()})
    moved = [p.detach().double() - old for p, old in zip(trainer.student.backbone.parameters(), start, strict=True)]
    return {
        "student": digest(trainer.student.backbone),
        "evaluated": digest(trainer.trained_backbone()),
        "first step": losses[0],
        "last step": losses[-1],
        "diagnosis": trainer.diagnose(),
        "moved": torch.stack([change.norm() for change in moved]).norm().item(),
    }


def whole_run(recipe: RunRecipe, store: Store, folder: Path) -> Pin:
    """Train a whole run with the engine, from recipe to files."""
    pretrain(recipe, store, folder, ExecutionOptions(device="cpu", threads=1, log_every=2))
    header, *rows = csv.reader((folder / "metrics.csv").read_text(encoding="utf-8").splitlines())
    described = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    values = [dict(zip(header, row, strict=True)) for row in rows]
    for row in values:
        del row["images_per_second"]
    numbers = {
        f"epoch {place}": {name: float(text) for name, text in row.items() if name != "health"}
        for place, row in enumerate(values)
    }
    return {"evaluated": described["backbone_sha256"][:16], "columns": header, **numbers}


def evaluated(protocol: str, store: Store, options: dict[str, Any]) -> Pin:
    """The records of one protocol for an untrained backbone."""
    known = PROTOCOLS[protocol]
    backbone = build_backbone(BackboneOptions(name="resnet10t_half", image_size=SIDE), seed=0)
    own: RunPredictor | None = None
    if known.needs_predictor:
        recipe = pinned_recipes()["vicreg+sie, photographs"]
        predictor = Trainer(recipe, store.mean, store.std, STEPS_PER_EPOCH, torch.device("cpu")).student.layers[
            "predictor"
        ]
        predictor.requires_grad_(False).eval()
        own = RunPredictor(predictor, predictor.shape.relative_names)
    identity = RunIdentity("tiny", "tiny", "untrained", "none", 0, data_checksum=store.checksum)
    ir_dim, device = int(0.8 * backbone.feature_dim), torch.device("cpu")
    subject = Subject(backbone, ir_dim, store, identity, device, seed=0, predictor=own)
    records = known.evaluate(subject, known.options.model_validate(options))
    return {
        f"{r.protocol} {r.part} {r.perturbation} {r.metric} {r.selection} {r.epoch} (n {r.n})": r.value for r in records
    }


def everything(folder: Path) -> dict[str, dict[str, Pin]]:
    """All pinned numbers, computed with this program on this machine."""
    with one_thread():
        data = stores(folder)
        recipes = pinned_recipes()
        return {
            "runs": {name: trained(recipe, data[recipe.data]) for name, recipe in recipes.items()},
            "engine": {
                name: whole_run(recipe, data[recipe.data], folder / "runs" / str(place))
                for place, (name, recipe) in enumerate(whole_runs().items())
            },
            "evaluations": {
                name: evaluated(protocol, data[store], options)
                for name, (protocol, store, options) in PINNED_EVALUATIONS.items()
            },
        }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        content = {"machine": machine(), **everything(Path(scratch))}
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{FILE}: {sum(len(part) for part in content.values())} entries")
