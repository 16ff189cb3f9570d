#!/usr/bin/env python3
"""Layers in PyTorch on a GPU, at the shapes of bench/kernels/cuda_kernels_bench.cc: microseconds by CUDA
events. A line of JSON on stdout for the card, then one for each layer as soon as it is measured, those
that have to be compiled last. What a user of PyTorch would run today:

  peer-pytorch        PEER of PEER-pytorch, eager, f32, where it is installed
  peer, gather        the same layer as plain ATen gather + einsum in bf16 (peer_pytorch.py)
  mixture, grouped    a gated mixture, 8 experts, top 2, bf16: torch's grouped matrix products
  attention, decode   scaled_dot_product_attention, one token behind the context, bf16
  attention, prefill  the same, causal, the whole context
  mixture, compiled   the mixture as a loop over experts, compiled

Usage: cuda_layers.py [--device cuda] [--tiny]
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

import peer_pytorch

FULL = {"width": 2048, "experts": 1 << 20, "heads": 16, "kv_heads": 4, "head_dim": 128,
        "context": 2048, "mixture": 8, "top_k": 2}
TINY = {**FULL, "width": 64, "experts": 1 << 8, "heads": 4, "kv_heads": 2, "head_dim": 16, "context": 32}
ROWS = (1, 16, 64)


def microseconds(device, call, repetitions):
    """The median of calls, each timed alone behind two that warm up."""
    taken = []
    for _ in range(repetitions + 2):
        if device == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            end.synchronize()
            taken.append(begin.elapsed_time(end) * 1e3)
        else:
            start = time.perf_counter()
            call()
            taken.append((time.perf_counter() - start) * 1e6)
    return statistics.median(taken[2:])


def bf16(*shape):
    return torch.randn(*shape, dtype=torch.bfloat16) * shape[-1] ** -0.5


def intermediate(shape):
    return (shape["width"] * 8 // 3 + 63) // 64 * 64


class Mixture:
    """Top-2 of gated experts; `grouped` needs rows in the order of their experts."""

    def __init__(self, shape):
        d, f, n = shape["width"], intermediate(shape), shape["mixture"]
        self.top_k = shape["top_k"]
        self.router, self.gate_up, self.down = bf16(n, d), bf16(n, 2 * f, d), bf16(n, d, f)

    def choose(self, x):
        gates, ids = F.linear(x, self.router).float().softmax(-1).topk(self.top_k, -1)
        return (gates / gates.sum(-1, keepdim=True)).to(x.dtype), ids

    def grouped(self, x):
        gates, ids = self.choose(x)
        order = ids.flatten().argsort(stable=True)
        ends = torch.bincount(ids.flatten(), minlength=len(self.router)).cumsum(0).to(torch.int32)
        rows = x[order // self.top_k]
        gate, up = torch._grouped_mm(rows, self.gate_up.transpose(1, 2), ends).chunk(2, -1)
        out = torch._grouped_mm(F.silu(gate) * up, self.down.transpose(1, 2), ends)
        return torch.zeros_like(x).index_add_(0, order // self.top_k, out * gates.flatten()[order, None])

    def loop(self, x):
        gates, ids = self.choose(x)
        y = torch.zeros_like(x)
        for expert, (gate_up, down) in enumerate(zip(self.gate_up, self.down)):
            weight = (gates * (ids == expert)).sum(-1, keepdim=True)
            gate, up = F.linear(x, gate_up).chunk(2, -1)
            y = y + weight * F.linear(F.silu(gate) * up, down)
        return y


def mixture(kind):
    def make(shape, rows):
        layer = Mixture(shape)
        # A tiny one would take a minute to compile and show nothing.
        backend = "eager" if shape is TINY else "inductor"
        call = torch.compile(layer.loop, backend=backend) if kind == "compiled" else layer.grouped
        x = bf16(rows, shape["width"])
        return lambda: call(x)
    return make


def peer(name):
    def make(shape, rows):
        dtype, layer = peer_pytorch.LAYERS[name](shape["width"], shape["experts"])
        xs = [torch.randn(rows, shape["width"]).to(dtype) for _ in range(32)]
        calls = iter(range(1 << 30))
        return lambda: layer(xs[next(calls) % len(xs)])
    return make


def attention(shape, rows, queries):
    q = bf16(rows, shape["heads"], queries, shape["head_dim"])
    k, v = (bf16(rows, shape["kv_heads"], shape["context"], shape["head_dim"]) for _ in range(2))
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=queries > 1, enable_gqa=True)


def contestants(shape):
    """Name, maker and rows of each."""
    eager = {"peer-pytorch": peer("peer-pytorch"),
             "peer, gather": peer("aten_bf16"),
             "mixture, grouped": mixture("grouped"),
             "attention, decode": lambda shape, rows: attention(shape, rows, 1)}
    for name, make in eager.items():
        for rows in ROWS:
            yield name, make, rows
    yield "attention, prefill", lambda shape, rows: attention(shape, 1, rows), shape["context"]
    for rows in ROWS:
        yield "mixture, compiled", mixture("compiled"), rows


def show(line):
    print(json.dumps(line), flush=True)


def measure(name, make, shape, rows, device):
    result = {"layer": name, "rows": rows}
    try:
        result["microseconds"] = microseconds(device, make(shape, rows), 10)
    except Exception as why:  # what a version of PyTorch cannot do is told, and ends nothing else
        result["why"] = str(why).splitlines()[0] if str(why) else type(why).__name__
    if device == "cuda":
        torch.cuda.empty_cache()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small shapes, to see that it runs")
    options = parser.parse_args()
    shape = TINY if options.tiny else FULL
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    torch.set_default_device(options.device)
    card = torch.cuda.get_device_name() if options.device == "cuda" else "none"
    show({"torch": torch.__version__, "gpu": card, "shape": shape})
    for name, make, rows in contestants(shape):
        show(measure(name, make, shape, rows, options.device))


if __name__ == "__main__":
    main()
