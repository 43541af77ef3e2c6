"""Detection and instance segmentation by Mask R-CNN on the backbone: COCO's average precision of boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence

from arguments import run_script
from protocol_tables import Block, Layout, draw

KINDS = {"box": "boxes", "mask": "masks"}
SCORES = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "small",
    "ap_medium": "medium",
    "ap_large": "large",
}
LAYOUT = Layout(
    protocol="detection",
    blocks=tuple(
        Block(title, {f"{kind}_{score}": head for score, head in SCORES.items()}) for kind, title in KINDS.items()
    ),
    caption="Average precision in percent over {n}; AP is the mean over an IoU of 0.50 to 0.95.",
    counted="test images",
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    draw(LAYOUT, str(__doc__), argv)


if __name__ == "__main__":
    run_script(main)
