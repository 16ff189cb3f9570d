#!/usr/bin/env python3
"""Compares what ptxas says of every CUDA kernel with a committed table.

Usage: kernel_limits.py [--update] REPORTS TABLE. REPORTS is the folder that tools/ptxas.mk fills.

The table has a line for each kernel (all its instantiations together): the most registers that a
thread takes on any target, and the fewest blocks that fit an SM of sm_90 by registers, threads and
static shared memory (what launches ask for beside it is counted in instruction_budget.txt). A kernel
fails that takes over SLACK registers more than its line, or of which fewer blocks fit; so do lines and
kernels without the other. --update writes the table instead.
"""

import dataclasses
import pathlib
import re
import subprocess
import sys

SLACK = 6  # registers: what another release of ptxas may differ by
HEADER = """\
# Registers of a thread (most, of all targets and instantiations), blocks an SM of sm_90 (fewest),
# kernel. Checked by tools/check_ptxas.sh, written by tools/check_ptxas.sh --update.
"""

# Of an SM of compute capability 9.0 (CUDA C++ Programming Guide, "Technical Specifications").
REGISTERS, WARPS, BLOCKS, SHARED, SHARED_OF_SYSTEM = 65536, 64, 32, 233472, 1024

ENTRY = re.compile(r"Compiling entry function '(\w+)'")
THREADS = re.compile(r"\.entry (\w+)\(.*?\)\s*(?:\.maxntid (\d+), (\d+), (\d+))?", re.DOTALL)


@dataclasses.dataclass
class Kernel:
    registers: int = 0
    blocks: int = BLOCKS


def blocks_that_fit(registers, threads, shared):
    warps = -(-threads // 32)
    of_warp = -(-registers * 32 // 256) * 256
    return min(BLOCKS, WARPS // warps, REGISTERS // (of_warp * warps),
               SHARED // (shared + SHARED_OF_SYSTEM))


def short_name(symbol):
    """The kernel's name without namespaces, arguments and template arguments."""
    name = subprocess.run(["c++filt", symbol], check=True, capture_output=True,
                          text=True).stdout
    return re.search(r"(\w+)(?:<.*>)?\(", name.replace("(anonymous namespace)", "")).group(1)


def measure(folder):
    kernels = {}
    for report in sorted(folder.glob("*.sm_*.txt")):
        source, target = report.name.split(".")[:2]
        if not pathlib.Path(f"model/kernels/{source}.cu").exists():
            continue
        threads = {symbol: int(x or 1024) * int(y or 1) * int(z or 1) for symbol, x, y, z in
                   THREADS.findall((folder / f"{source}.ptx").read_text(encoding="utf-8"))}
        symbol = None
        for line in report.read_text(encoding="utf-8").splitlines():
            if entry := ENTRY.search(line):
                symbol = entry.group(1)
            elif symbol and (used := re.search(r"Used (\d+) registers", line)):
                smem = re.search(r"(\d+) bytes smem", line)
                kernel = kernels.setdefault(short_name(symbol), Kernel())
                registers = int(used.group(1))
                kernel.registers = max(kernel.registers, registers)
                if target == "sm_90":
                    fit = blocks_that_fit(registers, threads[symbol],
                                          int(smem.group(1)) if smem else 0)
                    kernel.blocks = min(kernel.blocks, fit)
    return kernels


def read(table):
    limits = {}
    for line in table.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            registers, blocks, name = line.split()
            limits[name] = Kernel(int(registers), int(blocks))
    return limits


def write(table, kernels):
    lines = [f"{k.registers:4} {k.blocks:3} {name}\n" for name, k in sorted(kernels.items())]
    table.write_text(HEADER + "".join(lines), encoding="utf-8")


def findings(kernels, limits):
    for name in sorted(kernels.keys() | limits.keys()):
        kernel, limit = kernels.get(name), limits.get(name)
        if kernel is None:
            yield f"{name}: in the table, but no such kernel"
        elif limit is None:
            yield f"{name}: not in the table"
        elif kernel.registers > limit.registers + SLACK:
            yield f"{name}: {kernel.registers} registers, of {limit.registers}"
        elif kernel.blocks < limit.blocks:
            yield f"{name}: {kernel.blocks} blocks an SM, of {limit.blocks}"


def main():
    update = sys.argv[1] == "--update"
    folder, table = map(pathlib.Path, sys.argv[1 + update:])
    kernels = measure(folder)
    if update:
        write(table, kernels)
    print("registers blocks/SM kernel")
    for name, kernel in sorted(kernels.items()):
        print(f"{kernel.registers:9} {kernel.blocks:9} {name}")
    found = list(findings(kernels, read(table)))
    for finding in found:
        print(f"kernel_limits.txt: {finding}")
    if not kernels:
        sys.exit("no report of any kernel")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
