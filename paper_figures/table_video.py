"""Video object segmentation: J and F of objects tracked by label propagation from their first frame on."""

from __future__ import annotations

from collections.abc import Sequence

from arguments import run_script
from protocol_tables import Block, Layout, draw

LAYOUT = Layout(
    protocol="video",
    blocks=(
        Block(
            "label propagation",
            {
                "j_and_f": "J&F",
                "j_mean": "J mean",
                "j_recall": "J recall",
                "f_mean": "F mean",
                "f_recall": "F recall",
            },
        ),
    ),
    caption="Region similarity J and contour accuracy F in percent, means over {n}; recall: frames above 50 %.",
    counted="objects",
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    draw(LAYOUT, str(__doc__), argv)


if __name__ == "__main__":
    run_script(main)
