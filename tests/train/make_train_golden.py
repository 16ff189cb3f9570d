#!/usr/bin/env python3
"""What PyTorch makes of training steps, for each kind of layer (float64).

Writes golden/NAME.json (config, tensors, tokens, optimiser, figures of the first step, losses of
all) and golden/NAME.safetensors (of the first step `gradient.TENSOR` before clipping, and
`updated.TENSOR`). Weights are not stored: tests/golden/hashed_weights.py computes them. A fixture
is refused where float32 picks other experts than float64 in any step, so that a trainer in float32
can be held against it.

Usage: make_train_golden.py [NAME ...]   (run by `make golden`)
"""

import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "golden"))
import hashed_weights  # noqa: E402 (after the path)
from train_reference import Model  # noqa: E402

STEPS = 50
SEQUENCES, LENGTH, VOCAB = 3, 11, 37
# An epsilon that is large beside rounding: else a gradient that should be zero makes a step of its
# own, as large as any.
OPTIMIZER = {"learning_rate": 3e-3, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-3,
             "weight_decay": 0.1, "clip": 0.5, "balance_loss": 0.02, "z_loss": 0.003}
BASE = {"architectures": ["PeerageForCausalLM"], "model_type": "peerage", "format_version": 1,
        "vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4,
        "intermediate_size": 20, "hidden_act": "silu", "norm_type": "rmsnorm", "norm_eps": 1e-5,
        "rope_theta": 100.0, "rope_interleaved": False, "max_position_embeddings": 64,
        "tie_word_embeddings": True, "parallel_block": False, "ffn": [{"kind": "dense"}]}
PEER = {"kind": "peer", "num_experts": 49, "heads": 2, "top_k": 4, "key_dim": 8}
MIXTURE = {"kind": "mixture", "num_experts": 4, "top_k": 2, "normalize_top_k": True}
ATTENTION = {"kind": "mixture", "num_experts": 3, "kv": "expert", "routing": "soft"}

MODELS = {
    "dense_sequential": {},
    "dense_parallel": {"parallel_block": True, "norm_type": "layernorm", "rope_interleaved": True,
                       "hidden_act": "gelu_tanh", "tie_word_embeddings": False},
    "mixture_normalized": {"ffn": [MIXTURE]},
    "mixture_moepp": {"ffn": [{**MIXTURE, "num_experts": 2, "zero_experts": 1, "copy_experts": 1,
                               "constant_experts": 1, "gating_residual": True}]},
    "mixture_soft": {"ffn": [{**MIXTURE, "top_k": 1}]},
    "bam_own_kv": {"parallel_block": True, "attention": ATTENTION,
                   "ffn": [{"kind": "mixture", "num_experts": 3, "top_k": 1}]},
    "bam_shared_kv": {"attention": {**ATTENTION, "kv": "shared", "routing": "top_k", "top_k": 2,
                                    "normalize_top_k": True},
                      "hidden_act": "relu"},
    "peer_batch_norm": {"layers": {"1": {"ffn": [{"kind": "dense"},
                                                 {**PEER, "query_norm": "batch"}]}}},
    "peer_glu_layer_norm": {"ffn": [{**PEER, "keys": "per_head", "experts": "per_head",
                                     "query_norm": "layer", "query_bias": True, "glu": True,
                                     "score": "sigmoid", "activation": "silu",
                                     "pre_rmsnorm": True}]},
    "peer_joint_softmax": {"ffn": [{**PEER, "query_norm": "layer", "score": "joint_softmax"}]},
    "peer_direct": {"ffn": [{"kind": "peer", "num_experts": 49, "heads": 2, "top_k": 9,
                             "keys": "direct", "query_bias": True, "score": "joint_softmax"}]},
    "pkm": {"layers": {"0": {"ffn": [{**PEER, "kind": "pkm", "score": "relu"}]},
                       "1": {"ffn": [{**PEER, "kind": "pkm", "query_norm": "batch"}]}}},
}

OPTIMIZERS = {"mixture_soft": OPTIMIZER | {"routing": "soft"}}  # of the others: OPTIMIZER


