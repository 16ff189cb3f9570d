"""Model directories as PyTorch reads and writes them: `llama` and `peerage`, never pickled.

Inside, tensors have the names of docs/model_format.md whatever the directory's model_type is.
"""

import json
import pathlib
import shutil

import safetensors.torch
import torch

# Hugging Face's Llama names and ours; a name contains at most one of each pair.
RENAMED = ((".self_attn.", ".attention."), (".mlp.", ".ffn.dense."),
           (".input_layernorm.", ".input_norm."),
           (".post_attention_layernorm.", ".post_attention_norm."))


def rename(name, pairs):
    for old, new in pairs:
        name = name.replace(old, new)
    return name


def read_config(directory):
    """config.json in the form of model_type `peerage`."""
    config = json.loads((pathlib.Path(directory) / "config.json").read_text())
    if config["model_type"] == "peerage":
        return config
    if config["model_type"] != "llama":
        raise ValueError(f"{directory}: model_type {config['model_type']} is not read here")
    config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    return config | {"norm_eps": config["rms_norm_eps"], "parallel_block": False,
                     "attention": {"kind": "dense"}, "ffn": [{"kind": "dense"}]}


def read_tensors(directory):
    tensors = {}
    for path in sorted(pathlib.Path(directory).glob("*.safetensors")):
        tensors |= safetensors.torch.load_file(path)
    return {rename(name, RENAMED): tensor for name, tensor in tensors.items()}


def write(directory, tensors, like):
    """Writes `tensors` in bfloat16 beside config, tokenizer and template of the directory `like`."""
    directory, like = pathlib.Path(directory), pathlib.Path(like)
    directory.mkdir(parents=True, exist_ok=True)
    for path in (*like.glob("*.json"), *like.glob("*.jinja")):
        shutil.copy(path, directory)
    if json.loads((like / "config.json").read_text())["model_type"] == "llama":
        back = [(ours, theirs) for theirs, ours in RENAMED]
        tensors = {rename(name, back): tensor for name, tensor in tensors.items()}
    safetensors.torch.save_file(
        {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()},
        directory / "model.safetensors", metadata={"format": "pt"})
