"""A `peerage` model in PyTorch around feed-forward parts that somebody else wrote.

Only what the scripts here need: sequential blocks, RMSNorm, rotary pairs (i, i + dim / 2), grouped
queries, tied embeddings. Parameters carry the names of docs/model_format.md, so that a state dict
is a checkpoint.
"""

import torch
import torch.nn.functional as F
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config["hidden_size"]))
        self.eps = config["norm_eps"]

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x, theta):
    """x [batch, heads, tokens, head_dim]; token t is at position t."""
    tokens, dim = x.shape[-2:]
    frequency = theta ** (-torch.arange(0, dim, 2, dtype=x.dtype) / dim)
    angle = torch.arange(tokens, dtype=x.dtype)[:, None] * frequency
    first, second = x.chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.dim, self.theta = config["head_dim"], config["rope_theta"]
        d = config["hidden_size"]
        self.q_proj = nn.Linear(d, self.heads * self.dim, bias=False)
        self.k_proj = nn.Linear(d, self.kv_heads * self.dim, bias=False)
        self.v_proj = nn.Linear(d, self.kv_heads * self.dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.dim, d, bias=False)

    def forward(self, u):
        batch, tokens, _ = u.shape

        def split(x, heads):
            return x.view(batch, tokens, heads, self.dim).transpose(1, 2)
        q = rotate(split(self.q_proj(u), self.heads), self.theta)
        k = rotate(split(self.k_proj(u), self.kv_heads), self.theta)
        v = split(self.v_proj(u), self.kv_heads)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class DenseFFN(nn.Module):
    def __init__(self, config):
        super().__init__()
        d, f = config["hidden_size"], config["intermediate_size"]
        self.gate_proj = nn.Linear(d, f, bias=False)
        self.up_proj = nn.Linear(d, f, bias=False)
        self.down_proj = nn.Linear(f, d, bias=False)

    def forward(self, u):
        return self.down_proj(F.silu(self.gate_proj(u)) * self.up_proj(u))


class Block(nn.Module):
    def __init__(self, config, index, make_part):
        super().__init__()
        override = config.get("layers", {}).get(str(index), {})
        self.input_norm = RMSNorm(config)
        self.attention = Attention(config)
        self.post_attention_norm = RMSNorm(config)
        self.ffn = nn.ModuleDict()
        for entry in override.get("ffn", config["ffn"]):
            dense = entry["kind"] == "dense"
            self.ffn[entry["kind"]] = DenseFFN(config) if dense else make_part(config, entry)

    def forward(self, x):
        h = x + self.attention(self.input_norm(x))
        u = self.post_attention_norm(h)
        return h + sum(part(u) for part in self.ffn.values())


class Backbone(nn.Module):
    """make_part(config, entry): the module of an `ffn` entry that is not dense."""

    def __init__(self, config, make_part):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.model.layers = nn.ModuleList(
            Block(config, i, make_part) for i in range(config["num_hidden_layers"]))
        self.model.norm = RMSNorm(config)

    def forward(self, tokens):
        """tokens [batch, length] to logits [batch, length, vocab]."""
        x = self.model.embed_tokens(tokens)
        for block in self.model.layers:
            x = block(x)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)
