#!/usr/bin/env python3
"""Peerage's engine beside llama.cpp: the same file, threads and token counts, rounds interleaved.

Measures decode of one stream, decode of many streams, and prefill of one prompt; prints the table
of docs/benchmarks.md. Every figure is the median over rounds; a ratio is the median of the rounds'
ratios, so that a machine that slows down for a while slows both. llama.cpp runs as it comes, built
for this CPU, with flash attention on and off: its better figure counts.

Usage: compare_llama_cpp.py --model FILE.gguf [--threads 2] [--rounds 3] [--json FILE]
(`make compare` builds both sides first.)
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = ROOT / "build/release/bin/model_bench"
LLAMA_BENCH = ROOT / "build/deps/llama.cpp/bin/llama-bench"
LLAMA_BATCHED = ROOT / "build/deps/llama.cpp/bin/llama-batched-bench"
INTERESTING_FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16",
                     "amx_int8")


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def measure_ours(args):
    result = json.loads(run([
        OURS, "--model", args.model, "--threads", args.threads, "--prefill", args.prefill,
        "--decode", args.decode, "--streams", args.streams, "--repetitions", args.repetitions]))
    return {"decode": result["decode_tokens_per_second"],
            "streams": result["streams_tokens_per_second"],
            "prefill": result["prefill_tokens_per_second"],
            "kernel_target": result["kernel_target"]}


def measure_llama_cpp(args):
    best = {"decode": 0.0, "streams": 0.0, "prefill": 0.0}
    for row in json.loads(run([
            LLAMA_BENCH, "-m", args.model, "-t", args.threads, "-p", args.prefill,
            "-n", args.decode, "-r", args.repetitions, "-fa", "0,1", "-o", "json"])):
        kind = "prefill" if row["n_prompt"] else "decode"
        best[kind] = max(best[kind], row["avg_ts"])
    for flash in ("off", "on"):
        lines = run([
            LLAMA_BATCHED, "-m", args.model, "-t", args.threads, "-tb", args.threads, "-fa", flash,
            "-c", args.streams * (args.decode + 8), "-npp", 1, "-ntg", args.decode,
            "-npl", args.streams, "--output-format", "jsonl"])
        row = json.loads(next(line for line in lines.splitlines() if line.startswith("{")))
        best["streams"] = max(best["streams"], row["speed_tg"])
    return best


def machine():
    cpu = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        cpu.setdefault(key.strip(), value.strip())
    flags = [f for f in INTERESTING_FLAGS if f in cpu.get("flags", "").split()]
    return f"{cpu.get('model name', platform.processor())} ({' '.join(flags)})"


def table(args, ours, theirs):
    rows = {"decode": f"decode, 1 stream, {args.decode} tokens",
            "streams": f"decode, {args.streams} streams, {args.decode} tokens each",
            "prefill": f"prefill, {args.prefill} tokens"}
    yield f"{machine()}, {args.threads} threads, {pathlib.Path(args.model).name}, " \
          f"{args.rounds} interleaved rounds, our kernels: {ours[0]['kernel_target']}"
    yield ""
    yield "| tokens per second | Peerage | llama.cpp | ratio | ratio in each round |"
    yield "| --- | ---: | ---: | ---: | --- |"
    for key, label in rows.items():
        a, b = [r[key] for r in ours], [r[key] for r in theirs]
        ratios = [x / y for x, y in zip(a, b)]
        yield (f"| {label} | {statistics.median(a):.1f} | {statistics.median(b):.1f} | "
               f"{statistics.median(ratios):.2f} | {', '.join(f'{r:.2f}' for r in ratios)} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=3, help="within a round")
    parser.add_argument("--json", type=pathlib.Path, help="where to leave every round's figures")
    args = parser.parse_args()
    ours, theirs = [], []
    for number in range(args.rounds):
        print(f"round {number + 1} of {args.rounds} …", flush=True)
        ours.append(measure_ours(args))
        theirs.append(measure_llama_cpp(args))
    print()
    print("\n".join(table(args, ours, theirs)))
    if args.json:
        args.json.write_text(json.dumps({"ours": ours, "llama_cpp": theirs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
