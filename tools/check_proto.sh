#!/usr/bin/env bash
# Lints the wire contract and compares it with the last released one, proto/peerage.v1.binpb.
#
#   tools/check_proto.sh             fails on a lint finding or a change that breaks clients
#   tools/check_proto.sh --release   makes the present contract the released one
set -euo pipefail
cd "$(dirname "$0")/.."

readonly deps=build/deps released=proto/peerage.v1.binpb
readonly image=build/peerage.v1.binpb

compile() {
  protoc -Iproto -I"$deps/googleapis" --include_imports "$@" proto/peerage/v1/*.proto
}

if [[ ${1:-} == --release ]]; then
  compile --descriptor_set_out="$released"
  exit
fi
compile --include_source_info --descriptor_set_out="$image"
"$deps/venv/bin/buf" lint "$image" --config proto/buf.yaml
"$deps/venv/bin/buf" breaking "$image" --against "$released" --config proto/buf.yaml
