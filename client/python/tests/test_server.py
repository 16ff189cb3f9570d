"""Both clients against real servers: PEERAGE_PEER serves a PEER model with full traces,
PEERAGE_MIXTURE mixtures of several kinds in one layer, with a tokenizer that adds a BOS token."""

import array
import asyncio
import os
import unittest

import grpc
import numpy as np
from both_worlds import Asynchronous, Blocking
from cutting_proxy import CuttingProxy

from peerage import (FailedPrecondition, FinishReason, InvalidArgument, NotFound, OutOfRange,
                     RetryPolicy, ScoreItem, Unavailable, requests)
from peerage.v1 import experts_pb2, inference_pb2, inference_pb2_grpc, models_pb2, models_pb2_grpc

TIMEOUT = 60
TEXT = "And it came to pass in the days of"


def raw(address):
    """Stubs of the wire, without any of our code."""
    return grpc.insecure_channel(address)


class RealServer:
    """Of both clients."""

    def setUp(self):
        self.peer = self.connect(os.environ["PEERAGE_PEER"], timeout=TIMEOUT)
        self.mixture = self.connect(os.environ["PEERAGE_MIXTURE"], timeout=TIMEOUT)
        self.wire = self.enterContext(raw(os.environ["PEERAGE_PEER"]))

    def test_models_and_status(self):
        wire = models_pb2_grpc.ModelServiceStub(self.wire).ListModels(
            models_pb2.ListModelsRequest(), timeout=TIMEOUT).models[0]
        (model,) = self.peer.models()
        for field in ("name", "fingerprint", "architecture", "total_parameters", "context_length",
                      "vocabulary_size", "weights_dtype", "kv_bytes_per_token", "chat_template",
                      "chat_template_error"):
            self.assertEqual(getattr(model, field), getattr(wire, field), field)
        self.assertEqual([(e.layer, e.kind, e.num_experts, e.heads, e.top_k)
                          for e in model.expert_layers],
                         [(1, "peer", 2304, 2, 16), (2, "peer", 2304, 2, 16)])
        self.assertEqual([e.expert_sets for e in model.expert_layers], [1, 1])
        self.assertEqual({e.kind for e in self.mixture.models()[0].expert_layers},
                         {"mixture_attention", "mixture_ffn"})
        status = self.peer.status()
        self.assertEqual((status.draining, status.workers[0].device), (False, "cpu"))

    def test_a_stream_whose_connection_breaks_is_the_stream_that_did_not(self):
        options = {"seed": 5, "max_tokens": 200, "logprobs": 1, "ignore_eos": True,
                   "stop": ["\n\n"], "min_tokens": 150, "frequency_penalty": 0.2}
        whole = self.peer.stream(TEXT, **options)
        pieces = [piece.text for piece in self.all_of(whole)]
        limits = (1500, 4000, 2500)
        proxy = self.enterContext(CuttingProxy(os.environ["PEERAGE_PEER"], limits))
        client = self.connect(proxy.address, timeout=TIMEOUT,
                              retry=RetryPolicy(max_attempts=50, resume_delay=0.05, max_delay=0.2))
        broken = client.stream(TEXT, **options)
        first = self.first_of(broken)
        proxy.may_cut.set()
        self.assertEqual([piece.text for piece in [first, *self.all_of(broken)]], pieces)
        self.assertEqual(proxy.cuts, len(limits))
        self.assertGreaterEqual(broken.resumed, 1)
        for part in ("text", "ids", "logprobs", "finish_reason", "sampling", "usage", "model"):
            self.assertEqual(getattr(broken.generation, part), getattr(whole.generation, part), part)

    def test_generate_says_what_the_wire_says(self):
        request = inference_pb2.GenerateRequest(
            prompt=inference_pb2.Prompt(text=TEXT), sampling=inference_pb2.Sampling(seed=5),
            stopping=inference_pb2.Stopping(max_tokens=9),
            output=inference_pb2.Output(logprobs=2, prompt_logprobs=True,
                                        expert_trace=experts_pb2.EXPERT_TRACE_LEVEL_FULL))
        wire = inference_pb2_grpc.InferenceServiceStub(self.wire).Generate(request, timeout=TIMEOUT)
        answer = self.peer.generate(TEXT, seed=5, max_tokens=9, logprobs=2, prompt_logprobs=True,
                                    expert_trace="full", request_id="mine")
        self.assertEqual(answer.request_id, "mine")
        self.assertEqual(answer.text, wire.candidates[0].text)
        self.assertEqual(list(answer.ids), list(wire.candidates[0].token_ids))
        self.assertEqual([token.logprob for token in answer.logprobs],
                         [token.logprob for token in wire.candidates[0].logprobs])
        self.assertEqual([len(token.alternatives) for token in answer.logprobs], [2] * 9)
        self.assertIsNone(answer.prompt_logprobs[0].logprob)
        self.assertEqual([token.logprob for token in answer.prompt_logprobs[1:]],
                         [token.logprob for token in wire.prompt_logprobs[1:]])
        self.assertEqual(answer.finish_reason, FinishReason.LENGTH)
        self.assertEqual((answer.usage.prompt_tokens, answer.usage.completion_tokens),
                         (wire.usage.prompt_tokens, 9))
        self.assertEqual((answer.sampling.seed, answer.sampling.temperature), (5, 1.0))
        self.assertGreater(answer.timings.time_to_first_token, 0)
        self.check_trace(answer.trace, wire.expert_trace)

    def check_trace(self, trace, wire):
        """Decoded by NumPy, and by Python's own arrays: the same numbers."""
        self.assertEqual(len(trace.layers), len(wire.layers))
        for layer, expected in zip(trace.layers, wire.layers, strict=True):
            self.assertEqual(layer.expert_ids.shape,
                             (expected.tokens, expected.heads, expected.top_k))
            ids, scores = array.array("I"), array.array("f")
            ids.frombytes(expected.expert_ids)
            scores.frombytes(expected.scores)
            self.assertEqual(layer.expert_ids.ravel().tolist(), ids.tolist())
            self.assertEqual(layer.scores.ravel().tolist(), scores.tolist())
            self.assertEqual(layer.selections, layer.expert_ids.size)
            self.assertEqual(layer.distinct_experts, np.unique(layer.expert_ids).size)
            self.assertEqual(layer.top_expert_ids.tolist(), list(expected.top_expert_ids))
        ids, _ = trace.stacked()
        self.assertEqual(ids.shape, (wire.layers[0].tokens, 2, 2, 16))

    def test_a_stream_is_the_same_generation(self):
        options = {"seed": 6, "max_tokens": 12, "logprobs": 1, "expert_trace": "full"}
        whole = self.peer.generate(TEXT, **options)
        stream = self.peer.stream(TEXT, **options)
        pieces = self.all_of(stream)
        self.assertEqual("".join(piece.text for piece in pieces), whole.text)
        self.assertEqual([i for piece in pieces for i in piece.ids], list(whole.ids))
        self.assertEqual(pieces[-1].finish, whole.candidates[0].finish)
        self.assertEqual({piece.finish for piece in pieces[:-1]}, {None})
        streamed = stream.generation
        self.assertEqual((streamed.text, streamed.ids, streamed.logprobs, streamed.usage,
                          streamed.sampling, streamed.model),
                         (whole.text, whole.ids, whole.logprobs, whole.usage, whole.sampling,
                          whole.model))
        for ours, theirs in zip(streamed.trace.stacked(), whole.trace.stacked(), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_hidden_states_are_arrays_and_those_of_the_wire(self):
        wanted = {"layers": [5, 0, 2], "positions": [0, 2, 4]}
        options = {"seed": 6, "max_tokens": 9, "candidates": 2, "hidden_states": wanted}
        answer = self.peer.generate(TEXT, **options)
        wire = inference_pb2_grpc.InferenceServiceStub(self.wire).Generate(
            requests.generate(TEXT, options), timeout=TIMEOUT).hidden_states
        self.assertGreater(len(wire), 0)
        for states, expected in zip(answer.hidden_states, wire, strict=True):
            self.assertEqual((states.layer, states.index, states.positions.tolist()),
                             (expected.layer, expected.index if expected.HasField("index") else None,
                              list(expected.positions)))
            self.assertEqual(states.values.shape, (len(expected.positions), expected.hidden_size))
            self.assertEqual(states.values.astype("<f4").tobytes(), expected.values)
        stream = self.peer.stream(TEXT, **options)
        self.all_of(stream)
        for ours, theirs in zip(stream.generation.hidden_states, answer.hidden_states, strict=True):
            self.assertEqual((ours.layer, ours.index), (theirs.layer, theirs.index))
            np.testing.assert_array_equal(ours.values, theirs.values)

    def test_hidden_states_of_scores_are_those_of_their_tokens(self):
        wanted = {"layers": [1, 3]}
        scores = self.mixture.score(TEXT, [" a b c", " d"], hidden_states=wanted)
        self.assertEqual({s.index for s in scores.hidden_states} - {0, 1}, {None})
        context = [s for s in scores.hidden_states if s.index is None]
        self.assertEqual([s.layer for s in context], [1, 3])
        alone = self.mixture.generate(TEXT, max_tokens=1, hidden_states=wanted)
        for ours, theirs in zip(context, alone.hidden_states, strict=True):
            np.testing.assert_array_equal(ours.values, theirs.values)

    def test_candidates_come_apart_in_a_stream(self):
        options = {"seed": 8, "max_tokens": 5, "candidates": 3, "expert_trace": "full"}
        whole = self.peer.generate(TEXT, **options)
        stream = self.peer.stream(TEXT, **options, tokens_per_message=2)
        self.all_of(stream)
        self.assertEqual([c.text for c in stream.generation.candidates],
                         [c.text for c in whole.candidates])
        self.assertEqual(stream.generation.usage, whole.usage)
        picks = sum(c.trace.layers[0].selections for c in stream.generation.candidates)
        self.assertEqual(picks, whole.trace.layers[0].selections)

    def test_many_generations(self):
        prompts = [TEXT[:n] for n in range(6, 30)]
        many = self.all_of(self.peer.generate_many(prompts, concurrency=5, temperature=0,
                                                   max_tokens=4))
        self.assertEqual([answer.text for answer in many],
                         [self.peer.generate(p, temperature=0, max_tokens=4).text for p in prompts])

    def test_scores_are_the_log_probabilities_of_generation(self):
        answer = self.peer.generate(TEXT, temperature=0, max_tokens=6, logprobs=0)
        scores = self.peer.score(TEXT, [answer.ids, " banana"], logprobs=1, expert_trace="full")
        self.assertEqual([token.logprob for token in scores[0].tokens],
                         [token.logprob for token in answer.logprobs])
        self.assertEqual([score.is_greedy for score in scores], [True, False])
        self.assertGreater(scores[1].bits_per_byte, 1)
        self.assertEqual(len(scores), 2)
        tokens = scores.usage.prompt_tokens + scores.usage.completion_tokens - 2
        self.assertEqual(scores.trace.stacked()[0].shape, (tokens, 2, 2, 16))

    def test_many_scores_are_each_one_alone(self):
        items = [ScoreItem(TEXT[:n], [" the", " a God", [5, 6, 7]]) for n in range(1, 30)]
        many = self.all_of(self.peer.score_many(iter(items)))
        for item, answer in zip(items, many, strict=True):
            alone = self.peer.score(item.context, item.continuations)
            self.assertEqual(answer.scores, alone.scores)

    def test_many_scores_with_a_wrong_one(self):
        items = [ScoreItem("a", [" b"]), ScoreItem("a", [""]), ScoreItem("a", [" c"])]
        good, bad, also_good = self.all_of(self.peer.score_many(items, return_exceptions=True))
        self.assertIsInstance(bad, InvalidArgument)
        self.assertEqual([v.field for v in bad.violations], ["request.continuations[0].text"])
        self.assertEqual(good.scores, self.peer.score("a", [" b"]).scores)
        self.assertEqual(also_good.scores, self.peer.score("a", [" c"]).scores)
        with self.assertRaises(InvalidArgument):
            self.all_of(self.peer.score_many(items))

    def test_a_tokenizer_that_adds_a_bos_does_so_unless_told_otherwise(self):
        with_bos = self.mixture.tokenize("ab").ids
        without = self.mixture.tokenize("ab", add_bos=False).ids
        self.assertEqual(with_bos, (1, *without))
        self.assertEqual(self.mixture.score("", ["ab"]).scores,
                         self.mixture.score([1], [without]).scores)
        self.assertNotEqual(self.mixture.score("", ["ab"])[0].logprob, 0)
        self.assertEqual(self.mixture.score("a", ["b"]).usage.prompt_tokens, 2)

    def test_tokens_are_text_again(self):
        text = "Grüße, 世界! 👋🏽"
        tokens = self.peer.tokenize(text)
        self.assertEqual(b"".join(tokens.pieces).decode(), text)
        self.assertEqual(self.peer.detokenize(tokens.ids), text)
        self.assertEqual(self.peer.token_bytes(tokens.ids), tokens.pieces)
        end = self.peer.tokenize("<|endoftext|>").ids
        self.assertEqual(self.peer.detokenize(end), "")
        self.assertEqual(self.peer.detokenize(end, special_tokens=True), "<|endoftext|>")

    def test_usage_is_what_the_traces_of_a_window_say(self):
        self.peer.reset_expert_usage()
        counts = np.zeros((2, 2304), np.uint64)
        for seed in range(3):
            trace = self.peer.generate(TEXT, seed=seed, max_tokens=7, expert_trace="full").trace
            for row, layer in zip(counts, trace.layers, strict=True):
                row += np.bincount(layer.expert_ids.ravel(), minlength=2304).astype(np.uint64)
        for row, layer in zip(counts, (1, 2), strict=True):
            usage = self.peer.expert_usage(layer)
            np.testing.assert_array_equal(usage.selections, row)
            self.assertEqual(usage.selections.dtype, np.uint64)
            self.assertAlmostEqual(usage.score_sums.sum(), 2 * usage.tokens, delta=1e-2)
            self.assertLess(usage.window_start, usage.window_end)
        summary = self.peer.expert_summary()
        self.assertEqual([layer.selections for layer in summary.layers], counts.sum(1).tolist())
        first = self.first_of(self.peer.watch_experts(interval=1, window="recent"))
        self.assertEqual([layer.kind for layer in first.layers], ["peer", "peer"])

    def test_a_layer_of_several_kinds_must_be_named(self):
        with self.assertRaisesRegex(ValueError, "several kinds: mixture_attention, mixture_ffn"):
            self.mixture.expert_usage(0)
        self.mixture.generate("ab", max_tokens=2)
        usage = self.mixture.expert_usage(0, kind="mixture_attention")
        self.assertEqual(usage.selections.shape, (4,))
        with self.assertRaisesRegex(NotFound, "layer 9 has no experts"):
            self.mixture.expert_usage(9)

    def test_errors_have_their_types(self):
        with self.assertRaises(InvalidArgument) as raised:
            self.peer.generate("x", top_p=0, temperature=float("nan"), request_id="mine")
        self.assertEqual([v.field for v in raised.exception.violations],
                         ["sampling.temperature", "sampling.top_p"])
        self.assertEqual(raised.exception.request_id, "mine")
        self.assertEqual(raised.exception.reason, "INVALID_FIELD")
        with self.assertRaises(OutOfRange):
            self.peer.generate("x", max_tokens=10**6)
        with self.assertRaises(NotFound):
            self.peer.generate("x", model="nobody")
        with self.assertRaises(FailedPrecondition):
            self.peer.generate(messages=[{"role": "user", "content": "Hi"}])
        with self.assertRaises(OutOfRange):
            self.all_of(self.peer.stream("x", max_tokens=10**6))

    def test_without_a_server_it_is_unavailable(self):
        with self.assertRaises(Unavailable) as raised:
            self.connect("127.0.0.1:1", timeout=TIMEOUT).models()  # nothing listens there
        self.assertIsNone(raised.exception.retry_delay)

    def running(self):
        """How many requests the server computes, once that is none or it was asked often: a
        cancelled call takes a step to leave, and each question is a round trip."""
        for _ in range(10_000):
            status = self.peer.status()
            if status.requests_running == 0:
                break
        worker = status.workers[0]
        return status.requests_running, worker.kv_blocks_total - worker.kv_blocks_free

    def test_a_stream_that_is_left_leaves_the_server_idle(self):
        stream = self.peer.stream(TEXT, max_tokens=900, ignore_eos=True)
        self.first_of(stream)
        self.close(stream)
        self.assertEqual(self.running(), (0, 0))
        self.first_of(self.peer.stream(TEXT, max_tokens=900, ignore_eos=True))
        self.assertEqual(self.running(), (0, 0))

    def test_a_batch_that_is_left_leaves_the_server_idle(self):
        items = (ScoreItem(TEXT * 20, [TEXT * 20]) for _ in range(10_000))
        self.first_of(self.peer.score_many(items))
        self.assertEqual(self.running(), (0, 0))


class BlockingClientTest(Blocking, RealServer, unittest.TestCase):
    pass


class AsynchronousClientTest(Asynchronous, RealServer, unittest.TestCase):

    def test_a_cancelled_task_leaves_the_server_idle(self):
        async def cancel():
            task = asyncio.ensure_future(
                self.peer._client.generate(TEXT, max_tokens=900, ignore_eos=True))
            while (await self.peer._client.status()).requests_running == 0:
                pass
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        self.loop.run_until_complete(asyncio.wait_for(cancel(), TIMEOUT))
        self.assertEqual(self.running(), (0, 0))


if __name__ == "__main__":
    unittest.main()
