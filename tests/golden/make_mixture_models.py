#!/usr/bin/env python3
"""Small random mixtures, and what independent code computes from them.

Writes models/NAME/{config.json, model.safetensors, tokenizer.json, expected.json}.

  mixtral_*           transformers' Mixtral, under both namings of its tensors; gates renormalised
  mixture_qwen2_moe   transformers' Qwen2-MoE without biases and with a shared expert of zeros, as a
                      `peerage` model; raw gates
  mixture_jetmoe      transformers' JetMoE with every expert kept and biases of zero, as a `peerage`
                      model: a soft mixture of attention with shared keys and values
  peerage_cohere      transformers' Cohere with logit_scale 1, as a `peerage` model: the parallel
                      block, LayerNorm, interleaved rotary pairs
  mixture_bam_*       peerage_reference.py (numpy): what no library has

Expected values are float64; a fixture on which float32 picks other experts is refused.

Usage: make_mixture_models.py   (run by `make golden`, after make_tiny_models.py)
"""

import re
import shutil

import numpy as np
import torch
import transformers

import peerage_reference
from make_tiny_models import (BASE, HERE, TYPES, VOCAB, fresh, peerage_shapes, random_weights,
                              save_safetensors, write_expected, write_json)

SIZES = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2,
         "intermediate_size": 48, "max_position_embeddings": 256, "tie_word_embeddings": True,
         "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
OURS = {**BASE, "intermediate_size": 48, "tie_word_embeddings": True}


def hugging_face(kind, seed, **settings):
    """A random model of transformers in float64; biases are zero."""
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **settings},
                                                    attn_implementation="eager")
    model = getattr(transformers, f"{kind}ForCausalLM")(config).double().eval()
    shapes = {k: tuple(v.shape) for k, v in model.named_parameters()}
    weights = random_weights(shapes, seed)
    for name, weight in weights.items():
        if name.endswith(".bias") or ".shared_expert." in name:
            weight.zero_()
        elif weight.dim() == 3:
            weight.mul_(weight.shape[1] ** 0.5 * weight.shape[2] ** -0.5)
    return model, {k: v.to(torch.bfloat16) for k, v in weights.items()}


def reference_of(model, weights):
    """Log-probabilities by a model of transformers, in float64."""
    state = {k: v.double() for k, v in weights.items()}
    state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    model.load_state_dict(state, strict=True)

    def table(tokens):
        values = [torch.log_softmax(convert()(torch.tensor([tokens])).logits[0], -1).double()
                  for convert in (model.float, model.double)]
        assert (values[0] - values[1]).abs().max() < 2e-4, "a near tie"
        return values[1].numpy()
    return table


def renamed(weights, patterns):
    """Weights under the names that the first matching pattern gives them; the last one must."""
    result = {}
    for name, weight in weights.items():
        for pattern, name_of in patterns:
            new, count = re.subn(pattern, name_of, name)
            if count:
                break
        assert count, name
        if new:
            result[new] = weight
    return result


COMMON = [(r"^(model\.(?:embed_tokens|norm)\.weight)$", r"\1"),
          (r"\.input_layernorm\.", ".input_norm."),
          (r"\.post_attention_layernorm\.", ".post_attention_norm."),
          (r"\.self_attn\.([qkvo])_proj\.", r".attention.\1_proj.")]


def write_model(name, config, weights, reference, seed):
    directory = fresh(name)
    write_json(directory / "config.json", config, indent=1)
    shutil.copy(HERE / "models" / "peerage_sequential" / "tokenizer.json", directory)
    save_safetensors(directory, {k: v.contiguous() for k, v in weights.items()}, 1)
    source = "peerage_reference.py" if "bam" in name else f"transformers {transformers.__version__}"
    write_expected(directory, source, reference, seed)


def packed(weights, experts):
    """Mixtral's experts as one tensor of gate and up rows and one of down rows."""
    result, layers = {}, set()
    for name, weight in weights.items():
        if ".experts." in name:
            layers.add(name.split(".block_sparse_moe")[0])
        else:
            result[name.replace(".block_sparse_moe.gate.", ".mlp.gate.")] = weight
    for layer in sorted(layers):
        def stack(matrix):
            return torch.stack([weights[f"{layer}.block_sparse_moe.experts.{e}.{matrix}.weight"]
                                for e in range(experts)])
        result[f"{layer}.mlp.experts.gate_up_proj"] = torch.cat([stack("w1"), stack("w3")], dim=1)
        result[f"{layer}.mlp.experts.down_proj"] = stack("w2")
    return result


