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


def attention(u, weights, prefix, config):
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    dim, tokens = config["head_dim"], len(u)
    q = rotate((u @ weights[prefix + "q_proj.weight"].T).reshape(tokens, heads, dim), config)
    k = rotate((u @ weights[prefix + "k_proj.weight"].T).reshape(tokens, kv_heads, dim), config)
    v = (u @ weights[prefix + "v_proj.weight"].T).reshape(tokens, kv_heads, dim)
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


def logits(tokens, weights, config):
    """[tokens, vocab]; `weights` by tensor name, float64."""
    x = weights["model.embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        u = norm(x, weights[layer + "input_norm.weight"], config)
        a = attention(u, weights, layer + "attention.", config)
        if config["parallel_block"]:
            x = x + a + dense_ffn(u, weights, layer + "ffn.dense.", config)
        else:
            h = x + a
            u = norm(h, weights[layer + "post_attention_norm.weight"], config)
            x = h + dense_ffn(u, weights, layer + "ffn.dense.", config)
    x = norm(x, weights["model.norm.weight"], config)
    head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
    return x @ weights[head + ".weight"].T


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
