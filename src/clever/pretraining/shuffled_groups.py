"""MoCo's shuffled BatchNorm in one process: the teacher encodes random groups of a batch separately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from clever.augmentation.tables import upload
from clever.baselines import HeadOutput
from clever.equivariance import Encoded
from clever.errors import UserError
from clever.pretraining.network import Network


def encode_in_groups(network: Network, views: Sequence[Tensor], extra: Mapping[str, Tensor], groups: int) -> Encoded:
    """Return ``network(views, extra)``, computed with separate BatchNorm statistics for each random group of images.

    He et al. 2020 (arXiv 1911.05722, section 3.3) shuffle the images among GPUs, so that a key is not normalised
    together with the same images as its query. All views use the same groups. Extra images are not divided.

    Args:
        network: the teacher; called without gradients.
        views: each [N, 3, H, W].
        groups: number of groups, drawn from the global generator, which the trainer seeds for every step.

    Raises:
        UserError: the images do not divide evenly into the groups, or a group would be a single image.
    """
    rows = len(views[0])
    if rows % groups or rows == groups:
        raise UserError(
            f"key_groups {groups}: {rows} images do not divide into groups of at least 2; change it or batch_size"
        )
    order = torch.randperm(rows)
    back = upload(order.argsort(), views[0].device)
    parts = [
        network([view[upload(group, view.device)] for view in views], {} if number else extra)
        for number, group in enumerate(order.chunk(groups))
    ]

    def joined(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(tensors))[back]

    def joined_output(outputs: Sequence[HeadOutput]) -> HeadOutput:
        predictions = [output.prediction for output in outputs if output.prediction is not None]
        projection = joined([output.projection for output in outputs])
        return HeadOutput(projection, joined(predictions) if predictions else None)

    count = range(len(views))
    return Encoded(
        features=[joined([part.features[view] for part in parts]) for view in count],
        outputs={
            name: [joined_output([part.outputs[name][view] for part in parts]) for view in count]
            for name in parts[0].outputs
        },
        heads=network.heads,
        layers=network.layers,
        extra=parts[0].extra,
        maps=[{k: joined([part.maps[view][k] for part in parts]) for k in parts[0].maps[view]} for view in count],
        extra_maps=parts[0].extra_maps,
    )
