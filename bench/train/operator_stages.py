#!/usr/bin/env python3
"""Where the time of a PEER layer's training step goes, in milliseconds of processor time (and of the
clock), beside the dense FFN of 4 * width that such a layer takes the place of. As JSON.

Every stage is run by itself, on inputs cut off from the stage before, so that its backward is its
own. Medians of --steps steps with other tokens each. Processor time is that of all threads: take
--threads 1 to compare stages, and --threads 2 for the clock.

Usage: operator_stages.py [--shape paper|miniature] [--log2-experts N] [--tokens N] [--threads 1]
           [--steps 12] [--variance element|row] [--dtype float32|bfloat16]
Runs in build/deps/golden-venv, with PYTHONPATH=train/python and PEERAGE_TORCH_OPERATORS.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

from peer_operator import SHAPES, options_of, router_adam, touch_moments

WARM_UP = 3


class Stages:
    """Times of the stages of each step."""

    def __init__(self):
        self.cpu, self.clock = {}, {}

    def run(self, name, work):
        clock, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.cpu.setdefault(name, []).append((time.process_time() - cpu) * 1e3)
        self.clock.setdefault(name, []).append((time.perf_counter() - clock) * 1e3)
        return result

    def medians(self):
        report = {}
        for name, cpu in self.cpu.items():
            report[name] = {"cpu_ms": round(statistics.median(cpu[WARM_UP:]), 2),
                            "ms": round(statistics.median(self.clock[name][WARM_UP:]), 2)}
        for key in ("cpu_ms", "ms"):
            report.setdefault("all", {})[key] = round(sum(r[key] for r in report.values()
                                                          if key in r), 2)
        return report


def cut(tensor):
    return tensor.detach().requires_grad_()


def peer_step(stages, layer, optimizers, x):
    """One step of a PEER layer that reads x [tokens, width]."""
    from peerage_torch import operators
    up, down = layer.tables()
    dtype = up.dtype
    x = cut(x.to(dtype))
    queries = stages.run("queries forward", lambda: layer.to_queries(x)
                         .view(-1, 2, layer.heads, layer.dim_key).transpose(1, 2))
    q = cut(queries)
    scores, ids = stages.run("retrieval forward", lambda: operators.product_key_top_k(
        q, layer.keys, layer.top_k, layer.product_key_topk))
    s = cut(scores)
    weights = stages.run("softmax forward", lambda: s.softmax(-1))
    w, experts_x = cut(weights), cut(x)
    y = stages.run("experts forward", lambda: operators.peer_experts(
        experts_x, ids, w, down, up, activation=layer.activation, **layer.gradient_options()))
    grad_y = torch.ones_like(y)
    stages.run("experts backward", lambda: y.backward(grad_y))
    stages.run("softmax backward", lambda: weights.backward(w.grad))
    stages.run("retrieval backward", lambda: scores.backward(s.grad))
    stages.run("queries backward", lambda: queries.backward(q.grad))
    stages.run("Adam of router", optimizers[0].step)
    stages.run("Adam of rows", optimizers[1].step)
    for optimizer in optimizers:
        optimizer.zero_grad()


def ffn_step(stages, layer, optimizer, x):
    x = cut(x)
    y = stages.run("forward", lambda: layer(x))
    grad_y = torch.ones_like(y)
    stages.run("backward", lambda: y.backward(grad_y))
    stages.run("Adam", optimizer.step)
    optimizer.zero_grad()


def measure(shape, options):
    from peerage_torch import PEER, RowwiseAdam
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, options.dtype)
    width = shape["width"]
    layer = PEER(width, **options_of(shape), table_gradient="ledger").to(dtype)
    optimizers = [router_adam(layer, layer.tables()), RowwiseAdam(layer, variance=options.variance)]
    ffn = nn.Sequential(nn.Linear(width, 4 * width, bias=False), nn.GELU(),
                        nn.Linear(4 * width, width, bias=False))
    adam = torch.optim.Adam(ffn.parameters(), fused=True)
    of_peer, of_ffn = Stages(), Stages()
    for i in range(WARM_UP + options.steps):
        x = F.layer_norm(torch.randn(shape["tokens"], width), (width,))
        peer_step(of_peer, layer, optimizers, x)
        ffn_step(of_ffn, ffn, adam, x)
        if i == 0:
            touch_moments(optimizers, most_gb=8)
    return {"peer": of_peer.medians(), "ffn": of_ffn.medians()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="miniature")
    parser.add_argument("--log2-experts", type=int, help="even; of the shape unless given")
    parser.add_argument("--tokens", type=int, help="of a step; of the shape unless given")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--variance", choices=("element", "row"), default="element")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    shape = dict(SHAPES[options.shape])
    shape["log2_experts"] = options.log2_experts or shape["log2_experts"]
    shape["tokens"] = options.tokens or shape["tokens"]
    print(json.dumps({"torch": torch.__version__, "threads": options.threads, "dtype": options.dtype,
                      "variance": options.variance, **shape, **measure(shape, options)}, indent=1))


if __name__ == "__main__":
    main()
