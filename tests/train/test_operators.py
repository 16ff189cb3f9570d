"""torch.ops.peerage against the papers' formulas: values, gradients, contracts with PyTorch, errors,
and the same bits whatever the number of threads."""

import unittest

import torch
from peerage_torch import operators

import formulas

# Widths around vectors, one token and none, one pick, more picks than a vector has lanes, a table
# that has fewer rows than there are picks, more tokens than go over a table at once, and a table of
# several blocks.
SHAPES = [  # tokens, heads, top_k, experts, width
    (1, 1, 1, 1, 1),
    (0, 2, 3, 9, 4),
    (3, 2, 5, 9, 7),
    (7, 3, 9, 16, 33),
    (5, 1, 17, 31, 64),
    (4, 2, 16, 25, 100),
    (150, 1, 2, 9, 1024),
    (9, 2, 7, 4900, 5),
]
KINDS = ("dense", "sparse")


def leaves(*tensors):
    return [t.detach().clone().requires_grad_() if t is not None else None for t in tensors]


def experts_case(shape, glu, dtype=torch.double):
    tokens, heads, top_k, experts, width = shape
    ids, weights = formulas.random_picks(tokens, heads, top_k, experts)
    scale = width ** -0.5
    x = formulas.normal(tokens, width, seed=1)
    tables = [formulas.normal(experts, width, seed=s) * scale for s in (2, 3, 4)[:3 if glu else 2]]
    return ids, [t.to(dtype) for t in (x, weights, *tables)]


def gradients(y, inputs, grad_y):
    found = torch.autograd.grad(y, inputs, grad_y)
    return [g.to_dense() if g.is_sparse else g for g in found]


class PeerExpertsTest(unittest.TestCase):

    def check(self, shape, glu, activation, kind, dtype, tolerance):
        ids, values = experts_case(shape, glu, dtype)
        ours, plain = leaves(*values), leaves(*(v.double() for v in values))
        y = operators.peer_experts(ours[0], ids, *ours[1:], activation=activation,
                                   table_gradient=kind)
        expected = formulas.peer_experts(plain[0], ids, *plain[1:], activation=activation)
        grad_y = formulas.normal(*y.shape, seed=9, dtype=dtype)
        for a, b in zip([y, *gradients(y, ours, grad_y)],
                        [expected, *gradients(expected, plain, grad_y.double())]):
            self.assertEqual(a.dtype, dtype)
            torch.testing.assert_close(a.double(), b, atol=tolerance, rtol=tolerance)

    def test_values_and_gradients_are_the_formula_s(self):
        for shape in SHAPES:
            for glu in (False, True):
                for kind in KINDS:
                    with self.subTest(shape=shape, glu=glu, kind=kind):
                        self.check(shape, glu, "gelu", kind, torch.double, 1e-12)
                        self.check(shape, glu, "gelu", kind, torch.float, 1e-5)
                        self.check(shape, glu, "gelu", kind, torch.bfloat16, 2e-2)

    def test_every_activation(self):
        for activation in formulas.ACTIVATIONS:
            for glu in (False, True):
                with self.subTest(activation=activation, glu=glu):
                    self.check(SHAPES[3], glu, activation, "dense", torch.double, 1e-12)
                    self.check(SHAPES[3], glu, activation, "dense", torch.float, 1e-5)

    def test_gradcheck(self):
        for glu in (False, True):
            ids, values = experts_case((3, 2, 3, 4, 5), glu)
            for activation in ("gelu", "gelu_tanh", "silu"):
                def function(x, *rest, activation=activation, ids=ids):
                    return operators.peer_experts(x, ids, *rest, activation=activation)
                self.assertTrue(torch.autograd.gradcheck(function, leaves(*values)))

    def test_one_expert_picked_by_all(self):
        ids = torch.zeros(5, 4, 1, dtype=torch.long)
        x, weights = formulas.normal(5, 6, seed=1), formulas.normal(5, 4, 1, seed=2)
        tables = [formulas.normal(3, 6, seed=s) for s in (3, 4)]
        ours, plain = leaves(x, weights, *tables), leaves(x, weights, *tables)
        y = operators.peer_experts(ours[0], ids, *ours[1:], table_gradient="sparse")
        y.sum().backward()
        formulas.peer_experts(plain[0], ids, *plain[1:]).sum().backward()
        self.assertEqual(ours[2].grad.indices().tolist(), [[0]])
        torch.testing.assert_close(ours[2].grad.to_dense(), plain[2].grad)
        torch.testing.assert_close(ours[3].grad.to_dense(), plain[3].grad)

    def test_a_sparse_gradient_has_the_picked_rows_once_each(self):
        ids, values = experts_case(SHAPES[3], False)
        inputs = leaves(*values)
        y = operators.peer_experts(inputs[0], ids, *inputs[1:], table_gradient="sparse")
        (gradient,) = torch.autograd.grad(y.sum(), inputs[2])
        self.assertTrue(gradient.is_coalesced())
        self.assertEqual(gradient.indices()[0].tolist(), ids.unique().tolist())

    def test_frozen_inputs_get_no_gradient(self):
        ids, values = experts_case(SHAPES[2], False, torch.float)
        x = values[0].requires_grad_()
        operators.peer_experts(x, ids, *values[1:]).sum().backward()
        self.assertIsNotNone(x.grad)
        self.assertTrue(all(v.grad is None for v in values[1:]))

    def test_strides_do_not_matter(self):
        ids, values = experts_case(SHAPES[3], True, torch.float)
        strided = [v.transpose(0, 1).contiguous().transpose(0, 1) for v in values]
        expected = operators.peer_experts(values[0], ids, *values[1:])
        y = operators.peer_experts(strided[0], ids.transpose(0, 1).contiguous().transpose(0, 1),
                                   *strided[1:])
        self.assertTrue(torch.equal(y, expected))


