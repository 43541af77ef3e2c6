"""Protocol ``detection``: Mask R-CNN on the backbone, trained and scored on any data set in COCO's format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clever.errors import UserError
from clever.evaluation.detection.coco import read_coco
from clever.evaluation.detection.model import mask_rcnn
from clever.evaluation.detection.scores import coco_scores, detect
from clever.evaluation.detection.training import DetectionSettings, train_detector
from clever.evaluation.options.detection import DetectionOptions
from clever.evaluation.pace import Pace
from clever.evaluation.resumption import ResumableState
from clever.evaluation.subject import Subject
from clever.randomness import derive_seed, seeded
from clever.results.records import Record


def evaluate(subject: Subject, options: DetectionOptions) -> list[Record]:
    """Train a detector and score it on the test images.

    Records: COCO's average precision in percent, ``box_ap``, ``box_ap50``, ``box_ap75`` and by size, and the same for
    masks. A detector uses the whole backbone, so the part is ALL. A killed training resumes from its last epoch.

    Raises:
        UserError: data are missing, the backbone has no map, training diverges, or faster-coco-eval
            is not installed.
    """
    root, run = Path(options.root), subject.identity.run
    train, test = (
        replace(whole, images=tuple(options.first(whole.images)))
        for whole in (
            read_coco(root / options.train_annotations, root / options.train_images),
            read_coco(root / options.test_annotations, root / options.test_images),
        )
    )
    if train.categories != test.categories:
        raise UserError(
            f"{root}: {options.train_annotations} and {options.test_annotations} differ in their categories"
        )
    with seeded(derive_seed(subject.seed, "detection heads")):
        model = mask_rcnn(
            subject.backbone,
            len(train.categories),
            frozen=options.frozen,
            mean=subject.store.mean,
            std=subject.store.std,
            short_sides=options.short_sides,
            longest_side=options.longest_side,
        ).to(subject.device)
    settings = DetectionSettings(
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        milestones=tuple(options.milestones),
        warmup_steps=options.warmup_steps,
    )
    state = None
    if subject.state_folder is not None:
        identity = {"run": run, "recipe": subject.identity.recipe_digest, "options": options.canonical()}
        state = ResumableState(subject.state_folder / "detection.pt", identity)
    pace = Pace("detection", options.epochs, "epochs")

    def report(epoch: int, loss: float) -> None:
        pace.reached(epoch, f"loss {loss:.4f}")

    train_detector(model, train, settings, seed=subject.seed, run=run, state=state, report=report)
    scores = coco_scores(test, detect(model, test))
    if state is not None:
        state.clear()
    return [
        subject.record(
            protocol="detection",
            part="ALL",
            perturbation="orig",
            metric=metric,
            value=value,
            n=len(test),
            epoch=options.epochs,
        )
        for metric, value in scores.items()
    ]
