"""Gather backbones into a folder of release assets with a manifest, and fetch them from there by name."""
