#!/usr/bin/env python3
"""on_standin.sh: its options, and how programs end that the stand-in has reports about.

Usage: on_standin_test.py on_standin.sh ENDING_PROGRAM, the latter being ending_program.cc.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = str(pathlib.Path(sys.argv[1]).resolve())
PROGRAM = str(pathlib.Path(sys.argv[2]).resolve())
# For programs that no build has made.
BUILD = ("--build", str(pathlib.Path(PROGRAM).parents[1]))
FAILED = 70


def run(*arguments, environment=None, cwd=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CUDA_STANDIN")}
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, timeout=60,
                          env=clean | (environment or {}), cwd=cwd, check=False)


def end(way, *options, environment=None):
    return run(*options, PROGRAM, way, environment=environment)


class Options(unittest.TestCase):
    def refused(self, *arguments, because):
        result = run(*arguments)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn(because, result.stderr)
        self.assertEqual(result.stdout, "")

    def test_help_names_every_option(self):
        result = run("--help")
        self.assertEqual(result.returncode, 0)
        for option in ("--schedule", "--seed", "--memory", "--devices", "--reports", "--leaks",
                       "--build"):
            self.assertIn(option, result.stdout)

    def test_bad_options_are_refused(self):
        self.refused("--schedule", "soon", "true", because='--schedule wants one of: eager lazy')
        self.refused("--schedule", because="--schedule wants a value")
        self.refused("--seed", "x", "true", because="--seed wants a number")
        self.refused("--seed", "-1", "true", because="--seed wants a number")
        self.refused("--memory", "0", "true", because="--memory wants a number from 1")
        self.refused("--memory", "1G", "true", because="--memory wants a number")
        self.refused("--devices", "17", "true", because="--devices wants a number from 0 to 16")
        self.refused("--reports", "never", "true", because="--reports wants one of: fail print")
        self.refused("--verbose", "true", because="unknown option --verbose")
        self.refused(because="usage: on_standin.sh")
        self.refused("--build", "/nowhere", "true", because="no stand-in in /nowhere/standin")

    def test_bad_variable_is_refused(self):
        for bad in ("schedule=soon", "colour=red", "memory=1G", "fail=cudaMalloc:2"):
            result = end("info", environment={"CUDA_STANDIN": bad})
            self.assertEqual(result.returncode, 2, bad)
            self.assertIn(f'setting "{bad}"', result.stderr)

    def test_memory_and_devices(self):
        result = end("info", "--memory", "0300", "--devices", "3", "--seed", "08")
        self.assertEqual((result.returncode, result.stdout), (0, "3 devices of 300 MiB\n"))
        result = end("info", "--devices", "0")
        self.assertEqual((result.returncode, result.stdout), (0, "0 devices of 0 MiB\n"))

    def test_variables_are_registered(self):
        self.assertEqual(end("variable").stdout, "4 bytes\n")

    def test_options_win_over_the_variable(self):
        variable = {"CUDA_STANDIN": "devices=2,memory=1048576"}
        result = end("info", "--memory", "5", environment=variable)
        self.assertEqual(result.stdout, "2 devices of 5 MiB\n")

    def test_finds_the_programs_build_from_anywhere(self):
        with tempfile.TemporaryDirectory() as folder:
            link = pathlib.Path(folder) / "program"
            link.symlink_to(PROGRAM)
            result = run("./program", "info", cwd=folder)
        self.assertEqual((result.returncode, result.stdout), (0, "1 devices of 1024 MiB\n"))

    def test_arguments_of_the_program_are_its_own(self):
        result = run(*BUILD, "--", "printf", "%s|", "--seed", "a b", "--")
        self.assertEqual((result.returncode, result.stdout), (0, "--seed|a b|--|"))


class Endings(unittest.TestCase):
    def test_reports_that_nobody_took_fail_however_the_program_ends(self):
        for way in ("return", "exit", "_exit", "_Exit"):
            result = end(way)
            self.assertEqual(result.returncode, FAILED, way)
            self.assertIn("1 reports that nobody took", result.stderr)
            self.assertIn("cudaFree of byte 0 of an allocation of 64 bytes that was freed",
                          result.stderr)

    def test_taken_or_printed_reports_do_not_fail(self):
        self.assertEqual(end("taken").returncode, 0)
        printed = end("return", "--reports", "print")
        self.assertEqual(printed.returncode, 0)
        self.assertIn("1 reports that nobody took", printed.stderr)

    def test_the_programs_own_code_is_passed_through(self):
        self.assertEqual(end("code").returncode, 3)
        self.assertEqual(end("killed").returncode, -9)
        self.assertEqual(run(*BUILD, "sh", "-c", "exit 5").returncode, 5)

    def test_a_lost_device_that_nobody_saw_fails(self):
        unseen = end("trap")
        self.assertEqual(unseen.returncode, FAILED)
        self.assertIn("device 0 ended with an error that nobody saw: unspecified launch failure",
                      unseen.stderr)
        seen = end("seen trap")
        self.assertEqual((seen.returncode, seen.stdout), (0, "cudaErrorLaunchFailure\n"))

    def test_leaks_are_printed_on_request(self):
        self.assertNotIn("not freed", end("leak").stderr)
        self.assertIn("not freed: 1 allocations of 1024 bytes", end("leak", "--leaks").stderr)
        self.assertNotIn("not freed", end("taken", "--leaks").stderr)

    def test_following_a_device_pointer_says_so(self):
        result = end("follow")
        self.assertEqual(result.returncode, -11)
        self.assertIn("the host followed a pointer of device 0", result.stderr)

    def test_a_program_without_cuda_is_left_alone(self):
        result = run(*BUILD, "sh", "-c", "echo fine")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "fine\n", ""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
