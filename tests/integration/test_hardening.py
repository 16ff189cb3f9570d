"""The programs that ship are built so that a fault of memory is hard to make use of."""

import platform
import subprocess
import unittest

from server_process import BIN

PROGRAMS = ("peerage-server", "peerage", "peerage-model")


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class HardeningTest(unittest.TestCase):

    def test_programs_are_loaded_anywhere_and_bound_before_they_start(self):
        for name in PROGRAMS:
            with self.subTest(name):
                self.assertRegex(said("readelf", "-hW", BIN / name), r"Type:\s+DYN \(Position-Independent")
                dynamic = said("readelf", "-dW", BIN / name)
                self.assertRegex(dynamic, r"\(FLAGS(_1)?\).*\bNOW\b")
                self.assertNotIn("(TEXTREL)", dynamic)

    def test_what_was_bound_is_read_only_and_no_data_is_code(self):
        for name in PROGRAMS:
            with self.subTest(name):
                segments = said("readelf", "-lW", BIN / name)
                self.assertRegex(segments, r"GNU_RELRO\s.* R\s")
                self.assertRegex(segments, r"GNU_STACK\s.* RW\s")
                self.assertNotRegex(segments, r"LOAD\s.*\bRWE\b")

    def test_stacks_have_canaries(self):
        for name in PROGRAMS:
            with self.subTest(name):
                imported = said("nm", "--dynamic", "--undefined-only", BIN / name)
                self.assertIn(" __stack_chk_fail@", imported)

    def test_copies_into_buffers_are_checked_where_their_size_is_known(self):
        for name in PROGRAMS:
            with self.subTest(name):
                imported = said("nm", "--dynamic", "--undefined-only", BIN / name)
                self.assertRegex(imported, r" __\w+_chk@")  # of FORTIFY; canaries' is __stack_chk_fail

    @unittest.skipUnless(platform.machine() == "x86_64", "of x86-64 alone")
    def test_what_is_called_begins_where_calls_may_land(self):
        for name in PROGRAMS:
            with self.subTest(name):
                code = said("objdump", "-d", "--no-show-raw-insn", "--disassemble=main", BIN / name)
                self.assertRegex(code, r"<main>:\n\s+[0-9a-f]+:\s+endbr64")

    def test_stacks_grow_page_by_page(self):
        for name in PROGRAMS:
            with self.subTest(name):
                flags = [line for line in said("readelf", "-p", ".debug_str", BIN / name).splitlines()
                         if "-std=c++20" in line]
                self.assertTrue(flags)
                for line in flags:
                    self.assertIn(" -fstack-clash-protection", line)


if __name__ == "__main__":
    unittest.main()
