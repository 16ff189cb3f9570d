#!/usr/bin/env python3
"""Files as PyTorch itself writes them, and the same tensors as safetensors files.

Writes torch/:

  tensors.pt            a state dict: every dtype, and tensors that share, repeat or reorder memory
  tensors.safetensors   what convert must make of it: each tensor row by row, tied ones once
  big_endian.pt         the same as a machine writes it that has the most significant byte first
  protocol_4.pt         a dict of one tensor with pickle_protocol=4 (protocol_5.pt likewise)
  training.pt           a training run: model, averaged model, optimizer, options, random states
  training.safetensors  the model of it
  os_system.pt          its pickle calls os.system
  unknown_class.pt      its pickle calls a class of another library
  module.pt             a whole module instead of its state dict
  script.pt             a TorchScript program
  legacy.pt             the format before PyTorch 1.6
  compressed.pt         tensors.pt, zipped again with compression
  archive.zip           no file of PyTorch

Usage: make_torch_files.py   (run by `make golden`)
"""

import argparse
import collections
import dataclasses
import fractions
import os
import pathlib
import zipfile

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

OUT = pathlib.Path(__file__).parent / "torch"
SEED = 20


@dataclasses.dataclass
class TrainingOptions:
    """As people keep theirs: an object with a plain __dict__."""
    width: int = 48
    rates: tuple = (1e-3, 1e-4)
    folder: pathlib.Path = pathlib.Path("runs/3")


class CallsSystem:
    """Unpickling it would run a command."""

    def __reduce__(self):
        return (os.system, ("echo executed",))


def tensors():
    whole = torch.arange(24.0).reshape(4, 6)
    tied = torch.tensor([[0.5, -1.25], [3.0, 1e-3]])
    return collections.OrderedDict([
        ("f32", torch.tensor([[1.0, -2.0, 0.5], [3.0, 1e-20, float("inf")]])),
        ("bf16", torch.tensor([1.0, 2.0, -0.125], dtype=torch.bfloat16)),
        ("f16", torch.tensor([1.0, 65504.0], dtype=torch.float16)),
        ("f64", torch.tensor([1.0, 1e300], dtype=torch.float64)),
        ("steps", torch.tensor(7)),
        ("mask", torch.tensor([True, False, True])),
        ("empty", torch.zeros(0, 3)),
        ("embed.weight", tied),
        ("whole", whole),
        ("rows", whole[1:3]),
        ("transposed", whole.T),
        ("transposed_again", whole.T),
        ("every_other", whole[::2, 1::2]),
        ("corner", whole[2:, 3:]),
        ("swapped", torch.arange(24, dtype=torch.bfloat16).reshape(2, 3, 4).permute(2, 0, 1)),
        ("repeated", torch.tensor([1.5, 2.5, 3.5])[None].expand(4, 3)),
        ("long_transposed", torch.arange(6).reshape(2, 3).T),
        ("head.weight", tied),
        ("parameter", nn.Parameter(torch.tensor([8.0, 9.0]))),
    ])


def written_once(state):
    tied = {"transposed_again", "head.weight"}
    return {name: tensor.detach().contiguous().clone()
            for name, tensor in state.items() if name not in tied}


def save_big_endian(state, source, target):
    """`source` with every storage's numbers turned round, and a word that says so."""
    with zipfile.ZipFile(source) as archive:
        records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    order = {}  # storages are numbered as the pickle meets them
    for tensor in state.values():
        order.setdefault(tensor.untyped_storage()._cdata, tensor.element_size())
    for number, width in enumerate(order.values()):
        data = np.frombuffer(records[f"data/{number}"], dtype=f"<u{width}")
        records[f"data/{number}"] = data.byteswap().tobytes()
    records["byteorder"] = b"big"
    writer = torch._C.PyTorchFileWriter(str(target))
    for name, data in records.items():
        if name == "data.pkl" or name == "byteorder" or name.startswith("data/"):
            writer.write_record(name, data, len(data))
    writer.write_end_of_file()
    for name, tensor in torch.load(target, weights_only=True).items():
        assert torch.equal(tensor, state[name]), name


def training():
    torch.manual_seed(SEED)
    np.random.seed(SEED)
    # What the optimizer keeps of the table alone is more than all of the model.
    model = nn.Sequential(collections.OrderedDict(
        embed=nn.Embedding(25, 4), norm=nn.BatchNorm1d(4), head=nn.Linear(4, 5)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(2):
        model(torch.tensor([0, 3, 1])).square().sum().backward()
        optimizer.step()
        schedule.step()
    averaged = {name: tensor.clone().half() if tensor.is_floating_point() else tensor
                for name, tensor in model.state_dict().items()}
    return {
        "epoch": 3, "loss": np.float64(0.25), "best": float("inf"), "done": False, "note": None,
        "large": 2**70, "digest": b"\x00\xff", "seen": {1, 2}, "frozen": frozenset(["a"]),
        "averaged": averaged, "trainer": {"model": model.state_dict()},
        "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
        "args": argparse.Namespace(lr=1e-3, out=pathlib.Path("out"), layers=[1, 2],
                                   dtype=torch.bfloat16),
        "options": TrainingOptions(), "numpy_state": np.random.get_state(),
        "torch_state": torch.get_rng_state()[:16].clone(), "shape": torch.Size([2, 3]),
        "device": torch.device("cpu"), "losses": np.array([1.5, 0.5], dtype=np.float32),
        "counts": collections.Counter("abca"), "parts": collections.defaultdict(list, a=[1]),
    }


def recompress(source, target):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)


def main():
    OUT.mkdir(exist_ok=True)
    state = tensors()
    torch.save(state, OUT / "tensors.pt")
    save_file(written_once(state), OUT / "tensors.safetensors")
    for protocol in (4, 5):
        torch.save({"a": torch.arange(3.0), "b": bytearray(b"xy"), "c": {"d": (1, 2, 3, 4)}},
                   OUT / f"protocol_{protocol}.pt", pickle_protocol=protocol)
    run = training()
    torch.save(run, OUT / "training.pt")
    save_file({name: tensor.clone() for name, tensor in run["trainer"]["model"].items()},
              OUT / "training.safetensors")
    torch.save({"w": torch.ones(2), "x": CallsSystem()}, OUT / "os_system.pt")
    torch.save({"w": torch.ones(2), "x": fractions.Fraction(1, 3)}, OUT / "unknown_class.pt")
    torch.save(nn.Linear(2, 2), OUT / "module.pt")
    torch.jit.script(nn.Identity()).save(str(OUT / "script.pt"))
    torch.save({"w": torch.ones(2)}, OUT / "legacy.pt", _use_new_zipfile_serialization=False)
    recompress(OUT / "tensors.pt", OUT / "compressed.pt")
    with zipfile.ZipFile(OUT / "archive.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("readme.txt"), "no tensors")
    save_big_endian(state, OUT / "tensors.pt", OUT / "big_endian.pt")


if __name__ == "__main__":
    main()
