#!/bin/sh
# properties = {properties}
# A scheduler's warning (SIGTERM) often reaches this shell alone. It goes on to all processes of the job, the trainer among
# them, and the shells outlive it, so that the job ends when the trainer has saved its state and not before.
trap 'trap "" TERM; kill -TERM 0' TERM
(
  trap : TERM
  {exec_job}
) &
job=$!
while :; do
  wait "$job"
  status=$?
  kill -0 "$job" 2>/dev/null || exit "$status" # else it was the signal that ended the waiting
done
