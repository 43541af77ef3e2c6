#!/bin/sh
# status.sh JOB: running, success or failed. A job that was killed leaves no word of its own.
state="$(squeue --jobs="$1" --states=all --noheader --format=%T 2>/dev/null)"
[ -n "$state" ] || state="$(sacct --jobs="$1" --allocations --noheader --parsable2 --format=State 2>/dev/null)"
case "$state" in
  # Of a job that has been forgotten Snakemake itself finds out whether its outputs are there.
  COMPLETED | "") echo success ;;
  BOOT_FAIL | CANCELLED* | DEADLINE | FAILED | NODE_FAIL | OUT_OF_MEMORY | PREEMPTED | TIMEOUT) echo failed ;;
  *) echo running ;;
esac
