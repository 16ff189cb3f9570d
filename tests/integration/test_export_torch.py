#!/usr/bin/env python3
"""tools/export_torch.py, where PyTorch is installed."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import torch
    from safetensors.torch import load_file
except ImportError:
    torch = None

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools/export_torch.py"


class Hostile:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@unittest.skipUnless(torch, "torch and safetensors are not installed")
class ExportTorchTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out = self.folder / "out.safetensors"

    def export(self, state, *options):
        torch.save(state, self.folder / "in.pt")
        return self.run_script(str(self.folder / "in.pt"), *options)

    def run_script(self, *options):
        return subprocess.run([sys.executable, str(SCRIPT), "--out", str(self.out), *options],
                              capture_output=True, text=True, timeout=120, check=False)

    def assert_refused(self, result, *parts):
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertTrue(result.stderr.startswith("export_torch.py: "), result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        for part in parts:
            self.assertIn(part, result.stderr)

    def test_writes_every_tensor_in_its_dtype(self):
        state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16),
                 "steps": torch.tensor(7), "t": torch.arange(6).reshape(2, 3).T, "epoch": 3}

        result = self.export(state)

        self.assertEqual(result.returncode, 0, result.stderr)
        written = load_file(self.out)
        self.assertEqual(set(written), {"a", "b", "steps", "t"})
        for name, tensor in written.items():
            self.assertEqual(tensor.dtype, state[name].dtype)
            self.assertTrue(torch.equal(tensor, state[name]), name)
        self.assertIn("left out, not a tensor: epoch", result.stdout)
        self.assertIn("wrote 4 tensors", result.stdout)

    def test_writes_tensors_of_shared_memory_under_every_name(self):
        whole = torch.arange(8.0)

        result = self.export({"embedding": whole, "head": whole, "part": whole[2:4]})

        self.assertEqual(result.returncode, 0, result.stderr)
        written = load_file(self.out)
        self.assertTrue(torch.equal(written["head"], whole))
        self.assertTrue(torch.equal(written["part"], whole[2:4]))
        self.assertIn("shared memory, written twice: head and embedding", result.stdout)

    def test_finds_the_state_dict_within_dicts(self):
        state = {"step": 1, "model": {"state_dict": {"w": torch.ones(2)}}}

        self.assert_refused(self.export(state), "no tensors at this level", "model.state_dict")
        self.assert_refused(self.export(state, "--key", "model.other"), "no 'other'")
        self.assertEqual(self.export(state, "--key", "model.state_dict").returncode, 0)
        self.assertEqual(set(load_file(self.out)), {"w"})

    def test_runs_nothing_of_the_file(self):
        mark = self.folder / "executed"

        self.assert_refused(self.export({"w": torch.ones(2), "x": Hostile(str(mark))}),
                            "its code is not run")

        self.assertFalse(mark.exists())
        self.assertFalse(self.out.exists())

    def test_names_what_it_refuses(self):
        self.assert_refused(self.run_script("/nowhere.pt"), "/nowhere.pt: no such file")
        (self.folder / "in.pt").write_bytes(b"not a pickle")
        self.assert_refused(self.run_script(str(self.folder / "in.pt")), "in.pt")
        self.assert_refused(self.export([torch.ones(1)]), "not a dict of tensors but a list")
        self.assert_refused(self.export({"c": torch.ones(1, dtype=torch.complex64)}), "'c' is")
        self.out.write_text("")
        self.assert_refused(self.export({"w": torch.ones(2)}), "is there already")


if __name__ == "__main__":
    unittest.main()
