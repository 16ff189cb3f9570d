"""The programs that ship are built so that a fault of memory is hard to make use of."""

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


if __name__ == "__main__":
    unittest.main()
