#!/usr/bin/env python3
"""peerage-model as its users meet it."""

import contextlib
import json
import math
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import zipfile

BIN = pathlib.Path(os.environ.get("PEERAGE_BIN", "build/release/bin"))
MODELS = pathlib.Path(__file__).resolve().parents[1] / "golden/models"
TORCH = pathlib.Path(__file__).resolve().parents[1] / "golden/torch"
SMOLLM2 = os.environ.get("PEERAGE_TEST_MODEL",
                         "build/deps/models/SmolLM2-135M-Instruct.Q4_1.gguf")
LIMIT_SECONDS = 60
MEMORY = 1 << 30

CONFIG = {
    "model_type": "peerage", "format_version": 1, "vocab_size": 2, "hidden_size": 1024,
    "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
    "head_dim": 2, "max_position_embeddings": 8, "tie_word_embeddings": True,
    "parallel_block": True,
    "ffn": [{"kind": "peer", "num_experts": 1024 * 1024, "heads": 8, "top_k": 16,
             "key_dim": 256}]}


def run(*arguments, memory=MEMORY, file_bytes=resource.RLIM_INFINITY, dies_at_limit=False):
    """Files end at file_bytes as on a full disk, or with a signal when dies_at_limit."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if dies_at_limit else signal.SIG_IGN)

    return subprocess.run(
        [str(BIN / "peerage-model"), *map(str, arguments)], env={}, capture_output=True, text=True,
        timeout=LIMIT_SECONDS, check=False, restore_signals=False, preexec_fn=limit)


def write_sparse_model(folder):
    """A model with tables of 8 GiB, of which the disk holds only the header."""
    write_zeros(folder / "model.safetensors", {
        "model.embed_tokens.weight": [2, 1024], "model.norm.weight": [1024],
        "model.layers.0.input_norm.weight": [1024],
        **{f"model.layers.0.attention.{name}_proj.weight": [2, 1024] for name in "qkv"},
        "model.layers.0.attention.o_proj.weight": [1024, 2],
        "model.layers.0.ffn.peer.query.weight": [2048, 1024],
        "model.layers.0.ffn.peer.sub_keys": [2, 1024, 128],
        "model.layers.0.ffn.peer.down.weight": [1024 * 1024, 1024],
        "model.layers.0.ffn.peer.up.weight": [1024 * 1024, 1024]})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps(
        {"pre_tokenizer": {"type": "ByteLevel"},
         "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}))


def write_zeros(path, shapes):
    """A .safetensors file of zeros that the disk need not hold."""
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, size = end, 4
        for dimension in shape:
            size *= dimension
        end = begin + size
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + end)


def read_safetensors(path):
    """Name to (dtype, shape, bytes)."""
    data = path.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    header.pop("__metadata__", None)
    return {name: (tensor["dtype"], tensor["shape"],
                   data[end + tensor["data_offsets"][0]:end + tensor["data_offsets"][1]])
            for name, tensor in header.items()}


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def as_dtype(tensor, dtype):
    """The tensor of F32 or BF16 in F32 or F64."""
    kind, shape, data = tensor
    if kind == "BF16":
        data = b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2))
    if dtype == "F64":
        values = struct.unpack(f"<{len(data) // 4}f", data)
        data = struct.pack(f"<{len(values)}d", *values)
    return dtype, shape, data


def write_wide_heads(folder, head_dim):
    """Like llama_tied, with one layer and heads of another size; all weights are zero."""
    config = json.loads((MODELS / "llama_tied/config.json").read_text())
    config.update(head_dim=head_dim, num_hidden_layers=1)
    hidden, layer = config["hidden_size"], "model.layers.0"
    rows = {"q": config["num_attention_heads"] * head_dim,
            "k": config["num_key_value_heads"] * head_dim,
            "v": config["num_key_value_heads"] * head_dim}
    folder.mkdir()
    write_zeros(folder / "model.safetensors", {
        "model.embed_tokens.weight": [config["vocab_size"], hidden], "model.norm.weight": [hidden],
        f"{layer}.input_layernorm.weight": [hidden],
        f"{layer}.post_attention_layernorm.weight": [hidden],
        **{f"{layer}.self_attn.{name}_proj.weight": [rows[name], hidden] for name in rows},
        f"{layer}.self_attn.o_proj.weight": [hidden, rows["q"]],
        f"{layer}.mlp.gate_proj.weight": [config["intermediate_size"], hidden],
        f"{layer}.mlp.up_proj.weight": [config["intermediate_size"], hidden],
        f"{layer}.mlp.down_proj.weight": [hidden, config["intermediate_size"]]})
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(MODELS / "llama_tied/tokenizer.json", folder)


def interrupt(folder, number, *command):
    """Sends the signal while it writes into the folder; it cannot end before that, because nobody
    reads what it says of its progress."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filler = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filler += os.write(writer, b"." * 4096)
    os.set_blocking(writer, True)
    process = subprocess.Popen([str(BIN / "peerage-model"), *map(str, command)], stderr=writer,
                               stdout=subprocess.DEVNULL)
    os.close(writer)
    end = time.monotonic() + LIMIT_SECONDS
    while not list(folder.rglob("*.partial")) and time.monotonic() < end:
        os.sched_yield()
    process.send_signal(number)
    with os.fdopen(reader, "rb") as errors:
        text = errors.read()[filler:].decode()
    return process.wait(LIMIT_SECONDS), text


