#!/usr/bin/env python3
"""Training steps of one PEER layer: forward, backward and optimiser, in milliseconds, as JSON.

  ours            peerage_torch's PEER, gradients of tables in a ledger, RowwiseAdam
  sparse_adam     peer-pytorch 0.2.2 with sparse embeddings and torch.optim.SparseAdam
  dense_adam      peer-pytorch as it is and torch.optim.Adam, fused
  ffn             a dense FFN of 4 * width instead, and Adam: what the layer takes the place of

Router and FFN have a fused Adam everywhere. Every contestant is a process of its own, so that its
memory is its own. `cpu_ms` is processor time of all threads, which neighbours disturb less than the
time on the clock; with one thread they are the same on a machine of one's own. `transient_mb` is the
most that a step held over what it left behind: gradients and what is gathered, but neither tables nor
moments. SparseAdam's moments are given to it as huge pages that take memory when they are used, as
ours are. Moments are touched before steps are timed, unless they take more than --touch-gb.

For moments that would not all fit into memory: with --batches steps take so many batches in turn, and
the router's learning rate is 0, so that they pick the same experts again; with --small-pages only rows
that were used take memory. All follow Algorithm 1 of the paper (softmax over a head's picks).

Usage: peer_operator.py [--shape paper|miniature] [--log2-experts N] [--tokens N] [--threads 2]
           [--steps 8] [--batches N] [--small-pages] [--variance element|row]
           [--contestant ours ...] [--rounds 3]
Runs in build/deps/golden-venv, with PYTHONPATH=train/python and PEERAGE_TORCH_OPERATORS.
"""

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time

import torch
from torch import nn

SHAPES = {
    # width, log2 of experts, heads, top_k, dim_key (of a half), tokens of a step
    "paper": {"width": 1024, "log2_experts": 20, "heads": 8, "top_k": 16, "dim_key": 128,
              "tokens": 256},
    "miniature": {"width": 128, "log2_experts": 14, "heads": 4, "top_k": 16, "dim_key": 32,
                  "tokens": 2048},
}
WARM_UP = 2


def options_of(shape):
    return {"heads": shape["heads"], "num_experts": 1 << shape["log2_experts"],
            "num_experts_per_head": shape["top_k"], "dim_key": shape["dim_key"],
            "non_competing_scores": False}


def router_adam(layer, tables):
    known = {id(table) for table in tables}
    return torch.optim.Adam([p for p in layer.parameters() if id(p) not in known], fused=True)


def ours(shape, options):
    from peerage_torch import PEER, RowwiseAdam
    layer = PEER(shape["width"], **options_of(shape), table_gradient="ledger")
    return layer, [router_adam(layer, layer.tables()), RowwiseAdam(layer, variance=options.variance)]


def their_layer(shape):
    from PEER_pytorch import PEER
    layer = PEER(shape["width"], **options_of(shape))
    return layer, [layer.weight_down_embed.weight, layer.weight_up_embed.weight]


def sparse_adam(shape, _):
    from peerage_torch.optimizer import zeros_on_demand
    layer, tables = their_layer(shape)
    layer.weight_down_embed.sparse = layer.weight_up_embed.sparse = True
    optimizer = torch.optim.SparseAdam(tables)
    for table in tables:
        optimizer.state[table] = {"step": 0, "exp_avg": zeros_on_demand(table.shape),
                                  "exp_avg_sq": zeros_on_demand(table.shape)}
    return layer, [router_adam(layer, tables), optimizer]


def dense_adam(shape, _):
    layer, _ = their_layer(shape)
    return layer, [torch.optim.Adam(layer.parameters(), fused=True)]


def ffn(shape, _):
    width = shape["width"]
    layer = nn.Sequential(nn.Linear(width, 4 * width, bias=False), nn.GELU(),
                          nn.Linear(4 * width, width, bias=False))
    return layer, [torch.optim.Adam(layer.parameters(), fused=True)]


CONTESTANTS = {"ours": ours, "sparse_adam": sparse_adam, "dense_adam": dense_adam, "ffn": ffn}


def step(layer, optimizers, x, grad_y):
    for optimizer in optimizers:
        optimizer.zero_grad()
    layer(x).backward(grad_y)
    for optimizer in optimizers:
        optimizer.step()


def status_mb(key):
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(key))


