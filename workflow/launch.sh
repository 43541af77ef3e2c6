#!/usr/bin/env bash
# launch.sh GPUS NODES COMMAND...: starts the command once a GPU through torchrun, over as many machines as are asked for;
# with one GPU or none it is the command itself. Everything is exec'ed: a signal to this job meets the trainers, with no
# shell in between that would die of it first.
set -euo pipefail
gpus="$1" nodes="$2"
shift 2

if [ $((nodes > 1 && gpus % nodes)) -ne 0 ]; then
  echo "error: resources gpu=$gpus of rule pretrain is not a multiple of nodes=$nodes" >&2
  exit 2
fi
# Processes that were asked to stop have as long to save as the scheduler's warning leaves them (rule pretrain).
torchrun=(torchrun --no-python --shutdown-timeout=100)
if [ "$nodes" -gt 1 ]; then
  # The shell runs on the first machine of the allocation; there they meet. Two jobs there need two ports.
  exec srun --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 --cpu-bind=none \
    "${torchrun[@]}" --nnodes="$nodes" --nproc-per-node=$((gpus / nodes)) --rdzv-id="$SLURM_JOB_ID" \
    --rdzv-backend=c10d --rdzv-endpoint="$(hostname):$((20000 + SLURM_JOB_ID % 10000))" "$@"
elif [ "$gpus" -gt 1 ]; then
  exec "${torchrun[@]}" --standalone --nproc-per-node="$gpus" "$@"
fi
exec "$@"
