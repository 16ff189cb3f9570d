"""Which experts a layer used: the paper's two figures (He 2024, section 3.3)."""

import math

import torch


class Usage(torch.nn.Module):
    """Counts picks and adds up router scores, per expert, until it is reset.

    Its buffers belong to a moment of training, so no state dict has them.
    """

    def __init__(self, num_experts):
        super().__init__()
        self.register_buffer("picks", torch.zeros(num_experts, dtype=torch.long),
                             persistent=False)
        self.register_buffer("score_sums", torch.zeros(num_experts, dtype=torch.double),
                             persistent=False)

    @torch.no_grad()
    def count(self, ids, weights):
        torch.ops.peerage.count_usage_(self.picks, self.score_sums, ids, weights.detach())

    def reset(self):
        self.picks.zero_()
        self.score_sums.zero_()

    def _apply(self, function, recurse=True):
        # Layers may become bfloat16; sums over a step may not.
        picks, score_sums = self.picks, self.score_sums
        super()._apply(function, recurse)
        self.picks, self.score_sums = (picks.to(self.picks.device),
                                       score_sums.to(self.score_sums.device))
        return self

    def figures(self):
        """`used`: the share of experts that were picked; `expected`: that share if picks were
        uniform and random; `unevenness`: the divergence of the scores from uniform, in nats."""
        total, experts = int(self.picks.sum()), self.picks.numel()
        z = self.score_sums[self.score_sums > 0]
        z = z / z.sum() if z.numel() else z
        return {
            "picks": total,
            "used": int((self.picks > 0).sum()) / experts,
            "expected": -math.expm1(total * math.log1p(-1 / experts)) if experts > 1 else 1.0,
            "unevenness": math.log(experts) + float((z * z.log()).sum()) if z.numel() else 0.0,
        }
