#!/bin/sh
# properties = {properties}
# A scheduler's warning (SIGTERM) often reaches only this shell. The shell passes it on to all processes of the job,
# including the trainer, and survives it, so that the job ends only after the trainer has saved its state.
trap 'trap "" TERM; kill -TERM 0' TERM
(
  trap : TERM
  {exec_job}
) &
job=$!
while :; do
  wait "$job"
  status=$?
  kill -0 "$job" 2>/dev/null || exit "$status" # otherwise the signal interrupted the wait
done