def shapes_of(config):
    """Tensor names and shapes, by docs/model_format.md."""
    d, f = config["hidden_size"], config["intermediate_size"]
    q = config["num_attention_heads"] * config["head_dim"]
    kv = config["num_key_value_heads"] * config["head_dim"]
    shapes = {"model.embed_tokens.weight": [VOCAB, d]}

    def dense(prefix):
        shapes.update({prefix + "gate_proj.weight": [f, d], prefix + "up_proj.weight": [f, d],
                       prefix + "down_proj.weight": [d, f]})

    def keys_and_values(prefix):
        shapes.update({prefix + "k_proj.weight": [kv, d], prefix + "v_proj.weight": [kv, d]})

    def attention(prefix, entry):
        if entry["kind"] == "dense":
            shapes.update({prefix + "q_proj.weight": [q, d], prefix + "o_proj.weight": [d, q]})
            return keys_and_values(prefix)
        shapes[prefix + "router.weight"] = [entry["num_experts"], d]
        for e in range(entry["num_experts"]):
            own = f"{prefix}experts.{e}."
            shapes.update({own + "q_proj.weight": [q, d], own + "o_proj.weight": [d, q]})
            if entry["kv"] == "expert":
                keys_and_values(own)
        if entry["kv"] == "shared":
            keys_and_values(prefix)

    def mixture(prefix, entry, first):
        experts = sum(entry.get(kind + "_experts", 0) for kind in ("num", "zero", "copy", "constant"))
        shapes[prefix + "router.weight"] = [experts, d]
        if entry.get("gating_residual") and not first:
            shapes[prefix + "router.residual.weight"] = [experts, experts]
        for e in range(entry["num_experts"]):
            dense(f"{prefix}experts.{e}.")
        for c in range(entry.get("constant_experts", 0)):
            shapes.update({f"{prefix}constants.{c}.weight": [2, d],
                           f"{prefix}constants.{c}.vector": [d]})

    def product_keys(prefix, entry):
        heads, n = entry["heads"], round(entry["num_experts"] ** 0.5)
        if entry.get("pre_rmsnorm"):
            shapes[prefix + "norm.weight"] = [d]
        if entry.get("keys") == "direct":
            shapes[prefix + "router.weight"] = [heads, 2, n, d]
            if entry.get("query_bias"):
                shapes[prefix + "router.bias"] = [heads, 2, n]
        else:
            width, half = heads * entry["key_dim"], entry["key_dim"] // 2
            shapes[prefix + "query.weight"] = [width, d]
            if entry.get("query_bias"):
                shapes[prefix + "query.bias"] = [width]
            norm = entry.get("query_norm")
            for part in {"batch": ("weight", "bias", "running_mean", "running_var"),
                         "layer": ("weight", "bias")}.get(norm, ()):
                shapes[f"{prefix}query_norm.{part}"] = [width if norm == "batch" else entry["key_dim"]]
            per_head = [heads] if entry.get("keys") == "per_head" else []
            shapes[prefix + "sub_keys"] = [*per_head, 2, n, half]
        tables = ["values"] if entry["kind"] == "pkm" else ["down", "up"]
        rows = entry["num_experts"] * (heads if entry.get("experts") == "per_head" else 1)
        for table in tables + (["gate"] if entry.get("glu") else []):
            shapes[f"{prefix}{table}.weight"] = [rows, d]

    for i in range(config["num_hidden_layers"]):
        layer, override = f"model.layers.{i}.", config.get("layers", {}).get(str(i), {})
        shapes[layer + "input_norm.weight"] = [d]
        attention(layer + "attention.",
                  override.get("attention", config.get("attention", {"kind": "dense"})))
        if not config["parallel_block"]:
            shapes[layer + "post_attention_norm.weight"] = [d]
        for entry in override.get("ffn", config["ffn"]):
            prefix = f"{layer}ffn.{entry['kind']}."
            if entry["kind"] == "dense":
                dense(prefix)
            elif entry["kind"] == "mixture":
                mixture(prefix, entry, first=i == 0)
            else:
                product_keys(prefix, entry)
    shapes["model.norm.weight"] = [d]
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = [VOCAB, d]
    return shapes


def exponent_of(name, shape):
    """None: around one. Otherwise as a standard deviation's nearest power of two."""
    if name.endswith(("norm.weight", "running_var")):
        return None
    if name.endswith((".bias", "running_mean")):
        return hashed_weights.exponent_for(0.1)
    if ".router." in name or "sub_keys" in name or "query.weight" in name:
        return hashed_weights.exponent_for(1.0)  # far from ties
    return hashed_weights.exponent_for(shape[-1] ** -0.5)


