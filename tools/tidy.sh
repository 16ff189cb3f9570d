#!/usr/bin/env bash
# Runs clang-tidy over the sources of some folders: tools/tidy.sh FOLDER... What .clang-tidy lists
# is an error. Sources that see the wire contract need its generated headers, which are built first.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly jobs=${JOBS:-$(nproc)}

# Host code of the CUDA device is read where it is named (it takes minutes) and its headers are;
# kernels are nvcc's to check.
cuda=OFF
if [[ " $* " == *" model/nn/cuda "* ]]; then
  if why=$(tools/find_nvcc.sh 2>&1 >/dev/null); then
    cuda=ON
  else
    echo "NOT RUN: clang-tidy of model/nn/cuda: $why"
  fi
fi
cmake --preset tidy -DPEERAGE_CUDA=$cuda >build/tidy.configure.log ||
  { cat build/tidy.configure.log; exit 1; }
if [[ " $*" == *" server"* || " $*" == *" client"* ]]; then
  ninja -C build/tidy -j "$jobs" peerage_proto peerage_health_proto
fi
folders=$(IFS='|' && echo "$*")
# Of the output only findings: the tool also names each command, and counts warnings of headers that
# are not ours.
set +e
run-clang-tidy -quiet -p build/tidy -j "$jobs" "^$PWD/($folders)/.*\\.cc\$" >build/tidy.log 2>&1
status=$?
set -e
grep -vE '^(clang-tidy|[0-9]+ warnings? generated)' build/tidy.log || true
exit "$status"
