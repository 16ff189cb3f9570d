"""The layers against peer-pytorch and the papers: one changed import, and the same numbers."""

import copy
import functools
import unittest

import PEER_pytorch
import torch
from peerage_torch import PEER, ProductKeyMemory, clip_grad_norm_, zero_grad
from torch import nn

import formulas

SMALL = {"dim": 24, "heads": 3, "num_experts": 49, "num_experts_per_head": 5}
OPTIONS = [
    {},  # peer-pytorch's defaults: relu scores, the best expert of each head
    {"non_competing_scores": False},
    {"non_competing_scores": False, "pre_rmsnorm": True, "dim_key": 7},
    {"non_competing_scores": False, "separate_embed_per_head": True},
    {"non_competing_scores": False, "product_key_topk": 3},
    {"non_competing_scores": False, "activation": nn.ReLU},
    {"non_competing_scores": False, "activation": functools.partial(nn.GELU, approximate="tanh")},
]


def pair(**options):
    """The same layer twice, theirs and ours, from the same state."""
    torch.manual_seed(5)
    theirs = PEER_pytorch.PEER(**SMALL, **options)
    torch.manual_seed(5)
    ours = PEER(**SMALL, **options)
    return theirs, ours


def gradients(layer):
    return {name: p.grad for name, p in layer.named_parameters()}


class DropInTest(unittest.TestCase):

    def assert_close(self, ours, theirs):
        # As a share of the largest value: sums of gradients as large as 80 err by more than 1e-5 in
        # either of the two.
        largest = max(1.0, theirs.detach().abs().max().item())
        torch.testing.assert_close(ours, theirs, atol=1e-5 * largest, rtol=0)

    def test_forward_and_backward_are_peer_pytorch_s(self):
        for options in OPTIONS:
            with self.subTest(**options):
                theirs, ours = pair(**options)
                x = formulas.normal(2, 11, SMALL["dim"], seed=1, dtype=torch.float)
                grad_y = formulas.normal(*x.shape, seed=2, dtype=torch.float)
                inputs = [x.clone().requires_grad_() for _ in range(2)]
                outputs = [layer(v) for layer, v in zip((theirs, ours), inputs)]
                self.assert_close(outputs[1], outputs[0])
                for y in outputs:
                    y.backward(grad_y)
                self.assert_close(inputs[1].grad, inputs[0].grad)
                mine = gradients(ours)
                for name, gradient in gradients(theirs).items():
                    self.assert_close(mine[name], gradient)

    def test_state_dicts_are_each_other_s(self):
        for options in OPTIONS:
            with self.subTest(**options):
                theirs, ours = pair(**options)
                for key, value in theirs.state_dict().items():
                    self.assertTrue(torch.equal(ours.state_dict()[key], value), key)
                ours.load_state_dict(theirs.state_dict())
                theirs.load_state_dict(ours.state_dict())

    def test_the_readme_s_example_trains_with_one_changed_import(self):
        losses = []
        for layer in pair(non_competing_scores=False):
            torch.manual_seed(1)
            optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
            x, target = torch.randn(2, 64, SMALL["dim"]), torch.randn(2, 64, SMALL["dim"])
            for _ in range(20):
                loss = (layer(x) + x - target).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses.append(loss.item())
        self.assertAlmostEqual(*losses, delta=1e-3 * losses[0])

    def test_dropout_is_peer_pytorch_s(self):
        theirs, ours = pair(non_competing_scores=False, dropout=0.4)
        x = formulas.normal(1, 9, SMALL["dim"], dtype=torch.float)
        outputs = []
        for layer in (theirs, ours):
            torch.manual_seed(3)
            outputs.append(layer(x))
        self.assertEqual(outputs[0].shape, outputs[1].shape)
        kept = [layer.eval()(x) for layer in (theirs, ours)]
        self.assert_close(kept[1], kept[0])
        self.assertFalse(torch.allclose(outputs[1], kept[1]))

    def test_only_experts_of_the_mask_learn(self):
        theirs, ours = pair(non_competing_scores=False)
        mask = torch.arange(49) % 3 == 0
        x = formulas.normal(1, 9, SMALL["dim"], dtype=torch.float)
        grad_y = formulas.normal(*x.shape, seed=2, dtype=torch.float)
        for layer in (theirs, ours):
            y = layer(x, mask)
            self.assert_close(y, theirs(x))
            y.backward(grad_y)
        mine = gradients(ours)
        for name, gradient in gradients(theirs).items():
            self.assert_close(mine[name], gradient)
        self.assertEqual(int(ours.weight_up_embed.weight.grad[~mask].count_nonzero()), 0)


