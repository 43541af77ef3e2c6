#!/usr/bin/env bash
# launch.sh GPUS NODES COMMAND...: starts the command once per GPU with torchrun, on NODES machines; with one GPU or
# none it runs the command directly. It uses exec throughout, so that a signal to this job reaches the trainers; a shell
# in between would be killed by it first.
set -euo pipefail
gpus="$1" nodes="$2"
shift 2

if [ $((nodes > 1 && gpus % nodes)) -ne 0 ]; then
  echo "error: resources gpu=$gpus of rule pretrain is not a multiple of nodes=$nodes" >&2
  exit 2
fi
# Processes that are asked to stop may save their state in the time between the scheduler's warning and its kill (rule
# pretrain).
torchrun=(torchrun --no-python --shutdown-timeout=100)
if [ "$nodes" -gt 1 ]; then
  # This shell runs on the first machine of the allocation, which hosts the rendezvous. Two jobs there need two ports.
  exec srun --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 --cpu-bind=none \
    "${torchrun[@]}" --nnodes="$nodes" --nproc-per-node=$((gpus / nodes)) --rdzv-id="$SLURM_JOB_ID" \
    --rdzv-backend=c10d --rdzv-endpoint="$(hostname):$((20000 + SLURM_JOB_ID % 10000))" "$@"
elif [ "$gpus" -gt 1 ]; then
  exec "${torchrun[@]}" --standalone --nproc-per-node="$gpus" "$@"
fi
exec "$@"
