#!/usr/bin/env python3
"""peerage-model as its users meet it."""

import json
import os
import pathlib
import resource
import struct
import subprocess
import tempfile
import unittest

BIN = pathlib.Path(os.environ.get("PEERAGE_BIN", "build/release/bin"))
MODELS = pathlib.Path(__file__).resolve().parents[1] / "golden/models"
LIMIT_SECONDS = 60
MEMORY = 1 << 30

CONFIG = {
    "model_type": "peerage", "format_version": 1, "vocab_size": 2, "hidden_size": 1024,
    "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
    "head_dim": 2, "max_position_embeddings": 8, "tie_word_embeddings": True,
    "parallel_block": True,
    "ffn": [{"kind": "peer", "num_experts": 1024 * 1024, "heads": 8, "top_k": 16,
             "key_dim": 256}]}


def run(*arguments):
    return subprocess.run(
        [str(BIN / "peerage-model"), *map(str, arguments)], env={}, capture_output=True, text=True,
        timeout=LIMIT_SECONDS, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)))


def write_sparse_model(folder):
    """A model with tables of 8 GiB, of which the disk holds only the header."""
    shapes = {"model.embed_tokens.weight": [2, 1024], "model.norm.weight": [1024],
              "model.layers.0.input_norm.weight": [1024],
              **{f"model.layers.0.attention.{name}_proj.weight": [2, 1024] for name in "qkv"},
              "model.layers.0.attention.o_proj.weight": [1024, 2],
              "model.layers.0.ffn.peer.query.weight": [2048, 1024],
              "model.layers.0.ffn.peer.sub_keys": [2, 1024, 128],
              "model.layers.0.ffn.peer.down.weight": [1024 * 1024, 1024],
              "model.layers.0.ffn.peer.up.weight": [1024 * 1024, 1024]}
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, size = end, 4
        for dimension in shape:
            size *= dimension
        end = begin + size
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + end)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")


class ModelProgramTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_ok(self, *arguments):
        result = run(*arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def assert_failed(self, code, result, *parts):
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertTrue(result.stderr.startswith("peerage-model: "), result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        for part in parts:
            self.assertIn(part, result.stderr)

    def test_inspects_a_million_experts_without_their_weights(self):
        write_sparse_model(self.folder)

        report = json.loads(self.run_ok("inspect", self.folder, "--json", "--context", "0"))

        table = 1024 * 1024 * 1024
        self.assertEqual(report["parameters_by_part"]["peer_experts"], 2 * table)
        self.assertEqual(report["bytes_by_part"]["peer_experts"], 8 * table)
        self.assertEqual(report["total_parameters"] - report["active_parameters"],
                         2 * table - 2 * 128 * 1024)
        # Query and sub-keys 4.2 million each, experts half a million, and attention.
        self.assertEqual(report["flops_per_token"],
                         [2 * 2048 * 1024 + 16 * 1024 * 256 + 4 * 128 * 1024 + 2 * 8 * 1024])
        bare = json.loads(self.run_ok("inspect", self.folder / "config.json", "--json"))
        self.assertEqual(bare["total_parameters"], report["total_parameters"])
        self.assertIsNone(bare["bytes_by_part"])

    def test_shows_a_table_to_people(self):
        text = self.run_ok("inspect", MODELS / "llama_gguf_mixed/model.gguf")

        self.assertIn("total parameters", text)
        self.assertIn("dense attention; dense", text)

    def test_converts_and_keeps_what_it_means(self):
        names = self.folder / "names.txt"
        names.write_text("# Llama's names as ours\n"
                         "model.layers.*.input_layernorm.weight -> model.layers.*.input_norm.weight\n"
                         "model.layers.*.post_attention_layernorm.weight -> "
                         "model.layers.*.post_attention_norm.weight\n"
                         "model.layers.*.self_attn.** -> model.layers.*.attention.**\n"
                         "model.layers.*.mlp.** -> model.layers.*.ffn.dense.**\n"
                         "encoder.** -> x.**\n")
        source, out = MODELS / "llama_sharded", self.folder / "out"

        text = self.run_ok("convert", "--from", source, "--out", out, "--rename", names,
                           "--dtype", "f32")

        self.assertIn("copied config.json, tokenizer.json", text)
        self.assertIn("matched nothing: encoder.** -> x.**", text)
        self.assertIn('matched by no pattern, kept: "model.norm.weight"', text)
        llama = json.loads((out / "config.json").read_text())
        ours = {key: llama[key] for key in
                ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                 "num_attention_heads", "num_key_value_heads", "max_position_embeddings",
                 "tie_word_embeddings")}
        (out / "config.json").write_text(
            json.dumps({"model_type": "peerage", "format_version": 1, **ours}))
        before = json.loads(self.run_ok("inspect", source, "--json"))
        after = json.loads(self.run_ok("inspect", out, "--json"))
        for key in ("total_parameters", "parameters_by_part", "flops_per_token"):
            self.assertEqual(after[key], before[key], key)

    def test_names_what_it_refuses(self):
        self.assert_failed(2, run("inspect"), "path")
        self.assert_failed(2, run("inspect", "x.json", "--contexts", "1"), "--contexts")
        self.assert_failed(2, run("inspect", "x.json", "--context", "-1"), "--context")
        self.assert_failed(2, run("convert", "--from", "x", "--out", "y", "--dtype", "q8_0"),
                           "--dtype")
        self.assert_failed(2, run("convert", "--from", "x", "--out", "y", "--drop-unmatched"),
                           "--rename")
        self.assert_failed(1, run("inspect", "/nowhere"), "/nowhere")
        self.assert_failed(1, run("convert", "--from", "/nowhere", "--out", self.folder / "y"),
                           "/nowhere")
        names = self.folder / "names.txt"
        names.write_text("\na.* -> b\n")
        self.assert_failed(1, run("convert", "--from", MODELS / "llama_tied", "--out",
                                  self.folder / "y", "--rename", names), "names.txt: line 2")
        names.write_text("model.layers.0.** -> model.layers.1.**\n")
        self.assert_failed(1, run("convert", "--from", MODELS / "llama_tied", "--out",
                                  self.folder / "y", "--rename", names),
                           "llama_tied", "would both be named")
        write_sparse_model(self.folder)
        (self.folder / "config.json").write_text(json.dumps({**CONFIG, "hidden_size": 512}))
        self.assert_failed(1, run("inspect", self.folder), str(self.folder), "embed_tokens")


if __name__ == "__main__":
    unittest.main()