def make_mixtral(seed):
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}
    for name in ("mixtral", "mixtral_packed"):
        model, weights = hugging_face("Mixtral", seed, **HEADS, **experts, rms_norm_eps=1e-5)
        reference = reference_of(model, weights)
        config = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", **SIZES,
                  **HEADS, **experts, "rms_norm_eps": 1e-5, "hidden_act": "silu",
                  "router_aux_loss_coef": 0.02, "router_jitter_noise": 0.0,
                  "output_router_logits": False, "torch_dtype": "bfloat16"}
        if name == "mixtral_packed":
            weights = packed(weights, experts["num_local_experts"])
        write_model(name, config, weights, reference, seed)


def make_qwen2_moe(seed):
    model, weights = hugging_face(
        "Qwen2Moe", seed, **HEADS, num_experts=5, num_experts_per_tok=2, norm_topk_prob=False,
        moe_intermediate_size=40, shared_expert_intermediate_size=8, qkv_bias=False,
        rms_norm_eps=1e-5)
    config = {**OURS, **HEADS, "ffn": [
        {"kind": "mixture", "num_experts": 5, "top_k": 2, "intermediate_size": 40}]}
    patterns = COMMON + [(r".*\.shared_expert.*", ""), (r"\.mlp\.gate\.", ".ffn.mixture.router."),
                         (r"\.mlp\.experts\.", ".ffn.mixture.experts.")]
    write_model("mixture_qwen2_moe", config, renamed(weights, patterns),
                reference_of(model, weights), seed)


def make_jetmoe(seed, experts=3):
    model, weights = hugging_face(
        "JetMoe", seed, num_key_value_heads=4, kv_channels=8, num_local_experts=experts,
        num_experts_per_tok=experts, rms_norm_eps=1e-5)
    config = {**OURS, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8,
              "attention": {"kind": "mixture", "num_experts": experts, "kv": "shared",
                            "routing": "soft"},
              "ffn": [{"kind": "mixture", "num_experts": experts, "top_k": experts}]}
    apart = {}
    for name, weight in weights.items():
        if name.endswith("self_attention.kv_proj.weight"):
            prefix = name.replace("self_attention.kv_proj.weight", "attention.")
            apart[prefix + "k_proj.weight"], apart[prefix + "v_proj.weight"] = weight.chunk(2)
        elif weight.dim() != 3:
            apart[name] = weight
        else:
            for e in range(experts):
                layer, part = re.match(r"(model\.layers\.\d+\.)(.*)\.weight$", name).groups()
                attention, ffn = f"{layer}attention.experts.{e}.", f"{layer}ffn.mixture.experts.{e}."
                if part == "mlp.input_linear":
                    gate, up = weight[e].chunk(2)
                    apart[ffn + "gate_proj.weight"], apart[ffn + "up_proj.weight"] = gate, up
                else:
                    own = {"mlp.output_linear": ffn + "down_proj.weight",
                           "self_attention.experts.input_linear": attention + "q_proj.weight",
                           "self_attention.experts.output_linear": attention + "o_proj.weight"}
                    apart[own[part]] = weight[e]
    patterns = COMMON + [(r".*\.bias$", ""), (r"\.mlp\.router\.layer\.", ".ffn.mixture.router."),
                         (r"\.self_attention\.experts\.router\.layer\.", ".attention.router."),
                         (r"(\.attention\.|\.ffn\.)", r"\1")]
    write_model("mixture_jetmoe", config, renamed(apart, patterns), reference_of(model, weights),
                seed)


def make_cohere(seed):
    model, weights = hugging_face("Cohere", seed, **HEADS, logit_scale=1.0, use_qk_norm=False,
                                  layer_norm_eps=1e-5, pad_token_id=0)
    config = {**OURS, **HEADS, "norm_type": "layernorm", "parallel_block": True,
              "rope_interleaved": True}
    patterns = COMMON + [(r"\.mlp\.", ".ffn.dense.")]
    write_model("peerage_cohere", config, renamed(weights, patterns),
                reference_of(model, weights), seed)


def mixture(experts, **fields):
    return {"kind": "mixture", "num_experts": experts, **fields}


def moepp(experts, zeros, copies, constants, **fields):
    return mixture(experts, zero_experts=zeros, copy_experts=copies, constant_experts=constants,
                   **fields)


