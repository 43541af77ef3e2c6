"""The latents of a 3DIEBench image (Garrido, Najman and LeCun, ICML 2023).

A view of an object is described by seven numbers. The first three are Tait-Bryan angles in an extrinsic frame: the
object is rotated about the fixed x axis, then y, then z, so R = Rz Ry Rx.
"""

from __future__ import annotations

NAMES = ("rotation_x", "rotation_y", "rotation_z", "floor_hue", "light_theta", "light_phi", "light_hue")
"""Columns of a row of latents. Each was drawn uniformly: the three angles of the object in [-pi/2, pi/2], the hues
in [0, 1], the light's polar angle theta in [0, pi/4] and azimuth phi in [0, 2 pi] (SIE:data/main.py)."""

ROTATION = slice(0, 3)
FLOOR_HUE = NAMES.index("floor_hue")
LIGHT_HUE = NAMES.index("light_hue")

VIEWS = 50
"""Number of photographs per object."""
