#!/usr/bin/env python3
"""Writes the tensors of a PyTorch state dict (.pt, .pth, .bin) to a .safetensors file.

Nothing of the file is executed: torch.load(weights_only=True) refuses pickles that hold anything
but tensors and plain values. Tensors that share memory are written once each, under every name, as
safetensors has no references. What is not a tensor (epochs, options) is left out and named.

  export_torch.py model.pt --out model.safetensors
  export_torch.py checkpoint.pt --key model.state_dict --out model.safetensors

Then `peerage-model convert --rename` gives the tensors the names of docs/model_format.md.
Needs torch and safetensors (tools/requirements/golden.txt). Exit codes: 0 written, 1 refused, 2
wrong usage.
"""

import argparse
import pathlib
import pickle
import sys

import torch
from safetensors.torch import save_file


class Refused(Exception):
    """An error of the input, in one line."""


def load(path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise Refused(f"{path}: no such file") from error
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()
        detail = next((line.strip() for line in reason if "global" in line.lower()), reason[0])
        raise Refused(f"{path}: holds more than tensors and plain values, and its code is not run "
                      f"({detail})") from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise Refused(f"{path}: {str(error).strip().splitlines()[0]}") from error


def nested_dicts(value, prefix=""):
    """The keys that lead to dicts with tensors right inside."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            if any(torch.is_tensor(x) for x in inner.values()):
                yield f"{prefix}{key}"
            yield from nested_dicts(inner, f"{prefix}{key}.")


def select(state, key, path):
    """The dict that `key` leads to: names of dicts in dicts, with dots between."""
    for name in key.split(".") if key else []:
        if not isinstance(state, dict) or name not in state:
            raise Refused(f"{path}: no {name!r} on the way of --key {key}")
        state = state[name]
    if not isinstance(state, dict):
        raise Refused(f"{path}: not a dict of tensors but a {type(state).__name__}")
    return state


def tensors_of(state, path):
    """The tensors, each with memory of its own; and the names of those that had not, and of the
    rest."""
    tensors, shared, rest, owners = {}, [], [], {}
    for name, value in state.items():
        if not torch.is_tensor(value) or not isinstance(name, str):
            rest.append(str(name))
            continue
        if value.is_sparse or value.is_quantized or value.is_complex():
            raise Refused(f"{path}: tensor {name!r} is sparse, quantised or complex")
        storage = value.untyped_storage().data_ptr() if value.numel() else None
        if storage is not None and storage in owners:
            shared.append((name, owners[storage]))
            value = value.clone()
        elif storage is not None:
            owners[storage] = name
        tensors[name] = value.detach().contiguous()
    if not tensors:
        keys = ", ".join(nested_dicts(state)) or "none"
        raise Refused(f"{path}: no tensors at this level; dicts with tensors (--key): {keys}")
    return tensors, shared, rest


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", help="a state dict written by torch.save")
    parser.add_argument("--out", required=True, help=".safetensors file to write")
    parser.add_argument("--key", default="", metavar="A.B",
                        help="where the state dict lies, when it is a dict within dicts")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    try:
        if pathlib.Path(arguments.out).exists():
            raise Refused(f"{arguments.out}: is there already")
        state = select(load(arguments.input), arguments.key, arguments.input)
        tensors, shared, rest = tensors_of(state, arguments.input)
        save_file(tensors, arguments.out, metadata={"format": "pt"})
    except (Refused, OSError) as error:
        sys.exit(f"export_torch.py: {error}")
    for name, tensor in tensors.items():
        print(f"{name}  {str(tensor.dtype).removeprefix('torch.')}  {list(tensor.shape)}")
    for name, owner in shared:
        print(f"shared memory, written twice: {name} and {owner}")
    for name in rest:
        print(f"left out, not a tensor: {name}")
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    print(f"wrote {len(tensors)} tensors ({total} bytes) to {arguments.out}")


if __name__ == "__main__":
    main()
