#!/usr/bin/env bash
# Runs a program of the CUDA build without a GPU, on the stand-in for the CUDA libraries:
# on_standin.sh [--schedule eager|lazy|random] [--seed N] [--memory MIB] COMMAND...
set -euo pipefail

readonly folder=${CUDA_STANDIN_DIR:-$(cd "$(dirname "$0")/../.." && pwd)/build/cuda/standin}
settings=

add() { settings+="${settings:+,}$1"; }

while (($#)); do
  case $1 in
    --schedule) add "schedule=$2"; shift 2 ;;
    --seed) add "seed=$2"; shift 2 ;;
    --memory) add "memory=$(($2 << 20))"; shift 2 ;;
    --) shift; break ;;
    -*) echo "on_standin.sh: unknown option $1" >&2; exit 2 ;;
    *) break ;;
  esac
done
if (($# == 0)); then
  echo "usage: on_standin.sh [--schedule eager|lazy|random] [--seed N] [--memory MIB] COMMAND..." >&2
  exit 2
fi
export CUDA_STANDIN=${CUDA_STANDIN:-}${settings:+${CUDA_STANDIN:+,}$settings}
LD_PRELOAD="$folder/libcudart.so.13:$folder/libcublasLt.so.13" exec "$@"
