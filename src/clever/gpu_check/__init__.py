"""Ten minutes on a GPU, well spent: correctness, speed, then a real study, each number written down at once.

    make gpu                                                  # or, on a bare machine without an installation:
    PYTHONPATH=src python -m clever.gpu_check --output FOLDER
    python -m clever.gpu_check --rehearse --output FOLDER     # the same steps at tiny sizes on a CPU
    python -m clever.gpu_check.install FOLDER                 # commit what was measured

Each step is a process with a time limit of its own, so that a crash, a hang or a lack of memory costs that step alone.
It needs a checkout (it runs ``benchmarks/`` and ``tests/``) and torch, but neither Snakemake nor a network.
"""
