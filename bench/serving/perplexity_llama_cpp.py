#!/usr/bin/env python3
"""Perplexity of one longer text: a Peerage server's Score beside llama.cpp's llama-perplexity.

Both cut the text into windows of 512 tokens and score the second half of each, so the figures
must agree to what the two sides' rounding of activations explains. The text is the GNU GPL that
every Debian carries; pass --text for another.

Usage: perplexity_llama_cpp.py --model FILE.gguf [--text FILE] [--threads 2]
"""

import argparse
import contextlib
import importlib
import math
import pathlib
import re
import subprocess
import sys

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER = ROOT / "build/release/bin/peerage-server"
LLAMA_PERPLEXITY = ROOT / "build/deps/llama.cpp/bin/llama-perplexity"
WINDOW = 512


def import_contract():
    """Python classes generated from our protos, as any client would make them."""
    sys.path.insert(0, str(ROOT / "tests" / "integration"))
    importlib.import_module("stubs").load_stubs()
    return (importlib.import_module("peerage.v1.inference_pb2"),
            importlib.import_module("peerage.v1.inference_pb2_grpc"))


@contextlib.contextmanager
def serve(args, weights_dtype):
    server = subprocess.Popen(
        [SERVER, "--model", args.model, "--threads", str(args.threads), "--weights-dtype",
         weights_dtype, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        ready = re.search(r" grpc=(\S+) ", server.stdout.readline())
        if not ready:
            raise SystemExit(f"{SERVER} did not start")
        yield ready.group(1)
    finally:
        server.terminate()
        server.wait()


def score(args, weights_dtype, text, contract):
    messages, services = contract
    total, count = 0.0, 0
    with serve(args, weights_dtype) as address, grpc.insecure_channel(address) as channel:
        stub = services.InferenceServiceStub(channel)
        tokens = stub.Tokenize(messages.TokenizeRequest(
            prompt=messages.Prompt(text=text, add_bos=False))).token_ids
        for start in range(0, len(tokens) - WINDOW + 1, WINDOW):
            context = tokens[start:start + WINDOW // 2 + 1]
            rest = tokens[start + WINDOW // 2 + 1:start + WINDOW]
            request = messages.ScoreRequest(context=messages.Prompt(
                token_ids=messages.TokenIds(ids=context), add_bos=False))
            request.continuations.add(token_ids=messages.TokenIds(ids=rest))
            total += stub.Score(request).scores[0].logprob
            count += len(rest)
    return math.exp(-total / count), count


def score_llama_cpp(args):
    run = subprocess.run(
        [LLAMA_PERPLEXITY, "-m", args.model, "-f", args.text, "-c", str(WINDOW), "-t",
         str(args.threads)], capture_output=True, text=True, check=True)
    return float(re.search(r"Final estimate: PPL = ([0-9.]+)", run.stdout + run.stderr).group(1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", default="/usr/share/common-licenses/GPL-3")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    text = pathlib.Path(args.text).read_text(encoding="utf-8").rstrip("\n")
    contract = import_contract()
    print("| weights | perplexity | scored tokens |\n| --- | ---: | ---: |")
    for weights_dtype in ("f32", "auto"):
        perplexity, count = score(args, weights_dtype, text, contract)
        print(f"| Peerage, {weights_dtype} | {perplexity:.4f} | {count} |", flush=True)
    print(f"| llama.cpp | {score_llama_cpp(args):.4f} | {count} |")


if __name__ == "__main__":
    main()
