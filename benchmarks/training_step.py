"""A whole training step: the cost of CLeVER over DINO, and the time of each stage.

    python benchmarks/training_step.py                            # ViT-Tiny, ten crops, 8 images: minutes on a CPU
    python benchmarks/training_step.py --device cuda --images 256 --precision bf16 --backbone vit_small --compile
    python benchmarks/training_step.py --device cuda --images 512 --precision bf16 --backbone vit_tiny --compile
    python benchmarks/training_step.py --device cuda --images 512 --precision bf16 --backbone resnet18 --views two

The step is the trainer's, from uint8 pixels on the device to the updated teacher, with the paper's heads (65,536
outputs; 4,096 for two views of 32 px). The cost of CLeVER is the ratio of DINO+CLeVER's step to DINO's, in alternating
rounds. The share of each stage comes from further steps in which the device is synchronised between stages. On a GPU
the report adds images per second, peak memory, and the model's FLOP/s (convolutions and matrix products of student,
teacher, heads and backward pass) over those of the fastest of a few plain matrix products of the same precision,
measured here.
"""

from __future__ import annotations

import statistics
import time
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import rounds
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from clever.data import ImageBatch
from clever.pretraining import trainer as trainer_module
from clever.pretraining.malloc import keep_freed_memory
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VIEWS: dict[str, dict[str, Any]] = {
    "ten": {"source": 256, "outputs": 65536, "sizes": {"global_size": 224, "local_size": 96, "local_views": 8}},
    "two": {"source": 32, "outputs": 4096, "sizes": {"global_size": 32, "local_views": 0}},
}
GOALS = {("vit_tiny", "ten"): 5000.0, ("resnet18", "two"): 20000.0}
"""Goals in images per second on one modern GPU."""


def recipe_for(arguments: Namespace, equivariance: str) -> RunRecipe:
    """The paper's recipe, at a step at which no layer is frozen any more."""
    views = VIEWS[arguments.views]
    image_size = views["sizes"]["global_size"]
    return RunRecipe.model_validate(
        {
            "data": "synthetic",
            "backbone_name": "backbone",
            "backbone": {"name": arguments.backbone, "image_size": image_size},
            "method_name": equivariance,
            "method": {
                "baseline": {"name": "dino", "out_dim": arguments.outputs or views["outputs"]},
                "equivariance": {"name": equivariance},
            },
            "augmentation_name": arguments.augmentation,
            "augmentation": {"name": arguments.augmentation} | views["sizes"],
            "optimisation": {
                "batch_size": arguments.images,
                "accumulate": arguments.accumulate,
                "precision": arguments.precision,
                "checkpoint_activations": arguments.checkpoint_activations,
            },
            "seed": 0,
        }
    )


