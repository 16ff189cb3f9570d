"""Peerage's language models in PyTorch, to be trained: dense ones and mixtures.

A mixture of attention is written as the sum it is (BAM, arXiv 2408.08274: one attention after the
other), not fused as the server has it, so that the server's answers can be held against it.
Parameters have the names of docs/model_format.md. Weights are bfloat16, routers float32.
"""

import torch
import torch.nn.functional as F
from torch import nn

from checkpoint import read_config, read_tensors


class RMSNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config["hidden_size"]))
        self.eps = config["norm_eps"]

    def forward(self, x):
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
                ).type_as(x) * self.weight


def linear(rows, columns):
    return nn.Linear(columns, rows, bias=False)


class Router(nn.Module):
    """Softmax over experts [..., experts] in float32; remembers its logits for the losses."""

    def __init__(self, config, experts):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, config["hidden_size"]))

    def forward(self, u):
        self.logits = F.linear(u.float(), self.weight.float())
        return self.logits.softmax(-1)


def keep_top_k(gates, top_k, normalize):
    """Gates of the `top_k` largest of each row, the others zero."""
    values, experts = gates.topk(top_k)
    if normalize:
        values = values / values.sum(-1, keepdim=True)
    return torch.zeros_like(gates).scatter(-1, experts, values)


class Rotary:
    """Turns the pairs (i, i + dim / 2); token t of a sequence is at position t."""

    def __init__(self, config):
        self.dim, self.theta = config["head_dim"], config["rope_theta"]

    def __call__(self, x):
        """x [batch, heads, tokens, head_dim]"""
        frequency = self.theta ** (-torch.arange(0, self.dim, 2, dtype=torch.float32) / self.dim)
        angle = torch.arange(x.shape[-2], dtype=torch.float32)[:, None] * frequency
        cos, sin = angle.cos().type_as(x), angle.sin().type_as(x)
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Heads(nn.Module):
    """The projections of one attention; without keys and values where these are shared."""

    def __init__(self, config, parts="qkvo"):
        super().__init__()
        d, dim = config["hidden_size"], config["head_dim"]
        self.dim, self.rotary = dim, Rotary(config)
        self.group = config["num_attention_heads"] // config["num_key_value_heads"]
        wide, narrow = config["num_attention_heads"] * dim, config["num_key_value_heads"] * dim
        shapes = {"q": (wide, d), "k": (narrow, d), "v": (narrow, d), "o": (d, wide)}
        for part in parts:
            setattr(self, f"{part}_proj", linear(*shapes[part]))

    def split(self, x):
        return x.unflatten(-1, (-1, self.dim)).transpose(1, 2)

    def keys_and_values(self, u):
        return self.rotary(self.split(self.k_proj(u))), self.split(self.v_proj(u))

    def attend(self, u, keys, values):
        out = F.scaled_dot_product_attention(
            self.rotary(self.split(self.q_proj(u))), keys.repeat_interleave(self.group, 1),
            values.repeat_interleave(self.group, 1), is_causal=True)
        return self.o_proj(out.transpose(1, 2).flatten(2))

    def forward(self, u):
        return self.attend(u, *self.keys_and_values(u))


class MixtureAttention(nn.Module):
    """sum over experts j of gate_j * attention_j(u); `kv: shared` is one pair of keys and values."""

    def __init__(self, config, entry):
        super().__init__()
        self.top_k = entry["top_k"] if entry["routing"] == "top_k" else entry["num_experts"]
        self.normalize = entry.get("normalize_top_k", False)
        self.router = Router(config, entry["num_experts"])
        self.shared = entry["kv"] == "shared"
        if self.shared:
            shared = Heads(config, "kv")
            self.k_proj, self.v_proj = shared.k_proj, shared.v_proj
        self.experts = nn.ModuleList(
            Heads(config, "qo" if self.shared else "qkvo") for _ in range(entry["num_experts"]))

    def keys_and_values(self, u, expert):
        if not self.shared:
            return expert.keys_and_values(u)
        return expert.rotary(expert.split(self.k_proj(u))), expert.split(self.v_proj(u))

    def forward(self, u):
        gates = keep_top_k(self.router(u), self.top_k, self.normalize)
        out = 0
        for j, expert in enumerate(self.experts):
            if not self.shared or j == 0:
                keys, values = self.keys_and_values(u, expert)
            out = out + gates[..., j:j + 1] * expert.attend(u, keys, values)
        return out.type_as(u)


