#!/usr/bin/env python3
"""The trainer as a program: killed at many steps, and stopped by what goes wrong around it.

PEERAGE_TRAIN names it; run from the root of the tree. PEERAGE_KILL_SEED repeats a run's kills.
"""

import fcntl
import json
import os
import pathlib
import random
import re
import resource
import struct
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["PEERAGE_TRAIN"]
MODEL = "tests/golden/models/layout_ostix360_glu"  # batch norms, so all kinds of state
STEPS = 300
KILLS = 20
# A pipe of one page holds so many lines at most: the program cannot be further ahead of its reader.
PIPE_BYTES, SHORTEST_LINE = 4096, 60
AHEAD = PIPE_BYTES // SHORTEST_LINE + 2


class Run:
    """A run of small steps in a folder of its own."""

    def __init__(self, case, steps=STEPS, every=7):
        folder = tempfile.TemporaryDirectory()
        case.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out = self.folder / "out"
        self.config = self.folder / "run.toml"
        self.config.write_text(f"""
[model]
from = "{MODEL}"
[data]
sequence_length = 16
[[data.source]]
files = "tests/golden/texts/prose_harbour.txt"
weight = 2
[[data.source]]
files = "tests/golden/texts/code_cpp.txt"
weight = 1
[optimizer]
learning_rate = 1e-3
batch_sequences = 2
[schedule]
steps = {steps}
warmup_steps = 2
[run]
out = "{self.out}"
threads = 1
progress_every = 1
checkpoint_every = {every}
""")

    def command(self):
        goes_on = ["--resume"] if self.states() else []
        return [PROGRAM, "--config", str(self.config), *goes_on]

    def states(self):
        return sorted(path.name for path in self.out.glob("checkpoints/step-*.safetensors"))

    def finish(self, **options):
        return subprocess.run(self.command(), capture_output=True, text=True, **options)

    def kill_at(self, step):
        """Kills the program when it says that a step is done; returns its exit status."""
        read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=write)
        os.close(write)
        with open(read) as lines:
            for line in lines:
                said = re.match(r"step ([\d,]+)/", line)
                if said and int(said[1].replace(",", "")) >= step:
                    process.kill()
                    break
        return process.wait()

    def weights(self):
        return (self.out / "model.safetensors").read_bytes()

    def losses(self):
        lines = (self.out / "training.jsonl").read_text().splitlines()
        return [(line["step"], line["loss"]) for line in map(json.loads, lines)]


def put_infinity(path, name):
    """In the place of the first number of a tensor in f32 of a safetensors file."""
    with open(path, "r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        file.seek(8 + length + header[name]["data_offsets"][0])
        file.write(struct.pack("<f", float("inf")))


class KilledRunTest(unittest.TestCase):
    def test_goes_on_with_the_same_bits_wherever_it_is_killed(self):
        seed = int(os.environ.get("PEERAGE_KILL_SEED", random.SystemRandom().randrange(1 << 32)))
        print(f"PEERAGE_KILL_SEED={seed}", flush=True)
        whole, killed = Run(self), Run(self)
        self.assertEqual(whole.finish().returncode, 0)
        for step in sorted(random.Random(seed).sample(range(1, STEPS - AHEAD), KILLS)):
            self.assertEqual(killed.kill_at(step), -9, f"it was over before step {step}")

        ended = killed.finish()

        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertEqual(killed.losses(), whole.losses())
        self.assertTrue(killed.weights() == whole.weights(), "other bits")


class BrokenRunTest(unittest.TestCase):
    def only_line(self, ended, code):
        """What the program says when it ends for a reason: one line."""
        self.assertEqual(ended.returncode, code, ended.stderr)
        lines = [line for line in ended.stderr.splitlines() if line.startswith("peerage-train: ")]
        self.assertEqual(lines, ended.stderr.splitlines()[-1:])
        return lines[0]

    def test_a_disk_that_is_full_leaves_the_last_checkpoint(self):
        whole, stopped = Run(self, steps=100, every=2), Run(self, steps=100, every=2)
        self.assertEqual(whole.finish().returncode, 0)
        self.assertEqual(stopped.kill_at(3), -9)  # a step is told of before its state is saved
        before = stopped.states()[-1:] or self.fail("no checkpoint")
        size = (stopped.out / "checkpoints" / before[0]).stat().st_size

        def fill_disk():  # no file may be as large; the signal that tells of it is ignored
            resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, size - 1))
        full = stopped.finish(preexec_fn=fill_disk, restore_signals=False)

        line = self.only_line(full, 1)
        step = int(before[0].removeprefix("step-").removesuffix(".safetensors")) + 2
        self.assertRegex(line, f"^peerage-train: after step {step}: .*File too large")
        self.assertIn(f"the last checkpoint is {stopped.out}/checkpoints/{before[0]}", line)
        self.assertEqual(stopped.states()[-1:], before)
        self.assertEqual(stopped.finish().returncode, 0)
        self.assertTrue(stopped.weights() == whole.weights(), "other bits")

    def test_a_loss_that_is_no_number_leaves_the_last_checkpoint(self):
        run = Run(self, steps=100, every=2)
        self.assertEqual(run.kill_at(3), -9)
        state = run.states()[-1:] or self.fail("no checkpoint")
        path = run.out / "checkpoints" / state[0]
        put_infinity(path, "model.norm.weight")
        before = path.read_bytes()

        line = self.only_line(run.finish(), 1)

        step = int(state[0].removeprefix("step-").removesuffix(".safetensors")) + 1
        self.assertEqual(line, f"peerage-train: step {step}: the loss is nan and its gradient's norm "
                         f"nan; the last checkpoint is {path}")
        self.assertEqual(run.states()[-1:], state)
        self.assertTrue(path.read_bytes() == before, "other bytes")

    def test_a_text_that_is_not_there(self):
        run = Run(self)
        run.config.write_text(run.config.read_text().replace("code_cpp.txt", "none.txt"))
        self.assertEqual(self.only_line(run.finish(), 1), "peerage-train: tests/golden/texts/none.txt: "
                         "no such file or directory")

    def test_a_key_that_is_wrong(self):
        run = Run(self)
        run.config.write_text(run.config.read_text().replace("batch_sequences", "batch_sequence"))
        self.assertEqual(self.only_line(run.finish(), 2),
                         f"peerage-train: {run.config}:14: optimizer.batch_sequence is not a known "
                         "key; did you mean batch_sequences?")


if __name__ == "__main__":
    unittest.main()
