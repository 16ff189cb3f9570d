#!/usr/bin/env python3
"""What the server refuses before it reads weights, `peerage-model inspect` refuses in its words."""

import json
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

from server_process import BIN, LIMIT_SECONDS, run_server_to_its_end

MODELS = pathlib.Path(__file__).resolve().parents[1] / "golden/models"
DENSE, GGUF = MODELS / "llama_tied", MODELS / "llama_gguf_mixed/model.gguf"


def changed(name, **changes):
    """The JSON file with keys changed, or left out where the value is None."""
    def change(folder):
        content = json.loads((folder / name).read_text())
        for key, value in changes.items():
            content[key] = value
        kept = {key: value for key, value in content.items() if value is not None}
        (folder / name).write_text(json.dumps(kept))
    return change


def written(name, text):
    return lambda folder: (folder / name).write_text(text)


def removed(name):
    return lambda folder: (folder / name).unlink()


def with_tensor(name):
    """One more tensor, of one f32, at the end of the weights."""
    def change(folder):
        path = folder / "model.safetensors"
        data = path.read_bytes()
        length, = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + length])
        end = len(data) - 8 - length
        header[name] = {"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]}
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length:] + bytes(4))
    return change


# What is done to a model directory, and what the refusal says.
DIRECTORIES = [
    (removed("config.json"), "no config.json"),
    (removed("tokenizer.json"), "no tokenizer.json (nor vocab.json and merges.txt instead)"),
    (removed("model.safetensors"), "no *.safetensors file"),
    (written("config.json", "{"), "config.json: not valid JSON at byte 2"),
    (changed("config.json", model_type="gpt2"),
     'model_type is "gpt2", which is not supported ("peerage", "llama" and "mixtral" are)'),
    (changed("config.json", hidden_act="tanh"), 'hidden_act is "tanh", which is not supported (silu'),
    (changed("config.json", attention_bias=True),
     "attention_bias is true, which is not supported (false is)"),
    (changed("config.json", rope_scaling={"rope_type": "llama3", "factor": 8.0}),
     'rope_scaling.rope_type is "llama3", which is not supported ("default" is)'),
    (changed("config.json", vocab_size=None), "vocab_size is missing"),
    (changed("config.json", vocab_size=1 << 20), "embed_tokens"),
    (changed("config.json", bos_token_id=1 << 20), "bos_token_id is 1048576"),
    (with_tensor("model.layers.0.self_attn.q_proj.bias"),
     "the model has no such tensor (biases of projections"),
    (with_tensor("rope_freqs.weight"), "scales rotary frequencies for long contexts"),
    (written("model.safetensors", ""), "model/model.safetensors"),
    (lambda folder: shutil.copy(folder / "model.safetensors", folder / "b.safetensors"),
     '2 *.safetensors files (b.safetensors, model.safetensors), but no'),
    (written("tokenizer.json", "{}"), "tokenizer.json: no model"),
    (changed("tokenizer.json", normalizer={"type": "NFC"}), 'normalizer "NFC" is not supported'),
    (changed("tokenizer.json", pre_tokenizer={"type": "Metaspace"}),
     'pre_tokenizer "Metaspace" is not supported (ByteLevel, Split, Digits and Sequence are)'),
    (written("tokenizer_config.json", '{"bos_token": "<no>"}'), 'token "<no>" does not exist'),
    (written("generation_config.json", '{"eos_token_id": 1048576}'), "eos_token_id has 1048576"),
]


def first_string(data, key):
    """Where the text of a string key of a GGUF file begins, and its length."""
    at = data.index(key) + len(key) + 4
    length, = struct.unpack("<Q", data[at:at + 8])
    return at + 8, length


def with_string(key, value):
    """Another text of the same length."""
    def change(data):
        at, length = first_string(data, key)
        assert length == len(value), (key, length)
        return data[:at] + value + data[at + length:]
    return change


def with_dtype(number):
    """Every tensor of type F32 is said to be of another."""
    def change(data):
        name = b"token_embd.weight"
        at = data.index(name) + len(name)
        rank, = struct.unpack("<I", data[at:at + 4])
        at += 4 + 8 * rank
        return data[:at] + struct.pack("<I", number) + data[at + 4:]
    return change


GGUFS = [
    (with_string(b"general.architecture", b"gemma"),
     'general.architecture is "gemma", which is not supported ("llama" is)'),
    (with_dtype(99), "tensor type 99 is unknown"),
    (lambda data: b"GGML" + data[4:], "does not begin with GGUF"),
]


class RefusalsTest(unittest.TestCase):

    def assert_both_refuse(self, path, part):
        inspect = subprocess.run(
            [str(BIN / "peerage-model"), "inspect", str(path)], env={}, capture_output=True,
            text=True, timeout=LIMIT_SECONDS, check=False)
        server = run_server_to_its_end("--model", str(path), "--listen=127.0.0.1:0",
                                       "--admin-listen=127.0.0.1:0")
        self.assertEqual((inspect.returncode, server.returncode), (1, 2),
                         inspect.stderr + server.stderr)
        self.assertIn(part, inspect.stderr)
        self.assertEqual(server.stderr.splitlines()[-1],
                         inspect.stderr.strip().replace("peerage-model: ",
                                                        "peerage-server: --model: ", 1))

    def test_directories_are_refused_by_both_in_the_same_words(self):
        for change, part in DIRECTORIES:
            with self.subTest(part=part), tempfile.TemporaryDirectory() as folder:
                model = pathlib.Path(shutil.copytree(DENSE, pathlib.Path(folder) / "model"))
                change(model)
                self.assert_both_refuse(model, part)

    def test_gguf_files_are_refused_by_both_in_the_same_words(self):
        whole = GGUF.read_bytes()
        for change, part in GGUFS:
            with self.subTest(part=part), tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "model.gguf"
                path.write_bytes(change(whole))
                self.assert_both_refuse(path, part)

    def test_a_path_that_is_not_there(self):
        self.assert_both_refuse("/nowhere/model", "no such file or directory")


if __name__ == "__main__":
    unittest.main()
