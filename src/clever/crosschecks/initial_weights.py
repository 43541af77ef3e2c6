"""Check that timm has the requested initial weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clever.config import Study


def weight_faults(study: Study) -> Iterator[str]:
    """Yield a fault for each backbone whose weights timm does not have.

    Missing files are not reported, because another run may still write them.
    """
    for name, options in study.backbones.items():
        if options.init is not None and options.init.startswith("timm:"):
            from clever.backbones.initial_weights import refusal  # loads timm, which takes seconds

            reason = refusal(options.init)
            if reason is not None:
                yield f"backbones.{name}.init: {reason}"
