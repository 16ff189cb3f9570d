"""The machine that gpu_check.py runs on: its GPU and libraries, programs of the build, and the time
that is left."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

CUBLASLT = "libcublasLt.so.13"
# glibc's own, which every machine has, and the driver's.
NEVER_PACKED = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|cuda))\.so.*")
PROGRAMS = ("peerage-server", "peerage", "model_bench", "cuda_kernels_bench")


class NotRun(Exception):
    """Why something could not be run here."""


class Failed(Exception):
    """What went wrong."""


def why_no_gpu():
    if not os.path.exists("/dev/nvidiactl"):
        return "no GPU is here (no /dev/nvidiactl)"
    return None


def library_folders(build):
    """Where CUDA's libraries may lie, the likeliest first: packed, a toolkit's, wheels'."""
    folders = [build / "lib", pathlib.Path("/usr/local/cuda/lib64")]
    for site in map(pathlib.Path, sys.path):
        folders += [site / "nvidia/cu13/lib", site / "torch/lib"]
    return [folder for folder in folders if folder.is_dir()]


class Machine:

    def __init__(self, build, rehearse, seconds):
        self.build, self.rehearse = build, rehearse
        self.begin, self.seconds = time.monotonic(), seconds
        self.folders = library_folders(build)

    def elapsed(self):
        return time.monotonic() - self.begin

    def well(self):
        return "rehearsed" if self.rehearse else "passed"

    def limit(self, seconds):
        """A step's time; what is left when that is less."""
        left = self.seconds - self.elapsed()
        if left < 5:
            raise NotRun("no time was left")
        return min(seconds, left)

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
        """Of programs that use CUDA."""
        if self.rehearse:
            standin = self.build / "standin"
            libraries = [standin / "libcudart.so.13", standin / CUBLASLT]
            return {"LD_PRELOAD": ":".join(map(str, libraries)), **more}
        return {"LD_LIBRARY_PATH": ":".join(map(str, self.folders)), **more}

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
        """The test programs that there are whose names match."""
        found = sorted(path.name for path in (self.build / "tests").glob("*_test")
                       if re.fullmatch(names, path.name))
        if not found:
            raise NotRun(f"no test program {names} is in {self.build}/tests")
        return found

    def run(self, command, seconds, **environment):
        """Standard output of a command that must succeed."""
        limit = self.limit(seconds)
        try:
            done = subprocess.run(command, env=self.environment(PATH=os.environ["PATH"], **environment),
                                  capture_output=True, text=True, timeout=limit, check=False,
                                  errors="replace")
        except subprocess.TimeoutExpired as error:
            if limit < seconds:
                raise NotRun(f"only {limit:.0f} s were left") from error
            raise Failed(f"{command[0]} took more than {limit:.0f} s") from error
        if done.returncode != 0:
            raise Failed(f"{' '.join(command)}: exit code {done.returncode}: "
                         + (done.stdout + done.stderr)[-2000:])
        return done.stdout

    def guarded(self, step):
        """What a step found, with a status."""
        start = time.monotonic()
        try:
            found = {"status": self.well(), **step()}
        except NotRun as why:
            found = {"status": "not run", "why": str(why)}
        except Failed as why:
            found = {"status": "failed", "why": str(why)}
        return {**found, "seconds": round(time.monotonic() - start, 1)}


def libraries_of(program):
    """Paths of the shared libraries that a program loads, but for what every machine has."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    for name, path in re.findall(r"^\s*(\S+) => (/\S+)", listed, re.MULTILINE):
        if not NEVER_PACKED.fullmatch(name) and name != CUBLASLT:
            yield name, path


def pack(build, folder):
    """Programs, tests and their libraries. cuBLASLt, half a gigabyte, is the other machine's to have."""
    programs = [build / "bin" / name for name in PROGRAMS]
    tests = [*(build / "tests").glob("*_cuda_test"), *(build / "tests").glob("cuda_*_test")]
    for path, part in [(p, "bin") for p in programs] + [(t, "tests") for t in tests]:
        target = folder / part / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["strip", "-o", str(target), str(path)], check=True)
        for name, library in libraries_of(path):
            (folder / "lib").mkdir(exist_ok=True)
            if not (folder / "lib" / name).exists():
                shutil.copy(library, folder / "lib" / name)
    print(f"{folder}: take it along with tools/, bench/peers and tests/ to a machine with a GPU, and run "
          f"there tools/gpu_check.py --build {folder}")
