#!/usr/bin/env bash
# Snakemake runs a copy of this inside a new conda environment, from the working folder: puts the package of this checkout
# into it.
set -euo pipefail
python -m pip install --quiet --no-deps --no-build-isolation --editable .
