#!/usr/bin/env python3
"""PEER layers as other projects store them, and what those projects compute from them.

Writes models/layout_NAME/{config.json, model.safetensors, tokenizer.json, expected.json}: two
blocks, the second with the other project's layer under its own tensor names and orders.

  lucidrains_*   PEER_pytorch.PEER 0.2.2 itself, in each of its modes
  doge           transformers' DogeCDMoE itself, one token at a time: for several its code mixes
                 the rows of its router
  meta_memory, ostix360*, omnimoe
                 modules written here from those projects' descriptions and public names

Expected values are float64; a fixture on which float32 picks other experts is refused.

Usage: make_layout_models.py   (run by `make golden`)
"""

import json
import shutil

import numpy as np
import torch
import torch.nn.functional as F
from PEER_pytorch import PEER
from safetensors.torch import save_file
from torch import nn
from transformers.models.doge.configuration_doge import DogeConfig
from transformers.models.doge.modeling_doge import DogeCDMoE

from make_tiny_models import BASE, HERE, TYPES, VOCAB, write_json
from torch_backbone import Backbone

D, F_DIM, N = 32, 48, 11
LENGTHS = [2, 33, 70]
ROUTER = {"kind": "peer", "num_experts": N * N, "heads": 3, "top_k": 5}
KEYED = {**ROUTER, "key_dim": 12, "keys": "per_head"}
DENSE = {"kind": "dense"}


def lucidrains(**changes):
    """A maker of peer-pytorch's layer."""
    def make(entry):
        return PEER(D, **{"heads": entry["heads"], "num_experts": entry["num_experts"],
                          "num_experts_per_head": entry["top_k"], "dim_key": entry["key_dim"] // 2,
                          "non_competing_scores": False, **changes})
    return make


def select(scores, k):
    """scores [2][tokens, heads, n] to sums and ids [tokens, heads, k] over all n * n pairs."""
    n = scores[0].shape[-1]
    sums = (scores[0][..., :, None] + scores[1][..., None, :]).flatten(-2)
    best = sums.topk(k, dim=-1)
    assert n * n == sums.shape[-1]
    return best.values, best.indices