def write_pytorch_model(source, target):
    """A model's directory with its weights as torch.save writes them, its pickle put together here
    so that no PyTorch is needed."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"))
    with open(source / "model.safetensors", "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    kinds = {"F32": ("Float", 4), "BF16": ("BFloat16", 2), "F16": ("Half", 2)}

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    pickle = b"\x80\x02}("
    with zipfile.ZipFile(target / "pytorch_model.bin", "w", zipfile.ZIP_STORED) as archive:
        for key, (name, tensor) in enumerate(header.items()):
            if name == "__metadata__":
                continue
            begin, end = tensor["data_offsets"]
            archive.writestr(f"model/data/{key}", data[begin:end])
            kind, width = kinds[tensor["dtype"]]
            strides = [math.prod(tensor["shape"][i + 1:]) for i in range(len(tensor["shape"]))]
            pickle += (text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage")
                       + f"ctorch\n{kind}Storage\n".encode() + text(str(key)) + text("cpu")
                       + b"J" + struct.pack("<i", (end - begin) // width) + b"tQK\x00"
                       + numbers(tensor["shape"]) + numbers(strides)
                       + b"\x89ccollections\nOrderedDict\n)RtR")
        archive.writestr("model/data.pkl", pickle + b"u.")


class ModelProgramTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_ok(self, *arguments, memory=MEMORY):
        """It prints no warning."""
        result = run(*arguments, memory=memory)
        self.assertEqual(result.returncode, 0, result.stderr)
        for line in result.stderr.splitlines():
            self.assertRegex(line, r"^ *\d+ % of \d+\.\d MB$")
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

        self.assertRegex(text, r"(?m)^parameters +[\d,]+ +[\d.]+K$")
        self.assertRegex(text, r"attention  dense\n    ffn        dense \d+\n")

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

        self.assertTrue(text.splitlines()[0].endswith(f" bytes) to {out}"), text)
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

    def test_lists_the_tensors_of_files_that_are_no_models(self):
        text = self.run_ok("inspect", TORCH / "training.pt")
        self.assertIn('took "trainer.model" (8 tensors, 572 bytes)\n', text)
        self.assertIn('not taken (--key takes another): the outermost dict (1 tensors', text)
        self.assertRegex(text, r"(?m)^head\.weight +F32 +\[5, 4\] +80$")

        listed = json.loads(self.run_ok("inspect", "--json", "--tensors", "--key", "averaged",
                                        TORCH / "training.pt"))
        self.assertEqual((listed["format"], listed["key"], listed["bytes"]),
                         ("pytorch", "averaged", 290))
        self.assertIn("optimizer.state.0", listed["other_keys"])
        self.assertIn({"name": "embed.weight", "dtype": "F16", "shape": [25, 4], "bytes": 200},
                      listed["tensors"])
        model = MODELS / "llama_gguf_mixed/model.gguf"
        self.assertRegex(self.run_ok("inspect", "--tensors", model),
                         r"(?m)^blk\.0\.ffn_down\.weight +Q6_K +\[32, 256\] +6,720$")
        sharded = json.loads(self.run_ok("inspect", "--tensors", "--json", MODELS / "llama_sharded"))
        self.assertEqual(sharded["format"], "safetensors")
        self.assertIsNone(sharded["key"])
        self.assert_failed(2, run("inspect", "--key", "a", MODELS / "llama_tied"), "--key needs")
        self.assert_failed(1, run("inspect", TORCH / "os_system.pt"),
                           "os_system.pt: pickle byte 169: \"posix.system\"")

    def test_converts_what_pytorch_wrote(self):
        # All but "f64", which holds what no float does.
        rename = self.folder / "rename.txt"
        rename.write_text("*_* -> *_*\n**.** -> **.**\n" + "".join(
            f"{name} -> {name}\n" for name in
            ("steps", "corner", "empty", "f32", "parameter", "repeated", "rows", "transposed",
             "whole", "bf16", "swapped", "f16", "mask")))
        but_doubles = ("--rename", rename, "--drop-unmatched")
        text = self.run_ok("convert", "--from", TORCH / "tensors.pt", "--out", self.folder / "a",
                           *but_doubles)
        self.run_ok("convert", "--from", TORCH / "tensors.safetensors", "--out", self.folder / "b",
                    *but_doubles)
        self.assert_failed(1, run("convert", "--from", TORCH / "tensors.pt",
                                  "--out", self.folder / "doubles"),
                           'tensor "f64": a value of magnitude 1e+300 is beyond the range of f32')

        self.assertIn('written once: "head.weight" is "embed.weight"\n', text)
        self.assertEqual((self.folder / "a/model.safetensors").read_bytes(),
                         (self.folder / "b/model.safetensors").read_bytes())
        text = self.run_ok("convert", "--from", TORCH / "training.pt", "--key", "averaged",
                           "--out", self.folder / "c", "--dtype", "f32")
        self.assertIn('took "averaged" (8 tensors, 290 bytes)\n', text)
        self.assert_failed(1, run("convert", "--from", TORCH / "legacy.pt", "--out", self.folder / "d"),
                           "before PyTorch 1.6", "python3 -c")
        self.assert_failed(2, run("convert", "--from", "x.gguf", "--key", "a", "--out", "d"), "--key")

    def test_takes_a_model_from_pytorch_files(self):
        """A directory with pytorch_model.bin is a model."""
        write_pytorch_model(MODELS / "llama_tied", self.folder / "model")

        report = json.loads(self.run_ok("inspect", self.folder / "model", "--json"))

        expected = json.loads(self.run_ok("inspect", MODELS / "llama_tied", "--json"))
        self.assertEqual(report, expected)

    def test_upcycles_a_model_without_holding_it_in_memory(self):
        out = self.folder / "mixture"

        text = self.run_ok(
            "upcycle", "--base", SMOLLM2, "--num-experts", 4, "--allow-identical",
            "--attention", "shared", "--random-seed", 1, "--top-k", 2, "--normalize-top-k",
            "--peer", "layer=15,experts=16384,heads=8,top_k=16,key_dim=128", "--out", out,
            memory=256 << 20)

        self.assertIn("experts: base, base-1, base-2, base-3", text)
        self.assertGreater((out / "model.safetensors").stat().st_size, 800 << 20)
        report = json.loads(self.run_ok("inspect", out, "--json"))
        parts = report["parameters_by_part"]
        self.assertEqual(parts.pop("peer_experts"), 2 * 16384 * 576)
        self.assertEqual(parts.pop("peer_router"), 8 * 128 * 576 + 2 * 128 * 64)
        self.assertEqual(sum(parts.values()), 433_251_648)  # of four experts with shared KV
        self.assertEqual([part["kind"] for part in report["layers"][15]["ffn"]],
                         ["mixture", "peer"])
        record = json.loads((out / "upcycle.json").read_text())
        self.assertEqual(record["random_seed"], 1)
        self.assertEqual(len(record["models"]), 4)
        self.assertRegex(record["models"][0]["sha256"], "^[0-9a-f]{64}$")

    def test_converts_between_formats_and_back(self):
        first, gguf, second = self.folder / "a", self.folder / "b.gguf", self.folder / "c"

        self.run_ok("convert", "--from", SMOLLM2, "--out", first, "--dtype", "bf16",
                    memory=256 << 20)
        self.run_ok("convert", "--from", first, "--out", gguf, memory=256 << 20)
        self.run_ok("convert", "--from", gguf, "--out", second, "--dtype", "bf16",
                    memory=256 << 20)

        for path in sorted(first.iterdir()):
            self.assertEqual(path.read_bytes(), (second / path.name).read_bytes(), path.name)
        self.assertEqual(sorted(p.name for p in first.iterdir()),
                         ["chat_template.jinja", "config.json", "convert.json", "generation_config.json",
                          "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
        kept = self.folder / "kept.gguf"
        self.run_ok("convert", "--from", SMOLLM2, "--out", kept)
        before = json.loads(self.run_ok("inspect", SMOLLM2, "--json"))
        after = json.loads(self.run_ok("inspect", kept, "--json"))
        # What the one file leaves open the other says.
        self.assertEqual((before.pop("defaults"), after.pop("defaults")),
                         ({"llama.attention.key_length": 64}, {}))
        self.assertEqual(after, before)

    def test_names_what_upcycle_refuses(self):
        base = MODELS / "llama_tied"
        out = ("--out", self.folder / "out")
        for options, name in ((["--base", base], "--out"), ([*out], "--base"),
                              (["--base", base, "--out", ""], "--out: is empty"),
                              (["--base", "", *out], "--base: is empty"),
                              *((["--base", base, *out, option, value],
                                 f'{option}: "{value}" is not {choices}')
                                for option, value, choices in (
                                    ("--attention", "soft", "expert, shared, average or base"),
                                    ("--attention", "1", "expert, shared, average or base"),
                                    ("--routers", "0", "zero, random or prompts"),
                                    ("--dtype", "1", "f32, bf16 or f16"),
                                    ("--dtype", "q8_0", "f32, bf16 or f16"))),
                              (["--base", base, *out, "--top-k", "0"], "--top-k"),
                              (["--base", base, *out, "--num-experts", "257"], "--num-experts"),
                              (["--base", base, *out, "--num-experts", "2", "--expert", "x=y"],
                               "--expert"),
                              *((["--base", base, *out, "--router-std", value], "--router-std")
                                for value in ("nan", "inf", "-0.1", "101", "x")),
                              *((["--base", base, *out, "--random-seed", value], "--random-seed")
                                for value in ("-1", "0x10", "1.5", str(2**64), "9" * 23))):
            self.assert_failed(2, run("upcycle", *options), name)
        copies = ("--num-experts", "2", "--allow-identical")
        for options, name in ((["--num-experts", "2"], "--allow-identical"),
                              ([], "nothing to do"),
                              (["--expert", "law=x", "--expert", "law=x"],
                               '--expert "law": another expert has this name'),
                              (["--expert", f"base={base}"], '--expert "base"'),
                              ([*copies, "--top-k", "3"], "--top-k is 3, not within 1..2"),
                              ([*copies, "--attention-top-k", "3"], "--attention-top-k is 3"),
                              ([*copies, "--routers", "prompts", "--prompts", "base=a",
                                "--prompts", "base=b"], '--prompts "base" is there twice'),
                              (["--expert", "law"], "NAME=PATH"),
                              (["--expert", "=foo"], "NAME=PATH"),
                              (["--peer", "layer=x,experts=4"], "layer is not an integer"),
                              (["--peer", "layer=1"], ": experts is missing"),
                              (["--routers", "prompts", *copies], "has no --prompts"),
                              (["--top-k", "3", *copies], "--top-k is 3"),
                              ([*copies, "--routers", "prompts", "--prompts", "law"],
                               "NAME=PATH")):
            self.assert_failed(2, run("upcycle", "--base", base, *out, *options), name)
        for options, name in ((["--expert", "law=/nowhere"], "/nowhere"),
                              (["--expert", f"law={MODELS / 'llama_sharded'}"], "expert \"law\"")):
            self.assert_failed(1, run("upcycle", "--base", base, *out, *options), name)
        self.assertFalse((self.folder / "out").exists())
        self.run_ok("upcycle", "--base", base, *out, *copies, "--normalize-top-k")
        self.assert_failed(1, run("upcycle", "--base", base, *out, *copies), "is there already")

    def test_warns_of_what_scales_the_ffn_until_it_is_trained(self):
        result = run("upcycle", "--base", MODELS / "llama_tied", "--num-experts", "4",
                     "--allow-identical", "--out", self.folder / "out")

        self.assertEqual(result.returncode, 0, result.stderr)
        warnings = [line for line in result.stderr.splitlines() if "warning" in line]
        self.assertEqual(warnings, [
            "peerage-model: warning: FFN outputs are scaled by the sum of the chosen gates, about "
            "1/4, until routers and experts are trained; --normalize-top-k keeps the scale"])

    def test_explains_its_options_in_plain_characters(self):
        for command in ("inspect", "convert", "upcycle"):
            self.assertRegex(self.run_ok(command, "--help"), r"\A[ -~\n]+\Z")

    def test_refuses_options_without_effect(self):
        base = ("--base", MODELS / "llama_tied", "--out", self.folder / "out")
        mixture = (*base, "--num-experts", "2", "--allow-identical")
        memory = (*base, "--peer", "layer=0,experts=16,heads=2,top_k=3,key_dim=8")
        for options, name in (((*memory, "--attention", "base"), "--attention"),
                              ((*memory, "--attention-top-k", "1"), "--attention-top-k"),
                              ((*memory, "--top-k", "1"), "--top-k"),
                              ((*memory, "--normalize-top-k"), "--normalize-top-k"),
                              ((*memory, "--routers", "random"), "--routers"),
                              ((*memory, "--prompts", "base=x"), "--prompts"),
                              ((*memory, "--router-std", "1"), "--router-std"),
                              ((*mixture, "--prompts", "base=x"), "--prompts"),
                              ((*mixture, "--attention", "average", "--attention-top-k", "1"),
                               "--attention-top-k"),
                              ((*mixture, "--attention", "base", "--attention-top-k", "1"),
                               "--attention-top-k"),
                              ((*mixture, "--routers", "zero", "--router-std", "1"),
                               "--router-std"),
                              ((*mixture, "--routers", "prompts", "--router-std", "1"),
                               "--router-std"),
                              ((*mixture, "--routers", "zero", "--random-seed", "1"),
                               "--random-seed")):
            self.assert_failed(2, run("upcycle", *options), f"{name} has no effect: ")
        self.assertFalse((self.folder / "out").exists())
        self.run_ok("upcycle", *memory, "--random-seed", "010")
        record = json.loads((self.folder / "out/upcycle.json").read_text())
        self.assertEqual(record["random_seed"], 10)

    def test_refuses_models_that_make_no_routers_of_prompts(self):
        (self.folder / "text").write_text("a prompt")
        options = ("--out", self.folder / "out", "--num-experts", "2", "--allow-identical",
                   "--routers", "prompts", "--prompts", f"base={self.folder / 'text'}",
                   "--prompts", f"base-1={self.folder / 'text'}")
        wide, damaged = self.folder / "wide", self.folder / "damaged"
        write_wide_heads(wide, 512)
        self.assert_failed(1, run("upcycle", "--base", wide, *options), str(wide),
                           "head_dim is 512, and attention takes at most 256")
        shutil.copytree(MODELS / "llama_tied", damaged)
        weights = (damaged / "model.safetensors").read_bytes()
        data = 8 + struct.unpack("<Q", weights[:8])[0]
        (damaged / "model.safetensors").write_bytes(
            weights[:data] + b"\xff" * (len(weights) - data))
        self.assert_failed(1, run("upcycle", "--base", damaged, *options), str(damaged),
                           'tensor "model.embed_tokens.weight" holds a NaN')
        self.assertFalse((self.folder / "out").exists())

    def test_leaves_nothing_behind_when_the_disk_is_full(self):
        out = self.folder / "new/out"
        for command in (("upcycle", "--base", MODELS / "llama_tied", "--num-experts", "2",
                         "--allow-identical", "--out", out),
                        ("convert", "--from", MODELS / "llama_sharded", "--out", out),
                        ("convert", "--from", MODELS / "llama_gguf_mixed/model.gguf",
                         "--dtype", "f32", "--out", out)):
            self.assert_failed(1, run(*command, file_bytes=20_000), "too large")
            self.assertEqual(list(self.folder.iterdir()), [], command)

    def test_asks_for_room_on_the_disk_before_it_writes(self):
        out = self.folder / "new/out"
        huge = self.folder / "huge.safetensors"
        write_zeros(huge, {"t": [1 << 20, 1 << 20]})  # 4 TiB, none of it on the disk
        peer = "layer=0,experts=4294836225,heads=1,top_k=1,key_dim=2"
        for command in (("convert", "--from", huge),
                        ("upcycle", "--base", MODELS / "llama_tied", "--peer", peer)):
            self.assert_failed(1, run(*command, "--out", out), str(out), "the tensors need",
                               "MB free", "MB too few")
            self.assertEqual(list(self.folder.iterdir()), [huge])

    def test_removes_what_it_wrote_when_it_is_interrupted(self):
        source = self.folder / "source"
        write_wide_heads(source, 1024)
        peer = "layer=0,experts=1048576,heads=1,top_k=1,key_dim=2"
        for command in (("convert", "--from", source, "--out", self.folder / "out"),
                        ("convert", "--from", source, "--out", self.folder / "out.gguf"),
                        ("upcycle", "--base", MODELS / "llama_tied", "--peer", peer, "--out",
                         self.folder / "out")):
            for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
                returncode, errors = interrupt(self.folder, number, *command)
                self.assertEqual(returncode, code, errors)
                self.assertEqual(errors.splitlines()[-1],
                                 "peerage-model: interrupted; what was written is removed")
                self.assertEqual(list(self.folder.iterdir()), [source], command)

    def test_replaces_what_convert_wrote_and_nothing_else(self):
        source, out = MODELS / "llama_sharded", self.folder / "out"
        convert = ("convert", "--from", source, "--out", out)
        self.run_ok(*convert)
        self.assert_failed(1, run(*convert, "--dtype", "f32"),
                           "a model that convert wrote is there already; --force replaces it")
        (out / "notes.txt").write_text("mine")
        (out / "added.json").write_text("{}")
        self.assert_failed(1, run(*convert, "--force"), "added.json: is there already")
        (out / "added.json").unlink()
        before = (out / "model.safetensors").stat().st_size

        self.run_ok(*convert, "--dtype", "f32", "--force")

        self.assertGreater((out / "model.safetensors").stat().st_size, before)
        self.assertEqual((out / "notes.txt").read_text(), "mine")
        self.assertEqual(json.loads(self.run_ok("inspect", out, "--json"))["total_parameters"],
                         json.loads(self.run_ok("inspect", source, "--json"))["total_parameters"])
        # A conversion that fails leaves the old one as it was.
        self.assert_failed(1, run(*convert, "--force", file_bytes=20_000), "too large")
        self.run_ok("inspect", out)
        self.run_ok("convert", "--from", source, "--out", self.folder / "new", "--force")
        foreign = self.folder / "foreign"
        shutil.copytree(MODELS / "llama_tied", foreign)
        self.assert_failed(1, run("convert", "--from", source, "--out", foreign, "--force"),
                           "did not write")
        (foreign / "convert.json").write_text('{"files": ["../out/config.json"]}')
        self.assert_failed(1, run("convert", "--from", source, "--out", foreign, "--force"),
                           "no name of a file")
        self.assertTrue((out / "config.json").exists())

    def fused(self, dtype="F32", prefix="_orig_mod.module."):
        """llama_tied as people store it: prefixes, and projections in one tensor."""
        tensors = read_safetensors(MODELS / "llama_tied/model.safetensors")
        names, fused = sorted(tensors), {}
        for name in names:
            kind, shape, data = tensors[name]
            if name.endswith(("k_proj.weight", "v_proj.weight", "up_proj.weight")):
                continue
            for first, rest in (("q_proj", ("k_proj", "v_proj")), ("gate_proj", ("up_proj",))):
                if first not in name:
                    continue
                for other in rest:
                    _, more, bytes_ = tensors[name.replace(first, other)]
                    shape, data = [shape[0] + more[0], *shape[1:]], data + bytes_
                name = name.replace(first, {"q_proj": "qkv", "gate_proj": "gate_up"}[first])
            fused[prefix + name] = (kind, shape, data)
        path = self.folder / "fused.safetensors"
        write_safetensors(path, {name: as_dtype(tensor, dtype) for name, tensor in fused.items()})
        rename = self.folder / "names.txt"
        rename.write_text("_orig_mod.** => **\nmodule.** => **\n"
                          "model.layers.*.self_attn.qkv.weight -> "
                          "model.layers.*.self_attn.{q,k,v}_proj.weight\n"
                          "**.gate_up.weight -> **.{gate,up}_proj.weight\n"
                          "** -> **\n")
        return path, rename

    def test_takes_prefixes_away_and_fused_tensors_apart(self):
        model, out = MODELS / "llama_tied", self.folder / "out"
        source, rename = self.fused()
        convert = ("convert", "--from", source, "--out", out, "--rename", rename)

        self.assert_failed(1, run(*convert), "gate_up", "--config")
        self.assertFalse(out.exists())
        self.run_ok(*convert, "--config", model, "--tokenizer", model)

        self.assertEqual(read_safetensors(out / "model.safetensors"),
                         {name: as_dtype(tensor, "F32") for name, tensor in
                          read_safetensors(model / "model.safetensors").items()})
        self.run_ok("inspect", out)
        self.assertTrue((out / "tokenizer.json").exists())

    def test_checks_new_names_before_it_writes(self):
        model, out = MODELS / "llama_tied", self.folder / "out"
        source, rename = self.fused()
        rename.write_text(rename.read_text().replace("{gate,up}", "{gate,upp}"))
        convert = ("convert", "--from", source, "--out", out, "--rename", rename, "--config",
                   model / "config.json", "--tokenizer", model)
        self.assert_failed(1, run(*convert), "upp_proj.weight", "the config's model has no tensor")
        rename.write_text("_orig_mod.module.** -> **\n")
        self.assert_failed(1, run(*convert), "config.json", "is missing")
        config = json.loads((model / "config.json").read_text())
        config["num_key_value_heads"] = config["num_attention_heads"]
        wrong = self.folder / "wrong.json"
        wrong.write_text(json.dumps(config))
        _, rename = self.fused()
        self.assert_failed(1, run("convert", "--from", source, "--out", out, "--rename", rename,
                                  "--config", wrong), "rows, but the config asks for", " = ")
        self.assertFalse(out.exists())
        for option, where in (("--config", "/nowhere"), ("--tokenizer", self.folder)):
            self.assert_failed(1, run("convert", "--from", source, "--out", out, option, where),
                               f"{option}: {where}")

    def test_makes_floats_of_doubles(self):
        model, out = MODELS / "llama_tied", self.folder / "out"
        source, rename = self.fused("F64")
        convert = ("convert", "--from", source, "--rename", rename, "--config", model, "--out", out)

        self.assertIn("F64 tensors made f32: ", self.run_ok(*convert))

        self.assertEqual(read_safetensors(out / "model.safetensors"),
                         {name: as_dtype(tensor, "F32") for name, tensor in
                          read_safetensors(model / "model.safetensors").items()})
        self.assertIn("F64 tensors made bf16: ", self.run_ok(*convert, "--dtype", "bf16", "--force"))
        write_safetensors(source, {"t": ("F64", [1], struct.pack("<d", 1e300))})
        self.assert_failed(1, run("convert", "--from", source, "--out", self.folder / "x"),
                           'tensor "t": a value of magnitude 1e+300 is beyond the range of f32')

    def test_compares_a_head_with_the_embedding_that_it_is_tied_to(self):
        model = self.folder / "model"
        shutil.copytree(MODELS / "llama_tied", model)
        tensors = read_safetensors(model / "model.safetensors")
        kind, shape, data = as_dtype(tensors["model.embed_tokens.weight"], "F32")
        tensors["lm_head.weight"] = (kind, shape, data)
        write_safetensors(model / "model.safetensors", tensors)
        commands = [("inspect", model),
                    ("convert", "--from", model, "--out", self.folder / "a.gguf"),
                    ("upcycle", "--base", model, "--num-experts", "2", "--allow-identical",
                     "--normalize-top-k", "--out", self.folder / "b")]
        for command in commands:
            self.run_ok(*command)
        shutil.rmtree(self.folder / "b")
        (self.folder / "a.gguf").unlink()
        tensors["lm_head.weight"] = (kind, shape, data[:-4] + struct.pack("<f", 0.125))
        write_safetensors(model / "model.safetensors", tensors)
        commands.append(("convert", "--from", model, "--config", model, "--out", self.folder / "c"))
        for command in commands:
            self.assert_failed(1, run(*command), '"lm_head.weight": differs from '
                               '"model.embed_tokens.weight"', "tie_word_embeddings")
        self.assertEqual(list(self.folder.iterdir()), [model])

    def test_refuses_files_that_are_empty(self):
        for name in ("generation_config.json", "tokenizer_config.json"):
            model = self.folder / f"model_{name.split('.')[0]}"
            shutil.copytree(MODELS / "llama_tied", model)
            (model / name).write_text("")
            self.assert_failed(1, run("inspect", model), f"{model / name}: is empty (0 bytes)")

    def test_knows_identical_experts_in_another_dtype(self):
        base, other = MODELS / "llama_tied", self.folder / "other"
        self.run_ok("convert", "--from", base, "--out", other, "--dtype", "f32")
        upcycle = ("upcycle", "--base", base, "--expert", f"x={other}", "--normalize-top-k",
                   "--out", self.folder / "out")
        self.assert_failed(1, run(*upcycle), "have the same weights")
        config = json.loads((other / "config.json").read_text())
        config["bos_token_id"] = 7
        (other / "config.json").write_text(json.dumps(config))
        result = run(*upcycle, "--allow-identical")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn('bos_token_id of expert "x" is 7; the mixture has the base\'s', result.stderr)

    def test_loses_no_output_without_a_word(self):
        program = str(BIN / "peerage-model")
        for command in (["inspect", str(MODELS / "llama_tied")], ["--help"], ["--version"],
                        ["inspect", "--json", str(MODELS / "llama_tied")]):
            for redirection, reason in ((">/dev/full", "No space left on device"),
                                        (">&-", "Bad file descriptor")):
                result = subprocess.run(["sh", "-c", f'"$0" "$@" {redirection}', program, *command],
                                        capture_output=True, text=True, check=False)
                self.assertEqual((result.returncode, result.stderr),
                                 (1, f"peerage-model: standard output: {reason}\n"))
        # The tensors must not go where the answer would.
        out = self.folder / "out"
        result = subprocess.run(["sh", "-c", '"$0" "$@" >&-', program, "convert", "--from",
                                 str(MODELS / "llama_tied"), "--out", str(out)],
                                capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.run_ok("inspect", out)

    def test_speaks_of_its_command_line_in_its_words(self):
        for arguments, words in (
                (["convrt"], 'unknown command "convrt"; did you mean convert?'),
                (["upcycle", "--topk", "1"], "unknown option --topk; did you mean --top-k?"),
                (["upcycle", "--base", "b", "--out", "o", "--top-k", "0"],
                 '--top-k is "0", not a whole number from 1 to 256'),
                (["upcycle", "--base", "b", "--out", "o", "--top-k", ""],
                 '--top-k is "", not a whole number from 1 to 256'),
                (["upcycle", "--base", "b", "--out", "o", "--attention-top-k", "-1"],
                 '--attention-top-k is "-1", not a whole number from 1 to 256'),
                (["upcycle", "--base", "b", "--out", "o", "--threads", "9999999999999"],
                 '--threads is "9999999999999", not a whole number from 1 to 1024'),
                (["upcycle", "--base", "b", "--out", "o", "--random-seed", "-1"],
                 '--random-seed is "-1", not a whole number from 0 to 18446744073709551615'),
                (["upcycle", "--base", "b", "--out", "o", "--router-std", ""],
                 '--router-std: "" is not a number from 0 to 100'),
                (["inspect", "x.json", "--context", "16777217"],
                 '--context is "16777217", not a whole number from 0 to 16777216'),
                (["inspect", ""], "path: is empty"),
                (["convert", "--from", "x", "--out", "y", "--rename", ""], "--rename: is empty"),
                (["convert", "--from", "x", "--out", "y", "--dtype", ""],
                 '--dtype: "" is not keep, f32, bf16, f16, q8_0 or q4_1'),
                (["convert", "--from", "x", "--out", "y.gguf", "--force"],
                 "--force is for an --out directory")):
            self.assert_failed(2, run(*arguments), "peerage-model: " + words)

    def test_helps_in_one_way(self):
        for command in ("inspect", "convert", "upcycle"):
            text = self.run_ok(command, "--help")
            self.assertLessEqual(max(map(len, text.splitlines())), 100)
            self.assertEqual(text.count("\n  peerage-model " + command), 2, text)
            for word in ("TEXT", "INT", "UINT", "FLOAT", "[0 - ", " in {", "REQUIRED", "Excludes"):
                self.assertNotIn(word, text)

    def test_replaces_what_a_killed_run_left(self):
        out = self.folder / "out"
        command = ("upcycle", "--base", MODELS / "llama_tied", "--num-experts", "2",
                   "--allow-identical", "--normalize-top-k", "--out", out)
        killed = run(*command, file_bytes=20_000, dies_at_limit=True)
        self.assertEqual(killed.returncode, -signal.SIGXFSZ, killed.stderr)
        self.assertEqual([path.name for path in out.iterdir()], ["model.partial"])

        self.run_ok(*command)

        self.assertEqual(sorted(path.name for path in out.iterdir()),
                         ["config.json", "model.safetensors", "tokenizer.json", "upcycle.json"])

    def test_names_what_it_refuses(self):
        self.assert_failed(2, run("inspect"), "path")
        self.assert_failed(2, run("inspect", "x.json", "--contexts", "1"), "--contexts")
        self.assert_failed(2, run("inspect", "x.json", "--context", "-1"), "--context")
        self.assert_failed(2, run("convert", "--from", "x", "--out", "y", "--dtype", "q3"),
                           "--dtype")
        for source in ("x", SMOLLM2):
            self.assert_failed(2, run("convert", "--from", source, "--out", self.folder / "y",
                                      "--dtype", "q8_0"),
                               "--dtype q8_0 is for an --out ending in .gguf",
                               "takes keep, f32, bf16 or f16")
        self.assert_failed(2, run("convert", "--from", "x", "--out", "y.gguf", "--rename", "z"),
                           "--rename")
        self.assert_failed(2, run("convert", "--from", "", "--out", "y"), "--from: is empty")
        self.assert_failed(2, run("convert", "--from", "x", "--out", ""), "--out: is empty")
        self.assert_failed(1, run("convert", "--from", SMOLLM2, "--out", self.folder / "y"),
                           "safetensors files have no q8_0")
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
