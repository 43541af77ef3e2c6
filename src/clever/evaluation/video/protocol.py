"""Protocol ``video``: follow the objects of DAVIS-2017 from the first frame by label propagation."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from clever.evaluation.options.video import VideoOptions
from clever.evaluation.pace import Pace
from clever.evaluation.parts import Selection, part_selections
from clever.evaluation.subject import Subject
from clever.evaluation.video.davis import find_sequences
from clever.evaluation.video.pictures import keep
from clever.evaluation.video.propagation import PropagationSettings, segment
from clever.evaluation.video.scores import ObjectScore, score_sequence, summary
from clever.results.records import Record


def evaluate(subject: Subject, options: VideoOptions) -> list[Record]:
    """Follow the objects of every sequence by the patches of the last map, for the whole map and for IR and EF.

    Records in percent, averaged over objects: ``j_and_f``, and mean, recall and decay of J and F. The pictures of
    sequence number i are ``i/<frame>/image``, ``i/<frame>/truth`` and ``i/<frame>/<part>``.

    Raises:
        UserError: the data set or a part of it is missing, or the backbone has no map.
    """
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
