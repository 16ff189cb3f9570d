#!/usr/bin/env bash
# Fuzzes every target of tests/fuzz for some seconds each: tools/fuzz.sh [SECONDS], or builds them
# only: --build. Inputs that reach new code are kept in build/fuzz/corpus; a crash leaves its input
# in build/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly seconds=${1:-60}

cmake --preset fuzz >build/fuzz.configure.log || { cat build/fuzz.configure.log; exit 1; }
ninja -C build/fuzz -j "${JOBS:-$(nproc)}" tests/fuzz/all
[[ $seconds == --build ]] && exit
for program in build/fuzz/fuzz/*_fuzz; do
  name=$(basename "$program")
  corpus=build/fuzz/corpus/$name
  mkdir -p "$corpus"
  echo "== $name for $seconds s"
  "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=1000000 \
    -artifact_prefix="build/fuzz/$name-" -print_final_stats=0 -verbosity=0 "$corpus" "tests/fuzz/corpus/$name"
done
