#!/usr/bin/env bash
# Prints the CUDA compiler that Peerage's CUDA device is built with, or says in one line on stderr why
# there is none. The minor version counts: tests/cuda/standin knows the ABI of 13.0's registration.
set -euo pipefail

readonly wanted=13.0

if ! nvcc=$(PATH=$PATH:/usr/local/cuda/bin type -P nvcc); then
  echo "no nvcc $wanted on PATH or in /usr/local/cuda/bin: the CUDA device cannot be built" >&2
  exit 1
fi
version=$("$nvcc" --version | sed -n 's/.* release \([0-9.]*\),.*/\1/p')
if [[ $version != "$wanted" ]]; then
  echo "$nvcc is of CUDA ${version:-?}, not $wanted: the CUDA device cannot be built" >&2
  exit 1
fi
echo "$nvcc"
