"""Protocol ``video``: objects of DAVIS-2017 followed from their first frame on, by label propagation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from clever.evaluation.external import ExternalOptions
from clever.evaluation.pace import Pace
from clever.evaluation.parts import Selection, part_selections
from clever.evaluation.subject import Subject
from clever.results.records import Record


class VideoOptions(ExternalOptions):
    """The sequences, and the propagation of labels. The defaults are the paper's, which are DINO's."""

    split: Literal["val", "train"] = "val"
    """The list of sequences, ImageSets/2017/<split>.txt; without the list, all sequences are used."""
    resolution: str = "480p"
    """Folder of the frames and annotations."""
    frames: NonNegativeInt = 7
    """Number of frames before the current one that provide labels, in addition to the first."""
    window: NonNegativeInt = 12
    """Patches are compared if they are at most this many rows and columns apart; 0 compares all."""
    neighbours: PositiveInt = 5
    """Number of the most similar patches in these frames that count."""
    temperature: PositiveFloat = 0.1
    """Temperature of the affinity exp(cosine / temperature)."""
    short_side: PositiveInt = 480
    """Shorter side of the frames at the input of the backbone; 240 for CPU studies (a quarter of the patches)."""
    multiple: PositiveInt = 64
    """The longer side is reduced to a multiple of this many pixels."""
    longest: PositiveInt | None = None
    """Use only this many first frames of each sequence, for CPU studies; omit for whole sequences."""

    def require(self) -> None:
        from clever.evaluation.video.davis import require_layout  # reading a study needs no images

        require_layout(Path(self.root), self.resolution)


def evaluate(subject: Subject, options: VideoOptions) -> list[Record]:
    """Follow the objects of every sequence by the patches of the last map, whole and for either part of it.

    Records in percent, means over objects: ``j_and_f``, and mean, recall and decay of J and F. The pictures of
    sequence number i are ``i/<frame>/image``, ``i/<frame>/truth`` and ``i/<frame>/<part>``.

    Raises:
        UserError: the data set or a part of it is missing, or the backbone has no map.
    """
    # scipy's image functions, not needed to read a study
    from clever.evaluation.video.davis import find_sequences
    from clever.evaluation.video.pictures import keep
    from clever.evaluation.video.propagation import PropagationSettings, segment
    from clever.evaluation.video.scores import ObjectScore, score_sequence, summary

    sequences = options.first(find_sequences(Path(options.root), options.split, options.resolution))
    backbone, store = subject.backbone.to(subject.device).eval(), subject.store
    parts = part_selections(backbone.feature_dim, subject.ir_dim)
    settings = PropagationSettings(
        options.frames, options.window, options.neighbours, options.temperature, options.short_side, options.multiple
    )
    scores: dict[str, list[ObjectScore]] = {part: [] for part in parts}
    pace = Pace("video", len(sequences), "sequences")
    for number, sequence in enumerate(sequences, start=1):
        images, objects = (each[: options.longest] for each in (sequence.images(), sequence.objects()))
        made = {}
        for part, columns in parts.items():

            def features(frame: Tensor, columns: Selection = columns) -> Tensor:
                return backbone.last_map(frame)[0].movedim(0, 2)[..., columns]

            found = list(
                segment(images, objects[0], features, settings, mean=store.mean, std=store.std, device=subject.device)
            )
            made[part] = found, score_sequence(sequence.name, found, objects)
            scores[part] += made[part][1]
        keep(subject, sequence.name, images, objects, made)
        pace.reached(number)
    return [
        subject.record(protocol="video", part=part, perturbation="orig", metric=metric, value=value, n=len(each))
        for part, each in scores.items()
        for metric, value in summary(each).items()
    ]
