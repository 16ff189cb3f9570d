#!/usr/bin/env python3
"""Tests of tools/kernel_limits.py on reports as ptxas writes them."""

import pathlib
import tempfile
import unittest

import kernel_limits
from kernel_limits import Kernel

SYMBOL = "_ZN7peerage7kernels4cuda13_GLOBAL__N__a10NormKernelIfEEv8NormArgs"
PTX = f""".visible .entry {SYMBOL}(
	.param .align 8 .b8 {SYMBOL}_param_0[88]
)
.maxntid 256, 1, 1
{{
"""
REPORT = f"""ptxas info    : Compiling entry function '{SYMBOL}' for 'sm_90'
ptxas info    : Function properties for {SYMBOL}
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used %d registers, used 1 barriers, %d bytes smem
"""


class KernelLimitsTest(unittest.TestCase):
    def test_reads_the_worst_of_all_targets_and_instantiations(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "norm_cuda.ptx").write_text(PTX, encoding="utf-8")
            for target, registers in (("sm_90", 40), ("sm_120", 48)):
                (folder / f"norm_cuda.{target}.txt").write_text(REPORT % (registers, 0),
                                                                encoding="utf-8")
            self.assertEqual(kernel_limits.measure(folder), {"NormKernel": Kernel(48, 6)})

    def test_counts_blocks_by_what_runs_out_first(self):
        self.assertEqual(kernel_limits.blocks_that_fit(32, 32, 0), 32)
        self.assertEqual(kernel_limits.blocks_that_fit(32, 1024, 0), 2)
        self.assertEqual(kernel_limits.blocks_that_fit(255, 256, 0), 1)
        self.assertEqual(kernel_limits.blocks_that_fit(33, 256, 0), 6)  # 40 registers a thread
        self.assertEqual(kernel_limits.blocks_that_fit(32, 128, 48 * 1024), 4)

    def test_finds_jumps_and_lines_without_a_kernel(self):
        limits = {"A": Kernel(40, 4), "B": Kernel(40, 4), "C": Kernel(40, 4), "E": Kernel(9, 9)}
        kernels = {"A": Kernel(46, 4), "B": Kernel(47, 4), "C": Kernel(40, 3), "D": Kernel(8, 8)}
        self.assertEqual(list(kernel_limits.findings(kernels, limits)),
                         ["B: 47 registers, of 40", "C: 3 blocks an SM, of 4",
                          "D: not in the table", "E: in the table, but no such kernel"])


if __name__ == "__main__":
    unittest.main()
