"""The results of jobs, written and read: run ids, run descriptions, records and curves. Does not import torch."""
