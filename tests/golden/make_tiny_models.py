#!/usr/bin/env python3
"""Small random models in every file form, with their expected log-probabilities.

Writes models/NAME/{config.json, *.safetensors, tokenizer.json} or models/NAME/model.gguf, and
models/NAME/expected.json. `peerage` models are evaluated by peerage_reference.py (numpy, float64),
`llama` models by Hugging Face transformers (float64). Together they cover both block forms, both
norms, both rotary pairings, every activation, tied and untied heads, every ratio of query to KV
heads, all stored types and all file forms.

Usage: make_tiny_models.py   (run by `make golden`)
"""

import json
import pathlib
import shutil

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import peerage_reference

HERE = pathlib.Path(__file__).resolve().parent
VOCAB = 288
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LENGTHS = [2, 33, 150]  # one step, past a block of 16, past several

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}

BASE = {
    "architectures": ["PeerageForCausalLM"], "model_type": "peerage", "format_version": 1,
    "vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "intermediate_size": 64, "hidden_act": "silu", "norm_type": "rmsnorm", "norm_eps": 1e-5,
    "rope_theta": 10000.0, "rope_interleaved": False, "max_position_embeddings": 256,
    "tie_word_embeddings": False, "parallel_block": False, "bos_token_id": 1, "eos_token_id": 2,
    "attention": {"kind": "dense"}, "ffn": [{"kind": "dense"}],
}

# name: (stored type, shards, changes to BASE)
PEERAGE = {
    "peerage_sequential": ("f32", 1, {}),
    "peerage_parallel": ("bf16", 1, {
        "parallel_block": True, "norm_type": "layernorm", "hidden_act": "gelu",
        "rope_interleaved": True, "num_key_value_heads": 4, "tie_word_embeddings": True}),
    "peerage_parallel_rmsnorm": ("f16", 1, {
        "parallel_block": True, "hidden_act": "gelu_tanh", "num_key_value_heads": 1,
        "rope_theta": 100000.0, "norm_eps": 1e-3}),
    "peerage_layer_overrides": ("f32", 3, {
        "norm_type": "layernorm", "hidden_act": "relu", "rope_interleaved": True,
        "num_hidden_layers": 3, "tie_word_embeddings": True, "intermediate_size": 48,
        "layers": {"1": {"ffn": [{"kind": "dense", "intermediate_size": 80}]},
                   "2": {"attention": {"kind": "dense"}, "ffn": [{"kind": "dense"}]}}}),
    "peerage_odd_sizes": ("bf16", 1, {
        "hidden_size": 44, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 20,
        "intermediate_size": 52, "rope_theta": 500.0, "eos_token_id": [0, 2],
        "bos_token_id": None}),
}

LLAMA_BASE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB,
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 64, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "max_position_embeddings": 256, "tie_word_embeddings": False, "attention_bias": False,
    "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
    "transformers_version": "4.57.6", "use_cache": True,
}

# name: (stored type, shards, changes to LLAMA_BASE)
LLAMA = {
    "llama_untied": ("f32", 1, {"head_dim": 8, "rope_scaling": None}),
    "llama_tied": ("bf16", 1, {
        "tie_word_embeddings": True, "torch_dtype": "bfloat16", "head_dim": 16,
        "num_key_value_heads": 1, "rope_theta": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 50000.0}}),
    "llama_sharded": ("f16", 3, {
        "num_hidden_layers": 3, "num_key_value_heads": 4, "torch_dtype": "float16",
        "eos_token_id": [0, 2]}),
}


def make_tokenizer():
    """A byte-level BPE of VOCAB entries, trained on the golden texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train([str(f) for f in sorted((HERE / "texts").glob("prose_*.txt"))], trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    return tokenizer


def random_weights(shapes, seed):
    """Spread wide enough that attention is peaked, norms matter and no logit is alike."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            value = 1 + 0.3 * value
        elif "embed_tokens" in name or "lm_head" in name:
            value = value * 2 / shape[1] ** 0.5
        elif "q_proj" in name or "k_proj" in name:
            value = value * 1.4 / shape[1] ** 0.5
        else:
            value = value / shape[1] ** 0.5
        weights[name] = value
    return weights


