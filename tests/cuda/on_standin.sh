#!/usr/bin/env bash
# Runs a program of the CUDA build without a GPU, on the stand-in for the CUDA libraries.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: on_standin.sh [OPTION]... COMMAND...

Runs COMMAND, which is linked with the CUDA runtime and cuBLASLt as shared libraries, on stand-ins for
them that execute its PTX on the CPU. Its exit code is passed through. A program that ends with 0
although the stand-in has reports that nobody took (races, reads of what nobody wrote, staging reused
too early, calls that are not supported) ends with 70 instead.

  --schedule eager|lazy|random  when queued work runs: at once, when waited for, now and then (eager)
  --seed N                      of the random schedule, and of the order of blocks and warps (0: their
                                own order)
  --memory MIB                  memory of each device (1024)
  --devices N                   devices, 0 to 16 (1)
  --reports fail|print          what reports do to the exit code (fail)
  --leaks                       prints at the end what was not freed
  --build FOLDER                the build that has the stand-in (default: that of COMMAND, or else
                                build/cuda)
  --help

More settings, and injected errors, by the variable CUDA_STANDIN: tests/cuda/standin/runtime/settings.h.
TEXT
}

fail() {
  echo "on_standin.sh: $1" >&2
  exit 2
}

# number OPTION VALUE LEAST MOST
number() {
  [[ $2 =~ ^[0-9]{1,18}$ ]] && ((10#$2 >= $3 && 10#$2 <= $4)) ||
    fail "$1 wants a number from $3 to $4, not \"$2\""
}

# choice OPTION VALUE CHOICE...
choice() {
  local option=$1 value=$2
  shift 2
  [[ " $* " == *" $value "* ]] || fail "$option wants one of: $*; not \"$value\""
}

# What the caller's variable says comes before the options, so that they win.
settings=reports=fail${CUDA_STANDIN:+,$CUDA_STANDIN}
add() { settings+=",$1"; }

folder=${CUDA_STANDIN_DIR:-}
while (($#)); do
  case $1 in
    --schedule | --seed | --memory | --devices | --reports | --build)
      (($# > 1)) || fail "$1 wants a value" ;;&
    --schedule) choice "$1" "$2" eager lazy random; add "schedule=$2"; shift 2 ;;
    --seed) number "$1" "$2" 0 999999999999999999; add "seed=$((10#$2))"; shift 2 ;;
    --memory) number "$1" "$2" 1 524288; add "memory=$((10#$2 << 20))"; shift 2 ;;
    --devices) number "$1" "$2" 0 16; add "devices=$((10#$2))"; shift 2 ;;
    --reports) choice "$1" "$2" fail print; add "reports=$2"; shift 2 ;;
    --leaks) add leaks=print; shift ;;
    --build) folder=$2/standin; shift 2 ;;
    --help) usage; exit 0 ;;
    --) shift; break ;;
    -*) fail "unknown option $1 (--help lists them)" ;;
    *) break ;;
  esac
done
(($#)) || { usage >&2; exit 2; }

# The stand-in of the build that the program is of: in a folder above it.
of_program() {
  local at
  at=$(type -P -- "$1") || return 0
  at=$(dirname "$(realpath "$at")")
  while [[ $at != / ]]; do
    [[ -e $at/standin/libcudart.so.13 ]] && { echo "$at/standin"; return; }
    at=$(dirname "$at")
  done
}
[[ -n $folder ]] || folder=$(of_program "$1")
[[ -n $folder ]] || folder=$(realpath "$(dirname "$0")/../..")/build/cuda/standin
[[ -e $folder/libcudart.so.13 && -e $folder/libcublasLt.so.13 ]] ||
  fail "no stand-in in $folder: build the target cuda_standin there, or name a build by --build"
folder=$(realpath "$folder")
[[ $folder != *[:\ ]* ]] || fail "the loader cannot preload from a path with spaces or colons: $folder"

export CUDA_STANDIN=$settings
export LD_PRELOAD=$folder/libcudart.so.13:$folder/libcublasLt.so.13${LD_PRELOAD:+:$LD_PRELOAD}
exec "$@"