class PkmValuesTest(unittest.TestCase):

    def test_values_and_gradients_are_the_formula_s(self):
        for tokens, heads, top_k, experts, width in SHAPES:
            for dtype, tolerance in ((torch.double, 1e-12), (torch.float, 1e-5),
                                     (torch.bfloat16, 2e-2)):
                for kind in KINDS:
                    with self.subTest(tokens=tokens, width=width, dtype=dtype, kind=kind):
                        ids, weights = formulas.random_picks(tokens, heads, top_k, experts)
                        values = formulas.normal(experts, width, seed=2)
                        ours = leaves(weights.to(dtype), values.to(dtype))
                        plain = leaves(*(t.double() for t in ours))
                        y = operators.pkm_values(ids, *ours, table_gradient=kind)
                        expected = formulas.pkm_values(ids, *plain)
                        grad_y = formulas.normal(*y.shape, seed=9, dtype=dtype)
                        for a, b in zip([y, *gradients(y, ours, grad_y)],
                                        [expected, *gradients(expected, plain, grad_y.double())]):
                            torch.testing.assert_close(a.double(), b, atol=tolerance,
                                                       rtol=tolerance)

    def test_gradcheck(self):
        ids, weights = formulas.random_picks(3, 2, 3, 5)
        values = formulas.normal(5, 4)
        self.assertTrue(torch.autograd.gradcheck(
            lambda w, v: operators.pkm_values(ids, w, v), leaves(weights, values)))


