#!/usr/bin/env python3
"""Writes the seed corpora of the fuzz targets: small valid files and their near misses.

Usage: make_corpus.py (writes beside itself, into corpus/)
"""

import io
import json
import math
import pathlib
import struct
import zipfile

CORPUS = pathlib.Path(__file__).parent / "corpus"


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def make_identity():
    digest = "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b"
    write("bearer_tokens_fuzz", "two", f"# who\nalice {digest}\nbob {digest[::-1]} 2030-01-01T00:00:00Z\n")
    write("bearer_tokens_fuzz", "twice", f"alice {digest}\nbob {digest}\n")
    write("bearer_tokens_fuzz", "no_hex", f"alice g{digest[1:]}\n")
    write("bearer_tokens_fuzz", "no_time", f"alice {digest} tomorrow\n")
    write("bearer_tokens_fuzz", "no_name", f"* {digest}\n")
    everything = {"methods": ["peerage.v1.A/B", "*"], "models": ["*"], "priorities": [-10, 10], "tenants": ["a", "*"],
                  "traces": "full", "hidden_states": True, "expert_control": True, "requests_per_second": 0.5,
                  "tokens_per_second": 1000, "concurrency": 8}
    write("policy_fuzz", "everything", json.dumps({"principals": {"alice": everything, "anonymous": {}, "*": {}}}))
    write("policy_fuzz", "unknown_key", json.dumps({"principals": {"alice": {"method": []}}}))
    write("policy_fuzz", "unknown_method", json.dumps({"principals": {"alice": {"methods": ["x"]}}}))
    write("policy_fuzz", "no_rate", json.dumps({"principals": {"alice": {"tokens_per_second": 0}}}))
    write("policy_fuzz", "tiny_rate", '{"principals": {"alice": {"tokens_per_second": 1e-300}}}')
    write("policy_fuzz", "backwards", json.dumps({"principals": {"alice": {"priorities": [5, 4]}}}))


