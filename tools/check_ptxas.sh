#!/usr/bin/env bash
# Compiles every CUDA kernel for every target that ships (sm_80 to sm_120, all from the PTX of
# compute_80): spills, local memory and doubles are errors. Then compares the registers of each kernel,
# and the blocks of it that fit an SM, with tests/cuda/kernel_limits.txt.
#
# Usage: check_ptxas.sh [--update] [BUILD]. --update writes the table; BUILD (build/cuda) keeps what
# has not changed since.
set -euo pipefail
cd "$(dirname "$0")/.."

update=()
if [[ ${1:-} == --update ]]; then
  update=(--update)
  shift
fi
readonly out=${1:-build/cuda}/ptxas
readonly nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
mkdir -p "$out"
make --no-print-directory -k -j "${JOBS:-2}" -f tools/ptxas.mk OUT="$out" NVCC="$nvcc" \
  PTXAS="$(dirname "$nvcc")/ptxas"
python3 tools/kernel_limits.py "${update[@]}" "$out" tests/cuda/kernel_limits.txt
