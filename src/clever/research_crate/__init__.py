"""A study as an RO-Crate: its files, and a machine-readable account of how they came about.

``contents`` collects the files, ``entities`` describes them, ``packing`` writes the crate, ``checking`` verifies one.
"""
