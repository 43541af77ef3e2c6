"""Backbones as release assets: gathered into a folder with a manifest, and fetched from there by name."""
