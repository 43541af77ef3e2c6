"""Write and read the results of jobs: run ids, run descriptions, records and curves. Does not import torch."""
