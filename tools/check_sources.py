#!/usr/bin/env python3
"""Finds tests that are switched off, work that was left for later, and CUDA that is not portable.

A test is never disabled, commented out or skipped without a reason; code that no build reads
(`#if 0`) and notes to self are not committed. Inline PTX has one home, and kernels do not ask which
lanes happen to be active. Prints one line per finding; exit code 1 when there is one.

Usage: check_sources.py [ROOT]
"""

import pathlib
import re
import sys

FOLDERS = ("base", "client", "server", "model", "train", "tests", "bench")
SOURCES = {".h", ".cc", ".cu", ".cuh", ".py"}

FINDINGS = {
    "a test is commented out": r"^\s*(//|#|/\*).*\b(TEST|TEST_F|TEST_P|TYPED_TEST)\(\w",
    "a test is disabled": r"\bDISABLED_\w|@unittest\.skip\b",
    "a test is skipped without a reason": r"\bGTEST_SKIP\(\)\s*;",
    "code that no build reads": r"^\s*#\s*if\s+0\b",
    "work left for later": r"(//|#|/\*).*\b(TODO|FIXME|XXX|HACK)\b",
}

# Of .cu and .cuh files alone.
INLINE_PTX = "inline PTX outside model/kernels/device_cuda.cuh"
CUDA_FINDINGS = {
    INLINE_PTX: r"\basm\b",
    "which lanes are active is the compiler's to choose": r"\b__activemask\b",
}


def rules_of(path):
    rules = dict(FINDINGS)
    if path.suffix in {".cu", ".cuh"}:
        rules |= CUDA_FINDINGS
    if path.name == "device_cuda.cuh":
        del rules[INLINE_PTX]
    return rules


def findings(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SOURCES:
                continue
            rules = rules_of(path)
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                for what, pattern in rules.items():
                    if re.search(pattern, line):
                        yield f"{path.relative_to(root)}:{number}: {what}: {line.strip()}"


def main():
    found = list(findings(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
    for line in found:
        print(line)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