def peerage_shapes(config):
    d, dim = config["hidden_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * dim, config["num_key_value_heads"] * dim
    shapes = {"model.embed_tokens.weight": (VOCAB, d), "model.norm.weight": (d,)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (VOCAB, d)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        override = config.get("layers", {}).get(str(i), {})
        dense = override.get("ffn", config["ffn"])[0]
        f = dense.get("intermediate_size", config["intermediate_size"])
        shapes[layer + "input_norm.weight"] = (d,)
        if not config["parallel_block"]:
            shapes[layer + "post_attention_norm.weight"] = (d,)
        for name, shape in {"q": (q, d), "k": (kv, d), "v": (kv, d), "o": (d, q)}.items():
            shapes[f"{layer}attention.{name}_proj.weight"] = shape
        for name, shape in {"gate": (f, d), "up": (f, d), "down": (d, f)}.items():
            shapes[f"{layer}ffn.dense.{name}_proj.weight"] = shape
    return shapes


def llama_shapes(config):
    ours = {"input_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
            "attention.": "self_attn.", "ffn.dense.": "mlp."}
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    shapes = {}
    for name, shape in peerage_shapes({**BASE, **config, "head_dim": dim}).items():
        for a, b in ours.items():
            name = name.replace("." + a, "." + b)
        shapes[name] = shape
    return shapes


def llama_reference(config, weights):
    """A function from token ids to log-probabilities, by transformers in float64."""
    settings = {k: v for k, v in config.items() if v is not None and k != "rope_parameters"}
    if "rope_parameters" in config:
        settings["rope_theta"] = config["rope_parameters"]["rope_theta"]
    settings = {k: v for k, v in settings.items() if k not in ("architectures", "torch_dtype")}
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**settings, attn_implementation="eager")).double().eval()
    state = {k: v.double() for k, v in weights.items()}
    state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    model.load_state_dict(state, strict=True)
    return lambda tokens: torch.log_softmax(model(torch.tensor([tokens])).logits[0], -1).numpy()


def peerage_reference_of(config, weights):
    arrays = {k: v.double().numpy() for k, v in weights.items()}
    return lambda tokens: peerage_reference.log_softmax(
        peerage_reference.logits(tokens, arrays, config))


