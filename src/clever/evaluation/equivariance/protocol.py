"""Protocol ``equivariance``: the change of each part of a representation when its image is transformed.

Nothing is trained. Measured on the run's test images, for ALL, IR and EF, and for an equally wide slice of the wider of
IR and EF:

- **Distance** (1 - cosine) between the features of an image and of the image after a rotation by up to 360 degrees, or
  after a crop, jitter, blur or elastic distortion of some strength; also relative to the distance between different
  images. Only the inscribed square of a rotated image is shown, so that no network sees corners. A full turn in two
  steps shows how much of a rotation's distance is caused by interpolation.
- **Relative equivariance error**: for each fixed transformation, one linear map is fitted on training images. It
  predicts the features of transformed test images from those of the unchanged ones. Predicting the mean has error 1;
  predicting no change is reported too. EquiMod's equivariance gain (Devillers and Lefort 2023) is computed for this
  map.
- **Lie derivative** for seven transformations (`clever.evaluation.equivariance.lie`).
- **Shift consistency**: the share of a linear classifier's predictions that do not change under a random shift of a few
  pixels, which wraps around the edges.
- **CKA and canonical correlation** between IR and EF, and between two random groups of columns of the same vector with
  the same widths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.augmentation.tables import upload
from clever.evaluation.equivariance.distances import distance_between_images, mean_distance
from clever.evaluation.equivariance.lie import GENERATORS, squared_derivative
from clever.evaluation.equivariance.linear_maps import RidgeMaps, mean_cosine, relative_error
from clever.evaluation.equivariance.operations import FIXED, OPERATIONS, ROTATIONS, Draws
from clever.evaluation.equivariance.similarity import linear_cka, mean_canonical_correlation
from clever.evaluation.equivariance.warps import full_turn, inscribed
from clever.evaluation.features import FeatureExtractor, SplitName
from clever.evaluation.notes import note
from clever.evaluation.options.equivariance import EquivarianceOptions
from clever.evaluation.parts import Selection, part_selections, with_equal_width
from clever.evaluation.subject import Subject
from clever.randomness import make_generator
from clever.results.records import Record

NAME = "equivariance"


@dataclass(frozen=True)
class _Value:
    part: str
    perturbation: str
    metric: str
    value: Tensor
    """float64 [] on the device; NaN if it is undefined."""


def evaluate(subject: Subject, options: EquivarianceOptions) -> list[Record]:
    """Measure the backbone's output vector.

    The subject's seed draws images, crops, jitters, distortions, shifts and random groups. Records, by perturbation:

    - ``rotation_<degrees>`` and ``crop_``, ``jitter_``, ``blur_``, ``elastic_<strength>``: ``distance`` and
      ``relative_distance``, and ``floor`` for rotations; under the operation's plain name, the mean over the curve
      (rotations below 360 degrees);
    - ``rotation_30`` and the other names of ``FIXED``: ``equivariance_error``, ``no_change_error`` and
      ``equivariance_gain``; under ``rotation``, their means over the three rotations;
    - the names of ``GENERATORS``: ``lie``;
    - ``shift`` and ``orig``, if there are labels: ``shift_consistency`` and ``probe_top1`` in percent;
    - ``orig``, for ALL: ``cka_random`` and ``cca_random``, and for a run with a split ``cka_ir_ef`` and ``cca_ir_ef``.

    Undefined values, for example of a part that does not vary, have no record; a note says so.

    Raises UserError when features are not finite.
    """
    measured = _Measurement(subject, options)
    found = [
        *measured.curves(),
        *measured.maps(),
        *measured.lie(),
        *measured.shift(),
        *measured.similarity(),
    ]
    values = torch.stack([one.value for one in found]).tolist()
    defined = [(one, value) for one, value in zip(found, values, strict=True) if math.isfinite(value)]
    if len(defined) < len(found):
        parts = dict.fromkeys(one.part for one, value in zip(found, values, strict=True) if not math.isfinite(value))
        note(
            f"{subject.identity.run}: {len(found) - len(defined)} of {len(found)} measures of equivariance are "
            f"undefined, because features do not vary ({', '.join(parts)})"
        )
    return [
        subject.record(
            protocol=NAME,
            part=one.part,
            perturbation=one.perturbation,
            metric=one.metric,
            value=value,
            n=len(measured.images["test"]),
        )
        for one, value in defined
    ]


class _Measurement:
    """The images of one evaluation, and the groups of measures on them."""

    def __init__(self, subject: Subject, options: EquivarianceOptions) -> None:
        self._options, self._seed, self._device = options, subject.seed, subject.device
        self._extractor = FeatureExtractor(subject, options, blocks=1, labelled=False)
        width = subject.backbone.feature_dim
        generator = make_generator(subject.seed, NAME, "equal width")
        parts = with_equal_width(part_selections(width, subject.ir_dim), width, subject.ir_dim, generator)
        self._parts: dict[str, Selection] = {
            part: upload(where, subject.device) if isinstance(where, Tensor) else where for part, where in parts.items()
        }
        self._width, self._ir_dim = width, subject.ir_dim
        self._classes = len(subject.store.classes) if subject.store.labelled else 0
        counts: dict[SplitName, int] = {"train": options.train_images, "test": options.images}
        rows = {split: self._rows(split, count) for split, count in counts.items()}
        self.images = {split: self._extractor.stored_images(split, chosen) for split, chosen in rows.items()}
        self._labels = {
            split: upload(self._extractor.labels(split)[chosen], subject.device) for split, chosen in rows.items()
        }
        self._draws = {
            name: Draws.make(len(self.images["test"]), make_generator(subject.seed, NAME, name), subject.device)
            for name in OPERATIONS
        }
        self._decomposed: dict[tuple[str, bool], RidgeMaps] = {}
        self._unchanged = {split: self._features(split, "unchanged") for split in self.images}
        self._upright = {
            split: self._features(split, "upright", partial(inscribed, degrees=0.0)) for split in self.images
        }

    def curves(self) -> Iterator[_Value]:
        """Distance against angle and against the strength of every other operation."""
        angles = range(self._options.angle_step, 361, self._options.angle_step)
        turned = {
            f"rotation_{angle}": self._test(f"turned by {angle}", partial(inscribed, degrees=angle)) for angle in angles
        }
        yield from self._distances("rotation", turned, self._upright["test"], whole=("rotation_360",))
        # The pixel grid repeats every quarter turn, and so does the floor.
        for angle in angles:
            if angle < 90:
                there_and_on = self._test(f"turned by {angle} and on", partial(full_turn, degrees=angle))
                for part, where in self._parts.items():
                    floor = mean_distance(self._upright["test"][:, where], there_and_on[:, where])
                    yield _Value(part, f"rotation_{angle}", "floor", floor)
        for name, operation in OPERATIONS.items():
            changed = {
                f"{name}_{strength:g}": self._test(
                    f"{name} {strength:g}", partial(_drawn, operation.apply, strength), self._draws[name]
                )
                for strength in operation.strengths
            }
            yield from self._distances(name, changed, self._unchanged["test"])

    def _distances(
        self, name: str, changed: Mapping[str, Tensor], unchanged: Tensor, whole: tuple[str, ...] = ()
    ) -> Iterator[_Value]:
        """The distances of every point of a curve, and their mean over all points that are not in ``whole``."""
        for part, where in self._parts.items():
            between = distance_between_images(unchanged[:, where])
            found = {point: mean_distance(unchanged[:, where], there[:, where]) for point, there in changed.items()}
            found[name] = torch.stack([found[point] for point in changed if point not in whole]).mean()
            for point, distance in found.items():
                yield _Value(part, point, "distance", distance)
                yield _Value(part, point, "relative_distance", distance / between)

    def maps(self) -> Iterator[_Value]:
        """Relative equivariance error and gain of a linear map for each fixed transformation."""
        changed = {
            name: {split: self._features(split, name, fixed.apply) for split in self.images}
            for name, fixed in FIXED.items()
        }
        for part, where in self._parts.items():
            rotations: dict[str, list[Tensor]] = {}
            for name, fixed in FIXED.items():
                before = (self._upright if fixed.inscribed else self._unchanged)["test"][:, where]
                train, truth = (changed[name][split][:, where] for split in ("train", "test"))
                predictions = self._ridge(part, fixed.inscribed).predict(train, before)
                mean = train.double().mean(0)
                values = {
                    "equivariance_error": relative_error(predictions, truth, mean),
                    "no_change_error": relative_error(before, truth, mean),
                    "equivariance_gain": mean_cosine(predictions, truth) - mean_cosine(before, truth),
                }
                for metric, value in values.items():
                    yield _Value(part, name, metric, value)
                    if name in ROTATIONS:
                        rotations.setdefault(metric, []).append(value)
            for metric, turned in rotations.items():
                yield _Value(part, "rotation", metric, torch.stack(turned).mean())

    def lie(self) -> Iterator[_Value]:
        """The Lie derivative for every generator."""
        images, step = self.images["test"][: self._options.lie_images], self._options.lie_step
        unchanged = self._extractor.features_of(images, "test images (unchanged)", exact=True)
        for name, generator in GENERATORS.items():
            forward, backward = (
                self._extractor.features_of(
                    images, f"test images ({name} by {t:g})", partial(_at, generator, t), exact=True
                )
                for t in (step, -step)
            )
            for part, where in self._parts.items():
                value = squared_derivative(forward[:, where], backward[:, where], step, unchanged[:, where])
                yield _Value(part, name, "lie", value)

    def shift(self) -> Iterator[_Value]:
        """Consistency under shifts of a linear classifier on each part."""
        if not self._classes:
            return
        reach = max(1, round(self._options.largest_shift * self.images["test"].shape[-1]))
        shifted = []
        for number in range(self._options.shifts):
            generator = make_generator(self._seed, NAME, "shift", number)
            by = upload(_shifts(len(self.images["test"]), reach, generator), self._device)
            shifted.append(self._test(f"shift {number}", _rolled, [by]))
        targets = F.one_hot(self._labels["train"], self._classes)
        for part, where in self._parts.items():
            classifier = self._ridge(part)
            unmoved = classifier.predict(targets, self._unchanged["test"][:, where]).argmax(1)
            moved = [classifier.predict(targets, features[:, where]).argmax(1) for features in shifted]
            same = torch.stack([(one == unmoved).double().mean() for one in moved]).mean()
            yield _Value(part, "shift", "shift_consistency", 100.0 * same)
            yield _Value(part, "orig", "probe_top1", 100.0 * (unmoved == self._labels["test"]).double().mean())

    def similarity(self) -> Iterator[_Value]:
        """CKA and canonical correlation of IR and EF, and of random groups of columns."""
        features = self._unchanged["train"]
        first = self._ir_dim or min(max(round(self._options.reference_ir_share * self._width), 1), self._width - 1)
        if self._ir_dim is not None:
            for metric, value in self._alike(features[:, :first], features[:, first:]).items():
                yield _Value("ALL", "orig", f"{metric}_ir_ef", value)
        found: dict[str, list[Tensor]] = {}
        for number in range(self._options.random_groups if self._width > 1 else 0):
            order = torch.randperm(self._width, generator=make_generator(self._seed, NAME, "random groups", number))
            columns = upload(order, self._device)
            for metric, value in self._alike(features[:, columns[:first]], features[:, columns[first:]]).items():
                found.setdefault(metric, []).append(value)
        for metric, values in found.items():
            yield _Value("ALL", "orig", f"{metric}_random", torch.stack(values).mean())

    def _alike(self, one: Tensor, other: Tensor) -> dict[str, Tensor]:
        most = max(1, len(one) // 10)
        return {"cka": linear_cka(one, other), "cca": mean_canonical_correlation(one, other, most=most)}

    def _ridge(self, part: str, upright: bool = False) -> RidgeMaps:
        """Ridge regression from a part of the features of the unchanged (or upright) training images, decomposed
        once."""
        if (part, upright) not in self._decomposed:
            features = (self._upright if upright else self._unchanged)["train"][:, self._parts[part]]
            self._decomposed[part, upright] = RidgeMaps(features, self._options.penalties)
        return self._decomposed[part, upright]

    def _rows(self, split: SplitName, count: int) -> Tensor:
        generator = make_generator(self._seed, NAME, "images", split)
        return torch.randperm(len(self._extractor.split(split)), generator=generator)[:count].sort().values

    def _features(
        self,
        split: SplitName,
        what: str,
        change: Callable[..., Tensor] | None = None,
        per_image: Sequence[Tensor] = (),
    ) -> Tensor:
        return self._extractor.features_of(self.images[split], f"{split} images ({what})", change, per_image)

    def _test(self, what: str, change: Callable[..., Tensor], per_image: Sequence[Tensor] = ()) -> Tensor:
        return self._features("test", what, change, per_image)


def _at(change: Callable[[Tensor, float], Tensor], t: float, images: Tensor) -> Tensor:
    return change(images, t)


def _drawn(change: Callable[[Tensor, float, Draws], Tensor], strength: float, images: Tensor, *draws: Tensor) -> Tensor:
    return change(images, strength, Draws(*draws))


def _shifts(count: int, reach: int, generator: torch.Generator) -> Tensor:
    """Shifts down and right in pixels, int64 [N, 2], from -reach to reach, never both 0."""
    side = 2 * reach + 1
    place = torch.randint(side * side - 1, (count,), generator=generator)
    place += place >= (side * side - 1) // 2
    return torch.stack([place // side - reach, place % side - reach], 1)


def _rolled(images: Tensor, by: Tensor) -> Tensor:
    """Roll each image by a separate shift, like torch.roll."""
    ramp = torch.arange(images.shape[-1], device=images.device)
    down, right = ((ramp - shift.unsqueeze(1)) % len(ramp) for shift in by.unbind(1))
    number = torch.arange(len(images), device=images.device).view(-1, 1, 1)
    return images.permute(0, 2, 3, 1)[number, down.unsqueeze(2), right.unsqueeze(1)].permute(0, 3, 1, 2).contiguous()
