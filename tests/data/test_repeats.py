"""Images that occur more than once."""

from __future__ import annotations

import numpy as np

from clever.data.repeats import Known, described, find_repeats, pixel_digest


def known(digests: list[int], labels: list[int], name: str) -> Known:
    return Known(np.array(digests, np.uint64), np.array(labels, np.int64), lambda row: f"{name}/{row}")


def test_equal_pixels_and_shape_share_a_digest() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    assert pixel_digest(image) == pixel_digest(np.asfortranarray(image)) == pixel_digest(image[:, ::-1][:, ::-1])
    other = image.copy()
    other[3, 5, 2] ^= 1
    assert len({pixel_digest(image), pixel_digest(other), pixel_digest(image.reshape(6, 4, 3))}) == 3


def test_repeats_are_counted_and_named() -> None:
    large = 2**64 - 1
    train = known([5, 7, 7, large, 9, 9], [0, 1, 2, 0, 3, 3], "train")
    test = known([large, 1, 5, 5, 9], [0, 0, 0, 1, 3], "val")
    found = find_repeats({"train": train, "test": test})
    # Counted by hand: rows 0, 2, 3 and 4 of the test split; 5 and 7 have two labels, 9 occurs twice with one label.
    assert found.in_both_splits == 4
    assert found.examples_in_both == [["train/3", "val/0"], ["train/0", "val/2"], ["train/0", "val/3"]]
    assert found.under_two_labels == 2
    assert found.examples_under_two == [["val/2", "val/3"], ["train/1", "train/2"]]
    both, two = described(found)
    assert both == (
        "4 test images are also training images, pixel by pixel (train/3 = val/0, train/0 = val/2, train/0 = val/3)"
    )
    assert two.startswith("2 images occur with two labels, pixel by pixel (val/2 = val/3, ")


def test_without_repeats_there_is_no_note() -> None:
    empty = known([], [], "val")
    for test in (known([3, 4], [0, 1], "val"), empty):
        found = find_repeats({"train": known([1, 2], [0, 1], "train"), "test": test})
        assert (found.in_both_splits, found.under_two_labels, described(found)) == (0, 0, [])
