"""The `peerage` language model with gradients, in PyTorch, written from docs/model_format.md.

Slow and literal on purpose: every expert of a mixture computes every token, PEER takes rows out of
its tables one by one. It shares no code with the trainer, which is tested against it.
"""

import math

import torch
import torch.nn.functional as F

ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "relu": F.relu,
               "gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}


class Model:
    """`weights` by tensor name; those that require gradients get them.

    With `soft_routing` mixtures weigh all their experts, whatever their top_k is.
    """

    def __init__(self, config, weights, soft_routing=False):
        self.config, self.weights, self.soft_routing = config, weights, soft_routing
        self.balance, self.z = [], []  # of every router of a mixture
        self.carried = None            # logits for the next gating residual

    def __call__(self, tokens):
        """tokens [batch, length] to logits [batch, length, vocab]."""
        config = self.config
        self.balance, self.z, self.carried = [], [], None
        x = self.weights["model.embed_tokens.weight"][tokens]
        for i in range(config["num_hidden_layers"]):
            layer = f"model.layers.{i}."
            override = config.get("layers", {}).get(str(i), {})
            heads = override.get("attention", config.get("attention", {"kind": "dense"}))
            u = self.norm(x, layer + "input_norm.weight")
            attend = self.mixture_attention if heads["kind"] == "mixture" else self.dense_attention
            h = x + attend(u, layer + "attention.", heads)
            if not config["parallel_block"]:
                u = self.norm(h, layer + "post_attention_norm.weight")
            x = h
            for entry in override.get("ffn", config["ffn"]):
                x = x + self.part(u, layer, entry)
        x = self.norm(x, "model.norm.weight")
        head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
        return x @ self.weights[head + ".weight"].T

    def norm(self, x, name):
        if self.config["norm_type"] == "layernorm":
            x = x - x.mean(-1, keepdim=True)
        scale = (x.square().mean(-1, keepdim=True) + self.config["norm_eps"]).rsqrt()
        return x * scale * self.weights[name]

    def part(self, u, layer, entry):
        prefix = f"{layer}ffn.{entry['kind']}."
        if entry["kind"] == "dense":
            return self.dense_ffn(u, prefix)
        if entry["kind"] == "mixture":
            return self.mixture_ffn(u, prefix, entry)
        return self.product_keys(u, prefix, entry)

    # Attention

    def rotate(self, x):
        """x [batch, heads, length, head_dim]."""
        dim = x.shape[-1]
        angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * (
            self.config["rope_theta"] ** (-torch.arange(0, dim, 2, dtype=x.dtype) / dim))
        cos, sin = angle.cos(), angle.sin()
        if self.config["rope_interleaved"]:
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)
        a, b = x[..., :dim // 2], x[..., dim // 2:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def attention(self, u, prefix, kv_prefix):
        config = self.config
        heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]

        def split(name, count):
            y = u @ self.weights[name].T
            return y.view(*u.shape[:2], count, -1).transpose(1, 2)
        q = self.rotate(split(prefix + "q_proj.weight", heads))
        k = self.rotate(split(kv_prefix + "k_proj.weight", kv_heads))
        v = split(kv_prefix + "v_proj.weight", kv_heads)
        k, v = (t.repeat_interleave(heads // kv_heads, 1) for t in (k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        shares = scores.masked_fill(later, -math.inf).softmax(-1)
        out = (shares @ v).transpose(1, 2).flatten(2)
        return out @ self.weights[prefix + "o_proj.weight"].T

    def dense_attention(self, u, prefix, _):
        return self.attention(u, prefix, prefix)

    def mixture_attention(self, u, prefix, entry):
        experts = entry["num_experts"]
        gates = self.gates(u @ self.weights[prefix + "router.weight"].T, entry,
                           entry.get("top_k", experts))
        total = 0
        for e in range(experts):
            own = f"{prefix}experts.{e}."
            kv = prefix if entry["kv"] == "shared" else own
            total = total + gates[..., e, None] * self.attention(u, own, kv)
        return total

    # Feed-forward

    def dense_ffn(self, u, prefix):
        gate = ACTIVATIONS[self.config["hidden_act"]](u @ self.weights[prefix + "gate_proj.weight"].T)
        hidden = gate * (u @ self.weights[prefix + "up_proj.weight"].T)
        return hidden @ self.weights[prefix + "down_proj.weight"].T

    def gates(self, logits, entry, top_k):
        """[..., experts], zero where an expert is not kept."""
        p = logits.softmax(-1)
        kept = torch.zeros_like(p).scatter(-1, p.topk(top_k, -1).indices, 1.0)
        experts = p.shape[-1]
        picks = kept.flatten(0, -2).mean(0) / top_k
        self.balance.append(experts * (picks * p.flatten(0, -2).mean(0)).sum())
        self.z.append(logits.logsumexp(-1).square().mean())
        gates = p if self.soft_routing else p * kept
        return gates / gates.sum(-1, keepdim=True) if entry.get("normalize_top_k") else gates

    def mixture_ffn(self, u, prefix, entry):
        logits = u @ self.weights[prefix + "router.weight"].T
        if entry.get("gating_residual"):
            if self.carried is not None:
                logits = logits + self.carried @ self.weights[prefix + "router.residual.weight"].T
            self.carried = logits
        gates = self.gates(logits, entry, entry.get("top_k", 1))
        outputs = [self.dense_ffn(u, f"{prefix}experts.{e}.") for e in range(entry["num_experts"])]
        outputs += [torch.zeros_like(u)] * entry.get("zero_experts", 0)
        outputs += [u] * entry.get("copy_experts", 0)
        for c in range(entry.get("constant_experts", 0)):
            share = (u @ self.weights[f"{prefix}constants.{c}.weight"].T).softmax(-1)
            vector = self.weights[f"{prefix}constants.{c}.vector"]
            outputs.append(share[..., :1] * u + share[..., 1:] * vector)
        return sum(gates[..., e, None] * output for e, output in enumerate(outputs))

    # Product keys

    def half_scores(self, x, prefix, entry):
        """[tokens, heads, 2, n]"""
        if entry.get("keys") == "direct":
            scores = torch.einsum("td,hpnd->thpn", x, self.weights[prefix + "router.weight"])
            bias = prefix + "router.bias"
            return scores + self.weights[bias] if entry.get("query_bias") else scores
        q = x @ self.weights[prefix + "query.weight"].T
        if entry.get("query_bias"):
            q = q + self.weights[prefix + "query.bias"]
        kind, eps = entry.get("query_norm", "none"), entry.get("query_norm_eps", 1e-5)
        names = {part: f"{prefix}query_norm.{part}"
                 for part in ("weight", "bias", "running_mean", "running_var")}
        if kind == "batch":
            q = F.batch_norm(q, self.weights[names["running_mean"]],
                             self.weights[names["running_var"]], self.weights[names["weight"]],
                             self.weights[names["bias"]], training=True, momentum=0.1, eps=eps)
        q = q.view(len(x), entry["heads"], entry["key_dim"])
        if kind == "layer":
            q = F.layer_norm(q, q.shape[-1:], self.weights[names["weight"]],
                             self.weights[names["bias"]], eps)
        q = q.view(len(x), entry["heads"], 2, -1)
        per_head = entry.get("keys") == "per_head"
        return torch.einsum("thpk,hpnk->thpn" if per_head else "thpk,pnk->thpn", q,
                            self.weights[prefix + "sub_keys"])

    def product_keys(self, u, prefix, entry):
        shape = u.shape
        x = u.flatten(0, 1)
        if entry.get("pre_rmsnorm"):
            scale = (x.square().mean(-1, keepdim=True) + self.config["norm_eps"]).rsqrt()
            x = x * scale * self.weights[prefix + "norm.weight"]
        scores = self.half_scores(x, prefix, entry)
        n, k = scores.shape[-1], entry["top_k"]
        # The top k of all n^2 sums are among those of the top k of each half.
        sums = (scores[:, :, 0, :, None] + scores[:, :, 1, None, :]).flatten(-2)
        best, ids = sums.topk(k, -1)
        kind = entry.get("score", "softmax")
        if kind == "joint_softmax":
            shares = scores.softmax(-1)
            share = (shares[:, :, 0].gather(-1, ids // n) * shares[:, :, 1].gather(-1, ids % n))
        else:
            share = {"softmax": lambda s: s.softmax(-1), "sigmoid": torch.sigmoid,
                     "relu": F.relu}[kind](best)
        if entry.get("experts") == "per_head":
            ids = ids + torch.arange(entry["heads"])[:, None] * entry["num_experts"]

        def rows(table):
            return self.weights[f"{prefix}{table}.weight"][ids]
        if entry["kind"] == "pkm":
            return torch.einsum("thk,thkd->td", share, rows("values")).view(shape)
        act = ACTIVATIONS[entry.get("activation", "gelu")]
        hidden = torch.einsum("td,thkd->thk", x, rows("down"))
        if entry.get("glu"):
            hidden = act(torch.einsum("td,thkd->thk", x, rows("gate"))) * hidden
        else:
            hidden = act(hidden)
        return torch.einsum("thk,thkd->td", share * hidden, rows("up")).view(shape)
