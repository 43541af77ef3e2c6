"""Check a study against its prepared stores: image counts, classes, and how much the image sizes differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clever.crosschecks.data_needs import lacking_test_images, measured_on, needs_classes
from clever.crosschecks.online_probe import stored_probe_faults
from clever.data.padding import padding_refusal
from clever.errors import UserError
from clever.memory import machine_memory
from clever.parsing import read_json_object

if TYPE_CHECKING:
    from clever.config import Study
    from clever.data import DataOptions


def prepared_faults(study: Study, folder: Path) -> Iterator[str]:
    """Yield the faults found in the descriptions of the stores in ``folder``. Stores with other options and damaged
    stores are skipped: they are prepared again, or rejected when they are opened."""
    for name in sorted({*study.evaluation_data(), *(block.data for block in study.blocks())}):
        info = _description(folder / name / "store.json")
        if info is None or not same_options(info, study.data[name]):
            continue
        yield from store_faults(study, name, info)


def store_faults(study: Study, name: str, info: Mapping[str, Any]) -> Iterator[str]:
    """Yield the faults found in the description of one data set's store."""
    try:
        count, classes = int(info["splits"]["train"]["count"]), len(info["classes"])
        tests = int(info["splits"]["test"]["count"])
        height, width = (int(side) for side in info["splits"]["train"]["largest"])
    except (KeyError, TypeError, ValueError):
        return
    if tests == 0:
        yield from lacking_test_images(study, name)
    yield from stored_probe_faults(study, name, info)
    if classes < 2:
        for protocol in study.evaluation_options():
            if needs_classes(protocol) and name in measured_on(study, protocol):
                yield (
                    f"evaluations.{protocol}: the store of data.{name} has {classes} class, but {protocol} needs at "
                    f"least two; leave {protocol} out, or prepare more classes"
                )
    for block in study.blocks():
        if block.data != name:
            continue
        size = block.optimisation.batch_size
        paired = any(views.pairs for views in block.augmentations.values())
        if size > count and not paired:
            yield (
                f"{block.where}.optimisation.batch_size: {size} exceeds the {count} training images of the "
                f"store of data.{name}; lower it"
            )
        reason = padding_refusal(size * (2 if paired else 1), height, width, machine_memory()[1])
        if info.get("layout") == "encoded" and reason is not None:
            yield f"{block.where}.optimisation.batch_size: {reason} (data.{name})"
    padding = _evaluation_padding(study, name, info, (height, width))
    if padding is not None:
        yield padding


def stored_training_images(options: DataOptions, store: Path) -> int | None:
    """The number of training images in a store; None if it is not prepared, or with other options."""
    info = _description(store / "store.json")
    if info is None or not same_options(info, options):
        return None
    try:
        return int(info["splits"]["train"]["count"])
    except (KeyError, TypeError, ValueError):
        return None


def _evaluation_padding(study: Study, name: str, info: Mapping[str, Any], train: tuple[int, int]) -> str | None:
    if info.get("layout") != "encoded":
        return None
    for protocol, options in study.evaluation_options().items():
        images = getattr(options, "extraction_batch", None) if name in measured_on(study, protocol) else None
        reason = None if images is None else padding_refusal(images, *train, machine_memory()[1])
        if reason is not None:
            return f"evaluations.{protocol}.extraction_batch: {reason}"
    return None


def _description(path: Path) -> dict[str, Any] | None:
    try:
        return read_json_object(path, absent="", advice="")
    except UserError:
        return None


def same_options(info: Mapping[str, Any], options: DataOptions) -> bool:
    """Whether a store was prepared with these options, ignoring the source's folder and ``download``."""
    stored, wanted = info.get("options"), options.model_dump(mode="json", exclude={"root", "download"})
    if not isinstance(stored, dict):
        return False
    # A store of an earlier version lacks options that were added later; it was prepared according to their defaults.
    fields = type(options).model_fields
    return {key: stored.get(key, fields[key].default) for key in wanted} == wanted
