"""Find data sets of a study that do not exist, or have fewer images than a batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clever.crosschecks.data_needs import lacking_test_images
from clever.data.folder_files import training_files
from clever.data.folder_layout import find_split
from clever.data.registry import SOURCES
from clever.errors import UserError
from clever.files import expanded
from clever.invocation import GIVE_PARENT

if TYPE_CHECKING:
    from clever.config import Study
    from clever.data import DataOptions


def lacking(source: str, root: Path) -> str | None:
    """One line on what an existing folder lacks to contain the source's data, or None."""
    missing = SOURCES[source].missing
    return None if missing is None else missing(root)


def _only_train(options: DataOptions) -> bool:
    """Whether an image folder has training images only."""
    root = expanded(options.root or "")
    return find_split(root, "test") is None and (not options.labelled or find_split(root, "train") is not None)


def missing_data(study: Study, data_root: str, stores: Path) -> Iterator[str]:
    """One line per data set whose folder is missing.

    Args:
        study: already validated.
        data_root: folder that relative roots are relative to.
        stores: folder of the prepared stores; a prepared data set needs no source.

    Raises:
        UserError: a root is in an unknown home folder.
    """
    for name in study.data:
        options = study.data_options(name, data_root)
        needless = options.download or (stores / name / "store.json").exists()
        if options.root and not (needless or expanded(options.root).is_dir()):
            yield f"data.{name}: there is no folder {options.root}; {GIVE_PARENT}"
        elif options.root and not needless and (line := lacking(options.source, expanded(options.root))) is not None:
            yield f"data.{name}: {line}"
        elif options.source == "image_folder" and not needless and _only_train(options):
            yield from lacking_test_images(study, name)
    for name, settings in study.evaluation_options(data_root).items():
        try:
            settings.check_folder()
        except UserError as error:
            yield f"evaluations.{name}: {error}"


def folder_faults(study: Study, data_root: str, stores: Path) -> Iterator[str]:
    """One line per batch that is larger than the image folder from which it is drawn, for data that are not prepared
    yet.

    Args:
        study: already validated.
        data_root: folder that relative roots are relative to.
        stores: folder of the prepared stores; they are checked by ``prepared_faults``.
    """
    for block in study.blocks():
        options = study.data_options(block.data, data_root)
        if options.source != "image_folder" or (stores / block.data / "store.json").exists():
            continue
        images, size = training_files(options), block.optimisation.batch_size
        if images is not None and size > images:
            yield (
                f"{block.where}.optimisation.batch_size: {size} exceeds the {images} training images of "
                f"data.{block.data} in {options.root}; lower it"
            )