class FFN(nn.Module):
    def __init__(self, config, entry):
        super().__init__()
        d, f = config["hidden_size"], entry.get("intermediate_size", config["intermediate_size"])
        self.gate_proj, self.up_proj, self.down_proj = linear(f, d), linear(f, d), linear(d, f)

    def forward(self, u):
        return self.down_proj(F.silu(self.gate_proj(u)) * self.up_proj(u))


class MixtureFFN(nn.Module):
    """`weighed` experts a token are summed: top_k, as served, unless a trainer asks for more."""

    def __init__(self, config, entry):
        super().__init__()
        self.top_k, self.normalize = entry.get("top_k", 1), entry.get("normalize_top_k", False)
        self.weighed = self.top_k
        self.router = Router(config, entry["num_experts"])
        self.experts = nn.ModuleList(FFN(config, entry) for _ in range(entry["num_experts"]))

    def forward(self, u):
        rows = u.flatten(0, -2)
        gates = keep_top_k(self.router(rows), self.weighed, self.normalize)
        out = torch.zeros_like(rows, dtype=torch.float32)
        for j, expert in enumerate(self.experts):
            chosen = gates[:, j].nonzero()[:, 0]
            out = out.index_add(0, chosen, gates[chosen, j:j + 1] * expert(rows[chosen]))
        return out.type_as(u).view_as(u)

    def losses(self):
        """Of the last step: the load-balance loss (Switch Transformer) and z loss (ST-MoE)."""
        logits = self.router.logits
        experts = logits.shape[-1]
        chosen = F.one_hot(logits.topk(self.top_k).indices, experts).float().sum(1) / self.top_k
        balance = experts * (chosen.mean(0) * logits.softmax(-1).mean(0)).sum()
        return balance, logits.logsumexp(-1).square().mean()


class Block(nn.Module):
    """h = x + attention(norm(x)); y = h + ffn(norm(h))"""

    def __init__(self, config, index):
        super().__init__()
        entries = config | config.get("layers", {}).get(str(index), {})
        mixed = entries["attention"]["kind"] == "mixture"
        self.input_norm, self.post_attention_norm = RMSNorm(config), RMSNorm(config)
        self.attention = MixtureAttention(config, entries["attention"]) if mixed else Heads(config)
        kinds = {"dense": FFN, "mixture": MixtureFFN}
        self.ffn = nn.ModuleDict(
            {entry["kind"]: kinds[entry["kind"]](config, entry) for entry in entries["ffn"]})

    def forward(self, x):
        h = x + self.attention(self.input_norm(x))
        u = self.post_attention_norm(h)
        return h + sum(part(u) for part in self.ffn.values())


class LanguageModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        if config["parallel_block"] or not config["tie_word_embeddings"]:
            raise ValueError("only sequential blocks and tied embeddings are trained here")
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.model.layers = nn.ModuleList(
            Block(config, i) for i in range(config["num_hidden_layers"]))
        self.model.norm = RMSNorm(config)

    def forward(self, tokens):
        """tokens [batch, length] to logits [batch, length, vocabulary]."""
        x = self.model.embed_tokens(tokens)
        for block in self.model.layers:
            x = block(x)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)

    def mixture_ffns(self):
        return [module for module in self.modules() if isinstance(module, MixtureFFN)]


def load(directory):
    """The model of a directory; a tensor too many, too few or of another shape is an error."""
    with torch.device("meta"):
        model = LanguageModel(read_config(directory))
    tensors = {name: tensor.float() if ".router." in name else tensor
               for name, tensor in read_tensors(directory).items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    return model
