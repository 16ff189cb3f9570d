#!/usr/bin/env bash
# Runs cppcheck over all C++ sources: what it finds is an error, but for what
# tools/cppcheck_suppressions.txt gives a reason for. Operators for PyTorch are left out: their macros
# are PyTorch's, and are not read.
set -euo pipefail
cd "$(dirname "$0")/.."

cppcheck --enable=warning,performance,portability --std=c++20 --language=c++ -q -I . -j "${JOBS:-$(nproc)}" \
  --suppress=missingIncludeSystem --suppress=unknownMacro \
  --suppressions-list=tools/cppcheck_suppressions.txt --error-exitcode=1 -i train/ops \
  base model server client train
