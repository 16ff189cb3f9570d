#!/usr/bin/env bash
# Makes under FOLDER every model that evaluate.py compares: the seed, an expert of law and one of
# mathematics, their plain average, the mixtures of seed and experts, and two dense models: one
# trained on what the two experts saw, one on what a mixture and its experts saw together. What is
# there already is kept, so a run goes on where the last one stopped.
#
# Lengths are in tokens. Seconds of one core with bfloat16 instructions: 420 for each expert, 230 to
# 360 for a mixture, 800 and 940 for the dense models.
#
# Usage: make_models.sh FOLDER [MODEL.gguf]
# PYTHON is an interpreter with tools/requirements/golden.txt, PEERAGE_MODEL the peerage-model tool.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
gguf=${2:-$root/build/deps/models/SmolLM2-135M-Instruct.Q4_1.gguf}
here=$root/bench/mixture
python=${PYTHON:-python3}
tool=${PEERAGE_MODEL:-$root/build/release/bin/peerage-model}

make() {  # make OUT COMMAND...: unless OUT is there; what the command prints goes to OUT.log
  local out=$1
  shift
  [[ -e $out ]] && return
  echo "$out …"
  "$@" > "$out.log" 2>&1 || { tail -n 5 "$out.log" >&2; exit 1; }
}

train() {  # train MODEL OUT OPTION...
  make "$2" "$python" "$here/train.py" "$@"
}

mix() {  # mix OUT ATTENTION: upcycles, then trains routers with all FFN experts weighed
  make "$1.untrained" "$tool" upcycle --base seed --expert law=law --expert maths=maths \
    --attention "$2" --routers random --random-seed 1 --router-std 0.001 \
    --top-k 1 --normalize-top-k --out "$1.untrained"
  train "$1.untrained" "$1" "${all[@]}" --tokens $router_tokens --only .router. --soft-ffn \
    --rate 1e-2 --batch 3 --length 128
}

law=(--text law.train.txt)
maths=(--text maths.train.txt)
all=("${law[@]}" "${maths[@]}" --text prose.train.txt)
expert_tokens=57344
router_tokens=24576

main() {
  mkdir -p "$1"
  cd "$1"
  make prose.held.txt "$python" "$root/train/recipes/prepare_text.py" .
  make seed "$tool" convert --from "$gguf" --dtype bf16 --out seed
  train seed law "${law[@]}" --tokens $expert_tokens
  train seed maths "${maths[@]}" --tokens $expert_tokens
  make average "$python" "$here/average.py" average seed law maths
  mix btx average
  mix bam_kv_experts expert
  mix bam_shared_kv shared
  train seed dense_law_maths "${law[@]}" "${maths[@]}" --tokens $((2 * expert_tokens))
  train seed dense_mixed "${all[@]}" --tokens $((2 * expert_tokens + router_tokens))
}

main "$@"
