"""tools/gpu_check.py without a GPU: it says so, and its rehearsal runs every step on the stand-in.

Usage: gpu_check_test.py BUILD
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv.pop()) if len(sys.argv) > 1 else ROOT / "build/cuda"


def gpu_check(*options):
    """Exit code, output, JSON and Markdown of a run."""
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run([sys.executable, ROOT / "tools/gpu_check.py", "--out", out, *options],
                              capture_output=True, text=True, timeout=240, check=False)
        folder = pathlib.Path(out)
        if not (folder / "gpu_check.json").exists():
            raise AssertionError(done.stdout + done.stderr)
        return (done.returncode, done.stdout, json.loads((folder / "gpu_check.json").read_text()),
                (folder / "gpu_check.md").read_text())


class GpuCheckTest(unittest.TestCase):

    @unittest.skipIf(os.path.exists("/dev/nvidiactl"), "a GPU is here")
    def test_nothing_passes_where_no_gpu_is(self):
        status, output, result, tables = gpu_check("--build", str(BUILD))
        self.assertEqual(status, 77)
        self.assertEqual((result["status"], result["steps"]), ("not run", {}))
        self.assertIn("NOT RUN: no GPU is here", output)
        self.assertIn("Not run", tables)

    def test_a_rehearsal_runs_the_steps_on_the_stand_in_and_says_so(self):
        # Shares of so many seconds are enough on any machine, whatever else it runs.
        status, output, result, tables = gpu_check("--rehearse", "--seconds", "3600", "--build", str(BUILD))
        self.assertEqual(status, 0, output)
        self.assertEqual(result["status"], "rehearsed")
        steps = {name: step["status"] for name, step in result["steps"].items()}
        for name in ("tests from machine code", "tests from PTX", "kernels", "models", "answers"):
            self.assertEqual(steps[name], "rehearsed", result["steps"][name])
        self.assertNotIn("passed", steps.values())
        self.assertTrue(all(kernel["microseconds"] > 0 for kernel in result["steps"]["kernels"]["kernels"]))
        self.assertEqual(set(result["steps"]["models"]["models"]), {"peer", "mixture", "dense"})
        self.assertIn("A rehearsal on the stand-in", tables)
        self.assertIn("NOT RUN: compute-sanitizer memcheck", output)
        for name in ("### Kernels", "### Tokens a second", "### Answers", "| select |"):
            self.assertIn(name, tables)

    def test_what_fails_is_failed_and_what_is_not_there_is_not_run(self):
        with tempfile.TemporaryDirectory() as build:
            program = pathlib.Path(build, "tests/gated_activation_cuda_test")
            program.parent.mkdir()
            program.write_text("#!/bin/sh\necho the device says no\nexit 1\n")
            program.chmod(0o755)
            program.with_name("device_tests.txt").write_text(f"{program.name}\n")
            status, output, result, tables = gpu_check("--rehearse", "--build", build)
        self.assertEqual(status, 1)
        self.assertEqual(result["status"], "failed")
        step = result["steps"]["tests from machine code"]
        self.assertEqual(step["status"], "failed")
        self.assertIn("the device says no", step["why"])
        self.assertEqual(result["steps"]["models"]["status"], "not run")
        self.assertIn("NOT RUN: models: model_bench is not in", output)
        self.assertNotIn("### Tokens a second", tables)


if __name__ == "__main__":
    unittest.main()
