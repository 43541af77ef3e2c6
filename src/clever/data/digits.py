"""scikit-learn's bundled 8 x 8 handwritten digits: a data set that needs no download."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clever.data.decoding import resize_square
from clever.data.source import ArraySplit, Source
from clever.data.subset import ranks_within_class
from clever.errors import UserError

if TYPE_CHECKING:
    from clever.data.options import DataOptions

TEST_IMAGES = 360
DEFAULT_SIZE = 32


def read_digits(options: DataOptions) -> Source:
    """1437 training and 360 test digits as RGB squares of ``image_size`` (default 32).

    The grey levels 0..16 are stretched to 0..255, then enlarged (bicubic). The split is fixed and stratified: it is the
    same in every study and for every seed. Raises :class:`UserError` if scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError("source digits needs scikit-learn: pip install scikit-learn") from error
    bundle = load_digits()
    grey = np.rint(bundle.images * (255 / 16)).astype(np.uint8)
    size = options.image_size or DEFAULT_SIZE
    images = np.stack([resize_square(np.repeat(image[..., None], 3, axis=-1), size) for image in grey])
    labels = bundle.target.astype(np.int64)

    # The images of each class are spread evenly over [0, 1), so the lowest 360 contain all classes in proportion.
    share = (ranks_within_class(labels, 0, "digits", "split") + 0.5) / np.bincount(labels)[labels]
    order = np.lexsort((labels, share))
    test, train = np.sort(order[:TEST_IMAGES]), np.sort(order[TEST_IMAGES:])
    return Source(
        classes=tuple(str(digit) for digit in range(10)),
        train=ArraySplit(images[train], labels[train]),
        test=ArraySplit(images[test], labels[test]),
        origin="scikit-learn load_digits",
    )
