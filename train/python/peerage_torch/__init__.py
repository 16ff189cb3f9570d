"""PEER layers and product-key memories for PyTorch that train fast on CPUs.

`PEER` takes the place of peer-pytorch's: the same parameters, the same names in the state dict.
"""

from peerage_torch.gradients import clip_grad_norm_, zero_grad
from peerage_torch.memory import ProductKeyMemory
from peerage_torch.operators import peer_experts, pkm_values, product_key_top_k
from peerage_torch.optimizer import RowwiseAdam
from peerage_torch.peer import PEER
from peerage_torch.usage import Usage

__all__ = ["PEER", "ProductKeyMemory", "RowwiseAdam", "Usage", "clip_grad_norm_", "peer_experts",
           "pkm_values", "product_key_top_k", "zero_grad"]
