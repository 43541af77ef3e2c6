"""A study as an RO-Crate: its files, and a machine-readable description of how they were produced.

``contents`` collects the files, ``entities`` describes them, ``packing`` writes the crate, ``checking`` verifies one.
"""
