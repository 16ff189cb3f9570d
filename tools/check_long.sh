#!/usr/bin/env bash
# What is worth more time than a merge should wait for: check_long.sh [SECONDS]. It runs as much as
# the budget (1500 s) allows, and refuses nothing when there is no time left.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly budget=${1:-1500}
readonly jobs=${JOBS:-$(nproc)}
readonly simulation=build/release/tests/simulation_test
readonly needles=build/release/tests/needle_test
readonly storms_seconds=900  # on two cores
readonly image_seconds=900  # from nothing, on two cores
readonly tidy_seconds=420  # of the CUDA device, on two cores
readonly planted_seconds=1200  # from nothing, on two cores: each mistake is compiled and run by itself
readonly planted_cuda_seconds=1200  # likewise
readonly fuzz_targets=10
readonly fuzz_build_seconds=180  # from nothing, on two cores

left() { echo $((budget - SECONDS)); }

# What does not fit is said, and is no failure.
skip() { echo "check-long: no time for $1 ($(left) s left of $budget)"; }

# build TARGET...: of what ships.
build() {
  cmake --preset release >build/release.configure.log ||
    { cat build/release.configure.log; exit 1; }
  ninja -C build/release -j "$jobs" "$@"
}

echo "== the container image, and the Debian package in a fresh root"
if ((EUID != 0)); then
  echo "check-long: only root can make and run images here"
elif (($(left) < image_seconds)); then
  skip "the image"
else
  build peerage-server peerage peerage-model
  ctest --test-dir build/release -L image --output-on-failure --no-tests=error
fi

echo "== clang-tidy of the CUDA device"
if (($(left) < tidy_seconds)); then
  skip "clang-tidy of the CUDA device"
else
  tools/tidy.sh model/nn/cuda
fi

echo "== more worlds for the scheduler"
if (($(left) < 150)); then
  skip "the simulation"
else
  build simulation_test
  PEERAGE_SIMULATION_STEPS=20000000 "$simulation"
fi

echo "== mistakes planted in the engine, for the simulation to find"
if (($(left) < planted_seconds)); then
  skip "planted mistakes"
else
  JOBS=$jobs tests/planted/run engine
fi

echo "== mistakes planted in the CUDA device, for its tests to find"
if ! tools/find_nvcc.sh >/dev/null; then
  echo "check-long: they need nvcc"
elif (($(left) < planted_cuda_seconds)); then
  skip "mistakes planted in the CUDA device"
else
  JOBS=$jobs tests/planted/run cuda
fi

echo "== more needles in crowds"
if (($(left) < 240)); then
  skip "the needles"
else
  build needle_test
  PEERAGE_NEEDLE_TRIALS=5000 PEERAGE_NEEDLE_LARGE_TRIALS=30 "$needles"
fi

echo "== more streams that are cut and go on"
if (($(left) < 180)); then
  skip "the streams"
else
  build peerage-server
  PEERAGE_BIN=build/release/bin PEERAGE_RESUME_STREAMS=10000 \
    build/deps/venv/bin/python tests/integration/test_resume.py
fi

echo "== tests that take minutes"
if (($(left) < storms_seconds)); then
  skip "the long tests"
else
  build peerage-server rpc_storm_test
  ctest --test-dir build/release -L long --output-on-failure --no-tests=error
fi

echo "== longer fuzzing"
if ! command -v clang++ >/dev/null; then
  echo "check-long: fuzzing needs clang++"
elif (($(left) < fuzz_build_seconds + 10 * fuzz_targets)); then
  skip "fuzzing"
else
  tools/fuzz.sh --build
  if (($(left) < 10 * fuzz_targets)); then
    skip "fuzzing"
  else
    tools/fuzz.sh $(($(left) / fuzz_targets))
  fi
fi
