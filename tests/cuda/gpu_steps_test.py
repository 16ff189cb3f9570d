"""The steps of tools/gpu_check.py with programs that are not there: what is kept when one of them fails
or needs more time than there is, and what they are told.

Usage: gpu_steps_test.py
"""

import contextlib
import io
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/gpu"))

import machine  # noqa: E402
import packing  # noqa: E402
import report  # noqa: E402
import steps  # noqa: E402

PASSED = "[  PASSED  ] 3 tests.\n"


class Clock:
    """Time passes when a program runs, and no other way."""

    def __init__(self):
        self.now = 0

    def monotonic(self):
        return self.now


class GpuStepsTest(unittest.TestCase):

    def setUp(self):
        self.build = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.clock, self.runs, self.programs = Clock(), [], {}
        self.enterContext(mock.patch.object(machine, "time", self.clock))
        self.enterContext(mock.patch.object(machine, "execute", self.execute))
        self.enterContext(contextlib.redirect_stdout(io.StringIO()))

    def add(self, name, seconds=1, output=PASSED, status=0, folder="tests"):
        """A program of the build that takes so long."""
        path = self.build / folder / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        (self.build / "tests").mkdir(exist_ok=True)
        with open(self.build / "tests/device_tests.txt", "a", encoding="utf-8") as listed:
            listed.write(f"{name}\n")
        self.programs[name] = (seconds, output, status)

    def execute(self, command, environment, limit):
        name = next(name for name in (pathlib.Path(word).name for word in reversed(command))
                    if name in self.programs)
        seconds, output, status = self.programs[name]
        self.runs.append((name, command, environment))
        self.clock.now += min(seconds, limit)
        if seconds > limit:
            raise machine.OutOfTime(limit, output)
        return status, output, ""

    def host(self, seconds=540):
        return machine.Machine(self.build, False, seconds, self.build / "scratch")

    def run_step(self, step, seconds=540, until=540):
        host = self.host(seconds)
        return host.guarded(lambda: step(host), until)

    def test_what_a_step_leaves_of_its_share_is_there_for_those_behind_it(self):
        host = self.host(100)
        seen = []

        def step(taken):
            seen.append(host.left())
            self.clock.now += taken
            return {}
        taken = [("short", 0.5, lambda: step(10)), ("long", 0.25, lambda: step(65)),
                 ("last", 0.25, lambda: step(1))]
        self.assertEqual([name for name, _ in steps.run_all(host, taken)], ["short", "long", "last"])
        self.assertEqual(seen, [50, 65, 25])

    def test_shares_fill_the_time_and_every_step_has_one(self):
        shares = [share for _, share, _ in steps.all_steps(self.host())]
        self.assertAlmostEqual(sum(shares), 1)
        self.assertGreater(min(shares), 0)

    def test_a_program_that_hangs_fails_and_one_that_found_no_time_is_not_run(self):
        self.add("norm_cuda_test", seconds=1e9)
        outcome = self.run_step(lambda host: steps.tests(host, steps.TESTS, {}))
        self.assertEqual(outcome["status"], "failed")
        self.assertIn("took more than 90 s", outcome["why"])
        outcome = self.run_step(lambda host: steps.tests(host, steps.TESTS, {}), until=10)
        self.assertEqual((outcome["status"], outcome["why"]), ("not run", "more than 10 s"))

    def test_a_program_that_fails_loses_nothing_of_the_others(self):
        self.add("linear_cuda_test", status=1, output="the device says no\n")
        self.add("norm_cuda_test")
        outcome = self.run_step(lambda host: steps.tests(host, steps.TESTS, {}))
        self.assertEqual(outcome["status"], "failed")
        self.assertIn("the device says no", outcome["why"])
        self.assertEqual(outcome["cases"], {"norm_cuda_test": {"passed": 3, "skipped": 0}})

    def test_a_kind_of_model_that_does_not_run_loses_none_that_did(self):
        speeds = {"weights_bytes": 2**30, "prefill_tokens_per_second": 7, "decode_of_batch": {"1": 5}}
        self.add("model_bench", folder="bin", output=json.dumps(speeds))
        for status in (0, 1):  # too long; failed
            def execute(command, environment, limit, status=status):
                self.programs["model_bench"] = (1e9 if "mixture" in command and status == 0 else 1,
                                                json.dumps(speeds), int("mixture" in command and status))
                return self.execute(command, environment, limit)
            with self.subTest(status=status), mock.patch.object(machine, "execute", execute):
                outcome = self.run_step(steps.models, until=61)
                self.assertEqual(set(outcome["models"]), {"peer", "dense"})
                self.assertEqual(outcome["status"], "failed" if status else "passed")
                self.assertEqual(outcome["not_run"], {} if status else {"mixture": "more than 30 s"})
                result = {"rehearsal": False, "machine": {"gpu": "x"}, "steps": {"models": outcome}}
                self.assertIn("| dense | 1.0 | 7 | 5 |", report.tables(result))

    def test_a_sanitizer_leaves_out_what_is_too_long_for_it(self):
        for name, seconds in (("a", 5), ("b", 1e9), ("c", 5)):
            self.add(f"{name}_cuda_test", seconds=seconds)
        self.add("golden_models_cuda_test")
        with mock.patch.object(shutil, "which", return_value="/x/compute-sanitizer"):
            outcome = self.run_step(lambda host: steps.sanitizer(host, "racecheck"), until=61)
        self.assertEqual(outcome["status"], "passed")
        self.assertEqual(set(outcome["cases"]), {"a_cuda_test", "c_cuda_test"})
        self.assertEqual(outcome["not_run"], {"b_cuda_test": "left out: more than 28 s"})
        self.assertIn("not run: b_cuda_test", report.step_table({"racecheck": outcome}))

    def test_a_sanitizer_that_does_not_know_the_device_is_not_run(self):
        self.add("a_cuda_test", status=9, output="========= Error: Device not supported\n")
        with mock.patch.object(shutil, "which", return_value="/x/compute-sanitizer"):
            outcome = self.run_step(lambda host: steps.sanitizer(host, "memcheck"))
        self.assertEqual(outcome["status"], "not run")
        self.assertIn("does not know this device", outcome["why"])

    def test_rows_of_pytorch_are_kept_when_its_time_ends(self):
        rows = [{"layer": "mixture, grouped", "rows": n, "microseconds": 2.5} for n in (1, 16)]
        lines = "".join(json.dumps(line) + "\n" for line in [{"torch": "2"}, *rows])
        cut = '{"layer": "mixture, comp'
        with mock.patch.object(steps.importlib.util, "find_spec", return_value=True):
            self.add("cuda_layers.py", seconds=1e9, output=lines + cut, folder="peers")
            outcome = self.run_step(steps.pytorch, until=60)
            self.assertEqual((outcome["status"], outcome["layers"], outcome["torch"]), ("passed", rows, "2"))
            self.assertEqual(outcome["not_run"], {"the rest": "more than 60 s"})
            self.add("cuda_layers.py", status=1, output=lines + cut, folder="peers")
            outcome = self.run_step(steps.pytorch)
            self.assertEqual((outcome["status"], outcome["layers"]), ("failed", rows))
            self.add("cuda_layers.py", seconds=1e9, output="", folder="peers")
            self.assertEqual(self.run_step(steps.pytorch)["status"], "not run")

    def test_only_tests_of_kernels_run_from_ptx(self):
        for name in ("norm_cuda_test", "golden_models_cuda_test", "cuda_steps_test"):
            self.add(name)
        host = self.host()
        step = next(step for name, _, step in steps.all_steps(host) if name == "tests from PTX")
        self.assertEqual(host.guarded(step, 540)["status"], "passed")
        self.assertEqual([(name, environment["CUDA_FORCE_PTX_JIT"]) for name, _, environment in self.runs],
                         [("norm_cuda_test", "1")])

    def test_programs_keep_what_the_caller_needs_and_find_packed_libraries_first(self):
        (self.build / "lib").mkdir()
        with mock.patch.dict(os.environ, {"LD_LIBRARY_PATH": "/driver", "HOME": "/home/x", "SECRET": "1"}):
            host = self.host()
            environment = host.environment(MORE="2")
            callers = host.callers_environment()
        folders = environment["LD_LIBRARY_PATH"].split(":")
        self.assertEqual((folders[0], folders[-1]), (str(self.build / "lib"), "/driver"))
        self.assertEqual((environment["HOME"], environment["MORE"]), ("/home/x", "2"))
        self.assertNotIn("SECRET", environment)
        self.assertEqual((callers["LD_LIBRARY_PATH"], callers["SECRET"]), ("/driver", "1"))
        for each in (environment, callers):
            self.assertEqual(each["CUDA_CACHE_PATH"], str(self.build / "scratch/compiled"))


