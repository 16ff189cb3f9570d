#!/usr/bin/env bash
# Serves three real models for a minute: chats with the first, scores continuations, shows the
# server's status; makes a mixture of experts of it and serves that: the same answer, and who gave it;
# shows which experts of the third, a PEER model, write and read, at last as a page, with a picture of
# it when a browser is here. That one is SmolLM2 with the memory that `make recipe RECIPE=peer_memory`
# trains, once it is there, and a small model until then. `make demo` has built the programs before it
# calls this.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly bin=build/release/bin
readonly model=build/deps/models/SmolLM2-135M-Instruct.Q4_1.gguf
readonly memory=build/train/peer_memory/memory
readonly page=build/demo-page.txt
readonly map=build/demo-experts.png
readonly mixture_map=build/demo-mixture.png
readonly picture=build/demo-page.png
readonly log=build/demo-server.log
readonly question="What is photosynthesis? Answer in two sentences."
readonly start_seconds=60

server=
experts_page=  # of the running server
models=  # a directory for the models that this script makes

# Stops the server if it runs; says so when it did not end cleanly.
stop_server() {
  [[ -n $server ]] || return 0
  local pid=$server status=0
  server=
  kill -TERM "$pid" 2>/dev/null || true
  wait "$pid" || status=$?
  ((status == 0)) || { echo "demo: the server ended with code $status; see $log" >&2; return 1; }
}

clean_up() {
  stop_server
  [[ -z $models ]] || rm -rf "$models"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

title() {
  if [[ -t 1 ]]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi
}

# Shows a command as one would type it, then runs it.
show() {
  local word line='$'
  for word in "$@"; do
    [[ $word == *[^[:alnum:]_./:-]* ]] && word="\"$word\""
    line+=" $word"
  done
  echo "$line"
  "$@"
}

start_server() {  # start_server MODEL
  local ready line
  ready=$(mktemp -u build/demo.XXXXXX)
  mkfifo "$ready"
  "$bin/peerage-server" --model "$1" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
    >"$ready" 2>"$log" &
  server=$!
  exec 3<"$ready"
  rm "$ready"
  if ! read -r -t "$start_seconds" -u 3 line; then
    tail -n 3 "$log" >&2
    echo "demo: the server did not start (its log: $log)" >&2
    return 1
  fi
  echo "$line"
  [[ $line =~ grpc=([^ ]+)\ admin=([^ ]+) ]]
  export PEERAGE_SERVER=${BASH_REMATCH[1]}
  experts_page=http://${BASH_REMATCH[2]}/experts
}

# Takes a picture of the server's page of experts, when there is something to take it with.
take_picture() {
  local browser options=(--headless --disable-gpu --hide-scrollbars --no-first-run)
  browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
    echo "No browser is here to take a picture of it. Any shows it while the server runs (see below)."
    return
  }
  ((EUID != 0)) || options+=(--no-sandbox)  # which Chromium refuses to root
  "$browser" "${options[@]}" --user-data-dir="$models/browser" --window-size=1280,1400 \
    --virtual-time-budget=5000 --screenshot="$picture" "$experts_page" >>"$log" 2>&1 ||
    { echo "demo: $browser took no picture of $experts_page; see $log" >&2; return 1; }
  echo "A picture of it: $picture"
}

title "Starting peerage-server with $(basename "$model")"
start_server "$model"

title "Chat"
show "$bin/peerage" generate --chat "$question" --max-tokens 120 --temperature 0

title "Which continuation is likelier?"
show "$bin/peerage" score "The capital of France is" \
  --continuation " Paris" --continuation " London" --continuation " a banana"

title "The server's status"
show "$bin/peerage" status

title "Stopping the server"
stop_server
echo "stopped"

title "The same model in bf16, as safetensors"
models=$(mktemp -d build/demo-models.XXXXXX)
show "$bin/peerage-model" convert --from "$model" --out "$models/base" --dtype bf16
start_server "$models/base"
show "$bin/peerage" generate --chat "$question" --max-tokens 60 --temperature 0 |
  tee "$models/base.txt"
stop_server
echo "Not the same words as before: weights of 4 bits meet activations of 8 bits, these meet floats (docs/serve.md)."

title "A mixture of four experts and a memory of 65,536, made of it"
show "$bin/peerage-model" upcycle --base "$model" --num-experts 4 --allow-identical \
  --attention shared --routers random --random-seed 1 --router-std 0.02 \
  --top-k 2 --normalize-top-k --peer layer=15,experts=65536,heads=8,top_k=16,key_dim=128 \
  --out "$models/mixture"
start_server "$models/mixture"
show "$bin/peerage" generate --chat "$question" --max-tokens 60 --temperature 0 |
  tee "$models/mixture.txt"
if [[ $(tail -n +2 "$models/base.txt") != "$(tail -n +2 "$models/mixture.txt")" ]]; then
  echo "demo: the mixture's answer is not the base's" >&2
  exit 1
fi
echo "The experts begin as copies and the memory begins empty, so both answers are equal."

title "Which experts did that answer use?"
show "$bin/peerage" experts --png "$mixture_map"
stop_server

if [[ -f $memory/config.json ]]; then
  peer_model=$memory
  peer_model_is="SmolLM2 with a memory of 65,536 experts, trained on licences and mathematics"
  layer=15
  kind_of_text="licence"
  prompt=$'The Pear License, version 1.0\n\nPermission is hereby granted'
  unseen_text=build/train/text/law.held.txt
  continuation=" provided that"
else
  peer_model=tests/golden/models/peer_small
  peer_model_is="a PEER model: 2 layers of 2,304 experts, trained on the Bible"
  layer=1
  kind_of_text="psalm"
  prompt=$'Psalms 151\n\n1 '
  unseen_text=$peer_model/held_out.txt
  continuation=" Amen."
fi
title "Starting peerage-server with $peer_model_is"
start_server "$peer_model"

title "A $kind_of_text that does not exist, and the experts that wrote it"
show "$bin/peerage" generate "$prompt" --max-tokens 120 --temperature 0.7 --seed 7 --trace summary

title "The experts that read a page it was not trained on"
head -c 3000 "$unseen_text" >"$page"
show "$bin/peerage" score --continuation "$continuation" --trace summary <"$page"

title "Which experts has the model used so far?"
show "$bin/peerage" experts
show "$bin/peerage" experts --layer "$layer" --png "$map"

title "The same, live, as a page"
echo "$experts_page"
take_picture
if [[ -t 0 && -t 1 ]]; then
  read -r -p "It lives as long as this server; press Enter to stop it. " || true
fi
stop_server

title "What to type next"
cat <<EOF
  make run                                            serve SmolLM2 on 127.0.0.1:50051 until Ctrl-C
  make run MODEL=$peer_model       serve the PEER model; http://127.0.0.1:9091/experts is its page
  make run MODEL=path/to/model                        serve another one
  $bin/peerage generate --chat "Hello"    talk to it from a second terminal
  $bin/peerage --help                     everything else
EOF
