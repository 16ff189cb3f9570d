"""The PEER layer (He 2024, arXiv 2407.04153), with peer-pytorch's interface."""

import torch
from torch import nn
from torch.nn import functional as F

from peerage_torch import operators
from peerage_torch.gradients import TableLayer
from peerage_torch.router import ProductKeyRouter, weigh
from peerage_torch.usage import Usage


class RMSNorm(nn.Module):
    """peer-pytorch's: x / |x| * sqrt(dim) * (gamma + 1)."""

    def __init__(self, dim):
        super().__init__()
        self.scale = dim ** 0.5
        self.gamma = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return F.normalize(x, dim=-1) * self.scale * (self.gamma + 1)


def activation_name(make):
    """What the operator calls the activation that a class (or another callable) makes."""
    module = make()
    if isinstance(module, nn.GELU):
        return "gelu_tanh" if module.approximate == "tanh" else "gelu"
    for kind, name in ((nn.SiLU, "silu"), (nn.ReLU, "relu")):
        if isinstance(module, kind):
            return name
    raise ValueError(f"activation makes {module}; it must make nn.GELU, nn.SiLU or nn.ReLU")


class PEER(TableLayer, ProductKeyRouter):
    """y = sum over heads and picks of weight * act(down . x) * up, for x [..., dim].

    Parameters up to `dropout` are peer-pytorch's, and so are the tensors' names and shapes. Ours:
      glu             experts have a gate: act(gate . x) * (down . x); `weight_gate_embed`
      query_norm      None, "batch" (the paper's) or "layer"
      shared_keys     one set of sub-keys for all heads (the paper's), not one each
      table_gradient  "dense", for any optimiser; "sparse", for those that take such gradients; or
                      "ledger", for RowwiseAdam, which needs no memory for the gradient at all
      track_usage     count which experts are used, in `usage`
    """

    def __init__(self, dim, *, heads=8, num_experts=1_000_000, num_experts_per_head=16,
                 activation=nn.GELU, dim_key=None, product_key_topk=None,
                 separate_embed_per_head=False, pre_rmsnorm=False, non_competing_scores=True,
                 dropout=0.0, glu=False, query_norm=None, shared_keys=False,
                 table_gradient="dense", track_usage=False):
        super().__init__(table_gradient)
        self.activation = activation_name(activation)
        self.norm = RMSNorm(dim) if pre_rmsnorm else nn.Identity()
        rows = num_experts * (heads if separate_embed_per_head else 1)
        self.separate_embed_per_head = separate_embed_per_head
        self.weight_down_embed = nn.Embedding(rows, dim)
        self.weight_up_embed = nn.Embedding(rows, dim)
        self.weight_gate_embed = nn.Embedding(rows, dim) if glu else None
        self.build_router(dim=dim, heads=heads, num_experts=num_experts, dim_key=dim_key,
                          query_norm=query_norm, shared_keys=shared_keys)
        # Experts whose scores do not compete: the best one of each head.
        self.top_k = 1 if non_competing_scores else num_experts_per_head
        self.product_key_topk = (num_experts_per_head if product_key_topk is None
                                 else product_key_topk)
        self.competing = not non_competing_scores
        self.dropout = dropout
        self.usage = Usage(rows) if track_usage else None

    def tables(self):
        layers = (self.weight_up_embed, self.weight_down_embed, self.weight_gate_embed)
        return [layer.weight for layer in layers if layer is not None]

    def forward(self, x, train_mem_mask=None):
        shape = x.shape
        x = self.norm(x).reshape(-1, shape[-1])
        ids, scores = self.retrieve(x, self.top_k, self.product_key_topk)
        if self.separate_embed_per_head:
            ids = ids + torch.arange(self.heads, device=x.device)[:, None] * self.num_experts
        weights = weigh(scores, competing=self.competing, dropout=self.dropout,
                        training=self.training)
        if self.usage is not None:
            self.usage.count(ids, weights)
        x = x.to(self.weight_up_embed.weight.dtype)
        weights = weights.to(x.dtype)
        if train_mem_mask is None:
            y = self.experts(x, ids, weights)
        else:
            y = self.experts_of_mask(x, ids, weights, train_mem_mask)
        return y.view(shape)

    def experts(self, x, ids, weights, learning=True):
        tables = [t if learning else t.detach() for t in self.tables()]
        up, down, *gate = tables
        return operators.peer_experts(x, ids, weights, down, up, *gate, activation=self.activation,
                                      **self.gradient_options())

    def experts_of_mask(self, x, ids, weights, mask):
        """The same, but only experts of the mask (bool [num_experts]) learn from it."""
        if mask.shape != (self.weight_up_embed.num_embeddings,):
            raise ValueError(f"train_mem_mask is {list(mask.shape)}; it must be "
                             f"[{self.weight_up_embed.num_embeddings}], a bool for each expert")
        learning = self.experts(x.detach(), ids, weights.detach() * mask[ids])
        return self.experts(x, ids, weights, learning=False) + (learning - learning.detach())
