"""Ways to initialise a hypernetwork."""

from __future__ import annotations

from typing import Literal

Start = Literal["equal_length", "linear"]
"""How the weights are initialised."""
