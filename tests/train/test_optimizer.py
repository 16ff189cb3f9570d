"""RowwiseAdam against torch.optim.Adam and SparseAdam, for every form that gradients have."""

import copy
import io
import unittest

import torch
from peerage_torch import PEER, ProductKeyMemory, RowwiseAdam, zero_grad

import formulas

SMALL = {"dim": 20, "heads": 2, "num_experts": 36, "num_experts_per_head": 4}
KINDS = ("dense", "sparse", "ledger")


def make(kind, **options):
    torch.manual_seed(4)
    return PEER(**SMALL, non_competing_scores=False, table_gradient=kind, **options)


def batch(step):
    return formulas.normal(3, 7, SMALL["dim"], seed=step, dtype=torch.float)


def train(layer, optimizer, steps=5, first=0):
    for step in range(first, first + steps):
        optimizer.zero_grad()
        layer(batch(step)).square().sum().backward()
        optimizer.step()
    return [t.detach().clone() for t in layer.tables()]


class RowwiseAdamTest(unittest.TestCase):

    def assert_close(self, ours, theirs):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)

    def test_rows_of_every_step_move_as_in_adam(self):
        for decay in (0.0, 0.1):
            dense = make("dense", glu=True)
            theirs = torch.optim.AdamW(dense.tables(), lr=0.01, weight_decay=decay)
            expected = train(dense, theirs)
            with self.subTest(decay=decay):
                ours = make("dense", glu=True)
                self.assert_close(train(ours, RowwiseAdam(ours, lr=0.01, weight_decay=decay)),
                                  expected)

    def test_rows_that_were_not_used_stay_as_in_sparse_adam(self):
        sparse = make("sparse")
        before = [t.detach().clone() for t in sparse.tables()]
        expected = train(sparse, torch.optim.SparseAdam(sparse.tables(), lr=0.01, eps=1e-12))
        for kind in ("sparse", "ledger"):
            with self.subTest(kind=kind):
                ours = make(kind)
                self.assert_close(train(ours, RowwiseAdam(ours, lr=0.01, eps=1e-12)), expected)
        self.assertTrue(all((a != b).any() for a, b in zip(before, expected)))

    def test_a_ledger_is_the_sparse_gradient_bit_by_bit(self):
        for variance in ("element", "row"):
            results = []
            for kind in ("sparse", "ledger"):
                layer = make(kind, glu=True)
                results.append(train(layer, RowwiseAdam(layer, variance=variance)))
            for a, b in zip(*results):
                self.assertTrue(torch.equal(a, b))

    def test_a_ledger_adds_up_what_several_backwards_leave(self):
        results = []
        for kind in ("dense", "ledger"):
            layer = make(kind)
            optimizer = RowwiseAdam(layer, lr=0.01)
            for step in range(3):
                layer(batch(step)).square().sum().backward()
            optimizer.step()
            results.append([t.detach() for t in layer.tables()])
        used = (results[1][0] != make("dense").tables()[0]).any(1)
        self.assertGreater(int(used.sum()), 4)
        self.assert_close([r[used] for r in results[1]], [r[used] for r in results[0]])

    def test_a_row_s_variance_is_its_mean_square(self):
        layer = make("sparse")
        optimizer = RowwiseAdam(layer, lr=0.01, variance="row", eps=1e-3)
        table = layer.tables()[0]
        before = table.detach().clone()
        layer(batch(0)).square().sum().backward()
        optimizer.step()
        gradient = table.grad.to_dense()
        root = gradient.square().mean(1, keepdim=True).sqrt()
        torch.testing.assert_close(table.detach(), before - 0.01 * gradient / (root + 1e-3))

    def test_bits_do_not_depend_on_threads(self):
        threads = torch.get_num_threads()
        self.addCleanup(torch.set_num_threads, threads)
        results = []
        for count in (1, 2, 1):
            torch.set_num_threads(count)
            layer = make("ledger")
            results.append(train(layer, RowwiseAdam(layer)))
        for other in results[1:]:
            for a, b in zip(results[0], other):
                self.assertTrue(torch.equal(a, b))

    def test_bfloat16_tables_have_f32_moments(self):
        for kind in KINDS:
            with self.subTest(kind=kind):
                layer = make(kind).bfloat16()
                optimizer = RowwiseAdam(layer, lr=0.05)
                before = [t.detach().clone() for t in layer.tables()]
                layer(batch(0).bfloat16()).square().sum().backward()
                optimizer.step()
                for a, b in zip(before, layer.tables()):
                    self.assertTrue((a != b).any())
                self.assertEqual(optimizer.state[layer.tables()[0]]["exp_avg"].dtype, torch.float)

    def test_a_saved_state_goes_on_bit_by_bit(self):
        for to in (torch.float, torch.bfloat16):
            layer = make("ledger").to(to)
            optimizer = RowwiseAdam(layer)
            train_in = lambda m, o, n, first: self.train_in(to, m, o, n, first)
            train_in(layer, optimizer, 3, 0)
            file = io.BytesIO()
            torch.save({"layer": layer.state_dict(), "optimizer": optimizer.state_dict()}, file)
            expected = train_in(layer, optimizer, 3, 3)
            file.seek(0)
            saved = torch.load(file)
            other = make("ledger").to(to)
            other.load_state_dict(saved["layer"])
            resumed = RowwiseAdam(other)
            resumed.load_state_dict(saved["optimizer"])
            for a, b in zip(train_in(other, resumed, 3, 3), expected):
                self.assertTrue(torch.equal(a, b))

    @staticmethod
    def train_in(dtype, layer, optimizer, steps, first):
        for step in range(first, first + steps):
            optimizer.zero_grad()
            layer(batch(step).to(dtype)).float().square().sum().backward()
            optimizer.step()
        return [t.detach().clone() for t in layer.tables()]

    def test_a_schedule_changes_the_rate(self):
        layer = make("ledger")
        optimizer = RowwiseAdam(layer, lr=1.0)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
        before = [t.detach().clone() for t in layer.tables()]
        for a, b in zip(train(layer, optimizer), before):
            self.assertTrue(torch.equal(a, b))
        scheduler.step()

    def test_a_ledger_has_no_frozen_tables_beside_others(self):
        layer = make("ledger")
        layer.weight_down_embed.weight.requires_grad_(False)
        with self.assertRaisesRegex(ValueError, "freeze all of them or none"):
            layer(batch(0))
        layer.weight_up_embed.weight.requires_grad_(False)
        layer(batch(0))
        for kind in ("dense", "sparse"):
            layer = make(kind)
            layer.weight_down_embed.weight.requires_grad_(False)
            before = layer.weight_down_embed.weight.detach().clone()
            train(layer, RowwiseAdam(layer, lr=0.1))
            self.assertTrue(torch.equal(layer.weight_down_embed.weight, before), kind)

    def test_copies_of_a_layer_have_ledgers_of_their_own(self):
        layer = make("ledger")
        other = copy.deepcopy(layer)
        layer(batch(0)).sum().backward()
        self.assertFalse(layer.ledger.is_empty())
        self.assertTrue(other.ledger.is_empty())
        zero_grad(layer)
        self.assertTrue(layer.ledger.is_empty())

    def test_a_memory_learns_a_mapping(self):
        torch.manual_seed(0)
        memory = ProductKeyMemory(16, heads=2, num_experts=256, num_experts_per_head=8,
                                  table_gradient="ledger")
        tables = {id(t) for t in memory.tables()}
        rest = [p for p in memory.parameters() if id(p) not in tables]
        optimizers = [RowwiseAdam(memory, lr=0.05), torch.optim.Adam(rest, lr=1e-3)]
        x, target = torch.randn(64, 16), torch.randn(64, 16)
        losses = []
        for _ in range(60):
            loss = (memory(x) - target).square().mean()
            losses.append(loss.item())
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
        self.assertLess(losses[-1], 0.3 * losses[0])

    def test_what_is_wrong_is_named(self):
        with self.assertRaisesRegex(ValueError, "no PEER and no ProductKeyMemory"):
            RowwiseAdam(torch.nn.Linear(2, 2))
        with self.assertRaisesRegex(ValueError, "variance is 'all'"):
            RowwiseAdam(make("dense"), variance="all")
        with self.assertRaisesRegex(ValueError, "betas"):
            RowwiseAdam(make("dense"), betas=(0.9, 1.0))
        table, rows = torch.zeros(4, 3), torch.tensor([2, 1])
        step = torch.ops.peerage.rowwise_adam_
        numbers = [1e-3, 0.9, 0.99, 1e-8, 0.0, 1.0, 1.0]
        for text, arguments in (
                ("rows must ascend", (table, table.clone(), table.clone(), rows,
                                      torch.zeros(2, 3), numbers)),
                ("row 4 is not in a table of 4", (table, table.clone(), table.clone(), rows + 2,
                                                  torch.zeros(2, 3), numbers)),
                ("first moment is", (table, torch.zeros(3, 3), table.clone(), None, table,
                                     numbers)),
                ("there must be 7", (table, table.clone(), table.clone(), None, table,
                                     numbers[:3]))):
            with self.assertRaisesRegex(RuntimeError, text):
                step(*arguments)
        with self.assertRaisesRegex(RuntimeError, "there is no ledger 12345"):
            torch.ops.peerage.ledger_is_empty(12345)


if __name__ == "__main__":
    unittest.main()
