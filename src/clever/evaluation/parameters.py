"""Protocol ``parameters``: predict a view's augmentation parameters from its feature, for ALL, IR and EF.

The paper reports rotational sensitivity, but our sources do not contain its protocol; this one is ours. Every image is
augmented, and its parameters are regressed linearly from the frozen feature of the view. A representation that is
sensitive to rotation predicts the angle; an invariant one does not. Views of training and test images are drawn from
the same distribution.

Continuous targets use ridge regression on standardised features, in closed form; the penalty of each target is the one
that predicts a held-out fifth of the training images best. The flip uses logistic regression, scored by balanced
accuracy.

A part with more dimensions provides more regressors, and the IR has four times as many as the EF in the paper's split.
To separate this effect from a real difference between IR and EF, an additional part contains randomly drawn columns of
the wider part, as many as the narrower part has (``equal_width``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from clever.augmentation import Augmentation, Table
from clever.augmentation.tables import take
from clever.data import ImageBatch
from clever.errors import UserError
from clever.evaluation.averaging import first_view_only
from clever.evaluation.features import FeatureExtractor, SplitName
from clever.evaluation.options.parameters import ParametersOptions, Target
from clever.evaluation.parts import Selection, part_selections, with_equal_width
from clever.evaluation.regression import r2, ridge_selected
from clever.evaluation.standardisation import Standardisation
from clever.evaluation.subject import Subject
from clever.randomness import make_generator
from clever.results.records import Record


def evaluate(subject: Subject, options: ParametersOptions) -> list[Record]:
    """Predict the parameters of test views from the backbone's output vector, for each part.

    The subject's seed draws the views. Records, with perturbation ``views``: ``r2_<target>``
    (1 is perfect, 0 as good as the mean) and ``balanced_accuracy_flip`` (percent; 50 is chance), over all test views.

    Raises UserError if a target does not vary under the augmentation or features are not finite.
    """
    extractor = FeatureExtractor(subject, options, blocks=1, labelled=False)
    views = _Views(extractor, subject, options)
    train, test = views.features("train").to(subject.device), views.features("test").to(subject.device)
    images = torch.arange(len(extractor.split("train"))).repeat(options.views)
    continuous: list[Target] = [target for target in options.targets if target != "flip"]
    records: list[Record] = []

    def record(part: str, metric: str, value: float) -> None:
        records.append(
            subject.record(
                protocol="parameters", part=part, perturbation="views", metric=metric, value=value, n=len(test)
            )
        )

    for part, where in _parts(subject.backbone.feature_dim, subject.ir_dim, options.equal_width, subject.seed).items():
        columns = torch.arange(subject.backbone.feature_dim)[where]
        if options.with_original:
            columns = torch.cat([columns, columns + subject.backbone.feature_dim])
        columns = columns.to(subject.device)
        standardise = Standardisation.of([train[:, columns]])
        train_part, test_part = standardise(train[:, columns]), standardise(test[:, columns])
        if continuous:
            linear = ridge_selected(
                train_part,
                views.targets("train", continuous).to(subject.device),
                images,
                options.penalties,
                make_generator(subject.seed, "parameters", "held out"),
            )
            scores = r2(linear(test_part), views.targets("test", continuous).to(subject.device))
            for target, value in zip(continuous, scores.tolist(), strict=True):
                record(part, f"r2_{target}", value)
        if "flip" in options.targets:
            truth = [views.targets(split, ["flip"])[:, 0] for split in ("train", "test")]
            record(part, "balanced_accuracy_flip", flip_accuracy(train_part, test_part, truth, options.flip_penalty))
    return records


def parameter_targets(table: Table, sizes: Tensor) -> Mapping[Target, Tensor]:
    """The targets of the rows of a table of views, float64 [N] each.

    Args:
        table: the parameters of :mod:`clever.augmentation.sample`.
        sizes: int64 [N, 2], height and width of the images from which the crops were taken.
    """
    height, width = sizes.double().unbind(1)
    crop_height, crop_width = table["crop_height"].double(), table["crop_width"].double()
    return {
        "angle": table["angle"].double(),
        "flip": table["flip"].double(),
        "crop_x": (table["crop_left"] + crop_width / 2) / width,
        "crop_y": (table["crop_top"] + crop_height / 2) / height,
        "crop_area": crop_height * crop_width / (height * width),
        "crop_aspect": (crop_width / crop_height).log(),
        "brightness": table["brightness"].double(),
        "contrast": table["contrast"].double(),
        "saturation": table["saturation"].double(),
        "hue": table["hue"].double(),
    }


def flip_accuracy(train: Tensor, test: Tensor, truth: list[Tensor], penalty: float) -> float:
    """Balanced accuracy in percent of a logistic regression on standardised features.

    Args:
        train, test: [N, D] and [M, D].
        truth: [N] and [M], 1 if mirrored, otherwise 0.
        penalty: half of it, times the squared weights, is added to the mean cross-entropy.
    """
    from sklearn.linear_model import LogisticRegression  # importing it takes a second
    from sklearn.metrics import balanced_accuracy_score

    train_truth, test_truth = (flips.long().cpu().numpy() for flips in truth)
    classifier = LogisticRegression(C=1.0 / (penalty * len(train)), max_iter=1000)
    classifier.fit(train.cpu().numpy(), train_truth)
    return 100.0 * float(balanced_accuracy_score(test_truth, classifier.predict(test.cpu().numpy())))


def _parts(feature_dim: int, ir_dim: int | None, equal_width: bool, seed: int) -> dict[str, Selection]:
    parts = part_selections(feature_dim, ir_dim)
    if not equal_width:
        return parts
    return with_equal_width(parts, feature_dim, ir_dim, make_generator(seed, "parameters", "equal width"))


class _Views:
    """The views of both splits, drawn once for all images: their parameters and features."""

    def __init__(self, extractor: FeatureExtractor, subject: Subject, options: ParametersOptions) -> None:
        store, seed = subject.store, subject.seed
        self._extractor = extractor
        self._options = options
        self._maker = Augmentation(first_view_only(options.augmentation, extractor.image_size), store.mean, store.std)
        self._tables: dict[SplitName, list[Table]] = {}
        self._targets: dict[SplitName, dict[Target, Tensor]] = {}
        splits: tuple[SplitName, SplitName] = ("train", "test")
        for split in splits:
            sizes = extractor.split(split).sizes(np.arange(len(extractor.split(split))))
            self._tables[split] = [
                self._maker.draw(sizes, make_generator(seed, "parameters", split, version))[0]
                for version in range(options.views)
            ]
            drawn = [parameter_targets(table, sizes) for table in self._tables[split]]
            self._targets[split] = {name: torch.cat([targets[name] for targets in drawn]) for name in options.targets}
            for name, values in self._targets[split].items():
                if bool((values == values[0]).all()):
                    raise UserError(
                        f"{subject.identity.run}: the target {name} is the same in all {split} views: leave it out of "
                        "targets, or let augmentation change it"
                    )

    def targets(self, split: SplitName, names: list[Target]) -> Tensor:
        """Float64 [views * N, T]: all images of the first version, then of the second."""
        return torch.stack([self._targets[split][name] for name in names], 1)

    def features(self, split: SplitName) -> Tensor:
        """Features [views * N, D], in the order of the targets; concatenated with the original image's features if
        requested."""
        versions = []
        for number, table in enumerate(self._tables[split]):

            def view(batch: ImageBatch, table: Table = table) -> Tensor:
                rows = take(table, batch.indices.cpu())
                # The maker needs parameters for two global views; only one is used.
                return self._maker.apply(batch.pixels, batch.sizes, [rows, rows])[0].images

            versions.append(self._extractor.extract(split, f"views {number}", view))
        features = torch.cat(versions)
        if not self._options.with_original:
            return features
        original = self._extractor.perturbed(split, "orig")
        return torch.cat([features, original.repeat(self._options.views, 1)], 1)
