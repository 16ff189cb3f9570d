#!/usr/bin/env bash
# Runs a program of the CUDA build on a GPU: on_gpu.sh COMMAND... Where there is none nothing is run:
# exit code 77, which CTest reports as not run.
set -euo pipefail

if (($# == 0)); then
  echo "usage: on_gpu.sh COMMAND..." >&2
  exit 2
fi
if [[ ! -e /dev/nvidiactl ]]; then
  echo "not run: no GPU is here (no /dev/nvidiactl)"
  exit 77
fi
exec "$@"
