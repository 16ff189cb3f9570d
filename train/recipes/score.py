#!/usr/bin/env python3
"""Perplexity of held text under a model, and how evenly it uses its experts, as peerage-server says.

Windows lie evenly over FOLDER/DOMAIN.held.txt; in each, every token after the first is scored. Models
with the same tokenizer score the same tokens.

Usage: score.py FOLDER MODEL [MODEL ...] [--domains law,maths,prose] [--windows 32] [--window 256]
                [--threads 2] [--bin build/release/bin]
"""

import argparse
import contextlib
import json
import math
import pathlib
import re
import subprocess
import tempfile

LONGEST_TEXT = 500_000  # characters of a domain that are tokenised: the answer has a limit


@contextlib.contextmanager
def serve(programs, model, threads):
    """A server's address while it is needed."""
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            [programs / "peerage-server", "--model", model, "--threads", str(threads),
             "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            ready = re.search(r" grpc=(\S+) ", server.stdout.readline())
            if not ready:
                log.seek(0)
                raise SystemExit(f"{model} is not served: {log.read().splitlines()[-1:]}")
            yield ready.group(1)
        finally:
            server.terminate()
            server.wait()


def ask(programs, address, *arguments, text=None):
    ended = subprocess.run([programs / "peerage", "--server", address, *arguments], input=text,
                           capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"peerage {arguments[0]}: {ended.stderr.strip()}")
    return ended.stdout


def windows_of(ids, count, length):
    last = len(ids) - length
    if last < count * length:
        raise SystemExit(f"{count} windows of {length} do not fit into {len(ids)} tokens")
    return [ids[i * last // count:i * last // count + length] for i in range(count)]


def score_domain(programs, address, path, count, length):
    """Mean log-probability of a token of each window."""
    ids = json.loads(ask(programs, address, "tokenize", "--no-bos", "--json",
                         text=path.read_text()[:LONGEST_TEXT]))["token_ids"]
    lines = "".join(json.dumps({"ids": window}) + "\n" for window in windows_of(ids, count, length))
    answers = ask(programs, address, "score", "--no-bos", "--file", "-", "--json", text=lines)
    scores = [json.loads(line)["scores"][0] for line in answers.splitlines()[:-1]]  # then a summary
    return [score["logprob"] / score["scored_tokens"] for score in scores]


def usage_of(programs, address):
    """Of every expert layer, over everything that was scored."""
    fields = ("layer", "kind", "num_experts", "used_ratio", "used_expected_ratio",
              "unevenness_nats", "unevenness_expected_nats")
    layers = json.loads(ask(programs, address, "experts", "--window", "total", "--json"))["layers"]
    return [{field: layer[field] for field in fields if field in layer} for layer in layers]


def has_experts(model):
    config = json.loads((model / "config.json").read_text())
    entries = [config, *config.get("layers", {}).values()]
    kinds = {part["kind"] for entry in entries
             for part in [*entry.get("ffn", []), entry.get("attention", {"kind": "dense"})]}
    return kinds != {"dense"}


def score(programs, model, folder, domains, *, windows, window, threads, picture=None):
    """{"logprobs": {domain: [mean of each window]}, "experts": [...]}; the map of the last PEER
    layer goes to `picture`."""
    with serve(programs, model, threads) as address:
        logprobs = {domain: score_domain(programs, address, folder / f"{domain}.held.txt", windows,
                                         window) for domain in domains}
        experts = usage_of(programs, address) if has_experts(model) else []
        layers = [layer for layer in experts if layer["kind"] == "peer"]
        if picture and layers:
            ask(programs, address, "experts", "--window", "total", "--layer",
                str(layers[-1]["layer"]), "--kind", "peer", "--png", str(picture))
    return {"logprobs": logprobs, "experts": experts}


def perplexity(means):
    return math.exp(-sum(means) / len(means))


def geometric_mean(logprobs):
    """Perplexity over all domains, each with the same weight."""
    return math.exp(-sum(sum(means) / len(means) for means in logprobs.values()) / len(logprobs))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="as prepare_text.py wrote it")
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--domains", default="law,maths,prose")
    parser.add_argument("--windows", type=int, default=32, help="of each domain")
    parser.add_argument("--window", type=int, default=256, help="tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bin", type=pathlib.Path, default="build/release/bin")
    args = parser.parse_args()
    domains = args.domains.split(",")
    print(f"| model | {' | '.join(domains)} | geometric mean |\n| --- |" + " ---: |" *
          (len(domains) + 1))
    for model in args.models:
        found = score(args.bin, model, args.folder, domains, windows=args.windows,
                      window=args.window, threads=args.threads)
        values = [perplexity(means) for means in found["logprobs"].values()]
        values.append(geometric_mean(found["logprobs"]))
        print(f"| {model.name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
        for layer in found["experts"]:
            print("  " + json.dumps(layer))


if __name__ == "__main__":
    main()