class LayerTest(unittest.TestCase):

    def plain(self, layer, x):
        """The layer by the formulas, from its parameters."""
        x = x.flatten(0, -2)
        queries = layer.to_queries[0](x)
        if isinstance(layer.query_norm, nn.BatchNorm1d):
            queries = layer.query_norm(queries)
        queries = queries.view(-1, 2, layer.heads, layer.dim_key).transpose(1, 2)
        if isinstance(layer.query_norm, nn.LayerNorm):
            queries = layer.query_norm(queries.flatten(2)).view(queries.shape)
        ids, scores = formulas.product_key_top_k(queries, layer.keys, layer.top_k)
        weights = scores.softmax(-1) if layer.competing else scores.relu()
        if isinstance(layer, ProductKeyMemory):
            return formulas.pkm_values(ids, weights, layer.values.weight)
        gate = layer.weight_gate_embed
        return formulas.peer_experts(x, ids, weights, layer.weight_down_embed.weight,
                                     layer.weight_up_embed.weight,
                                     None if gate is None else gate.weight)

    def layers(self, **more):
        for query_norm in (None, "batch", "layer"):
            for shared_keys in (False, True):
                options = {"query_norm": query_norm, "shared_keys": shared_keys, **more}
                yield PEER(**SMALL, non_competing_scores=False, glu=shared_keys, **options)
                yield ProductKeyMemory(**SMALL, **options)

    def test_norms_of_queries_gates_and_shared_keys(self):
        torch.manual_seed(2)
        x = formulas.normal(4, 8, SMALL["dim"], dtype=torch.double)
        for layer in self.layers():
            layer.double()
            copied = copy.deepcopy(layer)
            with self.subTest(layer=type(layer).__name__, norm=str(layer.query_norm)):
                y, expected = layer(x), self.plain(copied, x).view(x.shape)
                torch.testing.assert_close(y, expected)
                y.square().sum().backward()
                expected.square().sum().backward()
                for (name, p), q in zip(layer.named_parameters(), copied.parameters()):
                    torch.testing.assert_close(p.grad, q.grad, msg=lambda m, n=name: f"{n}: {m}")
                layer.eval()
                copied.eval()
                torch.testing.assert_close(layer(x), self.plain(copied, x).view(x.shape))

    def test_every_kind_of_gradient_is_the_same(self):
        x = formulas.normal(4, 8, SMALL["dim"], dtype=torch.float)
        for dense in self.layers():
            with self.subTest(layer=type(dense).__name__):
                dense(x).square().sum().backward()
                for kind in ("sparse", "ledger"):
                    other = copy.deepcopy(dense)
                    zero_grad(other)
                    other.table_gradient = kind
                    if kind == "ledger":
                        other.ledger = type(self).new_ledger()
                    other(x).square().sum().backward()
                    tables = {id(t) for t in other.tables()}
                    for p, q in zip(dense.parameters(), other.parameters()):
                        if id(q) not in tables:
                            self.assertTrue(torch.equal(p.grad, q.grad))
                        elif kind == "sparse":
                            self.assertTrue(torch.equal(p.grad, q.grad.to_dense()))
                        else:
                            self.assertIsNone(q.grad)
                    if kind == "ledger":
                        norm = sum(t.grad.double().square().sum().item() for t in dense.tables())
                        self.assertAlmostEqual(other.ledger.square_norm(), norm, delta=1e-5 * norm)

    @staticmethod
    def new_ledger():
        return PEER(**SMALL, table_gradient="ledger").ledger

    def test_clipping_knows_every_kind_of_gradient(self):
        x = formulas.normal(4, 8, SMALL["dim"], dtype=torch.float)
        norms, clipped = [], []
        for kind in ("dense", "sparse", "ledger"):
            torch.manual_seed(2)
            layer = PEER(**SMALL, non_competing_scores=False, table_gradient=kind)
            layer(x).square().sum().backward()
            norms.append(clip_grad_norm_(layer, 0.5))
            clipped.append(clip_grad_norm_(layer, 1e9))
        torch.manual_seed(2)
        layer = PEER(**SMALL, non_competing_scores=False)
        layer(x).square().sum().backward()
        expected = nn.utils.clip_grad_norm_(layer.parameters(), 0.5).item()
        for norm, after in zip(norms, clipped):
            self.assertAlmostEqual(norm, expected, delta=1e-5 * expected)
            self.assertAlmostEqual(after, 0.5, delta=1e-5)

    def test_a_bfloat16_layer_trains(self):
        layer = PEER(**SMALL, non_competing_scores=False).bfloat16()
        x = formulas.normal(2, 5, SMALL["dim"], dtype=torch.bfloat16)
        y = layer(x)
        y.sum().backward()
        self.assertEqual(y.dtype, torch.bfloat16)
        self.assertEqual(layer.keys.grad.dtype, torch.bfloat16)
        plain = self.plain(copy.deepcopy(layer).float(), x.float()).view(x.shape)
        self.assertLess((y.float() - plain).norm() / plain.norm(), 0.15)

    def test_autocast_keeps_tables_as_they_are(self):
        layer = PEER(**SMALL, non_competing_scores=False)
        x = formulas.normal(2, 5, SMALL["dim"], dtype=torch.float)
        with torch.autocast("cpu", torch.bfloat16):
            layer(x).sum().backward()
        self.assertEqual(layer.weight_up_embed.weight.grad.dtype, torch.float)

    def test_usage_is_the_paper_s(self):
        layer = PEER(**SMALL, non_competing_scores=False, track_usage=True)
        x = formulas.normal(2, 5, SMALL["dim"], dtype=torch.float)
        layer(x)
        flat = x.flatten(0, 1)
        ids, scores = layer.retrieve(flat, layer.top_k, None)
        z = torch.zeros(49, dtype=torch.double).index_add_(
            0, ids.flatten(), scores.softmax(-1).double().flatten())
        torch.testing.assert_close(layer.usage.score_sums, z)
        self.assertEqual(layer.usage.picks.tolist(), ids.flatten().bincount(minlength=49).tolist())
        z = z[z > 0] / z.sum()
        figures = layer.usage.figures()
        self.assertEqual(figures["picks"], ids.numel())
        self.assertEqual(figures["used"], len(ids.unique()) / 49)
        self.assertAlmostEqual(figures["expected"], 1 - (48 / 49) ** ids.numel(), places=12)
        self.assertAlmostEqual(figures["unevenness"],
                               torch.log(torch.tensor(49.0)).item() + (z * z.log()).sum().item(),
                               places=6)
        layer.usage.reset()
        self.assertEqual(layer.usage.figures()["used"], 0)
        layer.bfloat16()
        layer.bfloat16()(x.bfloat16())
        self.assertEqual(layer.usage.figures()["picks"], ids.numel())
        self.assertFalse([key for key in layer.state_dict() if "usage" in key])

    def test_what_is_wrong_is_named(self):
        for text, options in (("num_experts is 50; it must be a square", {"num_experts": 50}),
                              ("query_norm is 'none'", {"query_norm": "none"}),
                              ("table_gradient is 'rows'", {"table_gradient": "rows"}),
                              ("nn.GELU, nn.SiLU or nn.ReLU", {"activation": nn.Tanh})):
            with self.assertRaisesRegex(ValueError, text):
                PEER(**SMALL | options)
        with self.assertRaisesRegex(ValueError, "dim is 7, which is odd"):
            PEER(7, num_experts=4)
        layer = PEER(**SMALL)
        with self.assertRaisesRegex(ValueError, r"train_mem_mask is \[3\]; it must be \[49\]"):
            layer(torch.zeros(1, 2, 24), torch.ones(3, dtype=torch.bool))


if __name__ == "__main__":
    unittest.main()
