#!/usr/bin/env python3
"""What a step of a mixture costs beside its dense seed, and what its bytes predict.

Upcycles copies of MODEL (bf16) and runs model_bench on each, interleaved with the dense model:
decoding alone and of 16 streams. A step reads every weight that it needs once, so its bytes are
those of the dense model, less the dense FFNs and attention, plus those of the experts touched.
Prints one line a mixture: measured and predicted time as multiples of the dense model's.

Usage: cost.py MODEL.gguf [--bin build/release/bin] [--work build/mixture-cost]
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess

MIXTURES = {  # name: attention, top_k
    "BTX-4, top-1": ("average", 1),
    "BTX-4, top-2": ("average", 2),
    "BAM-4 shared KV, top-1": ("shared", 1),
    "BAM-4 own KV, top-1": ("expert", 1),
}
STREAMS, DECODE, ROUNDS = 16, 48, 5


def bench(program, model, *options):
    command = [program, "--model", model, "--weights-dtype", "bf16", "--threads", "2", "--prefill",
               "16", "--decode", str(DECODE), "--streams", str(STREAMS), "--repetitions", "1"]
    return json.loads(subprocess.run([*command, *options], check=True, capture_output=True).stdout)


def step_bytes(program, model, touched):
    """bf16 bytes of the weights that one step reads, and f32 KV bytes of a position."""
    report = json.loads(subprocess.run([program, "inspect", model, "--json"], check=True,
                                       capture_output=True).stdout)
    parts = report["parameters_by_part"]
    experts = parts.pop("ffn_experts", 0)
    weights = sum(parts.values()) + experts * touched / 4
    return 2 * weights, report["kv_bytes_per_token"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--bin", default="build/release/bin", type=pathlib.Path)
    parser.add_argument("--work", default="build/mixture-cost", type=pathlib.Path)
    options = parser.parse_args()
    tool, model_bench = options.bin / "peerage-model", options.bin / "model_bench"
    options.work.mkdir(parents=True, exist_ok=True)
    print("mixture                 streams  touched  time x dense  bytes x dense  measured/predicted")
    for name, (attention, top_k) in MIXTURES.items():
        path = options.work / attention
        shutil.rmtree(path, ignore_errors=True)
        subprocess.run([tool, "upcycle", "--base", options.model, "--num-experts", "4",
                        "--allow-identical", "--attention", attention, "--top-k", str(top_k),
                        "--random-seed", "1", "--out", path], check=True, capture_output=True)
        pairs = []
        for _ in range(ROUNDS):
            pairs.append((bench(model_bench, options.model), bench(model_bench, path)))
        for streams in (1, STREAMS):
            key = "decode_tokens_per_second" if streams == 1 else "streams_tokens_per_second"
            touched = top_k if streams == 1 else pairs[0][1]["streams_touched_experts"]
            ratio = statistics.median(dense[key] / mixed[key] for dense, mixed in pairs)
            dense_bytes, dense_kv = step_bytes(tool, options.model, 0)
            mixed_bytes, mixed_kv = step_bytes(tool, path, touched)
            context = DECODE / 2 * streams
            predicted = (mixed_bytes + context * mixed_kv) / (dense_bytes + context * dense_kv)
            print(f"{name:23} {streams:7}  {touched:7.2f}  {ratio:12.2f}  {predicted:13.2f}"
                  f"  {ratio / predicted:18.2f}", flush=True)
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