class ProgramsTest(unittest.TestCase):
    """Real ones."""

    def test_a_program_is_ended_with_what_it_started_and_what_it_printed_is_kept(self):
        communicate = subprocess.Popen.communicate

        def has_printed(process, timeout=None):
            if timeout is None:
                return communicate(process)
            select.select([process.stdout], [], [])
            raise subprocess.TimeoutExpired("", timeout)
        # Standard output ends only when the last one that has it does.
        command = ["sh", "-c", "tail -f /dev/null & echo first; wait"]
        with mock.patch.object(subprocess.Popen, "communicate", has_printed), \
                self.assertRaises(machine.OutOfTime) as ended:
            machine.execute(command, {"PATH": os.environ["PATH"]}, 60)
        self.assertEqual((ended.exception.output, str(ended.exception)), ("first\n", "more than 60 s"))

    def test_what_is_packed_comes_out_again(self):
        true = shutil.which("true")
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
            build = pathlib.Path(folder, "build")
            names = [*(f"bin/{name}" for name in packing.PROGRAMS), "tests/norm_cuda_test", "tests/cuda_x_test"]
            for name in [*names, "tests/cuda_standin_test"]:
                (build / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(true, build / name)
            (build / "tests/device_tests.txt").write_text("norm_cuda_test\ncuda_x_test\ncuda_not_built_test\n")
            archive = pathlib.Path(folder, "pack.tar.xz")
            packing.pack(build, archive)
            unpacked = packing.unpack(archive, pathlib.Path(folder, "unpacked"))
            found = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
            self.assertLessEqual(set(names), found)
            self.assertFalse({name for name in found if "libc.so" in name or "standin" in name})
            self.assertEqual([path.name for path in machine.device_tests(unpacked)], ["norm_cuda_test", "cuda_x_test"])
            self.assertEqual(machine.execute([str(unpacked / names[0])], {}, 60)[0], 0)
        self.assertIn("6 programs", said.getvalue())


if __name__ == "__main__":
    unittest.main()