class ProductKeys(nn.Module):
    """What the Meta and ostix360 layers share: sub-keys in the order (head, half, key)."""

    def __init__(self, entry):
        super().__init__()
        self.heads, self.k, self.dim = entry["heads"], entry["top_k"], entry["key_dim"]

    def retrieve(self, q, keys):
        q = q.view(-1, self.heads, 2, self.dim // 2)
        keys = keys.view(self.heads, 2, N, self.dim // 2)
        scores = [torch.einsum("thk,hnk->thn", q[:, :, half], keys[:, half]) for half in (0, 1)]
        sums, ids = select(scores, self.k)
        return sums.softmax(-1), ids


class MetaMemory(ProductKeys):
    """facebookresearch/memory with peer_variant. Two of its parameters play no part there."""

    def __init__(self, entry):
        super().__init__(entry)
        self.keys = nn.Parameter(torch.empty(2 * self.heads * N, self.dim // 2))
        self.query_proj = nn.Module()
        self.query_proj.query_mlps = nn.ModuleList([nn.Linear(D, self.heads * self.dim)])
        self.values_u, self.values_v = nn.Embedding(N * N, D), nn.Embedding(N * N, D)
        self.value_proj, self.swilu_projection = nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x):
        tokens = x.flatten(0, -2)
        weights, ids = self.retrieve(self.query_proj.query_mlps[0](tokens), self.keys)
        hidden = F.gelu(torch.einsum("td,thkd->thk", tokens, self.values_u(ids)))
        return torch.einsum("thk,thkd->td", weights * hidden, self.values_v(ids)).view_as(x)


class Ostix360(ProductKeys):
    """ostix360's PEERBlock: with GLU the activation is on the product with w_down_embed."""

    def __init__(self, entry):
        super().__init__(entry)
        self.glu = entry["glu"]
        self.keys = nn.Parameter(torch.empty(self.heads, 2, N, self.dim // 2))
        width = self.heads * self.dim
        self.query_proj = nn.Sequential(nn.Linear(D, width), nn.BatchNorm1d(width))
        self.w_up_embed, self.w_down_embed = nn.Embedding(N * N, D), nn.Embedding(N * N, D)
        if self.glu:
            self.w_gate_embed = nn.Embedding(N * N, D)

    def forward(self, x):
        tokens = x.flatten(0, -2)
        weights, ids = self.retrieve(self.query_proj(tokens), self.keys)
        hidden = F.relu(torch.einsum("td,thkd->thk", tokens, self.w_down_embed(ids)))
        if self.glu:
            hidden = hidden * torch.einsum("td,thkd->thk", tokens, self.w_gate_embed(ids))
        return torch.einsum("thk,thkd->td", weights * hidden, self.w_up_embed(ids)).view_as(x)


class OmniMoe(nn.Module):
    """OmniMoE's routed experts: up_embed meets the input, down_embed makes the output."""

    def __init__(self, entry):
        super().__init__()
        self.k = entry["top_k"]
        self.router_gate_x, self.router_gate_y = (nn.Linear(D, N, bias=False) for _ in "xy")
        self.router_norm_x, self.router_norm_y = (nn.BatchNorm1d(N, affine=False) for _ in "xy")
        self.up_embed, self.down_embed = nn.Embedding(N * N, D), nn.Embedding(N * N, D)

    def forward(self, x):
        tokens = x.flatten(0, -2)
        scores = [self.router_norm_x(self.router_gate_x(tokens)).log_softmax(-1),
                  self.router_norm_y(self.router_gate_y(tokens)).log_softmax(-1)]
        sums, ids = select(scores, self.k)
        hidden = F.silu(torch.einsum("td,tkd->tk", tokens, self.up_embed(ids)))
        return torch.einsum("tk,tkd->td", sums.exp() * hidden, self.down_embed(ids)).view_as(x)


class Doge(DogeCDMoE):
    """The routed experts of transformers' layer, which is given single tokens. Its shared expert is
    the dense part of the model here, so in it that gives zeros."""

    def __init__(self, entry):
        super().__init__(DogeConfig(
            hidden_size=D, intermediate_size=1, num_experts=entry["num_experts"], hidden_act="silu",
            num_experts_per_tok=entry["top_k"], norm_topk_prob=False, mlp_bias=False))
        for name in ("gate_proj", "up_proj", "down_proj"):
            delattr(self, name)
        self.gate_proj = self.up_proj = self.down_proj = torch.zeros_like

    def forward(self, x):
        tokens = [super(Doge, self).forward(token.view(1, 1, D))[0] for token in x.view(-1, D)]
        return torch.cat(tokens).view_as(x)


DIRECT = {**ROUTER, "heads": 1, "keys": "direct", "activation": "silu"}
# name: (stored type, maker of the layer from its entry, ffn entries)
LAYOUTS = {
    "lucidrains_softmax": ("f16", lucidrains(), [{**KEYED, "layout": "lucidrains"}]),
    "lucidrains_relu": ("bf16", lucidrains(non_competing_scores=True), [
        {**KEYED, "top_k": 1, "score": "relu", "layout": "lucidrains"}]),
    "lucidrains_per_head": ("bf16", lucidrains(separate_embed_per_head=True), [
        {**KEYED, "experts": "per_head", "layout": "lucidrains"}]),
    "lucidrains_pre_rmsnorm": ("f32", lucidrains(pre_rmsnorm=True, product_key_topk=9), [
        {**KEYED, "pre_rmsnorm": True, "layout": "lucidrains"}]),
    "lucidrains_memory": ("f16", lucidrains(separate_embed_per_head=True, pre_rmsnorm=True), [
        DENSE, {**KEYED, "experts": "per_head", "pre_rmsnorm": True, "layout": "lucidrains"}]),
    "meta_memory": ("bf16", MetaMemory, [{**KEYED, "query_bias": True, "layout": "meta_memory"}]),
    "ostix360": ("f16", Ostix360, [
        {**KEYED, "query_bias": True, "query_norm": "batch", "activation": "relu", "glu": False,
         "layout": "ostix360"}]),
    "ostix360_glu": ("f32", Ostix360, [
        {**KEYED, "query_bias": True, "query_norm": "batch", "activation": "relu", "glu": True,
         "layout": "ostix360"}]),
    "doge": ("bf16", Doge, [DENSE, {**DIRECT, "layout": "doge"}]),
    "omnimoe": ("f32", OmniMoe, [
        DENSE, {**DIRECT, "query_bias": True, "score": "joint_softmax", "layout": "omnimoe"}]),
}


def randomise(model):
    """Spread wide enough that every part matters and no router is near a tie."""
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith("num_batches_tracked"):
            weight.fill_(7)
        elif name.endswith(("gamma", "bias", "running_mean")):
            weight.normal_(0, 0.3)
        elif name.endswith("running_var"):
            weight.uniform_(0.3, 2)
        elif weight.dim() == 1:
            weight.normal_(1, 0.3)
        elif name.endswith("keys"):
            weight.normal_(0, 1.5 * weight.shape[-1] ** -0.5)
        elif "embed_tokens" in name:
            weight.normal_(0, 2 * D ** -0.5)
        elif name.endswith(("values_v.weight", "weight_up_embed.weight", "w_up_embed.weight",
                            "peer.down_embed.weight", "peer.up_embed.weight")):
            weight.normal_(0, 1)
        elif "router_gate" in name:
            weight.normal_(0, 2 * D ** -0.5)
        else:
            weight.normal_(0, 1.4 * weight.shape[1] ** -0.5)


def sequences(model, generator):
    """Random tokens with their log-probabilities in float64."""
    result = []
    for length in LENGTHS:
        tokens = torch.from_numpy(generator.integers(0, VOCAB, length))
        single = model.float()(tokens[None])[0].log_softmax(-1)
        table = model.double()(tokens[None])[0].log_softmax(-1)
        assert (single - table).abs().max() < 2e-4, "a near tie"
        values = table[torch.arange(length - 1), tokens[1:]].tolist()
        result.append({"tokens": tokens.tolist(), "log_probabilities": [round(v, 6) for v in values]})
    return result


def make_layout(name, index):
    dtype, make, entries = LAYOUTS[name]
    config = {**BASE, "hidden_size": D, "intermediate_size": F_DIM, "tie_word_embeddings": True,
              "layers": {"1": {"ffn": entries}}}
    torch.manual_seed(index)
    model = Backbone(config, lambda _, entry: make(entry)).eval()
    randomise(model)
    state = {k: v.to(TYPES[dtype]) if v.is_floating_point() else v
             for k, v in model.state_dict().items()}
    model.double().load_state_dict(state)

    directory = HERE / "models" / f"layout_{name}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    write_json(directory / "config.json", config, indent=1)
    shutil.copy(HERE / "models" / "peerage_sequential" / "tokenizer.json", directory)
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
    values = sequences(model, np.random.default_rng(index))
    source = {"lucidrains": "PEER-pytorch 0.2.2", "doge": "transformers DogeCDMoE"}.get(
        name.split("_")[0], "make_layout_models.py")
    write_json(directory / "expected.json", {"made_by": source, "sequences": values})
    last = values[-1]["log_probabilities"]
    print(f"{directory.name:32s} mean NLL {-np.mean(last):6.3f}  deviation {np.std(last):.3f}")


def main():
    torch.set_grad_enabled(False)
    for index, name in enumerate(LAYOUTS):
        make_layout(name, index)


if __name__ == "__main__":
    main()
