"""Protocol ``detection``: Mask R-CNN on the backbone, trained and scored on any data set in COCO's format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from clever.errors import UserError
from clever.evaluation.external import ExternalOptions
from clever.evaluation.pace import Pace
from clever.evaluation.resumption import ResumableState
from clever.evaluation.subject import Subject
from clever.randomness import derive_seed, seeded
from clever.results.records import Record


class DetectionOptions(ExternalOptions):
    """The images, and the training of the detector. The defaults are torchvision's reference schedule for COCO."""

    train_annotations: str = "annotations/instances_train2017.json"
    """Annotations to train on, below root."""
    train_images: str = "train2017"
    """Folder of their images, below root."""
    test_annotations: str = "annotations/instances_val2017.json"
    """Annotations to score on, below root."""
    test_images: str = "val2017"
    """Folder of their images, below root."""
    frozen: bool = False
    """Whether the backbone keeps its weights; only the pyramid and the heads are trained then."""
    epochs: PositiveInt = 26
    """Passes over the training images."""
    batch_size: PositiveInt = 16
    """Images per step; the learning rate is scaled with it."""
    learning_rate: PositiveFloat = 0.02
    """Learning rate for a batch of 16; it is multiplied by batch_size / 16."""
    momentum: NonNegativeFloat = 0.9
    """Momentum of the SGD."""
    weight_decay: NonNegativeFloat = 1e-4
    """L2 penalty on all trained weights."""
    milestones: list[PositiveInt] = Field(default=[16, 22])
    """Epochs after which the learning rate falls to a tenth."""
    warmup_steps: PositiveInt = 1000
    """Steps of the first epoch over which the learning rate rises from a thousandth."""
    short_sides: list[PositiveInt] = Field(default=[800], min_length=1)
    """A training image's shorter side is resized to one of these, at test time to the last; 640 to 800 for COCO's
    multi-scale training, small ones for CPU studies."""
    longest_side: PositiveInt = 1333
    """Upper limit of the longer side."""

    def require(self) -> None:
        for file in (self.train_annotations, self.test_annotations):
            if not (Path(self.root) / file).is_file():
                raise UserError(f"{Path(self.root) / file}: missing; give annotations in COCO's format")
        for folder in (self.train_images, self.test_images):
            if not (Path(self.root) / folder).is_dir():
                raise UserError(f"{Path(self.root) / folder}: no such folder; give the folder of the images")


def evaluate(subject: Subject, options: DetectionOptions) -> list[Record]:
    """Train a detector and score it on the test images.

    Records: COCO's average precision in percent, ``box_ap``, ``box_ap50``, ``box_ap75`` and by size, and the same of
    masks. A detector uses the whole backbone: the part is ALL. A killed training resumes from its last epoch.

    Raises:
        UserError: data are missing, the backbone has no map, training diverges, or faster-coco-eval
            is not installed.
    """
    # torchvision's detectors, not needed to read a study
    from clever.evaluation.detection.coco import read_coco
    from clever.evaluation.detection.model import mask_rcnn
    from clever.evaluation.detection.scores import coco_scores, detect
    from clever.evaluation.detection.training import DetectionSettings, train_detector

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