class Stepper:
    """A trainer and a batch; each call is one step."""

    def __init__(self, arguments: Namespace, equivariance: str) -> None:
        self.device = torch.device(arguments.device)
        recipe = recipe_for(arguments, equivariance)
        self.trainer = Trainer(recipe, MEAN, STD, 1, self.device, arguments.compile, training_images=arguments.images)
        side, count = VIEWS[arguments.views]["source"], arguments.images
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randint(0, 256, (count, 3, side // 8, side // 8), generator=generator).float()
        pixels = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear").byte()
        rows = torch.arange(count, device=self.device)
        self.batch = ImageBatch(pixels.to(self.device), torch.full((count, 2), side), rows, rows)
        self.iteration = 10  # past the epochs in which the last layers are frozen: here an epoch is one step

    def __call__(self) -> dict[str, Tensor]:
        self.iteration += 1
        return self.trainer.step(self.batch, self.iteration)


def stage_seconds(stepper: Stepper) -> dict[str, float]:
    """Seconds of each stage of one step."""
    watch, trainer = _Watch(stepper.device), stepper.trainer
    networks = [trainer.student] if trainer.teacher is None else [trainer.student, trainer.teacher]
    handles = []
    for network in networks:
        handles.append(network.backbone.register_forward_pre_hook(lambda *_: watch.enter("backbone forward")))
        handles.append(network.backbone.register_forward_hook(lambda *_: watch.enter("heads and losses forward")))
    make_views = watch.around("augmentation", trainer.make_views, "heads and losses forward")
    update_teacher = watch.around("moving average", trainer_module.update_teacher, "optimiser")
    with (
        patch.object(trainer, "make_views", make_views),
        patch.object(trainer.student, "recomputing", watch.block("backward", "optimiser")),
        patch.object(trainer_module, "update_teacher", update_teacher),
    ):
        watch.enter("optimiser")
        stepper()
        watch.enter("end")
    for handle in handles:
        handle.remove()
    return watch.seconds


class _Watch:
    """Adds up the time between entering one stage and entering the next."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self._stage, self._since = "start", time.perf_counter()

    def enter(self, stage: str) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        if self._stage != "start":
            self.seconds[self._stage] += now - self._since
        self._stage, self._since = stage, now

    def around(self, stage: str, function: Callable[..., Any], after: str) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            self.enter(stage)
            result = function(*arguments)
            self.enter(after)
            return result

        return timed

    def block(self, stage: str, after: str) -> Callable[[], Any]:
        @contextmanager
        def timed() -> Iterator[None]:
            self.enter(stage)
            yield
            self.enter(after)

        return timed


def model_flops(stepper: Stepper) -> int:
    """Floating-point operations of student, teacher, heads and backward pass in one step."""
    views = stepper.trainer.make_views(stepper.batch, 0)
    with patch.object(stepper.trainer, "make_views", lambda *_: views), FlopCounterMode(display=False) as counter:
        stepper.trainer.compute_gradients(stepper.batch, 0)
    stepper.trainer.optimiser.zero_grad(set_to_none=True)
    return int(counter.get_total_flops())


def matmul_ceiling(device: torch.device, dtype: torch.dtype, repeats: int = 20) -> float:
    """FLOP/s of the fastest of some square matrix products."""
    best = 0.0
    for size in (4096, 8192, 16384) if device.type == "cuda" else (1024,):
        left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        for _ in range(3):
            rounds.seconds_of(lambda a=left, b=right: a @ b, device)

        def work(a: Tensor = left, b: Tensor = right) -> None:
            for _ in range(repeats):
                a @ b

        best = max(best, 2 * size**3 * repeats / rounds.seconds_of(work, device))
    return best


def parser() -> ArgumentParser:
    """The flags of this benchmark."""
    parser = rounds.parser(__doc__)
    parser.add_argument("--backbone", default="vit_tiny")
    parser.add_argument("--views", choices=list(VIEWS), default="ten", help="of 224 and 96, or of 32 px")
    parser.add_argument("--augmentation", choices=("baug", "caug", "caug_plus"), default="caug")
    parser.add_argument("--images", type=int, default=8, help="batch size")
    parser.add_argument("--outputs", type=int, help="width of the heads")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="torch.compile the student's backbone")
    parser.add_argument("--checkpoint-activations", action="store_true")
    parser.add_argument("--alone", action="store_true", help="skip DINO, whose compilation takes as long again")
    return parser


def measure(arguments: Namespace) -> tuple[list[dict[str, Any]], Stepper]:
    """All rows of the report, and DINO+CLeVER's stepper for further measurements."""
    device = torch.device(arguments.device)

    if device.type == "cpu":
        keep_freed_memory()  # as pre-training does
    started = time.perf_counter()
    contenders = {"dino+clever": "clever"} if arguments.alone else {"dino+clever": "clever", "dino": "none"}
    steppers = {name: Stepper(arguments, equivariance) for name, equivariance in contenders.items()}
    first_step = rounds.seconds_of(steppers["dino+clever"], device)
    built = time.perf_counter() - started
    seconds = rounds.alternate(steppers, arguments.rounds, device)
    # On a GPU, alternating networks share its memory, so the speed of DINO+CLeVER is measured alone.
    steppers.pop("dino", None)
    clever = steppers["dino+clever"]
    # As in the trainer, without other memory use and without synchronisation between steps.
    several = 1 if device.type == "cpu" else 10
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    per_step = [
        rounds.seconds_of(lambda: [clever() for _ in range(several)], device) / several for _ in range(arguments.rounds)
    ]
    speed = arguments.images / statistics.median(per_step)
    what = f"{arguments.backbone}, {arguments.views} views, {arguments.augmentation}, {arguments.images} images"
    speed_goal = GOALS.get((arguments.backbone, arguments.views)) if device.type == "cuda" else None
    rows = []
    if "dino" in seconds:
        cost = rounds.median_ratio(seconds["dino+clever"], seconds["dino"])
        rows.append(rounds.row(f"cost of CLeVER over DINO, {what}", cost, "x", "DINO's step", 1.15, most=True))
    rows.append(rounds.row("source images per second, DINO+CLeVER", speed, "images/s", what, speed_goal))

    # The hooks that separate the stages would make a compiled backbone compile again.
    stages = [] if arguments.compile else [stage_seconds(clever) for _ in range(arguments.rounds)]
    totals = [sum(step.values()) for step in stages]
    for name in stages[0] if stages else ():
        share = statistics.median(step[name] / total for step, total in zip(stages, totals, strict=True))
        goal = 0.1 if name == "augmentation" and device.type == "cuda" else None
        rows.append(rounds.row(f"share of {name}", share, "of the step", "synchronised stages", goal, most=True))

    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**30
        rows.append(rounds.row("peak memory", peak, "GiB", "allocated by torch"))
    # Operations inside a compiled graph may not be counted, so they are counted in the same step without compilation.
    counted = Stepper(Namespace(**vars(arguments) | {"compile": False}), "clever") if arguments.compile else clever
    flops = model_flops(counted)
    del counted
    dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    ceiling = matmul_ceiling(device, dtype)
    achieved = flops * speed / arguments.images
    mfu_goal = 0.3 if device.type == "cuda" and (arguments.backbone, arguments.views) == ("vit_small", "ten") else None
    rows += [
        rounds.row("model FLOP/s", achieved / 1e12, "TFLOP/s", f"{flops / arguments.images / 1e9:.1f} GFLOP an image"),
        rounds.row("MFU", achieved / ceiling, "of the ceiling", f"{ceiling / 1e12:.3g} TFLOP/s of {dtype}", mfu_goal),
    ]
    rows += [
        rounds.row("seconds to build both and take the first step", built, "s", "compilation included"),
        rounds.row("seconds of the first step", first_step, "s", "compilation included"),
    ]
    return rows, clever


def main() -> None:
    arguments = rounds.parse(parser())
    rows, _ = measure(arguments)
    rounds.report(arguments, rows)


if __name__ == "__main__":
    main()
