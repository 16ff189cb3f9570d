"""The machine that gpu_check.py runs on: its GPU and libraries, programs of the build, and the time
that is left."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

CUBLASLT = "libcublasLt.so.13"
LEAST_SECONDS = 2  # nothing begins with less


class NotRun(Exception):
    """Why something could not be run here."""


class OutOfTime(NotRun):
    """A program was ended before its end; `output` is what it had printed."""

    def __init__(self, seconds, output):
        super().__init__(f"more than {seconds:.0f} s")
        self.output = output


class Failed(Exception):
    """What went wrong. `found`: what a step found all the same; `output`: what the program printed."""

    def __init__(self, why, found=None, output=""):
        super().__init__(why)
        self.found, self.output = found or {}, output


def why_no_gpu():
    if not os.path.exists("/dev/nvidiactl"):
        return "no GPU is here (no /dev/nvidiactl)"
    return None


def device_tests(build):
    """Programs of the build that are for a GPU; others are tests of the stand-in."""
    listed = build / "tests/device_tests.txt"
    names = listed.read_text(encoding="utf-8").split() if listed.exists() else []
    return [path for path in (build / "tests" / name for name in names) if path.exists()]


def library_folders(build):
    """Where CUDA's libraries may lie, the likeliest first: packed, a toolkit's, wheels'."""
    folders = [build / "lib", pathlib.Path("/usr/local/cuda/lib64")]
    for site in map(pathlib.Path, sys.path):
        folders += [site / "nvidia/cu13/lib", site / "torch/lib"]
    return [folder for folder in folders if folder.is_dir()]


class Machine:
    """`scratch` is a folder of this run: the driver keeps there what it compiles, and no other run's."""

    def __init__(self, build, rehearse, seconds, scratch):
        self.build, self.rehearse, self.scratch = build, rehearse, scratch
        self.begin, self.seconds, self.until = time.monotonic(), seconds, seconds
        self.folders = [] if rehearse else library_folders(build)

    def elapsed(self):
        return time.monotonic() - self.begin

    def well(self):
        return "rehearsed" if self.rehearse else "passed"

    def left(self):
        """Seconds of the present step."""
        left = self.until - self.elapsed()
        if left < LEAST_SECONDS:
            raise NotRun("no time was left")
        return left

    def facts(self):
        if self.rehearse:
            return {"gpu": "none: the stand-in of tests/cuda/standin"}
        asked = "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem"
        try:
            done = subprocess.run(["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"],
                                  capture_output=True, text=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            return {"gpu": f"unknown ({error})"}
        values = done.stdout.splitlines()[0].split(", ")
        return dict(zip(("gpu", "driver", "memory", "sm_clock", "memory_clock"), values))

    def environment(self, **more):
        """Of programs of the build: their libraries come before the caller's."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "CUDA_VISIBLE_DEVICES")
                if name in os.environ}
        folders = [*map(str, self.folders), os.environ.get("LD_LIBRARY_PATH", "")]
        kept |= {"LD_LIBRARY_PATH": ":".join(filter(None, folders)),
                 "CUDA_CACHE_PATH": str(self.scratch / "compiled")}
        if self.rehearse:
            standin = self.build / "standin"
            kept["LD_PRELOAD"] = f"{standin / 'libcudart.so.13'}:{standin / CUBLASLT}"
        return {**kept, **more}

    def callers_environment(self):
        """Of programs that are not the build's: packed libraries are not for them."""
        return {**os.environ, "CUDA_CACHE_PATH": str(self.scratch / "compiled")}

    def program(self, name):
        path = next((p for p in (self.build / "bin" / name, self.build / "tests" / name)
                     if p.exists()), None)
        if path is None:
            raise NotRun(f"{name} is not in {self.build}")
        found = self.rehearse or any((folder / CUBLASLT).exists() for folder in self.folders)
        if not found and CUBLASLT.encode() in path.read_bytes():
            raise NotRun(f"{CUBLASLT} is not on this machine")
        return str(path)

    def tests(self, names):
        """The programs whose names match, of those that are for a GPU."""
        found = sorted(path.name for path in device_tests(self.build) if re.fullmatch(names, path.name))
        if not found:
            raise NotRun(f"no test program {names} is in {self.build}/tests")
        return found

    def run(self, command, hangs_after=None, at_most=None, environment=None):
        """Standard output of a command that must succeed. It has what time is left to its step: it fails
        after `hangs_after` seconds, and runs out of time after `at_most`."""
        limit = min(seconds for seconds in (self.left(), hangs_after, at_most) if seconds is not None)
        environment = self.environment() if environment is None else environment
        try:
            status, output, errors = execute(command, environment, limit)
        except OutOfTime as ended:
            if limit == hangs_after:
                raise Failed(f"{command[0]} took more than {limit:.0f} s", output=ended.output) from ended
            raise
        if status != 0:
            raise Failed(f"{' '.join(command)}: exit code {status}: {(output + errors)[-2000:]}",
                         output=output)
        return output

    def guarded(self, step, until):
        """What a step found that ends by then, with a status."""
        start, self.until = time.monotonic(), min(until, self.seconds)
        try:
            found = {"status": self.well(), **step()}
        except NotRun as why:
            found = {"status": "not run", "why": str(why)}
        except Failed as why:
            found = {"status": "failed", "why": str(why), **why.found}
        return {**found, "seconds": round(time.monotonic() - start, 1)}


def execute(command, environment, seconds):
    """Exit code, standard output and standard error of a command. One that needs longer is ended with
    everything that it started."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", start_new_session=True) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise OutOfTime(seconds, output) from error
            raise
    return process.returncode, output, errors
