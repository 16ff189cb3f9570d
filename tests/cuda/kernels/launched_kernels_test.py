"""Every kernel runs in the kernels' own tests, from each PTX that ships: what the stand-in says was
launched, against the table of all kernels.

Usage: launched_kernels_test.py FILE... as the stand-in wrote them (CUDA_STANDIN_LAUNCHED). NAME_smXX.txt
is of the PTX for that target, any other of that for sm_90.
"""

import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import kernel_limits  # noqa: E402


def main():
    launched = collections.defaultdict(set)
    for path in map(pathlib.Path, sys.argv[1:]):
        target = re.search(r"_(sm\d+)$", path.stem)
        launched[target[1] if target else "sm90"] |= set(path.read_text(encoding="utf-8").split())
    kernels = kernel_limits.read(ROOT / "tests/cuda/kernel_limits.txt").keys()
    missing = [f"{kernel}: no test of kernels launches it from the PTX of {target}"
               for target, names in sorted(launched.items()) for kernel in sorted(kernels - names)]
    print("\n".join(missing) or f"{len(kernels)} kernels from the PTX of {', '.join(sorted(launched))}")
    sys.exit(bool(missing) or len(launched) < 2)


if __name__ == "__main__":
    main()
