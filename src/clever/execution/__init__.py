"""The execution of a job on a machine: its device, the lease of a GPU, and the processes that train together."""
