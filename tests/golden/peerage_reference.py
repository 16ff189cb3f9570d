"""The `peerage` forward pass in numpy float64, written from docs/model_format.md.

Slow and literal on purpose: it is the independent statement of what a config means, against
which the C++ forward pass is tested.
"""

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])

ACTIVATIONS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


def norm(x, weight, config):
    eps = config["norm_eps"]
    if config["norm_type"] == "layernorm":
        x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def rotate(x, config):
    """x [tokens, heads, head_dim], token t at position t."""
    tokens, _, dim = x.shape
    frequency = config["rope_theta"] ** (-2.0 * np.arange(dim // 2) / dim)
    angle = np.arange(tokens)[:, None, None] * frequency
    cos, sin = np.cos(angle), np.sin(angle)
    if config["rope_interleaved"]:
        first, second = slice(0, None, 2), slice(1, None, 2)
    else:
        first, second = slice(0, dim // 2), slice(dim // 2, None)
    out = np.empty_like(x)
    out[..., first] = x[..., first] * cos - x[..., second] * sin
    out[..., second] = x[..., second] * cos + x[..., first] * sin
    return out


def attention(u, weights, prefix, config, kv_prefix=None):
    """Keys and values may be somebody else's: those under kv_prefix."""
    kv_prefix = kv_prefix or prefix
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    dim, tokens = config["head_dim"], len(u)
    q = rotate((u @ weights[prefix + "q_proj.weight"].T).reshape(tokens, heads, dim), config)
    k = rotate((u @ weights[kv_prefix + "k_proj.weight"].T).reshape(tokens, kv_heads, dim), config)
    v = (u @ weights[kv_prefix + "v_proj.weight"].T).reshape(tokens, kv_heads, dim)
    out = np.empty((tokens, heads, dim))
    for h in range(heads):
        g = h // (heads // kv_heads)
        score = q[:, h] @ k[:, g].T / math.sqrt(dim)
        score[np.triu_indices(tokens, 1)] = -np.inf
        share = np.exp(score - score.max(axis=1, keepdims=True))
        out[:, h] = share / share.sum(axis=1, keepdims=True) @ v[:, g]
    return out.reshape(tokens, heads * dim) @ weights[prefix + "o_proj.weight"].T


def dense_ffn(u, weights, prefix, config):
    gate = ACTIVATIONS[config["hidden_act"]](u @ weights[prefix + "gate_proj.weight"].T)
    return (gate * (u @ weights[prefix + "up_proj.weight"].T)) @ weights[prefix + "down_proj.weight"].T


def best(values, k):
    """Positions of the k highest values of the last axis (all when there are fewer), ties by
    position."""
    return np.argsort(-values, axis=-1, kind="stable")[..., :k]


def half_scores(x, weights, prefix, entry):
    """Scores of both halves' sub-keys: [tokens, heads, 2, n]."""
    if entry.get("keys") == "direct":
        scores = np.einsum("td,hpnd->thpn", x, weights[prefix + "router.weight"])
        return scores + weights[prefix + "router.bias"] if entry.get("query_bias") else scores
    heads, dim = entry["heads"], entry["key_dim"]
    q = x @ weights[prefix + "query.weight"].T
    if entry.get("query_bias"):
        q = q + weights[prefix + "query.bias"]
    kind = entry.get("query_norm", "none")
    eps = entry.get("query_norm_eps", 1e-5)
    scale, shift = (weights.get(prefix + "query_norm." + part) for part in ("weight", "bias"))
    if kind == "batch":
        mean, var = (weights[prefix + "query_norm.running_" + part] for part in ("mean", "var"))
        q = (q - mean) / np.sqrt(var + eps) * scale + shift
    q = q.reshape(len(x), heads, dim)
    if kind == "layer":
        q = q - q.mean(axis=-1, keepdims=True)
        q = q / np.sqrt((q * q).mean(axis=-1, keepdims=True) + eps) * scale + shift
    q = q.reshape(len(x), heads, 2, dim // 2)
    per_head = entry.get("keys") == "per_head"
    return np.einsum("thpk,hpnk->thpn" if per_head else "thpk,pnk->thpn",
                     q, weights[prefix + "sub_keys"])


def softmax(x):
    return np.exp(log_softmax(x))


def retrieve(scores, entry):
    """The experts of every head and their weights, both [tokens, heads, top_k]; ids below N."""
    n, k = scores.shape[-1], entry["top_k"]
    listed = best(scores, k)
    values = np.take_along_axis(scores, listed, -1).astype(np.float32)
    sums = values[:, :, 0, :, None] + values[:, :, 1, None, :]
    ids = listed[:, :, 0, :, None] * n + listed[:, :, 1, None, :]
    sums, ids = (a.reshape(*scores.shape[:2], -1) for a in (sums, ids))
    order = np.lexsort((ids, -sums))[..., :k]
    sums, ids = (np.take_along_axis(a, order, -1) for a in (sums, ids))
    kind = entry.get("score", "softmax")
    if kind == "joint_softmax":
        first, second = (log_softmax(scores[:, :, half]) for half in (0, 1))
        return ids, np.exp(np.take_along_axis(first, ids // n, -1)
                           + np.take_along_axis(second, ids % n, -1))
    functions = {"softmax": softmax, "sigmoid": lambda s: 1 / (1 + np.exp(-s)),
                 "relu": ACTIVATIONS["relu"]}
    return ids, functions[kind](sums.astype(np.float64))


def product_key_ffn(x, weights, prefix, entry, config, watch):
    """PEER or product-key memory."""
    if entry.get("pre_rmsnorm"):
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + config["norm_eps"])
        x = x * weights[prefix + "norm.weight"]
    scores = half_scores(x, weights, prefix, entry)
    ids, share = retrieve(scores, entry)
    if entry.get("experts") == "per_head":
        ids = ids + np.arange(entry["heads"])[:, None] * entry["num_experts"]
    if watch:
        watch(entry, scores, ids, share)

    def rows(table):
        return weights[f"{prefix}{table}.weight"][ids].astype(np.float64)
    if entry["kind"] == "pkm":
        return np.einsum("thk,thkd->td", share, rows("values"))
    act = ACTIVATIONS[entry.get("activation", "gelu")]
    dot = np.einsum("td,thkd->thk", x, rows("down"))
    if entry.get("glu"):
        hidden = act(np.einsum("td,thkd->thk", x, rows("gate"))) * dot
    else:
        hidden = act(dot)
    return np.einsum("thk,thkd->td", share * hidden, rows("up"))


def ffn(u, weights, layer, entries, config, watch, carried):
    """The sum of a layer's feed-forward parts. `carried`: what earlier layers leave to later ones."""
    total = np.zeros_like(u)
    for entry in entries:
        prefix = f"{layer}ffn.{entry['kind']}."
        if entry["kind"] == "dense":
            total += dense_ffn(u, weights, prefix, config)
        elif entry["kind"] == "mixture":
            total += mixture_ffn(u, weights, prefix, entry, config, carried)
        else:
            total += product_key_ffn(u, weights, prefix, entry, config, watch)
    return total


def logits(tokens, weights, config, watch=None):
    """[tokens, vocab]; `weights` by tensor name, float64 (expert tables: any type).

    watch(entry, scores, ids, weights) sees what every product-key part retrieves.
    """
    x = weights["model.embed_tokens.weight"][tokens]
    carried = {}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        override = config.get("layers", {}).get(str(i), {})
        parts = override.get("ffn", config["ffn"])
        heads = override.get("attention", config.get("attention", {"kind": "dense"}))
        u = norm(x, weights[layer + "input_norm.weight"], config)
        attend = mixture_attention if heads["kind"] == "mixture" else dense_attention
        h = x + attend(u, weights, layer + "attention.", heads, config)
        if not config["parallel_block"]:
            u = norm(h, weights[layer + "post_attention_norm.weight"], config)
        x = h + ffn(u, weights, layer, parts, config, watch, carried)
    x = norm(x, weights["model.norm.weight"], config)
    head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
    return x @ weights[head + ".weight"].T


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def dense_attention(u, weights, prefix, _, config):
    return attention(u, weights, prefix, config)


def mixture_gates(router_logits, entry, top_k):
    """What each expert's output is multiplied by, [tokens, experts]: zero where it is not kept."""
    share = softmax(router_logits)
    kept = best(share, top_k)
    gates = np.zeros_like(share)
    np.put_along_axis(gates, kept, np.take_along_axis(share, kept, -1), -1)
    return gates / gates.sum(axis=-1, keepdims=True) if entry.get("normalize_top_k") else gates


def mixture_attention(u, weights, prefix, entry, config):
    """One expert after the other (BAM: soft routing, experts' own keys and values or shared)."""
    gates = mixture_gates(u @ weights[prefix + "router.weight"].T, entry,
                          entry.get("top_k", entry["num_experts"]))
    total = np.zeros_like(u)
    for e in range(entry["num_experts"]):
        own = f"{prefix}experts.{e}."
        kv = prefix if entry["kv"] == "shared" else own
        total += gates[:, e, None] * attention(u, weights, own, config, kv)
    return total


def mixture_ffn(u, weights, prefix, entry, config, carried):
    """Feed-forward experts, then zero, copy and constant experts (MoE++, arXiv 2410.07348)."""
    router_logits = u @ weights[prefix + "router.weight"].T
    if entry.get("gating_residual"):
        if "router_logits" in carried:
            router_logits = router_logits + (carried["router_logits"]
                                             @ weights[prefix + "router.residual.weight"].T)
        carried["router_logits"] = router_logits
    gates = mixture_gates(router_logits, entry, entry.get("top_k", 1))
    outputs = [dense_ffn(u, weights, f"{prefix}experts.{e}.", config)
               for e in range(entry["num_experts"])]
    outputs += [np.zeros_like(u)] * entry.get("zero_experts", 0)
    outputs += [u] * entry.get("copy_experts", 0)
    for c in range(entry.get("constant_experts", 0)):
        share = softmax(u @ weights[f"{prefix}constants.{c}.weight"].T)
        vector = weights[f"{prefix}constants.{c}.vector"]
        outputs.append(share[:, :1] * u + share[:, 1:] * vector)
    return sum(gates[:, e, None] * output for e, output in enumerate(outputs))
