"""Unsupervised saliency: masks of TokenCut, with and without the bilateral solver, and of LOST, next to random
masks."""

from __future__ import annotations

from collections.abc import Sequence

from arguments import run_script
from names import SEGMENTERS
from protocol_tables import Block, Layout, draw

SCORES = {"max_f": "max F", "iou": "IoU", "accuracy": "accuracy"}
LAYOUT = Layout(
    protocol="saliency",
    blocks=tuple(
        Block(title, {f"{method}_{score}": head for score, head in SCORES.items()})
        for method, title in SEGMENTERS.items()
    ),
    caption="Maximal F-measure (β² = 0.3), intersection over union and accuracy in percent, over {n}.",
    counted="photographs",
    published_title="Published by others: TokenCut on DINO",
    published_note=(
        "A ViT-S/16 that DINO has pre-trained on ImageNet-1k, not CLeVER: a reference for the protocol on the whole "
        "data sets."
    ),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    draw(LAYOUT, str(__doc__), argv)


if __name__ == "__main__":
    run_script(main)
