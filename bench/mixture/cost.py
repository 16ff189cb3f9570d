#!/usr/bin/env python3
"""What a step of a mixture costs beside its dense seed, and what its bytes and products predict.

Upcycles copies of MODEL (bf16) and runs model_bench on each, interleaved with the dense model:
decoding alone and of 16 streams with texts of their own. A step reads every weight that it needs
once, so its bytes are those of the dense model, less the dense FFNs and attention, plus those of
the experts touched and of the positions in the KV cache; every stream takes one product with each
of its active parameters. One stream is all reading; among 16 the arithmetic counts too. So

  seconds of a step = a * bytes + b * products

where a and b come from the dense model's two times of the same round, and nothing is fitted to a
mixture. Prints a table of medians over the rounds, in Markdown.

Usage: cost.py MODEL.gguf [--bin build/release/bin] [--work build/mixture-cost] [--rounds 5]
               [--only NAME]
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess

MIXTURES = {  # name: options of upcycle
    "BTX-4, top-1": "--attention average --top-k 1",
    "BTX-4, top-2": "--attention average --top-k 2",
    "BAM-4 shared KV, top-1": "--attention shared --top-k 1",
    "BAM-4 own KV, top-1": "--attention expert --top-k 1",
    "MoE++ 4 + 1 zero, 2 copy, 1 constant, top-2":
        "--attention average --top-k 2 --zero-experts 1 --copy-experts 2 --constant-experts 1 "
        "--gating-residual",
}
EXPERTS = 4
DECODE = {1: 200, 16: 48}  # steps by streams: some seconds of each


@dataclasses.dataclass
class Step:
    """Of one decoding step of `streams` sequences."""
    touched: float  # FFN experts a layer
    seconds: float
    bytes: float
    products: float


class Model:
    def __init__(self, options, path, top_k=0):
        self.top_k = top_k
        self.bench = [options.bin / "model_bench", "--model", path, "--weights-dtype", "bf16",
                      "--threads", "2", "--prefill", "16", "--repetitions", "2"]
        report = json.loads(subprocess.run(
            [options.bin / "peerage-model", "inspect", path, "--json"], check=True,
            capture_output=True).stdout)
        self.parts = report["parameters_by_part"]
        self.active = report["active_parameters"]
        self.kv_bytes = report["kv_bytes_per_token"]

    def step(self, streams):
        result = json.loads(subprocess.run(
            [*self.bench, "--streams", str(streams), "--decode", str(DECODE[streams])], check=True,
            capture_output=True).stdout)
        touched = result["streams_touched_experts"]
        experts = self.parts.get("ffn_experts", 0)
        idle = (self.top_k - result["streams_ffn_picks"]) * experts / EXPERTS
        weights = sum(self.parts.values()) - experts + experts * touched / EXPERTS
        context = DECODE[streams] / 2 * streams
        return Step(touched, streams / result["streams_tokens_per_second"],
                    2 * weights + context * self.kv_bytes, streams * (self.active - idle))

    def run(self):
        """Steps of one stream and of many."""
        return [self.step(streams) for streams in DECODE]


def predict(dense, step):
    """Seconds of a mixture's step, after the dense model's two."""
    one, many = dense
    determinant = one.bytes * many.products - many.bytes * one.products
    a = (one.seconds * many.products - many.seconds * one.products) / determinant
    b = (one.bytes * many.seconds - many.bytes * one.seconds) / determinant
    return a * step.bytes + b * step.products


def rows(name, rounds):
    for i, streams in enumerate(DECODE):
        pairs = [(dense, dense[i], mixed[i]) for dense, mixed in rounds]
        touched = statistics.median(step.touched for _, _, step in pairs)
        measured = statistics.median(step.seconds / beside.seconds for _, beside, step in pairs)
        in_bytes = statistics.median(step.bytes / beside.bytes for _, beside, step in pairs)
        predicted = statistics.median(predict(dense, step) / beside.seconds
                                      for dense, beside, step in pairs)
        yield (f"| {name} | {streams} | {touched:.2f} | {in_bytes:.2f} | {predicted:.2f} | "
               f"{measured:.2f} | {measured / predicted:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--bin", default="build/release/bin", type=pathlib.Path)
    parser.add_argument("--work", default="build/mixture-cost", type=pathlib.Path)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--only", default="", help="mixtures whose name contains this")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print("| mixture | streams | touched | bytes x dense | predicted x dense | measured x dense | "
          "measured / predicted |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    dense = Model(options, options.model)
    for name, choices in MIXTURES.items():
        if options.only not in name:
            continue
        path = options.work / "mixture"
        shutil.rmtree(path, ignore_errors=True)
        subprocess.run([options.bin / "peerage-model", "upcycle", "--base", options.model,
                        "--num-experts", str(EXPERTS), "--allow-identical", *choices.split(),
                        "--random-seed", "1", "--out", path],
                       check=True, capture_output=True)
        os.sync()  # else the file is written while others are measured
        mixed = Model(options, path, int(re.search("top-k (.)", choices).group(1)))
        rounds = [(dense.run(), mixed.run()) for _ in range(options.rounds)]
        print(*rows(name, rounds), sep="\n", flush=True)
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
