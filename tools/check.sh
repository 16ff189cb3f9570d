#!/usr/bin/env bash
# Everything that must hold before a commit is merged, cheapest first. `make check` sets the machine
# up and calls this; CI runs `make check`.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly jobs=${JOBS:-$(nproc)}
readonly python=build/deps/venv/bin/python

# The CUDA build compiles much of what the release build does, with the same flags: ccache may take the
# one's objects for the other's when paths are relative and debug information may name either folder.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

not_run=()  # what this machine could not run: said at the end, and counted nowhere as passed

stage() {
  echo
  echo "== $* (at $((SECONDS / 60)) min $((SECONDS % 60)) s)"
}

# build PRESET [TARGET...]
build() {
  local preset=$1
  shift
  cmake --preset "$preset" >"build/$preset.configure.log" ||
    { cat "build/$preset.configure.log"; return 1; }
  ninja -C "build/$preset" -j "$jobs" "$@"
}

# run_tests PRESET [CTEST OPTION...]: shows skipped cases with their reasons before ctest's summary.
run_tests() {
  local folder=build/$1 status
  shift
  rm -rf "$folder/reports"
  mkdir -p "$folder/reports"
  set +e
  GTEST_OUTPUT="xml:$PWD/$folder/reports/" ctest --test-dir "$folder" -j "$jobs" \
    --output-on-failure --no-tests=error "$@" >"$folder/ctest.log" 2>&1 &
  local ctest=$!
  tail --pid="$ctest" -n +1 -f "$folder/ctest.log" | sed -u '/% tests passed/,$d'
  wait "$ctest"
  status=$?
  set -e
  "$python" tools/skip_report.py "$folder/reports"
  sed -n '/% tests passed/,$p' "$folder/ctest.log"
  return "$status"
}

stage "formatting"
git ls-files '*.h' '*.cc' '*.cu' '*.cuh' | xargs -r clang-format --dry-run --Werror

stage "layering, sources, sizes"
"$python" tools/check_layering_test.py
"$python" tools/check_layering.py
"$python" tools/house_figures_test.py
"$python" tools/check_sources.py
"$python" tools/size_report.py

stage "documents"
"$python" tools/check_docs.py

stage "wire contract"
tools/check_proto.sh

stage "thread-safety analysis (clang)"
build clang model/all server/all client/all

stage "cppcheck"
tools/cppcheck.sh

stage "clang-tidy"
tools/tidy.sh base model/config model/experts model/nn

stage "unit and model tests under the address and undefined-behaviour sanitizers"
build asan tests/unit/all tests/fuzz/all
run_tests asan -L 'unit|model'

stage "tests of what several threads touch under the thread sanitizer"
# What has one thread alone has nothing to show here, and takes longest.
readonly one_thread='simulation_test|product_keys_test|sampler_test'
build tsan tests/unit/{engine,server,door,kernels,nn}/all
for folder in engine server door kernels nn; do
  run_tests "tsan/tests/unit/$folder" -E "$one_thread"
done

stage "release build and every test"
build release
"$python" tools/check_docs.py --bin build/release/bin
run_tests release -LE 'image|long'  # those are check_long.sh's

stage "CUDA on the stand-in"
if no_nvcc=$(tools/find_nvcc.sh 2>&1 >/dev/null); then
  build cuda-check tests/cuda/all peerage-server peerage model_bench cuda_kernels_bench
  run_tests cuda-check -L cuda
  not_run+=("the same on a GPU (make gpu-check)")
else
  not_run+=("tests of CUDA: $no_nvcc")
fi

echo
for what in "${not_run[@]}"; do echo "NOT RUN: $what"; done
