"""CLeVER: contrastive learning via equivariant representation (arXiv 2406.00262), as a reproducible artifact."""

__version__ = "0.1.0"
