"""The papers' formulas in plain PyTorch, which computes their gradients: what our operators are
compared with. They gather [tokens, heads, top_k, width], as ours must not.
"""

import torch
from torch.nn import functional as F

ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "relu": F.relu,
}


def peer_experts(x, ids, weights, down, up, gate=None, activation="gelu"):
    hidden = torch.einsum("td,thkd->thk", x, down[ids])
    if gate is None:
        hidden = ACTIVATIONS[activation](hidden)
    else:
        hidden = ACTIVATIONS[activation](torch.einsum("td,thkd->thk", x, gate[ids])) * hidden
    return torch.einsum("thk,thkd->td", hidden * weights, up[ids])


def pkm_values(ids, weights, values):
    return torch.einsum("thk,thkd->td", weights, values[ids])


def product_key_top_k(queries, sub_keys, top_k):
    """All n^2 scores, and the best of them."""
    keys = sub_keys.expand(queries.shape[1], -1, -1, -1)
    halves = torch.einsum("thpw,hnpw->pthn", queries, keys)
    scores = (halves[0][..., :, None] + halves[1][..., None, :]).flatten(-2)
    best, ids = scores.topk(top_k)
    return ids, best


def random_picks(tokens, heads, top_k, experts, seed=0):
    """ids of picks, different within a head and repeated between heads, and their weights."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.empty(tokens, heads, top_k, dtype=torch.long)
    for row in ids.view(-1, top_k):
        row.copy_(torch.randperm(experts, generator=generator)[:top_k])
    weights = torch.rand(ids.shape, generator=generator, dtype=torch.double)
    return ids, weights


def normal(*shape, seed=0, dtype=torch.double):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.double).to(dtype)
