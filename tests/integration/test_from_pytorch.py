#!/usr/bin/env python3
"""docs/from_pytorch.md, done as it says, from a .pt file to PyTorch's own log-probabilities.

The commands and values are the document's: they are read from it, not written here again.
"""

import json
import math
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import unittest

from server_process import BIN, LIMIT_SECONDS, Server, run_server_to_its_end

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/from_pytorch.md").read_text(encoding="utf-8")
RUN = ROOT / "tests/golden/from_pytorch"
EXPECTED = json.loads((RUN / "expected.json").read_text())
PYTORCH = ROOT / "build/deps/golden-venv/bin/python"
ROUNDING = 1e-4  # nats: the document's own bound for "the same function"
SERVE = "peerage-server --model model\n"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)[1]


def shell(commands, folder, **environment):
    """What the commands print, each in its turn, in a folder and with our programs on the PATH."""
    path = f"{BIN.resolve()}:/usr/bin:/bin"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=folder,
                          env={"PATH": path, **environment}, capture_output=True, text=True,
                          timeout=LIMIT_SECONDS, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{commands}\n{done.stdout}{done.stderr}")
    return done.stdout


class Difference:
    """Of served log-probabilities from PyTorch's."""

    def __init__(self, served, expected):
        each = [abs(a - b) for a, b in zip(served, expected, strict=True)]
        self.mean, self.largest = sum(each) / len(each), max(each)
        self.perplexity = math.exp(-sum(served) / len(served))


