"""The online probe's requirements on the data; torch-free, so that checking a study stays fast."""

from __future__ import annotations


def probe_refusal(labelled: bool, classes: int | None, test_images: int | None) -> str | None:
    """Return the reason why the data cannot be probed, or None if they can.

    Args:
        labelled: whether the images have labels.
        classes: number of classes; None if unknown.
        test_images: number of test images; None if unknown.
    """
    if not labelled:
        return "needs labels, but the data have none; leave it out"
    if classes is not None and classes < 2:
        return f"needs at least two classes, but the data have {classes}; leave it out"
    if test_images == 0:
        return "measures on test images, but the data have none; add them, or leave it out"
    return None
