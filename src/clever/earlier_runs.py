"""The backbones of finished runs that a later run or its evaluation builds on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clever.backbones import Backbone, BackboneOptions, load_backbone
from clever.data.verification import file_sha256
from clever.errors import UserError
from clever.options import parse
from clever.results.run_description import read_run


@dataclass(frozen=True)
class EarlierRun:
    """A finished run of an earlier stage."""

    folder: str
    backbone: Backbone
    image_size: int
    """Side of the images that it was trained on."""
    sha256: str
    """SHA-256 of its backbone's file."""


def open_earlier(folder: str, data_checksum: str, sha256: str | None = None) -> EarlierRun:
    """Open the backbone of a finished run and check it.

    Args:
        folder: holds run.json and backbone.safetensors.
        data_checksum: checksum of the store that the run must have been trained on.
        sha256: expected SHA-256 of the backbone's file; None takes the one in run.json.

    Raises:
        UserError: the run is unfinished, was trained on other data, or its backbone is not the one that was written.
    """
    described, weights = read_run(Path(folder) / "run.json"), Path(folder) / "backbone.safetensors"
    if described["data_checksum"] != data_checksum:
        raise UserError(
            f"{folder}: this run of an earlier stage was trained on other data; name a run on the same data"
        )
    found, expected = file_sha256(weights), sha256 or described["backbone_sha256"]
    if found != expected:
        raise UserError(
            f"{weights}: its SHA-256 is {found[:12]}, not {expected[:12]}; train the run and the later stages again"
        )
    options = parse(BackboneOptions, described["recipe"]["backbone"], f"{folder}/run.json: recipe.backbone")
    return EarlierRun(folder, load_backbone(options, weights), options.image_size, found)