class ProductKeyTopKTest(unittest.TestCase):

    def test_picks_and_gradients_are_those_of_all_scores(self):
        for tokens, heads, n, width, top_k, shared in (
                (3, 2, 4, 3, 5, False), (5, 3, 40, 8, 16, True), (4, 1, 300, 17, 7, False),
                (2, 2, 200, 4, 150, False), (0, 2, 4, 3, 5, False), (2, 1, 1, 1, 1, False)):
            for dtype in (torch.double, torch.float):
                with self.subTest(n=n, top_k=top_k, dtype=dtype):
                    queries = formulas.normal(tokens, heads, 2, width, seed=1, dtype=dtype)
                    keys = formulas.normal(1 if shared else heads, n, 2, width, seed=2,
                                           dtype=dtype)
                    ours, plain = leaves(queries, keys), leaves(queries.double(), keys.double())
                    scores, ids = operators.product_key_top_k(*ours, top_k)
                    expected_ids, expected = formulas.product_key_top_k(*plain, top_k)
                    self.assertEqual(ids.tolist(), expected_ids.tolist())
                    grad = formulas.normal(*scores.shape, seed=3, dtype=dtype)
                    for a, b in zip([scores, *gradients(scores, ours, grad)],
                                    [expected, *gradients(expected, plain, grad.double())]):
                        torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=2e-5)

    def test_gradcheck(self):
        inputs = leaves(formulas.normal(3, 2, 2, 4, seed=1), formulas.normal(2, 5, 2, 4, seed=2))
        self.assertTrue(torch.autograd.gradcheck(
            lambda q, k: operators.product_key_top_k(q, k, 6)[0], inputs))

    def test_of_equal_scores_the_lower_expert_comes_first(self):
        _, ids = operators.product_key_top_k(torch.zeros(1, 1, 2, 3), torch.zeros(1, 4, 2, 3), 5)
        self.assertEqual(ids.flatten().tolist(), [0, 1, 2, 3, 4])

    def test_fewer_of_a_half_restrict_the_choice(self):
        queries, keys = formulas.normal(2, 1, 2, 4, seed=1), formulas.normal(1, 9, 2, 4, seed=2)
        _, ids = operators.product_key_top_k(queries, keys, 4, 2)
        halves = torch.einsum("thpw,hnpw->pthn", queries, keys).topk(2).indices
        for token in range(2):
            self.assertLessEqual(set((ids[token, 0] // 9).tolist()), set(halves[0, token, 0].tolist()))
            self.assertLessEqual(set((ids[token, 0] % 9).tolist()), set(halves[1, token, 0].tolist()))


class ContractTest(unittest.TestCase):
    """What PyTorch asks of an operator: schema, autograd registration, fake tensors, tracing."""

    def check(self, op, *args, **kwargs):
        found = torch.library.opcheck(op, args, kwargs)
        self.assertEqual(set(found.values()), {"SUCCESS"}, found)

    def test_opcheck(self):
        ops = torch.ops.peerage
        for dtype in (torch.float, torch.double, torch.bfloat16):
            for glu in (False, True):
                ids, values = experts_case(SHAPES[3], glu, dtype)
                self.check(ops.peer_experts.default, *self.with_ids(ids, leaves(*values)))
                self.check(ops.peer_experts.default, *self.with_ids(ids, values))
        ids, values = experts_case(SHAPES[3], False, torch.float)
        self.check(ops.pkm_values.default, ids, *leaves(*values[1:3]))
        queries, keys = formulas.normal(4, 3, 2, 5), formulas.normal(3, 8, 2, 5)
        self.check(ops.product_key_top_k.default, *leaves(queries, keys), 7)
        self.check(ops.count_usage_.default, torch.zeros(16, dtype=torch.long),
                   torch.zeros(16, dtype=torch.double), ids, values[1])
        table = values[2]
        self.check(ops.rowwise_adam_.default, table, torch.zeros_like(table),
                   torch.zeros_like(table), None, torch.ones_like(table),
                   [1e-3, 0.9, 0.99, 1e-8, 0.0, 1.0, 1.0])

    @staticmethod
    def with_ids(ids, values):
        return [values[0], ids, *values[1:]]


class DeterminismTest(unittest.TestCase):

    def step(self, threads):
        torch.set_num_threads(threads)
        x, queries = (formulas.normal(*s, seed=1, dtype=torch.float)
                      for s in ((67, 48), (67, 4, 2, 24)))
        keys = formulas.normal(4, 70, 2, 24, seed=2, dtype=torch.float)
        tables = [formulas.normal(4900, 48, seed=s, dtype=torch.float) for s in (3, 4, 5)]
        inputs = leaves(x, queries, keys, *tables)
        scores, ids = operators.product_key_top_k(inputs[1], inputs[2], 16)
        y = operators.peer_experts(inputs[0], ids, scores.softmax(-1), *inputs[3:])
        return [y, ids, *torch.autograd.grad(y.square().sum(), inputs)]

    def test_bits_do_not_depend_on_threads_or_the_run(self):
        threads = torch.get_num_threads()
        self.addCleanup(torch.set_num_threads, threads)
        once = self.step(1)
        for other in (self.step(1), self.step(2), self.step(3)):
            for a, b in zip(once, other, strict=True):
                self.assertTrue(torch.equal(a, b))


class ErrorTest(unittest.TestCase):

    def assert_says(self, text, function, *args, **kwargs):
        with self.assertRaisesRegex((RuntimeError, IndexError, ValueError), text):
            function(*args, **kwargs)

    def test_what_is_wrong_is_named(self):
        ids, (x, weights, down, up) = experts_case(SHAPES[2], False, torch.float)
        op = operators.peer_experts
        says = self.assert_says
        says("x is .*must be .tokens, width", op, x[:, :3], ids, weights, down, up)
        says("same tokens", op, x[:2], ids, weights, down, up)
        says("up is .*num_experts, width", op, x, ids, weights, down, up[:4])
        says("a weight for each id", op, x, ids, weights[..., :2], down, up)
        says("must be int64", op, x, ids.int(), weights, down, up)
        says("x is of", op, x.double(), ids, weights, down, up)
        says("weights are of", op, x, ids, weights.double(), down, up)
        says("have 9, but there are 9 experts", op, x, ids + 1, weights, down, up)
        says("have -1, but there are 9 experts", op, x, ids - 1, weights, down, up)
        says("gelu, gelu_tanh, silu or relu", op, x, ids, weights, down, up, activation="tanh")
        says("dense, sparse or ledger", op, x, ids, weights, down, up, table_gradient="none")
        says("only .ledger. takes one", op, x, ids, weights, down, up, ledger=3)
        says("not known; use float32", op, x.half(), ids, weights.half(), down.half(), up.half())

    def test_an_order_that_forward_did_not_give_is_refused(self):
        ids, (_, weights, _, up) = experts_case(SHAPES[2], False, torch.float)
        _, order = torch.ops.peerage.pkm_values_forward(ids, weights, up)
        grad_y = torch.ones(3, 7)
        backward = torch.ops.peerage.pkm_values_backward
        backward(grad_y, order, weights, up, 0)
        for wrong in (order[1:], order.int(), order + (9 << 32), order - (9 << 32), order + 99):
            self.assert_says("the order of picks", backward, grad_y, wrong, weights, up, 0)
        ids, (_, weights, _, up) = experts_case(SHAPES[-1], False, torch.float)
        _, order = torch.ops.peerage.pkm_values_forward(ids, weights, up)
        backward(torch.ones(9, 5), order, weights, up, 0)
        self.assert_says("not where forward put them", backward, torch.ones(9, 5), order.flip(0),
                         weights, up, 0)

    def test_what_is_wrong_with_keys_is_named(self):
        queries, keys = torch.zeros(2, 3, 2, 4), torch.zeros(3, 5, 2, 4)
        op = operators.product_key_top_k
        self.assert_says("tokens, heads, 2, width", op, queries[:, :, :1], keys, 1)
        self.assert_says("heads or 1, n, 2, width", op, queries, keys[:2], 1)
        self.assert_says("same type", op, queries, keys.double(), 1)
        self.assert_says("at least 1", op, queries, keys, 0)
        self.assert_says("top_k is 26, but the 5 best", op, queries, keys, 26)
        self.assert_says("top_k is 5, but the 2 best", op, queries, keys, 5, 2)


if __name__ == "__main__":
    unittest.main()