def transient_mb(layer, optimizers, x, grad_y):
    trim = ctypes.CDLL("libc.so.6").malloc_trim
    trim(0)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
        refs.write("5")  # the peak begins here
    step(layer, optimizers, x, grad_y)
    peak = status_mb("VmHWM")
    for optimizer in optimizers:
        optimizer.zero_grad()
    trim(0)
    return peak - status_mb("VmRSS")


def touch_moments(optimizers, most_gb):
    """Writes to every page, so that no step pays for what only the first steps of a training do."""
    moments = [value for optimizer in optimizers for state in optimizer.state.values()
               for value in state.values() if torch.is_tensor(value)]
    if sum(value.nbytes for value in moments) <= most_gb * 1e9:
        for value in moments:
            value.mul_(1)


def refuse_huge_pages():
    set_thp_disable = 41  # PR_SET_THP_DISABLE
    if ctypes.CDLL("libc.so.6", use_errno=True).prctl(set_thp_disable, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_THP_DISABLE)")


def pick_the_same_again(shape, optimizers):
    for group in (g for optimizer in optimizers for g in optimizer.param_groups):
        if all(p.shape[0] != 1 << shape["log2_experts"] for p in group["params"]):
            group["lr"] = 0.0


def measure(make, shape, options):
    if options.small_pages:
        refuse_huge_pages()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    layer, optimizers = make(shape, options)
    if options.batches:
        pick_the_same_again(shape, optimizers)
    steps = WARM_UP + options.steps + 1
    batches = torch.randn(options.batches or steps, 1, shape["tokens"], shape["width"])
    inputs = [batches[i % len(batches)] for i in range(steps)]
    taken, used = [], []
    for i, x in enumerate(inputs[:-1]):  # other tokens, and so other experts, every time
        x = x.detach().requires_grad_()
        start, used_before = time.perf_counter(), time.process_time()
        step(layer, optimizers, x, torch.ones_like(x))
        taken.append((time.perf_counter() - start) * 1e3)
        used.append((time.process_time() - used_before) * 1e3)
        if i == 0:
            touch_moments(optimizers, options.touch_gb)
    x = inputs[-1].detach().requires_grad_()
    return {"median_ms": statistics.median(taken[WARM_UP:]), "best_ms": min(taken[WARM_UP:]),
            "cpu_ms": statistics.median(used[WARM_UP:]),
            "transient_mb": transient_mb(layer, optimizers, x, torch.ones_like(x))}


def in_a_process(contestant, options):
    command = [sys.executable, __file__, "--shape", options.shape, "--threads",
               str(options.threads), "--steps", str(options.steps), "--log2-experts",
               str(options.log2_experts), "--touch-gb", str(options.touch_gb), "--tokens",
               str(options.tokens), "--batches", str(options.batches), "--variance",
               options.variance, "--alone", contestant]
    if options.small_pages:
        command.append("--small-pages")
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="paper")
    parser.add_argument("--log2-experts", type=int, help="even; of the shape unless given")
    parser.add_argument("--tokens", type=int, help="of a step; of the shape unless given")
    parser.add_argument("--batches", type=int, default=0, help="0: another one in every step")
    parser.add_argument("--small-pages", action="store_true", help="no transparent huge pages")
    parser.add_argument("--variance", choices=("element", "row"), default="element",
                        help="of ours")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--touch-gb", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestant", choices=CONTESTANTS, action="append")
    parser.add_argument("--alone", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    shape = SHAPES[options.shape]
    options.log2_experts = options.log2_experts or shape["log2_experts"]
    options.tokens = options.tokens or shape["tokens"]
    shape = shape | {"log2_experts": options.log2_experts, "tokens": options.tokens}
    if options.alone:
        print(json.dumps(measure(CONTESTANTS[options.alone], shape, options)))
        return
    names = options.contestant or list(CONTESTANTS)
    rounds = [{name: in_a_process(name, options) for name in names}
              for _ in range(options.rounds)]
    report = {"torch": torch.__version__, "threads": options.threads, "variance": options.variance, **shape, "median_of_rounds": {
        name: {key: round(statistics.median(r[name][key] for r in rounds), 2)
               for key in rounds[0][name]} for name in names},
        "ms_of_rounds": {name: [round(r[name]["median_ms"], 2) for r in rounds]
                         for name in names}}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
