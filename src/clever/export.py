"""Export a trained backbone: a folder that timm, the Hugging Face hub and ``clever.load`` read.

``config.json`` and ``model.safetensors`` have the layout of timm's models on the hub. A backbone that timm cannot build
is exported as ``backbone.safetensors`` without ``config.json``, for ``clever.load`` alone. ``clever.json`` describes
split, images and run; ``README.md`` is the model card.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clever.backbones import Backbone, load_backbone, read_description
from clever.data.verification import file_sha256
from clever.errors import UserError
from clever.files import expanded, write_json, write_text
from clever.model_card import Numbers, model_card, numbers_of
from clever.new_folder import new_folder, require_new_folder
from clever.pretrained import EXPORT_DESCRIPTION, EXPORT_FORMAT, Source, find
from clever.sealed import sealed

KEPT = ("run", "recipe", "recipe_digest", "data_checksum", "git_commit", "feature_dim", "ir_dim", "epochs", "health")
"""Keys of run.json that an export keeps."""


@dataclass(frozen=True)
class Export:
    """The result of an export."""

    folder: Path
    by_timm: bool
    """Whether ``timm.create_model`` can load it."""
    onnx_difference: float | None
    """Largest difference between the features of ONNX Runtime and torch, as a share of the largest feature; None
    without ONNX."""


def export_run(
    run_folder: str | Path,
    to: str | Path,
    *,
    store: str | Path | None = None,
    records: str | Path | None = None,
    licence: str | None = None,
    onnx: bool = False,
) -> Export:
    """Export the backbone of a finished run.

    The folder appears complete or not at all.

    Args:
        run_folder: folder of a finished run.
        to: the folder to write; it must not exist, or be empty.
        store: see ``clever.load``.
        records: the study's ``records.csv``, for the numbers of the card. None uses the one in the study's folder, if
            the run is in a study's folder and the file exists.
        licence: identifier of the weights' licence, as in ``mit`` or ``cc-by-nc-4.0``, for the card.
        onnx: also write ``model.onnx``, and compare its features with torch's.

    Raises:
        UserError: the run is damaged or unfinished, ``to`` has content, the disk is full, the records cannot be read or
            do not belong to this run, or ``onnx`` is set and its packages are missing or its features differ.
    """
    target = expanded(to)
    require_new_folder(target)
    if onnx:
        from clever.onnx_export import require_onnx

        require_onnx()
    source = find(run_folder, store=store)
    if source.weights.name != "backbone.safetensors" or not (expanded(run_folder) / "run.json").is_file():
        raise UserError(f"{run_folder}: is an export itself; give the folder of the run")
    numbers = _numbers(source, expanded(run_folder), None if records is None else expanded(records))
    backbone = load_backbone(source.options, source.weights)
    with new_folder(target) as partial:
        by_timm, difference = _write(source, backbone, partial, numbers, licence, onnx)
    return Export(target, by_timm, difference)


def _write(
    source: Source, backbone: Backbone, folder: Path, numbers: Numbers, licence: str | None, onnx: bool
) -> tuple[bool, float | None]:
    header = read_description(source.weights)
    by_timm = header["create_model"] is not None and header["stem"] != "small"
    weights = "model.safetensors" if by_timm else "backbone.safetensors"
    shutil.copyfile(source.weights, folder / weights)
    if by_timm:
        write_json(folder / "config.json", _timm_config(header["create_model"], source, backbone))
    difference = None
    if onnx:
        from clever.onnx_export import write_onnx

        difference = write_onnx(backbone, source.transform.size, folder / "model.onnx")
    run = {key: source.run[key] for key in KEPT if key in source.run}
    images = {"size": source.transform.size, "mean": source.transform.mean, "std": source.transform.std}
    content = {
        "format": EXPORT_FORMAT,
        "run": run,
        "weights": weights,
        "weights_sha256": file_sha256(folder / weights),
        "images": images,
    }
    write_json(folder / EXPORT_DESCRIPTION, sealed(json.loads(json.dumps(content))))
    loading = None if by_timm else header["loading"]
    write_text(folder / "README.md", model_card(source, numbers, licence, by_timm, loading, difference))
    return by_timm, difference


def _timm_config(create_model: Mapping[str, Any], source: Source, backbone: Backbone) -> dict[str, Any]:
    """The content of ``config.json``, as timm's ``save_for_hf`` lays it out."""
    import timm

    name = create_model["model_name"]
    known = timm.get_pretrained_cfg(name)
    size = source.transform.size
    return {
        "architecture": name,
        "num_classes": 0,
        "num_features": backbone.feature_dim,
        "model_args": {key: value for key, value in create_model.items() if key != "model_name"},
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": list(source.transform.mean),
            "std": list(source.transform.std),
            "num_classes": 0,
            "first_conv": None if known is None else known.first_conv,
            "classifier": None if known is None else known.classifier,
        },
    }


def _numbers(source: Source, run_folder: Path, records: Path | None) -> Numbers:
    if records is None:
        # results/<study>/runs/<data>/<backbone>/<method>/<augmentation>/<seed> and results/<study>/records.csv
        parents = run_folder.absolute().parents
        usual = parents[5] / "records.csv" if len(parents) > 5 else None
        if usual is None or not usual.is_file():
            return Numbers([], None)
        records = usual
    return numbers_of(source.run, records)
