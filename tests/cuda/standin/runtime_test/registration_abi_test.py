#!/usr/bin/env python3
"""Pins what the stand-in knows of the CUDA toolkit and nobody documents: the functions that nvcc's host
code calls, the layout of fat binaries, the names and versions of the real libraries' functions.

Usage: registration_abi_test.py NVCC NM READELF PROGRAM REAL_CUDART REAL_CUBLASLT STANDIN_FOLDER
PROGRAM has kernels and variables of <<<>>> and is linked with the real library.

When the toolkit changes and this fails: look at tests/cuda/standin/runtime/registration.cc for
functions, at runtime/fat_binary.cc for the layout, at runtime/api_*.cc for functions of the API that
came, went or changed their arguments (cuda_runtime_api.h), then change what is pinned here.
"""

import pathlib
import re
import struct
import subprocess
import sys
import unittest

NVCC, NM, READELF, PROGRAM, REAL_CUDART, REAL_CUBLASLT, STANDIN = sys.argv[1:]

REGISTRATION = {"__cudaRegisterFatBinary", "__cudaRegisterFatBinaryEnd", "__cudaRegisterFunction",
                "__cudaRegisterVar", "__cudaUnregisterFatBinary", "__cudaPushCallConfiguration",
                "__cudaPopCallConfiguration", "__cudaGetKernel", "__cudaLaunchKernel"}
WRAPPER_MAGIC, MAGIC = 0x466243B1, 0xBA55ED50
PTX, ELF = 1, 2


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def sections(path):
    """Offset and size in the file, by name."""
    pattern = re.compile(r"\] (\S+)\s+\w+\s+[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+) ")
    return {m[1]: (int(m[2], 16), int(m[3], 16))
            for m in pattern.finditer(output(READELF, "--section-headers", "--wide", path))}


def exports(path):
    """Functions and their versions, such as cudaMalloc@@libcudart.so.13."""
    lines = output(NM, "--dynamic", "--defined-only", path).splitlines()
    return {line.split()[2] for line in lines if line.split()[1] in "TW"}


class Registration(unittest.TestCase):
    def test_toolkit_is_the_one_that_was_looked_at(self):
        self.assertIn("release 13.0", output(NVCC, "--version"),
                      "another toolkit: see the head of this file")

    def test_host_code_calls_the_functions_that_are_known(self):
        called = set(re.findall(r"U (__cuda\w+)@libcudart\.so\.13\b",
                                output(NM, "--dynamic", "--undefined-only", PROGRAM)))
        self.assertEqual(called, REGISTRATION, "nvcc's host code registers otherwise")


class FatBinary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.file = pathlib.Path(PROGRAM).read_bytes()
        cls.sections = sections(PROGRAM)

    def read(self, section):
        offset, size = self.sections[section]
        return self.file[offset:offset + size]

    def binaries(self):
        """The entries of each fat binary that has some: kind, version, header, bytes."""
        data = self.read(".nv_fatbin")
        at = 0
        while at < len(data):
            magic, version, header, size = struct.unpack_from("<IHHQ", data, at)
            self.assertEqual((magic, version, header), (MAGIC, 1, 16), "header of a fat binary")
            yield data[at + header:at + header + size]
            at += (header + size + 7) // 8 * 8

    def entries(self):
        for binary in self.binaries():
            at = 0
            while at < len(binary):
                fields = struct.unpack_from("<HHIQIIIIIIQ", binary, at)
                kind, version, header, size = fields[:4]
                yield kind, version, fields[7], fields[10], binary[at + header:at + header + size]
                at += header + size
            self.assertEqual(at, len(binary), "entries fill a fat binary")

    def test_wrappers(self):
        data = self.read(".nvFatBinSegment")
        self.assertEqual(len(data) % 24, 0)
        for at in range(0, len(data), 24):
            magic, version = struct.unpack_from("<II", data, at)
            self.assertEqual((magic, version), (WRAPPER_MAGIC, 1), "wrapper of a fat binary")

    def test_entries_have_ptx_of_the_targets_that_are_run(self):
        targets = set()
        for kind, version, target, flags, code in self.entries():
            self.assertEqual(version, 0x0101)
            self.assertIn(kind, (PTX, ELF))
            if kind == ELF:
                self.assertTrue(code.startswith(b"\x7fELF"))
                continue
            self.assertEqual(flags & 0xA000, 0, "compressed: nvcc --compress-mode=none")
            self.assertIn(f".target sm_{target}".encode(), code)
            targets.add(target)
        self.assertEqual(targets, {80, 90})


class Names(unittest.TestCase):
    def check(self, real, name, own):
        standin = f"{STANDIN}/{name}"
        ours = {e for e in exports(standin) if not e.startswith(own)}
        self.assertEqual(ours, exports(real), "functions or versions differ from the real library")
        self.assertIn(f"[{name}]", output(READELF, "--dynamic", standin))

    def test_the_runtime_has_every_function_of_the_real_one(self):
        self.check(REAL_CUDART, "libcudart.so.13", ("cudaStandin", "_exit@", "_Exit@"))

    def test_cublaslt_has_every_function_of_the_real_one(self):
        self.check(REAL_CUBLASLT, "libcublasLt.so.13", ("cudaStandin",))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
