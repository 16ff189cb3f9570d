#!/usr/bin/env python3
"""One PEER layer in PyTorch, for comparison: microseconds per token, as JSON on stdout.

  peer-pytorch       PEER of PEER-pytorch 0.2.2, eager, f32: what a user runs today
  aten_bf16          the same layer as plain ATen gather + einsum in bf16, sub-keys shared by the
                     heads: what a careful user would write

Both follow Algorithm 1 of the paper (softmax over a head's picks). At the default size the f32
tables take 8 GiB; they are never both in memory. Every repetition takes other tokens, so that
experts come from memory as they do in a server.

Usage: peer_pytorch.py [--width 1024] [--log2-experts 20] [--threads 2] [--layer aten_bf16 ...]
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

HEADS, TOP_K, HALF_KEY = 8, 16, 128
BATCHES = {1: 40, 16: 12, 256: 3}  # tokens: repetitions
POOL = 64  # different batches of tokens


def gather_einsum(x, query, sub_keys, down, up):
    """x [tokens, d], query [heads * 2 * half, d], sub_keys [2, n, half], down and up [n * n, d]."""
    n = sub_keys.shape[1]
    q = F.linear(x, query).view(-1, HEADS, 2, HALF_KEY)
    scores = torch.einsum("thpk,pnk->pthn", q, sub_keys).float()
    values, positions = scores.topk(TOP_K, dim=-1)
    sums = (values[0][..., :, None] + values[1][..., None, :]).flatten(-2)
    ids = (positions[0][..., :, None] * n + positions[1][..., None, :]).flatten(-2)
    best, at = sums.topk(TOP_K, dim=-1)
    ids = ids.gather(-1, at)
    weights = best.softmax(-1).to(x.dtype)
    hidden = F.gelu(torch.einsum("td,thkd->thk", x, F.embedding(ids, down))) * weights
    return torch.einsum("thk,thkd->td", hidden, F.embedding(ids, up))


def peer_pytorch(width, experts):
    from PEER_pytorch import PEER
    layer = PEER(width, heads=HEADS, num_experts=experts, num_experts_per_head=TOP_K,
                 dim_key=HALF_KEY, non_competing_scores=False).eval()
    return torch.float32, lambda x: layer(x[None])


def aten_bf16(width, experts):
    def table(rows, deviation):
        return torch.empty(rows, width, dtype=torch.bfloat16).normal_(0, deviation)
    n = round(experts ** 0.5)
    query = table(HEADS * 2 * HALF_KEY, width ** -0.5)
    sub_keys = torch.empty(2, n, HALF_KEY, dtype=torch.bfloat16).normal_(0, HALF_KEY ** -0.5)
    down, up = table(experts, width ** -0.5), table(experts, 1)
    return torch.bfloat16, lambda x: gather_einsum(x, query, sub_keys, down, up)


LAYERS = {"peer-pytorch": peer_pytorch, "aten_bf16": aten_bf16}


def measure(make, width, experts):
    """By batch size: the best and the median of some repetitions."""
    dtype, layer = make(width, experts)
    pool = torch.randn(POOL, max(BATCHES), width).to(dtype)
    results = {}
    for tokens, repetitions in BATCHES.items():
        taken = []
        for i in range(repetitions + 2):  # the first two warm up
            x = pool[i % POOL, :tokens]
            start = time.perf_counter()
            layer(x)
            taken.append((time.perf_counter() - start) / tokens * 1e6)
        results[tokens] = {"best_us": round(min(taken[2:]), 2),
                           "median_us": round(statistics.median(taken[2:]), 2)}
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--log2-experts", type=int, default=20, help="even")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layer", choices=sorted(LAYERS), action="append")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    experts = 1 << options.log2_experts
    report = {"torch": torch.__version__, "threads": options.threads, "width": options.width,
              "heads": HEADS, "top_k": TOP_K, "key_dim": 2 * HALF_KEY, "experts": experts,
              "us_per_token": {name: measure(LAYERS[name], options.width, experts)
                               for name in options.layer or LAYERS}}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
