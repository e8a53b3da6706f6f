#!/bin/bash
# A raymix command on a Ray cluster of one Slurm allocation: the first node is the head, the others are workers, and all
# of it ends with the command.
#
#   sbatch --nodes=4 --gpus-per-node=1 launch/slurm.sh train mnist --data-dir /shared/mnist --out /shared/runs/mnist-1
#   sbatch --nodes=4 --gpus-per-node=1 launch/slurm.sh resume /shared/runs/mnist-1       # after any kind of end
#
# Folders are ones that all nodes see. Run it with raymix's environment active (.venv/bin on PATH), as sbatch keeps it.
#SBATCH --job-name=raymix
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00
#SBATCH --output=raymix-%j.log
#SBATCH --signal=B:TERM@120
set -euo pipefail

if [ $# -eq 0 ]; then
  echo "usage: sbatch launch/slurm.sh COMMAND ... (such as train mnist --out /shared/runs/mnist-1)" >&2
  exit 2
fi
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
cpus=${SLURM_CPUS_PER_TASK:-1}
gpus=${SLURM_GPUS_ON_NODE:-0}
port=${RAYMIX_PORT:-$((20000 + SLURM_JOB_ID % 10000))} # of its own, because nodes may hold several jobs
# Whoever reaches the ports needs this token; it travels in the environment, which other users cannot read.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token OMP_NUM_THREADS=1
memory_mb=${SLURM_MEM_PER_NODE:-0} # what Slurm granted; 0 is all there is
[ "$memory_mb" -gt 0 ] || memory_mb=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
store_bytes=${RAYMIX_OBJECT_STORE_BYTES:-$((memory_mb * 1024 * 1024 / 10 * 3))}
start=(ray start --block --num-cpus "$cpus" --num-gpus "$gpus" --object-store-memory "$store_bytes" --disable-usage-stats
  --min-worker-port 0 --max-worker-port 0)

steps=()
command_step=""
finish() { # first the command, which ends in order and can be resumed; then the workers, which tell the head; then the head
  trap - EXIT TERM INT
  for pid in "$command_step" "${steps[@]:1}" "${steps[@]:0:1}"; do
    if [ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null; then wait "$pid" || true; fi
  done
}
trap finish EXIT
trap 'exit 143' TERM # the time is nearly over
trap 'exit 130' INT

head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address | awk '{print $1}')
address=$head_ip:$port
srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" --overlap \
  "${start[@]}" --head --node-ip-address "$head_ip" --port "$port" --include-dashboard=false &
steps+=($!)

nodes_there() { # how many have joined
  python - "$address" 2>/dev/null <<'PYTHON' || echo 0
import sys
from ray._raylet import GcsClient
nodes = GcsClient(address=sys.argv[1]).get_all_node_info().values()
print(sum(node.state == 0 for node in nodes))
PYTHON
}

wait_for_nodes() {
  for _ in $(seq 120); do
    if (: </dev/tcp/"$head_ip"/"$port") 2>/dev/null && [ "$(nodes_there)" -ge "$1" ]; then return; fi
    kill -0 "${steps[0]}" 2>/dev/null || break
    sleep 1
  done
  echo "raymix: error: $1 nodes of Ray were not there in time" >&2
  exit 1
}

wait_for_nodes 1
if [ ${#nodes[@]} -gt 1 ]; then
  workers=$((${#nodes[@]} - 1))
  srun --nodes="$workers" --ntasks="$workers" --exclude="${nodes[0]}" --overlap "${start[@]}" --address "$address" &
  steps+=($!)
fi
wait_for_nodes ${#nodes[@]}
echo "raymix: ${#nodes[@]} nodes at $address"
srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" --overlap raymix "$@" --address "$address" &
command_step=$!
code=0
wait "$command_step" || code=$?
command_step=""
exit "$code"
