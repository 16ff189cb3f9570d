#!/usr/bin/env python3
"""Perplexity of held text under each model, by a Peerage server's Score; a table in Markdown.

Windows of 256 tokens lie evenly over FOLDER/DOMAIN.held.txt; in each, every token after the first
is scored. All models have the seed's tokenizer, so they score the same tokens. With --pytorch the
same windows also go through bench/mixture/mixture.py in float32, which shares no code with the
server, and the table gains the largest difference of a window's mean log-probability (of a token).

Usage: evaluate.py FOLDER MODEL [MODEL ...] [--pytorch] [--json FILE]
"""

import argparse
import json
import math
import pathlib
import signal
import sys

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench/serving"), str(ROOT / "tests/integration")]
from perplexity_llama_cpp import serve  # noqa: E402 (after the path)
from stubs import load_stubs  # noqa: E402

load_stubs()
from peerage.v1 import inference_pb2, inference_pb2_grpc  # noqa: E402

DOMAINS = ("law", "maths", "prose")
WINDOW = 256
IN_FLIGHT = 8  # requests that the server may batch
LIMIT_SECONDS = 1200


def windows_of(stub, text, count):
    ids = stub.Tokenize(inference_pb2.TokenizeRequest(
        prompt=inference_pb2.Prompt(text=text, add_bos=False))).token_ids
    last = len(ids) - WINDOW
    if last < count * WINDOW:
        raise SystemExit(f"{count} windows do not fit into {len(ids)} tokens")
    return [list(ids[i * last // count:i * last // count + WINDOW]) for i in range(count)]


def score_by_server(stub, windows):
    """Mean log-probability of each window's tokens after the first."""
    def request(window):
        result = inference_pb2.ScoreRequest(context=inference_pb2.Prompt(
            token_ids=inference_pb2.TokenIds(ids=window[:1]), add_bos=False))
        result.continuations.add(token_ids=inference_pb2.TokenIds(ids=window[1:]))
        return result
    means = []
    for start in range(0, len(windows), IN_FLIGHT):
        calls = [stub.Score.future(request(window), timeout=LIMIT_SECONDS)
                 for window in windows[start:start + IN_FLIGHT]]
        means += [call.result().scores[0].logprob / (WINDOW - 1) for call in calls]
    return means


def score_by_pytorch(directory, windows):
    import torch  # only here: the server's figures need no PyTorch
    import mixture
    model = mixture.load(directory).float()
    with torch.no_grad():
        rows = torch.tensor(windows)
        table = [model(row[None, :-1])[0].log_softmax(-1) for row in rows]
        return [float(t.gather(1, row[1:, None]).mean()) for t, row in zip(table, rows)]


def evaluate(args, directory):
    """Domain to mean log-probability of each window; by the server, and by PyTorch if asked."""
    options = argparse.Namespace(model=directory, threads=args.threads)
    by_server, by_pytorch = {}, {}
    with serve(options, "auto") as address, grpc.insecure_channel(address) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        windows = {domain: windows_of(
            stub, (args.folder / f"{domain}.held.txt").read_text(), args.windows)
            for domain in DOMAINS}
        for domain in DOMAINS:
            by_server[domain] = score_by_server(stub, windows[domain])
    for domain in DOMAINS if args.pytorch else ():
        by_pytorch[domain] = score_by_pytorch(directory, windows[domain])
    return {"server": by_server, "pytorch": by_pytorch}


def perplexity(means):
    return math.exp(-sum(means) / len(means))


def row(args, name, result):
    values = [perplexity(result["server"][domain]) for domain in DOMAINS]
    cells = [f"{value:.2f}" for value in (*values, math.prod(values) ** (1 / len(values)))]
    if args.pytorch:
        cells.append("{:.1e}".format(max(
            abs(ours - theirs) for domain in DOMAINS
            for ours, theirs in zip(result["server"][domain], result["pytorch"][domain]))))
    return f"| {name} | " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path, help="as prepare_text.py wrote it")
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--windows", type=int, default=32, help="of each domain")
    parser.add_argument("--pytorch", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path, help="where to leave every window's figure")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server is left behind
    heads = [*DOMAINS, "geometric mean", *(["server - PyTorch"] if args.pytorch else [])]
    results = {}
    print("| model | " + " | ".join(heads) + " |\n| --- |" + " ---: |" * len(heads))
    for model in args.models:
        results[model.name] = evaluate(args, model)
        print(row(args, model.name, results[model.name]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
