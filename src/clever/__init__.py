"""CLeVER: contrastive learning via equivariant representation (arXiv 2406.00262), as a reproducible artifact.

``from clever import load`` reads a trained backbone. PyTorch is imported together with ``load``, not with the package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clever.pretrained import load

__version__ = "0.1.0"

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    from clever.implementation import attribute

    return attribute(__name__, {"load": "pretrained"}, name)