DENSE = {"kind": "dense"}
# name: (stored type, changes to BASE)
BAM = {
    # The paper's block with keys and values of each expert.
    "mixture_bam_kv_experts": ("bf16", {
        "parallel_block": True, "norm_type": "layernorm", "rope_interleaved": True,
        "attention": mixture(3, kv="expert", routing="soft"), "ffn": [mixture(4)]}),
    "mixture_bam_shared_kv": ("f32", {
        "parallel_block": True, "hidden_act": "gelu",
        "attention": mixture(3, kv="shared", routing="soft",
                             expert_names=["base", "code", "law"]),
        "ffn": [mixture(3, top_k=2, normalize_top_k=True)]}),
    # Top-k attention, a shared expert, and layers that differ.
    "mixture_bam_layers": ("f16", {
        "num_hidden_layers": 3, "hidden_act": "relu",
        "attention": mixture(4, kv="shared", routing="top_k", top_k=2),
        "ffn": [DENSE, mixture(3, top_k=2, intermediate_size=40)],
        "layers": {"1": {"attention": DENSE},
                   "2": {"attention": mixture(2, kv="expert", routing="top_k", top_k=1,
                                              normalize_top_k=True), "ffn": [mixture(1)]}}}),
    # MoE++: experts that cost nothing, and logits that reach later layers past one without.
    "mixture_moepp": ("f32", {
        "num_hidden_layers": 4,
        "ffn": [moepp(3, 1, 2, 2, top_k=2, gating_residual=True)],
        "layers": {"1": {"ffn": [DENSE, moepp(2, 0, 1, 1, top_k=3, normalize_top_k=True)]}}}),
    # More picks than feed-forward experts; the parallel block routes before attention.
    "mixture_moepp_parallel": ("bf16", {
        "parallel_block": True, "norm_type": "layernorm",
        "attention": mixture(2, kv="shared", routing="soft"),
        "ffn": [moepp(2, 1, 1, 1, top_k=4, normalize_top_k=True, gating_residual=True,
                      expert_names=["base", "code"])]}),
}


def mixture_shapes(config):
    """Shapes of a dense model's tensors, a copy for each expert where there is a mixture."""
    shapes, d = {}, config["hidden_size"]
    for name, shape in peerage_shapes({**config, "layers": {}, "ffn": [DENSE]}).items():
        layer = re.match(r"model\.layers\.(\d+)\.(attention|ffn)\.(.*)", name)
        if not layer:
            shapes[name] = shape
            continue
        index, part, _ = layer.groups()
        override = config.get("layers", {}).get(index, {})
        prefix = f"model.layers.{index}."
        entries = override.get(part, config[part])
        for entry in entries if part == "ffn" else [entries]:
            if entry["kind"] == "dense":
                shapes[name] = shape
                continue
            own = prefix + ("ffn.mixture." if part == "ffn" else "attention.")
            rows = entry["num_experts"] + sum(
                entry.get(f"{kind}_experts", 0) for kind in ("zero", "copy", "constant"))
            shapes[own + "router.weight"] = (rows, d)
            if entry.get("gating_residual") and index != "0":
                shapes[own + "router.residual.weight"] = (rows, rows)
            for c in range(entry.get("constant_experts", 0)):
                shapes[f"{own}constants.{c}.weight"] = (2, d)
                shapes[f"{own}constants.{c}.vector"] = (d,)
            projection = name.rsplit(".", 2)[1]
            width = entry.get("intermediate_size", config["intermediate_size"])
            if part == "ffn":
                shape = (d, width) if projection == "down_proj" else (width, d)
            if entry.get("kv") == "shared" and projection in ("k_proj", "v_proj"):
                shapes[f"{own}{projection}.weight"] = shape
                continue
            for e in range(entry["num_experts"]):
                shapes[f"{own}experts.{e}.{projection}.weight"] = shape
    return shapes


def make_bam(name, seed):
    dtype, changes = BAM[name]
    config = {**OURS, **changes}
    weights = {k: v.to(TYPES[dtype])
               for k, v in random_weights(mixture_shapes(config), seed).items()}

    def table(tokens):
        values = [peerage_reference.log_softmax(peerage_reference.logits(
            tokens, {k: v.to(t).numpy() for k, v in weights.items()}, config))
            for t in (torch.float32, torch.float64)]
        assert np.abs(values[0] - values[1]).max() < 2e-4, "a near tie"
        return values[1]
    write_model(name, config, weights, table, seed)


def main():
    torch.set_grad_enabled(False)
    for seed, make in enumerate([make_mixtral, make_qwen2_moe, make_jetmoe, make_cohere]):
        make(200 + seed)
    for seed, name in enumerate(BAM):
        make_bam(name, 300 + seed)


if __name__ == "__main__":
    main()
