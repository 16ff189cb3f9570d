"""The operators, torch.ops.peerage.*: what loads them, and what only Python can say of them.

Their contract is train/ops/operators.h.
"""

import os
import pathlib

import torch

LIBRARY = "libpeerage_torch_operators.so"


def _library():
    """The wheel's own library; from a clone, the one that PEERAGE_TORCH_OPERATORS names."""
    inside = pathlib.Path(__file__).parent / LIBRARY
    path = pathlib.Path(os.environ.get("PEERAGE_TORCH_OPERATORS", inside))
    if not path.exists():
        raise ImportError(f"peerage_torch: {path} is not there; install the wheel, or build the "
                          "target peerage_torch_operators and let PEERAGE_TORCH_OPERATORS name it")
    return path


torch.ops.load_library(str(_library()))

# With a ledger, backward leaves something beside its results: nobody may drop the call because
# nobody reads these.
torch.fx.node.has_side_effect(torch.ops.peerage.peer_experts_backward.default)
torch.fx.node.has_side_effect(torch.ops.peerage.pkm_values_backward.default)

product_key_top_k = torch.ops.peerage.product_key_top_k
peer_experts = torch.ops.peerage.peer_experts
pkm_values = torch.ops.peerage.pkm_values