def make_safetensors():
    two = {"__metadata__": {"format": "pt"}, "a": tensor("F32", [2, 1], 0, 8),
           "b": tensor("BF16", [1], 8, 10)}
    write("safetensors_fuzz", "two_tensors", safetensors(two, bytes(10)))
    write("safetensors_fuzz", "trailing_bytes", safetensors(two, bytes(11)))
    write("safetensors_fuzz", "empty", safetensors({}, b""))
    write("safetensors_fuzz", "zero_size_and_scalar",
          safetensors({"e": tensor("F16", [0, 3], 0, 0), "s": tensor("F32", [], 0, 4)}, bytes(4)))
    write("safetensors_fuzz", "overlap",
          safetensors({"a": tensor("U8", [3], 0, 3), "b": tensor("U8", [2], 2, 4)}, bytes(4)))
    write("safetensors_fuzz", "overflow",
          safetensors({"a": tensor("F64", [2**32, 2**32], 0, 4)}, bytes(4)))
    write("safetensors_fuzz", "duplicate_key",
          safetensors(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}', b""))
    write("safetensors_fuzz", "nul_padding", safetensors(b"{}\0\0", b""))
    write("safetensors_fuzz", "huge_length", struct.pack("<Q", 2**64 - 1) + b"{}")


def string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def key(name, kind, value):
    return string(name) + struct.pack("<I", kind) + value


def u32(name, value):
    return key(name, 4, struct.pack("<I", value))


def strings(name, values):
    return key(name, 9, struct.pack("<IQ", 8, len(values)) + b"".join(map(string, values)))


def gguf(keys, tensors, version=3):
    infos, data = b"", b""
    for name, dims, kind, size in tensors:
        infos += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(data))
        data += bytes(-(-size // 32) * 32)
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + infos
    return head + bytes(-len(head) % 32) + data


def make_gguf():
    keys = [key("general.architecture", 8, string("llama")), u32("general.alignment", 32),
            u32("llama.block_count", 1), u32("llama.context_length", 8),
            u32("llama.embedding_length", 32), u32("llama.feed_forward_length", 32),
            u32("llama.attention.head_count", 2), u32("llama.attention.head_count_kv", 1),
            key("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5)),
            key("tokenizer.ggml.model", 8, string("gpt2")),
            key("tokenizer.ggml.pre", 8, string("smollm")),
            strings("tokenizer.ggml.tokens", ["a", "b"]), strings("tokenizer.ggml.merges", []),
            key("tokenizer.ggml.token_type", 9, struct.pack("<IQii", 5, 2, 1, 3)),
            key("tokenizer.ggml.add_bos_token", 7, b"\0"),
            u32("tokenizer.ggml.bos_token_id", 1)]
    q8 = lambda rows: rows * 34
    block = [("attn_norm", [32], 0, 128), ("attn_q", [32, 32], 8, q8(32)),
             ("attn_k", [32, 16], 8, q8(16)), ("attn_v", [32, 16], 8, q8(16)),
             ("attn_output", [32, 32], 8, q8(32)), ("ffn_norm", [32], 0, 128),
             ("ffn_gate", [32, 32], 8, q8(32)), ("ffn_up", [32, 32], 8, q8(32)),
             ("ffn_down", [32, 32], 8, q8(32))]
    tensors = [("token_embd.weight", [32, 2], 8, q8(2)), ("output_norm.weight", [32], 0, 128)]
    tensors += [(f"blk.0.{name}.weight", *rest) for name, *rest in block]
    write("gguf_fuzz", "model", gguf(keys, tensors))
    write("gguf_fuzz", "missing_tensor", gguf(keys, tensors[1:]))
    write("gguf_fuzz", "keys_only", gguf(keys, []))
    write("gguf_fuzz", "empty", gguf([], []))
    write("gguf_fuzz", "version_1", gguf([], [], version=1))
    write("gguf_fuzz", "every_type", gguf(
        [key(f"k{kind}", kind, bytes(size))
         for kind, size in enumerate([1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8])], []))
    write("gguf_fuzz", "string_of_minus_one", gguf([key("k", 8, b"\xff" * 8)], []))
    write("gguf_fuzz", "every_tensor_type", gguf(
        [], [("f32", [1], 0, 4), ("f16", [1], 1, 2), ("q4_0", [32], 2, 18), ("q4_1", [32], 3, 20),
             ("q5_0", [32], 6, 22), ("q5_1", [32], 7, 24), ("q8_0", [32], 8, 34),
             ("q6_k", [256], 14, 210), ("bf16", [1], 30, 2)]))
    write("gguf_fuzz", "dimensions_overflow", gguf([], [("t", [2**32, 2**32], 0, 0)]))


def make_config():
    sizes = {"vocab_size": 8, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64}
    llama = {"model_type": "llama", **sizes, "rms_norm_eps": 1e-5, "eos_token_id": [2, 3],
             "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    peerage = {"model_type": "peerage", "format_version": 1, **sizes, "norm_type": "layernorm",
               "norm_eps": 1e-5, "rope_theta": 1e4, "rope_interleaved": True, "head_dim": 16,
               "hidden_act": "gelu_tanh", "parallel_block": True, "tie_word_embeddings": True,
               "bos_token_id": 1, "eos_token_id": 2, "attention": {"kind": "dense"},
               "ffn": [{"kind": "dense", "intermediate_size": 32}],
               "layers": {"1": {"ffn": [{"kind": "dense"}], "attention": {"kind": "dense"}}}}
    peer = {**peerage, "layers": {"1": {"ffn": [
        {"kind": "peer", "num_experts": 16, "heads": 2, "top_k": 8, "key_dim": 4,
         "keys": "per_head", "experts": "per_head", "query_bias": True, "query_norm": "layer",
         "query_norm_eps": 1e-3, "score": "sigmoid", "activation": "relu", "glu": True,
         "pre_rmsnorm": True, "layout": "peerage"},
        {"kind": "pkm", "num_experts": 9, "heads": 1, "top_k": 1, "keys": "direct"}]}}}
    bam = {**peerage, "attention": {"kind": "mixture", "num_experts": 2, "kv": "expert",
                                    "routing": "soft", "expert_names": ["base", "law"]},
           "ffn": [{"kind": "mixture", "num_experts": 2, "top_k": 1, "normalize_top_k": True,
                    "intermediate_size": 16, "expert_names": ["base", "law"]}],
           "layers": {"1": {"attention": {"kind": "mixture", "num_experts": 4, "kv": "shared",
                                          "routing": "top_k", "top_k": 3,
                                          "normalize_top_k": True}}}}
    moepp = {**peerage, "ffn": [{"kind": "mixture", "num_experts": 2, "zero_experts": 1,
                                 "copy_experts": 2, "constant_experts": 1, "top_k": 5,
                                 "gating_residual": True, "expert_names": ["base", "law"]}],
             "layers": {}}
    mixtral = {**llama, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2,
               "rope_theta": 1e6, "router_aux_loss_coef": 0.02, "output_router_logits": False}
    del mixtral["rope_parameters"]
    scaled = {**llama, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}
    for name, config in [("llama", llama), ("peerage", peerage), ("peer", peer),
                         ("bam", bam), ("moepp", moepp), ("mixtral", mixtral), ("scaled", scaled)]:
        write("model_config_fuzz", name, json.dumps(config))
    write("model_config_fuzz", "duplicate_key", '{"model_type": "llama", "model_type": "llama"}')
    write("model_config_fuzz", "not_utf8", b'{"model_type": "\xff"}')


# By layout: the fields of its entry, and its tensors beside the sizes N, d, n, heads and key_dim.
def layouts():
    n, d, heads, key_dim = 2, 4, 3, 4
    rows, q = n * n, heads * key_dim
    per_head = {"heads": heads, "key_dim": key_dim, "keys": "per_head"}
    direct = {"heads": 1, "keys": "direct"}
    yield "peerage", {**per_head, "query_bias": True, "query_norm": "batch"}, {
        "query.weight": [q, d], "query.bias": [q], "query_norm.weight": [q],
        "query_norm.bias": [q], "query_norm.running_mean": [q], "query_norm.running_var": [q],
        "sub_keys": [heads, 2, n, key_dim // 2], "down.weight": [rows, d], "up.weight": [rows, d]}
    yield "lucidrains", {**per_head, "pre_rmsnorm": True, "experts": "per_head"}, {
        "norm.gamma": [d], "to_queries.0.weight": [q, d], "keys": [heads, n, 2, key_dim // 2],
        "weight_down_embed.weight": [heads * rows, d], "weight_up_embed.weight": [heads * rows, d]}
    yield "meta_memory", {**per_head, "query_bias": True}, {
        "query_proj.query_mlps.0.weight": [q, d], "query_proj.query_mlps.0.bias": [q],
        "keys": [2 * heads * n, key_dim // 2], "values_u.weight": [rows, d],
        "values_v.weight": [rows, d], "value_proj.weight": [d, d]}
    yield "ostix360", {**per_head, "query_bias": True, "query_norm": "batch", "glu": True}, {
        "query_proj.0.weight": [q, d], "query_proj.0.bias": [q], "query_proj.1.weight": [q],
        "query_proj.1.bias": [q], "query_proj.1.running_mean": [q],
        "query_proj.1.running_var": [q], "keys": [heads, 2, n, key_dim // 2],
        "w_down_embed.weight": [rows, d], "w_up_embed.weight": [rows, d],
        "w_gate_embed.weight": [rows, d]}
    yield "doge", direct, {"router_gate.weight": [2 * n, d], "down_embed.weight": [rows, d],
                           "up_embed.weight": [rows, d]}
    yield "omnimoe", {**direct, "query_bias": True, "score": "joint_softmax"}, {
        "router_gate_x.weight": [n, d], "router_gate_y.weight": [n, d],
        "router_norm_x.running_mean": [n], "router_norm_x.running_var": [n],
        "router_norm_y.running_mean": [n], "router_norm_y.running_var": [n],
        "up_embed.weight": [rows, d], "down_embed.weight": [rows, d]}


def make_layouts():
    config = {"model_type": "peerage", "format_version": 1, "vocab_size": 2, "hidden_size": 4,
              "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
              "max_position_embeddings": 8, "tie_word_embeddings": True, "parallel_block": True}
    backbone = {"model.embed_tokens.weight": [2, 4], "model.norm.weight": [4],
                "model.layers.0.input_norm.weight": [4],
                **{f"model.layers.0.attention.{name}_proj.weight": [4, 4] for name in "qkvo"}}
    for layout, fields, tensors in layouts():
        entry = {"kind": "peer", "num_experts": 4, "top_k": 2, "layout": layout, **fields}
        text = json.dumps({**config, "ffn": [entry]}).encode() + b"\0"
        shapes = backbone | {f"model.layers.0.ffn.peer.{name}": shape
                             for name, shape in tensors.items()}
        header, data = {}, b""
        for name, shape in shapes.items():
            # 1, 2, 3, ... in f16: finite, distinct, and fit for a variance.
            values = struct.pack(f"<{math.prod(shape)}e", *range(1, math.prod(shape) + 1))
            header[name] = tensor("F16", shape, len(data), len(data) + len(values))
            data += values
        write("peer_layout_fuzz", layout, text + safetensors(header, data))
        write("peer_layout_fuzz", layout + "_not_finite",
              text + safetensors(header, b"\xff" * len(data)))
        del header["model.norm.weight"]
        write("peer_layout_fuzz", layout + "_hole", text + safetensors(header, data))


def stored_zip(entries):
    """An archive as torch.save lays it out, its bytes stored as they are."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo("a/" + name), data)
    return target.getvalue()


def name(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def numbers(values):
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def torch_tensor(kind, key, elements, offset, shape, strides):
    storage = (b"(" + name("storage") + f"ctorch\n{kind}Storage\n".encode() + name(key)
               + name("cpu") + b"J" + struct.pack("<i", elements) + b"tQ")
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"J" + struct.pack("<i", offset)
            + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)RtR")


def torch_file(items, storages, order=b"little", protocol=2):
    pickle = (b"\x80" + bytes([protocol]) + b"}(" + b"".join(name(key) + value for key, value
                                                             in items.items()) + b"u.")
    return stored_zip({"data.pkl": pickle, "byteorder": order, "version": b"3\n",
                       **{f"data/{key}": data for key, data in storages.items()}})


def make_pytorch():
    data = {"0": bytes(range(48))}
    whole = torch_tensor("Float", "0", 12, 0, [3, 4], [4, 1])
    views = {"whole": whole, "transposed": torch_tensor("Float", "0", 12, 0, [4, 3], [1, 4]),
             "part": torch_tensor("Float", "0", 12, 5, [2, 2], [4, 2]),
             "repeated": torch_tensor("Float", "0", 12, 3, [5, 2], [0, 1]),
             "scalar": torch_tensor("Float", "0", 12, 11, [], []),
             "empty": torch_tensor("Float", "0", 12, 0, [0, 4], [4, 1])}
    write("pytorch_fuzz", "views", torch_file(views, data))
    write("pytorch_fuzz", "big_endian", torch_file(views, data, order=b"big"))
    write("pytorch_fuzz", "dtypes", torch_file(
        {kind: torch_tensor(kind, kind, 1, 0, [1], [1])
         for kind in ["Half", "BFloat16", "Double", "Long", "Bool", "ComplexDouble"]},
        {"Half": bytes(2), "BFloat16": bytes(2), "Double": bytes(8), "Long": bytes(8),
         "Bool": bytes(1), "ComplexDouble": bytes(16)}))
    write("pytorch_fuzz", "nested", torch_file(
        {"model": b"}" + name("w") + whole + b"s", "optimizer": b"}K\0}" + name("m") + whole + b"ss",
         "args": b"cargparse\nNamespace\n)\x81}" + name("lr") + b"G" + bytes(8) + b"sb",
         "list": b"](K\1M\1\0e", "set": b"\x8f(K\1\x90", "long": b"\x8a\x09" + bytes(9)}, data))
    write("pytorch_fuzz", "protocol_4", torch_file(
        {"c": b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R\x940h\0\x95" + bytes(8),
         "w": whole}, data, protocol=4))
    write("pytorch_fuzz", "circle", torch_file({"w": whole, "d": b"}q\1" + name("d") + b"h\1s"}, data))
    write("pytorch_fuzz", "code", torch_file({"x": b"cposix\nsystem\n(" + name("true") + b"tR"}, {}))
    write("pytorch_fuzz", "beyond", torch_file(
        {"w": torch_tensor("Float", "0", 12, 1, [3, 4], [4, 1])}, data))
    write("pytorch_fuzz", "overflow", torch_file(
        {"w": torch_tensor("Float", "0", 12, 0, [2**31 - 1] * 4, [2**31 - 1] * 4)}, data))
    write("pytorch_fuzz", "huge_repetition", torch_file(
        {"w": torch_tensor("Float", "0", 12, 0, [2**31 - 1], [0])}, data))
    write("pytorch_fuzz", "no_torch", stored_zip({"other": b""}))


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def make_door():
    """Pieces of what both sides of an HTTP/2 connection send; see door_fuzz.cc."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings, ack = frame(4, 0, 0), frame(4, 1, 0)

    def pieces(*parts):
        return b"".join(bytes([len(part) * 2 + (side == "server")]) + part for side, part in parts)

    def call(stream, flags=4):
        return frame(1, flags, stream, b"headers")

    begin = [("client", preface + settings), ("server", settings + ack), ("client", ack)]
    write("door_fuzz", "whole_call", pieces(*begin, ("client", call(1) + frame(0, 1, 1, b"request")),
                                            ("server", call(1, 5))))
    write("door_fuzz", "more_calls_than_fit", pieces(*begin, *[("client", call(i)) for i in range(1, 17, 2)]))
    write("door_fuzz", "resets", pieces(*begin, *[("client", call(i) + frame(3, 0, i, bytes(4)))
                                                  for i in range(1, 31, 2)]))
    write("door_fuzz", "growing_block", pieces(*begin, ("client", call(1, 0)),
                                               *[("client", frame(9, 0, 1, bytes(100)))] * 200))
    write("door_fuzz", "every_frame", pieces(*begin, *[("client", frame(kind, 0, 1, b"12345678"))
                                                       for kind in range(12)],
                                             *[("server", frame(kind, 0, 1, b"12345678"))
                                               for kind in range(12)]))
    write("door_fuzz", "large_head", pieces(*begin, ("client", b"\xff\xff\xff\1\4\0\0\0\1")))
    write("door_fuzz", "http1", pieces(("client", b"GET / HTTP/1.1\r\n\r\n")))


def varint(value):
    head = bytes([value & 0x7f | (0x80 if value > 0x7f else 0)])
    return head + varint(value >> 7) if value > 0x7f else head


def field(number, value):
    """Of a protobuf message: a number, or a float, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def make_requests():
    """Messages of clients; see request_fuzz.cc."""
    text = {"text": "once upon"}
    control = {"layers": [
        {"layer": 0, "kind": "EXPERT_LAYER_KIND_PEER", "masked_ids": [1, 17], "bias": {"3": -1.5}, "top_k": 2},
        {"layer": 1, "kind": "EXPERT_LAYER_KIND_MIXTURE_FFN", "masked_ids": [2]}]}
    everything = {
        "model": "fake", "prompt": text,
        "sampling": {"temperature": 0.5, "top_k": 4, "top_p": 0.9, "min_p": 0.1, "seed": "7", "candidates": 2,
                     "repetition_penalty": 1.1, "frequency_penalty": -2, "presence_penalty": 2,
                     "logit_bias": {"3": 1, "31": -100}},
        "stopping": {"max_tokens": 20, "min_tokens": 2, "stop": ["end"], "stop_token_ids": [5], "ignore_eos": True},
        "output": {"logprobs": 20, "prompt_logprobs": True, "expert_trace": "EXPERT_TRACE_LEVEL_FULL"},
        "scheduling": {"priority": -100, "tenant": "a", "queue_timeout": "1.5s", "cache_salt": "b"},
        "expert_control": control, "hidden_states": {"layers": [0, 3], "positions": [0, 9], "prompt": True}}
    chat = {"prompt": {"chat": {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant"}]}}}
    going_on = {"prompt": {"token_ids": {"ids": [1, 2]}, "add_bos": True}, "generated_token_ids": {"ids": [4, 0]},
                "sampling": {"seed": "1"}}
    forced = {"prompt": {"token_ids": {"ids": [1, 2]}}, "expert_control": {"layers": [
        {"layer": 1, "kind": "EXPERT_LAYER_KIND_MIXTURE_FFN",
         "forced": {"tokens": 1, "heads": 1, "top_k": 2, "expert_ids": "AAAAAAEAAAA="}}]}}
    wrong = {"model": "fake", "sampling": {"temperature": "NaN", "top_p": 0, "candidates": 17, "min_p": "Infinity"},
             "stopping": {"max_tokens": 0, "stop": [""] * 17}, "output": {"logprobs": 21}}
    score = {"context": text, "continuations": [{"text": " a"}, {"token_ids": {"ids": [3, 4]}}], "logprobs": 3,
             "expert_trace": "EXPERT_TRACE_LEVEL_SUMMARY", "hidden_states": {"layers": [1], "generated": True}}
    for name, kind, message in [
            ("everything", "g", everything), ("chat", "g", chat), ("going_on", "g", going_on),
            ("forced", "g", forced), ("wrong", "g", wrong), ("too_long", "g", {
                "prompt": {"text": "a" * 65}}), ("other_model", "g", {"model": "other", "prompt": text}),
            ("stream", "n", {"request": everything, "tokens_per_message": 1025}), ("score", "s", score),
            ("score_nothing", "s", {"context": text}), ("tokenize", "t", {"prompt": {"text": "a b"}}),
            ("detokenize", "d", {"token_ids": [1, 32]}),
            ("usage", "u", {"layer": 1, "kind": "EXPERT_LAYER_KIND_MIXTURE_FFN"}),
            ("watch", "w", {"interval": "0.5s"})]:
        write("request_fuzz", name, kind + json.dumps(message))
    write("request_fuzz", "encoded", b"G" + field(2, field(1, b"abc")) + field(3, field(1, 0.5) + field(2, 3)) +
          field(4, field(1, 5)) + field(8, field(1, field(1, 0) + field(2, 1) + field(3, b"\1\2"))))
    write("request_fuzz", "no_number", b"G" + field(2, field(1, b"abc")) + field(3, field(1, math.nan)))
    write("request_fuzz", "no_utf8", b"G" + field(2, field(1, b"\xff")))
    write("request_fuzz", "encoded_score", b"S" + field(2, field(2, field(1, b"\1\2"))) + field(3, field(1, b"ab")))
    write("request_fuzz", "unknown_field", b"T" + field(2, field(1, b"a")) + field(1000, 2**64 - 1))


make_door()
make_identity()
make_requests()
make_safetensors()
make_pytorch()
make_gguf()
make_config()
make_layouts()
