"""One archive of what gpu_check.py needs on a machine that has a GPU and no compiler."""

import lzma
import pathlib
import re
import subprocess
import tarfile
import tempfile

from machine import CUBLASLT, device_tests

# glibc's own, which every machine has, and the driver's.
NEVER_PACKED = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|cuda))\.so.*")
PROGRAMS = ("peerage-server", "peerage", "model_bench", "cuda_kernels_bench")
# Every program that runs models has the same kernels: a window of several programs finds them again.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 192 << 20, "nice_len": 273}]


def libraries_of(program):
    """Paths of the shared libraries that a program loads, but for what every machine has."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    for name, path in re.findall(r"^\s*(\S+) => (/\S+)", listed, re.MULTILINE):
        if not NEVER_PACKED.fullmatch(name) and name != CUBLASLT:
            yield name, pathlib.Path(path).resolve()


def pack(build, archive):
    """Programs, tests and their libraries, without symbols. cuBLASLt, half a gigabyte, is the other
    machine's to have."""
    programs = [build / "bin" / name for name in PROGRAMS] + device_tests(build)
    libraries = {f"lib/{name}": path for program in programs for name, path in libraries_of(program)}
    archive.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(archive, "wb", filters=FILTERS) as compressed, \
            tarfile.open(fileobj=compressed, mode="w|") as tar, tempfile.NamedTemporaryFile() as bare:
        for program in programs:
            subprocess.run(["strip", "-o", bare.name, str(program)], check=True)
            tar.add(bare.name, f"{program.parent.name}/{program.name}", filter=executable)
        for name, path in sorted(libraries.items()):
            tar.add(path, name)
        tar.add(build / "tests/device_tests.txt", "tests/device_tests.txt")
    print(f"{archive}: {archive.stat().st_size / 2**20:.1f} MiB, {len(programs)} programs. Take it along with "
          f"the sources to a machine with a GPU, and run there tools/gpu_check.py --build {archive}")


def executable(entry):
    entry.mode = 0o755
    return entry


def unpack(archive, folder):
    with tarfile.open(archive, "r:xz") as tar:
        tar.extractall(folder)
    return folder
