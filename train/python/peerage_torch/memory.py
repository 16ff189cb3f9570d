"""Product-key memory (Lample et al. 2019, arXiv 1907.05242)."""

from torch import nn

from peerage_torch import operators
from peerage_torch.gradients import TableLayer
from peerage_torch.router import ProductKeyRouter, weigh
from peerage_torch.usage import Usage


class ProductKeyMemory(TableLayer, ProductKeyRouter):
    """y = sum over heads and picks of weight * value, for x [..., dim].

    Parameters are those of PEER, and so are their meanings; `num_experts` is the number of values.
    The state dict has `values.weight` [num_experts, dim_out], `to_queries.0.weight` and `keys`.
    """

    def __init__(self, dim, *, dim_out=None, heads=4, num_experts=262_144,
                 num_experts_per_head=32, dim_key=None, product_key_topk=None,
                 non_competing_scores=False, dropout=0.0, query_norm="batch", shared_keys=False,
                 table_gradient="dense", track_usage=False):
        super().__init__(table_gradient)
        width = dim if dim_out is None else dim_out
        self.values = nn.Embedding(num_experts, width)
        nn.init.normal_(self.values.weight, std=width ** -0.5)
        self.build_router(dim=dim, heads=heads, num_experts=num_experts, dim_key=dim_key,
                          query_norm=query_norm, shared_keys=shared_keys)
        self.top_k = num_experts_per_head
        self.product_key_topk = product_key_topk
        self.competing = not non_competing_scores
        self.dropout = dropout
        self.usage = Usage(num_experts) if track_usage else None

    def tables(self):
        return [self.values.weight]

    def forward(self, x):
        ids, scores = self.retrieve(x.reshape(-1, x.shape[-1]), self.top_k, self.product_key_topk)
        weights = weigh(scores, competing=self.competing, dropout=self.dropout,
                        training=self.training)
        if self.usage is not None:
            self.usage.count(ids, weights)
        values = self.values.weight
        y = operators.pkm_values(ids, weights.to(values.dtype), values, **self.gradient_options())
        return y.view(*x.shape[:-1], -1)
