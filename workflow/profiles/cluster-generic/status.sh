#!/bin/sh
# status.sh JOB: prints running, success or failed. A killed job cannot report its own end.
state="$(squeue --jobs="$1" --states=all --noheader --format=%T 2>/dev/null)"
[ -n "$state" ] || state="$(sacct --jobs="$1" --allocations --noheader --parsable2 --format=State 2>/dev/null)"
case "$state" in
  # For a job that Slurm no longer knows, Snakemake itself checks whether the outputs exist.
  COMPLETED | "") echo success ;;
  BOOT_FAIL | CANCELLED* | DEADLINE | FAILED | NODE_FAIL | OUT_OF_MEMORY | PREEMPTED | TIMEOUT) echo failed ;;
  *) echo running ;;
esac
