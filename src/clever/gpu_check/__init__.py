"""Check the project on a GPU in ten minutes: correctness, speed, then a real study. Each number is saved immediately.

    make gpu                                                  # or, on a bare machine without an installation:
    PYTHONPATH=src python -m clever.gpu_check --output FOLDER
    python -m clever.gpu_check --rehearse --output FOLDER     # the same steps at tiny sizes on a CPU
    python -m clever.gpu_check.install FOLDER                 # commit what was measured

Each step is a process with its own time limit, so that a crash, a hang or running out of memory costs only that step.
The check needs a checkout (it runs ``benchmarks/`` and ``tests/``) and torch, but neither Snakemake nor a network.
"""
