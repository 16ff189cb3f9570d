"""torch.compile: the whole layer as one graph, and the same results as without it."""

import copy
import os
import unittest

# Graphs that another build of the operators left on the disk are not asked for.
os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"

import torch
from peerage_torch import PEER, ProductKeyMemory, RowwiseAdam

import formulas

SMALL = {"dim": 20, "heads": 2, "num_experts": 36, "num_experts_per_head": 4}


class CompileTest(unittest.TestCase):

    def check(self, layer, x):
        compiled = copy.deepcopy(layer)
        run = torch.compile(compiled, fullgraph=True)
        for y, module in ((layer(x), layer), (run(x), compiled)):
            y.square().sum().backward()
        for (name, p), q in zip(layer.named_parameters(), compiled.named_parameters()):
            if p.grad is None:
                self.assertIsNone(q[1].grad, name)
            else:
                largest = p.grad.abs().max().item()
                torch.testing.assert_close(q[1].grad, p.grad, atol=1e-5 * largest, rtol=0)
        return compiled

    def test_layers_are_one_graph(self):
        x = formulas.normal(3, 7, SMALL["dim"], dtype=torch.float)
        for glu in (False, True):
            self.check(PEER(**SMALL, non_competing_scores=False, glu=glu, track_usage=True), x)
        self.check(ProductKeyMemory(**SMALL), x)

    def test_a_ledger_is_written_by_a_graph(self):
        x = formulas.normal(3, 7, SMALL["dim"], dtype=torch.float)
        layer = PEER(**SMALL, non_competing_scores=False, table_gradient="ledger")
        layer.keys.requires_grad_(False)
        layer.to_queries.requires_grad_(False)
        compiled = self.check(layer, x)
        self.assertGreater(layer.ledger.square_norm(), 0)
        self.assertAlmostEqual(compiled.ledger.square_norm(), layer.ledger.square_norm(),
                               delta=1e-5 * layer.ledger.square_norm())
        RowwiseAdam(compiled).step()
        RowwiseAdam(layer).step()
        for a, b in zip(layer.tables(), compiled.tables()):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)

    def test_any_number_of_tokens(self):
        torch._dynamo.reset()
        layer = PEER(**SMALL, non_competing_scores=False)
        run = torch.compile(layer, fullgraph=True, dynamic=True)
        for tokens in (3, 5, 8):
            x = formulas.normal(1, tokens, SMALL["dim"], dtype=torch.float)
            torch.testing.assert_close(run(x), layer(x), atol=1e-5, rtol=1e-5)


if __name__ == "__main__":
    unittest.main()
