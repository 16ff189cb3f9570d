"""Queries and product keys, as peer-pytorch names and orders them."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from peerage_torch import operators


class ProductKeyRouter:
    """What PEER and ProductKeyMemory share. A mixin, for their state dicts are flat.

    `to_queries.0.weight` [2 * heads * dim_key, dim], its rows in the order (half, head, key);
    `keys` [heads or 1, n, 2, dim_key]; and with a norm of queries `query_norm.*`.
    """

    def build_router(self, *, dim, heads, num_experts, dim_key, query_norm, shared_keys):
        num_keys = math.isqrt(num_experts)
        if num_keys * num_keys != num_experts:
            raise ValueError(f"num_experts is {num_experts}; it must be a square, such as "
                             f"{num_keys ** 2} or {(num_keys + 1) ** 2}")
        if query_norm not in (None, "batch", "layer"):
            raise ValueError(f"query_norm is {query_norm!r}; it must be None, 'batch' or 'layer'")
        if dim_key is None and dim % 2 != 0:
            raise ValueError(f"dim is {dim}, which is odd: say what dim_key is")
        self.heads, self.num_experts, self.num_keys = heads, num_experts, num_keys
        self.dim_key = dim // 2 if dim_key is None else dim_key
        self.to_queries = nn.Sequential(nn.Linear(dim, 2 * heads * self.dim_key, bias=False))
        if query_norm == "batch":
            # Of every feature over all tokens, as PKM has it (Lample et al. 2019, section 3.2).
            self.query_norm = nn.BatchNorm1d(2 * heads * self.dim_key)
        elif query_norm == "layer":
            self.query_norm = nn.LayerNorm(2 * self.dim_key)  # of a head's query
        else:
            self.query_norm = None
        self.keys = nn.Parameter(torch.zeros(1 if shared_keys else heads, num_keys, 2,
                                             self.dim_key))
        nn.init.normal_(self.keys, std=0.02)

    def retrieve(self, x, top_k, sub_top_k):
        """ids and scores [tokens, heads, top_k] for x [tokens, dim]."""
        queries = self.to_queries(x)
        if isinstance(self.query_norm, nn.BatchNorm1d):
            queries = self.query_norm(queries)
        queries = queries.view(-1, 2, self.heads, self.dim_key).transpose(1, 2)
        if isinstance(self.query_norm, nn.LayerNorm):
            queries = self.query_norm(queries.flatten(2)).view(queries.shape)
        keys = self.keys.to(queries.dtype)
        scores, ids = operators.product_key_top_k(queries, keys, top_k, sub_top_k)
        return ids, scores


def weigh(scores, *, competing, dropout, training):
    """Scores of picks as weights: softmax over a head's picks, or the positive part of each."""
    weights = scores.softmax(-1) if competing else F.relu(scores)
    return F.dropout(weights, dropout, training)
