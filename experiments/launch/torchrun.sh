#!/usr/bin/env bash
# One call on each node starts that node's ranks; all nodes meet at the first one.
#   NODES=2 NODE_RANK=0 HEAD=10.0.0.1 RANKS=8 RUN=runs/x experiments/launch/torchrun.sh --config fit.yaml     # on the first node
#   NODES=2 NODE_RANK=1 HEAD=10.0.0.1 RANKS=8 RUN=runs/x experiments/launch/torchrun.sh --config fit.yaml     # on the second
# RUN is the folder in which ModelCheckpoint writes (dirpath), on a disk that all nodes see: where it has a last.ckpt, the
# run goes on from it. The same command therefore starts a run, and starts it again. SIGTERM to this process ends the run
# with a checkpoint, for which it has GRACE seconds; torchrun's own default kills the ranks after 30.
set -euo pipefail
: "${NODES:=1}" "${NODE_RANK:=0}" "${RANKS:=1}" "${HEAD:=localhost}" "${PORT:=29500}" "${GRACE:=270}" "${RUN:?give the folder of checkpoints as RUN}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TORCH_ELASTIC_SHUTDOWN_TIMEOUT="$GRACE"
last=()
if [ -e "$RUN/last.ckpt" ] || [ -e "$RUN/.last.ckpt-replaced" ]; then last=(--ckpt_path "$RUN/last.ckpt"); fi
if [ "$NODES" -eq 1 ]; then meet=(--standalone); else meet=(--master-addr "$HEAD" --master-port "$PORT"); fi
# --max-restarts 0: a rank that is gone ends the run, named, and whoever scheduled it starts it again from last.ckpt
exec python -m torch.distributed.run --nnodes "$NODES" --node-rank "$NODE_RANK" --nproc-per-node "$RANKS" --max-restarts 0 \
  "${meet[@]}" -m affectgpt.cli.main fit "$@" ${last[@]+"${last[@]}"} \
  --trainer.num_nodes "$NODES" --trainer.devices "$RANKS"
