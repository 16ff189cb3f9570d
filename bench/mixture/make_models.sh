#!/usr/bin/env bash
# Makes every model of evaluate.py under FOLDER: seed, two experts, one dense model of all domains,
# the plain average, and the mixtures. What is there already is kept, so it goes on where it
# stopped. Downloads text; takes about 40 minutes of two processor cores with bfloat16 instructions.
#
# Usage: make_models.sh FOLDER [MODEL.gguf]     PYTHON: an interpreter with tools/requirements/golden.txt
set -euo pipefail
folder=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
gguf=${2:-$root/build/deps/models/SmolLM2-135M-Instruct.Q4_1.gguf}
here=$root/bench/mixture
python=${PYTHON:-python3}
cd "$folder"

run() {  # run OUT COMMAND...: unless OUT is there; a log stays beside it
  local out=$1
  shift
  [[ -e $out ]] && return
  echo "$out …"
  "$@" > "$out.log" 2>&1 || { tail -n 5 "$out.log" >&2; exit 1; }
}
train() {  # train MODEL OUT OPTION...
  local model=$1 out=$2
  shift 2
  run "$out" "$python" "$here/train.py" "$model" "$out" "$@"
}

law=(--text law.train.txt)
maths=(--text maths.train.txt)
prose=(--text prose.train.txt)
tokens=57344
run prose.held.txt "$python" "$here/prepare_text.py" .
run seed "$python" "$here/make_seed.py" "$gguf" seed
train seed law "${law[@]}" --tokens $tokens
train seed maths "${maths[@]}" --tokens $tokens
