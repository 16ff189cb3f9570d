#!/usr/bin/env python3
"""The plain average of models of one shape, weight by weight: what a mixture has to beat.

Reads directories of one model.safetensors in float32 or bfloat16, of `llama` or `peerage`; writes
float32 beside the config and tokenizer of the last model, which must be `peerage`.

Usage: average.py OUT MODEL MODEL ...
"""

import json
import pathlib
import shutil
import sys

import numpy as np

# Hugging Face's Llama names and ours; a name contains at most one of each pair.
RENAMED = ((".self_attn.", ".attention."), (".mlp.", ".ffn.dense."),
           (".input_layernorm.", ".input_norm."),
           (".post_attention_layernorm.", ".post_attention_norm."))


def our_name(name):
    for theirs, ours in RENAMED:
        name = name.replace(theirs, ours)
    return name


def values(data, dtype):
    if dtype == "F32":
        return data.view(np.float32)
    if dtype == "BF16":
        return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    raise SystemExit(f"a tensor is {dtype}, neither F32 nor BF16")


def read(directory):
    """Pairs of name and tensor."""
    path = pathlib.Path(directory) / "model.safetensors"
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + size)
    for name, tensor in header.items():
        first, last = tensor["data_offsets"]
        yield our_name(name), values(data[first:last], tensor["dtype"]).reshape(tensor["shape"])


def write(path, tensors):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # data begins at a multiple of eight
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())


def main():
    out, *directories = sys.argv[1:]
    sums = {}
    for directory in directories:
        for name, tensor in read(directory):
            sums[name] = sums.get(name, 0) + tensor.astype(np.float64)
    means = {name: (total / len(directories)).astype(np.float32) for name, total in sums.items()}
    partial = pathlib.Path(out + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for pattern in ("*.json", "*.jinja"):
        for path in pathlib.Path(directories[-1]).glob(pattern):
            shutil.copy(path, partial)
    write(partial / "model.safetensors", means)
    partial.rename(out)


if __name__ == "__main__":
    main()
