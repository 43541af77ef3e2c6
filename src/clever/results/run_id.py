"""The id of a run: its five axes as a path that a person can read."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

AXIS_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
"""What the name of a data set, backbone, method or augmentation may look like: it becomes a folder."""

UNTRAINED = "untrained"
"""The method axis of a control run: the backbone as initialised."""
PIXELS = "pixels"
"""The backbone axis of a control run: the image itself."""
NO_AUGMENTATION = "none"
"""The augmentation axis of a control run."""

Name = Annotated[str, StringConstraints(pattern=f"^{AXIS_PATTERN}$")]
