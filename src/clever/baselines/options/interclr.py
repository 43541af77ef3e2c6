"""Options of InterCLR."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from clever.baselines.options.moco_v2 import QueueOptions


class InterclrOptions(QueueOptions):
    """InterCLR's settings. Settings that depend on the size of the data set are the authors' ImageNet values, expressed
    as shares of that size. The authors published no values for other data sets."""

    reads_samples = True
    remembers_images = True

    name: Literal["interclr"] = "interclr"
    inter_weight: float = Field(default=0.25, ge=0, le=1)
    """Weight w of the loss between images; MoCo's loss has the weight 1 - w."""
    images_per_cluster: PositiveInt = 128
    """Mean number of images with the same pseudo-label: the authors form 10,000 clusters of 1.28 million images. There
    are at least two clusters."""
    min_cluster: PositiveInt = 20
    """A cluster with fewer images is dissolved. Lower it with ``images_per_cluster``."""
    pool_share: float = Field(default=0.1, gt=0, le=1)
    """Share of the training images, the nearest to the query, from which negatives are drawn: 128,000 images on
    ImageNet."""
    negatives: PositiveInt = 16384
    """Number of negatives per query; the whole pool if it is smaller."""
    margin: float = Field(default=-0.5, ge=-2, le=2)
    """Margin that is subtracted from the positive's cosine. With a negative margin, images that share a pseudo-label
    need not be very similar."""
    clustering_epoch: NonNegativeInt = 1
    """Epoch at which the first clusters are formed and images are first compared with other images. By epoch 1, nearly
    all images have been seen."""
