"""Accuracy under the 15 corruptions of ImageNet-C, relative to the clean accuracy of the same probe."""

from __future__ import annotations

from collections.abc import Sequence

from arguments import run_script
from protocol_tables import Block, Layout, draw

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
LAYOUT = Layout(
    protocol="corruption",
    blocks=(
        Block("mean over corruptions", {"top1": "clean top-1", "corrupted relative_top1": "share that remains"}),
        *(
            Block(group, {f"{name} relative_top1": name.replace("_", " ") for name in names})
            for group, names in GROUPS.items()
        ),
    ),
    caption=(
        "Clean top-1 accuracy in percent over {n}; otherwise the share of it, in percent, that the same classifier "
        "keeps on corrupted images, mean over severities."
    ),
    counted="test images",
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    draw(LAYOUT, str(__doc__), argv)


if __name__ == "__main__":
    run_script(main)
