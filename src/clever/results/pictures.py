"""Pictures of an evaluation: the arrays that a figure shows, in one ``.npz`` next to the evaluation's records.

They contain images of the data set, so they stay in the study's results folder and are never committed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clever.errors import UserError
from clever.files import write_bytes
from clever.parsing import foreign
from clever.results.tables import read_bytes

_FACTS = "facts"


@dataclass(frozen=True)
class Pictures:
    """The pictures that one evaluation keeps for figures.

    ``facts`` is a JSON object with ``run``, ``protocol`` and the keys that the protocol adds. ``arrays`` holds the
    pictures, under names that the protocol chooses. If there is nothing to show, ``facts`` has only run and protocol,
    and ``arrays`` is empty.
    """

    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @property
    def run(self) -> str:
        """Id of the run."""
        return str(self.facts["run"])


def write_pictures(path: Path, pictures: Pictures) -> None:
    """Write one file atomically; the same pictures give the same bytes.

    Raises:
        UserError: the disk is full or the folder is not writable.
        ValueError: an array is named ``facts``.
    """
    if _FACTS in pictures.arrays:
        raise ValueError(f"an array cannot be named {_FACTS}")
    facts = np.array(json.dumps(pictures.facts, sort_keys=True, allow_nan=False))
    buffer = io.BytesIO()
    # numpy's zip entries have a fixed date, so the bytes do not depend on the time.
    arrays: Mapping[str, NDArray[Any]] = {_FACTS: facts, **dict(sorted(pictures.arrays.items()))}
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def read_pictures(path: Path) -> Pictures:
    """Read a file of :func:`write_pictures`.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    content = read_bytes(path)
    with foreign(path, "is not a file of pictures", "evaluate the run again"):
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(str(arrays.pop(_FACTS)))
        if not isinstance(facts, dict) or not {"run", "protocol"} <= facts.keys():
            raise UserError(f"{path}: its facts name no run and protocol; evaluate the run again")
    return Pictures(facts, arrays)
