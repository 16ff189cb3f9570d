#!/usr/bin/env python3
"""Expected values for SmolLM2-135M-Instruct, from Hugging Face transformers.

Reads the GGUF with the gguf package, dequantises every tensor to float32 and runs
LlamaForCausalLM on it: nothing here shares code with Peerage. Writes smollm2.json:

  texts   every text of texts/, its token ids and, for each token after the first, its
          log-probability given the tokens before it (natural logarithm, raw logits)
  greedy  prompts, their greedy continuation, and at every step the gap between the best and the
          second-best log-probability; where the gap is small another token may win

Usage: make_smollm2_golden.py MODEL.gguf   (run by `make golden`)
"""

import json
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

HERE = pathlib.Path(__file__).resolve().parent
CONTROL_TOKEN = 3  # tokenizer.ggml.token_type of special tokens
GREEDY_TOKENS = 64
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def chat(user):
    return (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n"
        f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
    )


PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a house at the edge of a forest,",
    "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
    "Question: What is 12 + 30?\nAnswer:",
    "La mer était calme ce matin-là, et",
    chat("Why is the sky blue?"),
    chat("Write a short poem about autumn leaves."),
    chat("List three prime numbers greater than 10."),
]


def field(reader, name):
    return reader.fields[name].contents()


def load_tokenizer(reader):
    tokens = field(reader, "tokenizer.ggml.tokens")
    types = field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([
        AddedToken(t, special=True, normalized=False)
        for t, kind in zip(tokens, types) if kind == CONTROL_TOKEN
    ])
    return tokenizer


def restore_rows(weight, heads):
    """Undoes the converter's permutation of query and key rows for interleaved rotary pairs."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def load_model(reader):
    heads = field(reader, "llama.attention.head_count")
    kv_heads = field(reader, "llama.attention.head_count_kv")
    layers = field(reader, "llama.block_count")
    config = transformers.LlamaConfig(
        vocab_size=field(reader, "llama.vocab_size"),
        hidden_size=field(reader, "llama.embedding_length"),
        intermediate_size=field(reader, "llama.feed_forward_length"),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        hidden_act="silu",
        rms_norm_eps=field(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_theta=field(reader, "llama.rope.freq_base"),
        max_position_embeddings=field(reader, "llama.context_length"),
        tie_word_embeddings=True,
        attn_implementation="eager",
    )
    names = {"token_embd.weight": "model.embed_tokens.weight",
             "output_norm.weight": "model.norm.weight"}
    parts = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
             "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    for i in range(layers):
        for ours, theirs in parts.items():
            names[f"blk.{i}.{ours}.weight"] = f"model.layers.{i}.{theirs}.weight"
    state = {}
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        weight = weight.reshape(tuple(reversed([int(n) for n in tensor.shape])))
        if ".attn_q." in tensor.name:
            weight = restore_rows(weight, heads)
        if ".attn_k." in tensor.name:
            weight = restore_rows(weight, kv_heads)
        state[names[tensor.name]] = torch.from_numpy(np.ascontiguousarray(weight))
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = transformers.LlamaForCausalLM(config).eval()
    model.load_state_dict(state, strict=True)
    return model


def log_probabilities(model, tokens):
    """The log-probability of each token but the first, given those before it."""
    logits = model(torch.tensor([tokens])).logits[0, :-1].double()
    table = torch.log_softmax(logits, dim=-1)
    return table.gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()


def greedy(model, tokens):
    """The greedy continuation (never stopped early) and the top-two gap at each step."""
    chosen, gaps, cache = [], [], None
    step = torch.tensor([tokens])
    for _ in range(GREEDY_TOKENS):
        output = model(step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        best = torch.log_softmax(output.logits[0, -1].double(), dim=-1).topk(2)
        chosen.append(int(best.indices[0]))
        gaps.append(round(float(best.values[0] - best.values[1]), 5))
        step = torch.tensor([[chosen[-1]]])
    return chosen, gaps


def main():
    path = pathlib.Path(sys.argv[1])
    reader = gguf.GGUFReader(path)
    tokenizer = load_tokenizer(reader)
    torch.set_grad_enabled(False)
    model = load_model(reader)
    golden = {
        "model": path.name,
        "made_by": "tests/golden/make_smollm2_golden.py: transformers "
                   f"{transformers.__version__}, float32, dequantised weights",
        "texts": [],
        "greedy": [],
    }
    for file in sorted((HERE / "texts").glob("*.txt")):
        text = file.read_text(encoding="utf-8")
        tokens = tokenizer.encode(text).ids
        assert tokenizer.decode(tokens, skip_special_tokens=False) == text, file
        values = log_probabilities(model, tokens)
        golden["texts"].append({"name": file.stem, "text": text, "tokens": tokens,
                                "log_probabilities": [round(v, 6) for v in values]})
        print(f"{file.stem:24s} {len(tokens):4d} tokens, mean NLL {-np.mean(values):.4f}")
    for prompt in PROMPTS:
        tokens = tokenizer.encode(prompt).ids
        continuation, gaps = greedy(model, tokens)
        text = tokenizer.decode(continuation, skip_special_tokens=False)
        golden["greedy"].append({"prompt": prompt, "tokens": tokens, "continuation": continuation,
                                 "text": text, "top_two_gaps": gaps})
        print(f"{prompt[-40:]!r} -> {text[:90]!r} (smallest gap {min(gaps)})")
    write(HERE / "smollm2.json", golden)


def write(path, golden):
    """One line per text and per prompt, so that a diff shows what changed."""
    def lines(entries):
        return ",\n".join(json.dumps(e, ensure_ascii=False, separators=(",", ":")) for e in entries)
    head = ",\n".join(f"{json.dumps(k)}: {json.dumps(golden[k])}" for k in ("model", "made_by"))
    path.write_text(f"{{\n{head},\n\"texts\": [\n{lines(golden['texts'])}\n],\n"
                    f"\"greedy\": [\n{lines(golden['greedy'])}\n]\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
