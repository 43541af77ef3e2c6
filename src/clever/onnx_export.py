"""Write a backbone as ONNX, and compare the outputs of ONNX Runtime with those of torch."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from pathlib import Path

import torch

from clever.backbones import Backbone
from clever.errors import UserError
from clever.parsing import foreign
from clever.randomness import make_generator

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
LARGEST_DIFFERENCE = 1e-4
"""Largest accepted difference of a feature, as a share of the largest feature; it allows for float32 sums in another
order."""


def require_onnx() -> None:
    """Raise a UserError unless the packages for ONNX are installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--onnx needs {', '.join(missing)}: pip install '.[onnx]', or leave --onnx out")


def write_onnx(backbone: Backbone, size: int, path: Path) -> float:
    """Write the backbone as ONNX for images of ``size`` px in batches of any size.

    Returns:
        The largest difference between the features of ONNX Runtime and of torch on 5 random images (the graph is traced
        with 2), as a share of the largest feature.

    Raises:
        UserError: the network cannot be exported, or the difference exceeds ``LARGEST_DIFFERENCE``.
    """
    import onnxruntime

    generator = make_generator(0, "onnx")
    traced, images = (torch.randn(count, 3, size, size, generator=generator) for count in (2, 5))
    with foreign("--onnx", f"torch cannot export backbone {backbone.name}", "leave --onnx out"):
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                backbone,
                (traced,),
                str(path),
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    with torch.no_grad():
        expected = backbone(images)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    difference = float((torch.from_numpy(found) - expected).abs().max() / expected.abs().max())
    if not difference <= LARGEST_DIFFERENCE:
        raise UserError(
            f"--onnx: features of {backbone.name} differ from torch's by {difference:.1e} of the largest, more than "
            f"{LARGEST_DIFFERENCE:.0e}; leave --onnx out"
        )
    return difference
