#!/usr/bin/env python3
"""Tests and measures the CUDA build on this machine's GPU: `make gpu-check`.

What was built elsewhere is enough (--pack FILE packs it, with its libraries): here it needs a driver,
cuBLASLt, Python 3.9 and nothing else. In this order, each with a share of --seconds: the server's
answers beside the CPU's, test programs from machine code, kernels' times, tokens a second, PyTorch on
the same card, test programs from PTX, compute-sanitizer's four tools.

Writes OUT/gpu_check.json, and OUT/gpu_check.md with the tables of docs/gpu.md. What could not be run
(no GPU, no PyTorch, no time) is `not run` with the reason, never `passed`. Exit code 1 when something
failed, 77 when there is no GPU.

Usage: gpu_check.py [--build FOLDER|PACK] [--out FOLDER] [--seconds 540]
       gpu_check.py --rehearse ...   every step on tests/cuda/standin with tiny shapes: shows that this
                                     script works, and nothing about a GPU
       gpu_check.py --pack FILE      makes one archive of what another machine needs
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "gpu"))

import machine  # noqa: E402
import packing  # noqa: E402
import report  # noqa: E402
import steps  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
NO_GPU = 77


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/cuda",
                        help="where the CUDA build lies (build/cuda), or what --pack made of it")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/gpu-check")
    parser.add_argument("--seconds", type=int, default=540, help="of all steps together (540)")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--pack", type=pathlib.Path, metavar="FILE")
    return parser.parse_args()


def write(out, result):
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu_check.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / "gpu_check.md").write_text(report.tables(result), encoding="utf-8")


def check(options, scratch):
    build = options.build.resolve()
    if build.is_file():
        build = packing.unpack(build, scratch / "pack")
    os.chdir(ROOT)  # tests find their models from here
    host = machine.Machine(build, options.rehearse, options.seconds, scratch)
    result = {"rehearsal": options.rehearse, "machine": host.facts(), "steps": {}}
    for name, outcome in steps.run_all(host, steps.all_steps(host)):
        result["steps"][name] = outcome
        print(report.summary(outcome), flush=True)
        write(options.out, result)  # what there is so far survives a machine that is taken away
    failed = any(step["status"] == "failed" for step in result["steps"].values())
    result["status"] = "failed" if failed else host.well()
    write(options.out, result)
    print(f"{result['status']}: {options.out}/gpu_check.json, gpu_check.md")
    for name, step in result["steps"].items():
        if step["status"] == "not run":
            print(f"NOT RUN: {name}: {step['why']}")
    return 1 if failed else 0


def main():
    options = parse()
    if options.pack:
        packing.pack(options.build, options.pack)
        return 0
    why = None if options.rehearse else machine.why_no_gpu()
    if why:
        write(options.out, {"status": "not run", "why": why, "steps": {}})
        print(f"NOT RUN: {why}")
        return NO_GPU
    options.out = options.out.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        return check(options, pathlib.Path(scratch))


if __name__ == "__main__":
    sys.exit(main())