def make_weights(name, tensors, dtype):
    weights = {}
    for tensor, shape, exponent in tensors:
        key = f"{name}/{tensor}"
        values = (hashed_weights.around_one(key, shape) if exponent is None
                  else hashed_weights.around_zero(key, shape, exponent))
        weights[tensor] = torch.tensor(values, dtype=dtype)
        if "running" not in tensor:
            weights[tensor].requires_grad_()
    return weights


def tokens_of(name):
    """Other sequences in every step: [steps, sequences, length + 1]."""
    count = STEPS * SEQUENCES * (LENGTH + 1)
    values = hashed_weights.hashed_bytes(f"{name}/tokens", count).astype(int) % VOCAB
    return torch.tensor(values).view(STEPS, SEQUENCES, LENGTH + 1)


def decays(name, weight):
    return weight.dim() >= 2 and not name.endswith(".bias")


def train(name, config, tensors, dtype):
    """Losses of all steps, and what the first one did."""
    weights = make_weights(name, tensors, dtype)
    o = OPTIMIZERS.get(name, OPTIMIZER)
    model = Model(config, weights, soft_routing=o.get("routing") == "soft")
    learnt = {t: w for t, w in weights.items() if w.requires_grad}
    optimizer = torch.optim.AdamW(
        [{"params": [w for t, w in learnt.items() if decays(t, w)],
          "weight_decay": o["weight_decay"]},
         {"params": [w for t, w in learnt.items() if not decays(t, w)], "weight_decay": 0.0}],
        lr=o["learning_rate"], betas=(o["beta1"], o["beta2"]), eps=o["epsilon"])
    losses, first = [], {}
    for step, batch in enumerate(tokens_of(name)):
        logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        losses.append(loss.item())
        total = loss
        if model.balance:
            balance, z = (torch.stack(v).mean() for v in (model.balance, model.z))
            total = total + o["balance_loss"] * balance + o["z_loss"] * z
        optimizer.zero_grad(set_to_none=False)
        total.backward()
        for weight in learnt.values():
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        gradients = {t: w.grad.clone() for t, w in learnt.items()} if step == 0 else None
        norm = torch.nn.utils.clip_grad_norm_(learnt.values(), o["clip"])
        optimizer.step()
        if step == 0:
            first = {"loss": loss.item(), "gradient_norm": norm.item(),
                     "gradients": gradients,
                     "updated": {t: w.detach().clone() for t, w in weights.items()}}
            if model.balance:
                first |= {"balance_loss": balance.item(), "z_loss": z.item()}
    return losses, first


def make(name):
    config = BASE | MODELS[name]
    tensors = [(t, s, exponent_of(t, s)) for t, s in shapes_of(config).items()]
    losses, first = train(name, config, tensors, torch.float64)
    rounded, _ = train(name, config, tensors, torch.float32)
    worst = max(abs(a - b) for a, b in zip(losses, rounded))
    print(f"{name}: loss {losses[0]:.4f} to {losses[-1]:.4f}; float32 is off by {worst:.1e}, "
          f"gradient norm {first['gradient_norm']:.3f}")
    if worst > 3e-4:
        raise SystemExit(f"{name}: float32 went another way; change the model's name or weights")
    arrays = {f"gradient.{t}": g.float() for t, g in first.pop("gradients").items()}
    arrays |= {f"updated.{t}": w.float() for t, w in first.pop("updated").items()}
    save_file({k: v.contiguous() for k, v in arrays.items()}, HERE / "golden" / f"{name}.safetensors")
    fields = {"config": config, "tensors": tensors, "optimizer": OPTIMIZERS.get(name, OPTIMIZER),
              "tokens": tokens_of(name).flatten(1).tolist(), "sequences": SEQUENCES,
              "length": LENGTH, "first": first, "losses": [round(v, 7) for v in losses]}
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}"
                       for k, v in fields.items())
    (HERE / "golden" / f"{name}.json").write_text(f"{{\n{lines}\n}}\n")


def main():
    torch.set_num_threads(1)  # tensors are tiny
    for name in sys.argv[1:] or MODELS:
        make(name)


if __name__ == "__main__":
    main()