def read_safetensors(path):
    """Header and data of a file of float32 tensors."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8:8 + size]), raw[8 + size:]


def write_safetensors(path, tensors):
    """{name: (shape, bytes)} in float32."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape,
                        "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class FromPytorchTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        for name in ("checkpoint.pt", "tokenizer.json", "held_out.txt", "train_peer_lm.py"):
            shutil.copy(RUN / name, cls.folder)
        steps = blocks("sh")
        serve = steps.index(SERVE)
        cls.printed = [shell(step, cls.folder) for step in steps[:serve]]
        cls.model = cls.folder / "model"
        with Server(model=cls.model) as server:
            for step in steps[serve + 1:]:
                shell(step, cls.folder, PEERAGE_SERVER=server.grpc)
        cls.score_command = steps[serve + 1]
        cls.served = json.loads((cls.folder / "served.json").read_text())["scores"][0]["tokens"]

    def changed_model(self, name, tensors=lambda tensors: tensors, **config):
        """A copy of the model with other values in its config, of an `ffn` entry where there is one."""
        folder = self.folder / name
        shutil.copytree(self.model, folder)
        self.addCleanup(shutil.rmtree, folder)
        values = json.loads((folder / "config.json").read_text())
        for key, value in config.items():
            (values["ffn"][0] if key in values["ffn"][0] or key not in values else values)[key] = value
        (folder / "config.json").write_text(json.dumps(values))
        header, data = read_safetensors(folder / "model.safetensors")
        header.pop("__metadata__", None)
        stored = {n: (t["shape"], data[slice(*t["data_offsets"])]) for n, t in header.items()}
        write_safetensors(folder / "model.safetensors", tensors(stored))
        return folder

    def scores_of(self, folder):
        with Server(model=folder) as server:
            shell(self.score_command, self.folder, PEERAGE_SERVER=server.grpc)
        tokens = json.loads((self.folder / "served.json").read_text())["scores"][0]["tokens"]
        return [token["logprob"] for token in tokens]

    def refusal_of(self, folder):
        done = run_server_to_its_end("--model", str(folder))
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr

    def test_serves_what_pytorch_computes(self):
        self.assertEqual([1] + [token["token_id"] for token in self.served], EXPECTED["tokens"])
        found = Difference([token["logprob"] for token in self.served],
                           EXPECTED["log_probabilities"])
        self.assertLess(found.largest, ROUNDING)
        self.assertGreater(len(self.served), 90)

    def test_leaves_out_the_buffers_and_the_tied_head_alone(self):
        left_out = set(re.findall(r'dropped: "(.*)"', self.printed[0]))
        self.assertEqual(left_out, {"to_logits.weight",
                                    *(f"layers.{i}.attn.{b}" for i in range(3)
                                      for b in ("inv_freq", "mask"))})
        self.assertNotIn("matched nothing", self.printed[0])

    def test_compares_in_the_lines_of_the_document(self):
        if not PYTORCH.exists():
            self.skipTest("PyTorch is not here: tools/setup.sh golden brings it")
        (lines,) = blocks("python")
        served = json.dumps({"scores": [{"tokens": self.served}]})
        (self.folder / "served.json").write_text(served)
        done = subprocess.run([PYTORCH, "-c", lines], cwd=self.folder, capture_output=True,
                              env={"OMP_NUM_THREADS": "1"}, text=True, timeout=240, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        said = re.fullmatch(r"largest difference: (\S+) nats\n", done.stdout)
        self.assertLess(float(said[1]), ROUNDING)

    def test_shows_what_each_wrong_guess_looks_like(self):
        rows = re.findall(r"^\| `(\w+): (.+?)`.* \| ([\d.e-]+) \| ([\d.e-]+) \| ([\d.]+) \|$",
                          section("What a wrong guess looks like"), re.MULTILINE)
        self.assertGreaterEqual(len(rows), 8)
        for number, (key, value, *figures) in enumerate(rows):
            with self.subTest(key=key, value=value):
                folder = self.changed_model(f"guess{number}", **{key: json.loads(value)})
                found = Difference(self.scores_of(folder), EXPECTED["log_probabilities"])
                for documented, measured in zip(figures, (found.mean, found.largest,
                                                          found.perplexity), strict=True):
                    self.assertAlmostEqual(float(documented) / measured, 1, delta=0.06)
                self.assertGreater(found.largest, ROUNDING, "the guess would not be seen")

    def test_takes_a_norm_of_ones_where_peers_norm_is_the_only_one(self):
        odd = EXPECTED["only_norm"]
        gamma = struct.pack("<60f", *odd["gamma"])

        def tensors(stored):
            for layer in (1, 2):
                stored[f"model.layers.{layer}.post_attention_norm.weight"] = (
                    [60], struct.pack("<60f", *[1.0] * 60))
                stored[f"model.layers.{layer}.ffn.peer.norm.gamma"] = ([60], gamma)
            return stored

        folder = self.changed_model("only_norm", tensors, pre_rmsnorm=True)
        found = Difference(self.scores_of(folder), odd["log_probabilities"])
        self.assertLess(found.largest, ROUNDING)

    def test_refuses_fewer_keys_than_experts_and_says_what_they_change(self):
        odd = EXPECTED["product_key_topk"]
        folder = self.changed_model("fewer_keys", product_key_topk=odd["keys"])
        self.assertIn("ffn[0].product_key_topk is not a known key", self.refusal_of(folder))
        found = Difference([token["logprob"] for token in self.served], odd["log_probabilities"])
        self.assertIn(f"differs by {found.mean:.2f} nats a token in the mean, {found.largest:.2f} at most",
                      DOCUMENT)

    def test_refuses_what_no_layer_takes(self):
        buffer = ([10], struct.pack("<10f", *range(10)))
        folder = self.changed_model(
            "buffers", lambda stored: {**stored, "model.layers.0.attention.inv_freq": buffer})
        self.assertIn("model.layers.0.attention.inv_freq", self.refusal_of(folder))

    def test_refuses_peer_lora_by_a_tensor_that_it_does_not_have(self):
        def tensors(stored):
            return {name.replace("weight_down_embed", "proj_in_lora_a")
                        .replace("weight_up_embed", "proj_out_lora_b"): tensor
                    for name, tensor in stored.items()}
        self.assertIn("ffn.peer.weight_down_embed.weight",
                      self.refusal_of(self.changed_model("lora", tensors)))


if __name__ == "__main__":
    unittest.main()