def save_safetensors(directory, weights, shards):
    if shards == 1:
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(weights)
    weight_map = {}
    for s in range(shards):
        file = f"model-{s + 1:05d}-of-{shards:05d}.safetensors"
        part = {n: weights[n] for n in names[s::shards]}
        save_file(part, directory / file, metadata={"format": "pt"})
        weight_map.update({n: file for n in part})
    total = sum(w.numel() * w.element_size() for w in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(directory / "model.safetensors.index.json", index, indent=1)


def write_expected(directory, source, reference, seed):
    """Random token sequences and the log-probability of every token but the first."""
    generator = np.random.default_rng(seed)
    sequences = []
    for length in LENGTHS:
        tokens = generator.integers(0, VOCAB, length).tolist()
        table = reference(tokens)
        values = [round(float(table[i, t]), 6) for i, t in enumerate(tokens[1:])]
        sequences.append({"tokens": tokens, "log_probabilities": values})
    write_json(directory / "expected.json", {"made_by": source, "sequences": sequences})
    print(f"{directory.name:28s} mean NLL {-np.mean(values):6.3f}  deviation {np.std(values):.3f}")


def write_json(path, value, indent=None):
    separators = None if indent else (",", ":")
    path.write_text(json.dumps(value, indent=indent, separators=separators) + "\n")


def fresh(name):
    directory = HERE / "models" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def make_directories(tokenizer):
    compact = json.dumps(json.loads(tokenizer.to_str()), separators=(",", ":"), ensure_ascii=False)
    recipes = [(name, recipe, BASE, peerage_shapes, peerage_reference_of, "peerage_reference.py")
               for name, recipe in PEERAGE.items()]
    recipes += [(name, recipe, LLAMA_BASE, llama_shapes, llama_reference,
                 f"transformers {transformers.__version__}") for name, recipe in LLAMA.items()]
    for seed, (name, recipe, base, shapes, reference, source) in enumerate(recipes):
        dtype, shards, changes = recipe
        config = {**base, **changes}
        if config.get("rope_theta", 0) is None:
            del config["rope_theta"]
        weights = {k: v.to(TYPES[dtype]) for k, v in random_weights(shapes(config), seed).items()}
        directory = fresh(name)
        write_json(directory / "config.json", config, indent=1)
        (directory / "tokenizer.json").write_text(compact + "\n", encoding="utf-8")
        save_safetensors(directory, weights, shards)
        write_expected(directory, source, reference(config, weights), seed)


def gguf_type(name):
    """One of every supported tensor type over the matrices of one model."""
    kinds = gguf.GGMLQuantizationType
    by_part = {"token_embd": kinds.Q8_0, "output": kinds.BF16, "attn_q": kinds.Q4_1,
               "attn_k": kinds.Q4_0, "attn_v": kinds.F16, "attn_output": kinds.Q5_0,
               "ffn_gate": kinds.Q5_1, "ffn_up": kinds.F32, "ffn_down": kinds.Q6_K}
    return by_part.get(name.split(".")[-2], kinds.F32)


def random_q6_k(shape, generator):
    """Blocks of 256: ql[128], qh[64], int8 scales[16], f16 d; the writer has no Q6_K encoder."""
    blocks = shape[0] * shape[1] // 256
    ql = generator.integers(0, 256, (blocks, 128), dtype=np.uint8)
    qh = generator.integers(0, 256, (blocks, 64), dtype=np.uint8)
    scales = generator.integers(-64, 64, (blocks, 16), dtype=np.int8).view(np.uint8)
    d = np.full((blocks, 1), 1e-4, dtype=np.float16).view(np.uint8)
    return np.concatenate([ql, qh, scales, d], axis=1).reshape(shape[0], -1)


def permute_rows(array, heads):
    """The order in which a GGUF stores query and key rows (interleaved rotary pairs)."""
    rows = array.shape[0]
    return array.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(rows, -1)


def make_gguf(tokenizer, name="llama_gguf_mixed", seed=100):
    config = {**LLAMA_BASE, "head_dim": 8, "intermediate_size": 256, "num_hidden_layers": 1}
    shapes = llama_shapes(config)
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
             "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
             "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
             "model.layers": "blk"}
    directory = fresh(name)
    writer = gguf.GGUFWriter(directory / "model.gguf", "llama")
    write_gguf_metadata(writer, config, tokenizer)
    generator = np.random.default_rng(seed)
    weights = {}
    for tensor, value in random_weights(shapes, seed).items():
        stored = tensor
        for a, b in names.items():
            stored = stored.replace(a, b)
        kind = gguf_type(stored)
        if kind == gguf.GGMLQuantizationType.Q6_K:
            data = random_q6_k(value.shape, generator)
        else:
            data = gguf.quants.quantize(value.numpy(), kind)
        weights[tensor] = torch.from_numpy(
            gguf.quants.dequantize(data, kind).reshape(value.shape).astype(np.float32))
        if "attn_q" in stored or "attn_k" in stored:
            heads = config["num_attention_heads" if "attn_q" in stored else "num_key_value_heads"]
            data = permute_rows(data, heads)
        writer.add_tensor(stored, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    source = f"transformers {transformers.__version__} on the dequantised weights"
    write_expected(directory, source, llama_reference(config, weights), seed)


def write_gguf_metadata(writer, config, tokenizer):
    state = json.loads(tokenizer.to_str())
    tokens = [t for t, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in SPECIAL else 1 for t in tokens])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m)
                             for m in state["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def main():
    torch.set_grad_enabled(False)
    tokenizer = make_tokenizer()
    make_directories(tokenizer)
    make_gguf(tokenizer)


if __name__ == "__main__":
    main()
