"""What is tried again, how often, when, and what never is: against a scripted server."""

import dataclasses
import itertools
import random
import threading
import unittest

import grpc
from both_worlds import Asynchronous, Blocking
from scripted_server import Refusal, ScriptedServer, busy

from peerage import (DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, OutOfRange,
                     Overloaded, ResourceExhausted, RetryPolicy, ScoreItem, Unavailable, errors)
from peerage.retry import Attempts
from peerage.v1 import inference_pb2 as pb

QUICK = RetryPolicy(max_attempts=3, jitter=0)
RESUMES = RetryPolicy(max_attempts=3, jitter=0, resume_delay=0.001)


def whole(text):
    return pb.GenerateResponse(request_id="scripted", candidates=[pb.Candidate(text=text)])


def started(candidates=1, seed=0, fingerprint="same"):
    return pb.GenerateStreamResponse(started=pb.Started(
        request_id="scripted", prompt_tokens=1, model=pb.ModelRef(fingerprint=fingerprint),
        sampling=pb.ResolvedSampling(candidates=candidates, seed=seed)))


def delta(text, ids=(1,)):
    return pb.GenerateStreamResponse(delta=pb.Delta(text=text, token_ids=ids))


def prompt_logprobs(first, ids):
    return pb.GenerateStreamResponse(prompt_logprobs=pb.PromptLogprobs(
        first_position=first, tokens=[pb.TokenLogprob(token_id=i) for i in ids]))


def gone():
    return Refusal(grpc.StatusCode.UNAVAILABLE, "the connection broke")


def finished():
    return pb.GenerateStreamResponse(finished=pb.Finished(
        finish=pb.Finish(reason=pb.FINISH_REASON_LENGTH), usage=pb.Usage(completion_tokens=1)))


def scored(item):
    """Of a request with one continuation: minus its number of ids."""
    ids = item.request.continuations[0].token_ids.ids
    return pb.ScoreStreamResponse(id=item.id, response=pb.ScoreResponse(
        scores=[pb.ContinuationScore(logprob=-len(ids))]))


def refused(item, refusal):
    return pb.ScoreStreamResponse(id=item.id, error=refusal.status)


class AttemptsTest(unittest.TestCase):

    def setUp(self):
        self.now = 100.0

    def attempts(self, policy, timeout=None):
        return Attempts(policy, random.Random(policy.seed), timeout, lambda: self.now)

    @staticmethod
    def refusal(delay):
        return Overloaded("full", code="RESOURCE_EXHAUSTED", retry_delay=delay)

    def test_the_server_says_how_long_to_wait(self):
        attempts = self.attempts(RetryPolicy(jitter=0))
        self.assertEqual(attempts.delay_after(self.refusal(1.5)), 1.5)
        self.assertIsNone(attempts.remaining())

    def test_jitter_only_lengthens_and_repeats_with_its_seed(self):
        policy = RetryPolicy(max_attempts=100, jitter=0.5, seed=7)
        runs = []
        for _ in range(2):
            attempts = self.attempts(policy)
            runs.append([attempts.delay_after(self.refusal(2.0)) for _ in range(50)])
        self.assertEqual(*runs)
        self.assertGreaterEqual(min(runs[0]), 2.0)
        self.assertLessEqual(max(runs[0]), 3.0)
        self.assertGreater(len(set(runs[0])), 40)

    def test_attempts_are_counted_until_something_was_done(self):
        attempts = self.attempts(RetryPolicy(max_attempts=3, jitter=0))
        for _ in range(2):
            attempts.delay_after(self.refusal(0.1))
        attempts.begin_anew()
        for _ in range(2):
            attempts.delay_after(self.refusal(0.1))
        with self.assertRaises(Overloaded):
            attempts.delay_after(self.refusal(0.1))

    def test_no_wait_goes_past_the_deadline(self):
        attempts = self.attempts(RetryPolicy(jitter=0), timeout=2.0)
        self.assertEqual(attempts.remaining(), 2.0)
        self.now += 0.5
        self.assertEqual(attempts.delay_after(self.refusal(1.0)), 1.0)
        self.now += 1.0
        self.assertEqual(attempts.remaining(), 0.5)
        with self.assertRaises(Overloaded):
            attempts.delay_after(self.refusal(0.5))
        self.now += 9.0
        self.assertEqual(attempts.remaining(), 0.0)

    def test_a_stream_that_broke_waits_longer_each_time_unless_the_server_says(self):
        gone = Unavailable("gone", code="UNAVAILABLE")
        attempts = self.attempts(RetryPolicy(jitter=0, resume_delay=2, max_delay=5))
        self.assertEqual([attempts.delay_after_break(gone) for _ in range(3)], [2, 4, 5])
        self.assertEqual(attempts.delay_after_break(self.refusal(1.5)), 1.5)
        with self.assertRaises(Unavailable):
            self.attempts(RetryPolicy(resume=False)).delay_after_break(gone)

    def test_a_server_that_asks_for_too_much_is_not_waited_for(self):
        with self.assertRaises(Overloaded):
            self.attempts(RetryPolicy(max_delay=5)).delay_after(self.refusal(5.1))

    def test_policies_are_checked(self):
        for wrong in ({"max_attempts": 0}, {"jitter": -1}, {"max_delay": float("nan")},
                      {"resume_delay": -1}):
            with self.assertRaises(ValueError):
                RetryPolicy(**wrong)


class Retries:
    """Of both clients."""

    def serve(self, **scripts):
        return self.enterContext(ScriptedServer(**scripts))

    def test_a_refused_call_is_made_again_until_it_is_answered(self):
        server = self.serve(Generate=[busy(), busy(), whole("at last")])
        client = self.connect(server.address, retry=QUICK)
        answer = client.generate("x", request_id="mine", max_tokens=3)
        self.assertEqual(answer.text, "at last")
        calls = server.calls("Generate")
        self.assertEqual(len(calls), 3)
        self.assertEqual({call[1].SerializeToString() for call in calls},
                         {calls[0][1].SerializeToString()})
        self.assertEqual({call[2]["x-request-id"] for call in calls}, {"mine"})

    def test_tries_are_bounded(self):
        server = self.serve(Generate=[busy() for _ in range(4)])
        client = self.connect(server.address, retry=QUICK)
        with self.assertRaises(Overloaded) as raised:
            client.generate("x")
        self.assertEqual(len(server.seen), 3)
        self.assertEqual(raised.exception.retry_delay, 0.001)
        self.assertEqual(raised.exception.reason, "SCRIPTED")
        self.assertEqual(raised.exception.request_id, "scripted")

    def test_without_a_policy_nothing_is_tried_again(self):
        server = self.serve(Generate=[busy()])
        with self.assertRaises(Overloaded):
            self.connect(server.address, retry=None).generate("x")
        self.assertEqual(len(server.seen), 1)

    def test_only_what_the_server_offers_is_tried_again(self):
        server = self.serve(Generate=[
            Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large"),
            Refusal(grpc.StatusCode.UNAVAILABLE, "gone"),
            Refusal(grpc.StatusCode.INVALID_ARGUMENT, "wrong", violations=[("a.b", "must be 1")])])
        client = self.connect(server.address, retry=QUICK)
        with self.assertRaises(ResourceExhausted) as raised:
            client.generate("x")
        self.assertNotIsInstance(raised.exception, Overloaded)
        with self.assertRaises(Unavailable):
            client.generate("x")
        with self.assertRaises(InvalidArgument) as raised:
            client.generate("x")
        self.assertEqual([(v.field, v.rule) for v in raised.exception.violations],
                         [("a.b", "must be 1")])
        self.assertEqual(len(server.seen), 3)

    def test_the_timeout_is_kept_over_all_tries(self):
        server = self.serve(Generate=[busy(60)])
        client = self.connect(server.address, retry=RetryPolicy(max_delay=100), timeout=50)
        with self.assertRaises(Overloaded):  # now, not after a minute
            client.generate("x")
        self.assertEqual(len(server.seen), 1)
        self.assertLess(server.seen[0][3], 52)  # gRPC rounds up

    def test_a_call_may_have_a_timeout_of_its_own(self):
        server = self.serve(Generate=[whole("a"), whole("b")])
        client = self.connect(server.address, timeout=1000)
        client.generate("x", timeout=100)
        self.assertLess(server.seen[0][3], 102)  # gRPC rounds up
        client.generate("x", timeout=None)
        self.assertGreater(server.seen[1][3] or 1e9, 1e6)

    def test_a_timeout_ends_a_call_that_is_not_answered(self):
        over = threading.Event()
        server = self.serve(Generate=[lambda _: over.wait(60)])
        self.addCleanup(over.set)  # before the server stops
        client = self.connect(server.address, retry=QUICK)
        with self.assertRaises(DeadlineExceeded) as raised:
            client.generate("x", timeout=0.05)
        self.assertIsInstance(raised.exception, TimeoutError)

    def test_metadata_goes_with_every_call(self):
        server = self.serve(Generate=[whole("a")], GenerateStream=[[started(), finished()]])
        client = self.connect(server.address, metadata=[("authorization", "Bearer t")])
        client.generate("x", metadata=[("x-more", "1")])
        self.all_of(client.stream("x"))
        for _, _, metadata, _ in server.seen:
            self.assertEqual(metadata["authorization"], "Bearer t")
        self.assertEqual(server.seen[0][2]["x-more"], "1")

    def test_a_stream_that_is_refused_begins_again(self):
        server = self.serve(GenerateStream=[busy(), [started(), delta("a"), finished()]])
        stream = self.connect(server.address, retry=QUICK).stream("x")
        self.assertEqual([piece.text for piece in self.all_of(stream)], ["a", ""])
        self.assertEqual(stream.generation.text, "a")
        self.assertEqual(len(server.seen), 2)

    def test_a_stream_that_breaks_goes_on_where_it_was(self):
        server = self.serve(GenerateStream=[
            [started(seed=7), delta("a", [5]), delta("", [6, 7]), gone()],
            gone(), busy(),
            [started(seed=7), delta("bc", [8]), delta("d", [9]), gone()],
            [started(seed=7), finished()]])
        retry = dataclasses.replace(RESUMES, max_attempts=4)
        stream = self.connect(server.address, retry=retry).stream(
            "x", top_p=0.5, request_id="mine", tokens_per_message=2)
        self.assertEqual([piece.text for piece in self.all_of(stream)], ["a", "", "bc", "d", ""])
        self.assertEqual(stream.generation.text, "abcd")
        self.assertEqual(stream.generation.ids, (5, 6, 7, 8, 9))
        self.assertEqual(stream.resumed, 2)
        requests = [call[1] for call in server.calls("GenerateStream")]
        self.assertEqual([list(r.request.generated_token_ids.ids) for r in requests],
                         [[], [5, 6, 7], [5, 6, 7], [5, 6, 7], [5, 6, 7, 8, 9]])
        for request in requests[1:]:  # nothing else has changed
            self.assertEqual(request.request.sampling.seed, 7)
            request.request.sampling.ClearField("seed")
            request.request.ClearField("generated_token_ids")
            self.assertEqual(request, requests[0])
        self.assertEqual({call[2]["x-request-id"] for call in server.seen}, {"mine"})

    def test_a_stream_that_breaks_before_its_first_token_begins_with_the_same_seed(self):
        prompt = [prompt_logprobs(0, [1]), prompt_logprobs(1, [2, 3])]
        server = self.serve(GenerateStream=[
            [started(seed=7), *prompt[:1], gone()],
            [started(seed=7), *prompt, delta("a", [5]), gone()],
            [started(seed=7), finished()]])
        stream = self.connect(server.address, retry=RESUMES).stream("x", prompt_logprobs=True)
        self.all_of(stream)
        self.assertEqual([p.id for p in stream.generation.prompt_logprobs], [1, 2, 3])
        requests = [call[1].request for call in server.calls("GenerateStream")]
        self.assertEqual([r.output.prompt_logprobs for r in requests], [True, True, False])
        self.assertEqual([r.sampling.seed for r in requests[1:]], [7, 7])
        self.assertFalse(requests[1].HasField("generated_token_ids"))

    def test_tries_to_go_on_are_bounded_until_tokens_come(self):
        server = self.serve(GenerateStream=[
            [started(), delta("a"), gone()], gone(), [started(), delta("b"), gone()],
            gone(), [started(), gone()], [started()]])
        stream = self.connect(server.address, retry=RESUMES).stream("x")
        with self.assertRaises(Unavailable):
            self.all_of(stream)
        self.assertEqual(len(server.seen), 5)

    def test_a_stream_that_cannot_go_on_fails(self):
        broken = Refusal(grpc.StatusCode.INTERNAL, "the model failed")
        server = self.serve(GenerateStream=[
            [started(), delta("a"), broken],  # not for want of a server
            [started(candidates=2), delta("a"), gone()],
            [started(), delta("a"), gone()],  # resume=False
            [started(), delta("a"), gone()],  # no policy at all
            [started(), delta("a"), gone()], [started(fingerprint="other"), delta("b")]])
        for kind, retry in ((Internal, RESUMES), (Unavailable, RESUMES),
                            (Unavailable, dataclasses.replace(RESUMES, resume=False)),
                            (Unavailable, None), (FailedPrecondition, RESUMES)):
            stream = self.connect(server.address, retry=retry).stream("x")
            with self.assertRaises(kind):
                self.all_of(stream)
        self.assertEqual(len(server.seen), 6)

    def items(self, number):
        return [ScoreItem([1], [list(range(1, i + 2))]) for i in range(number)]

    def test_of_a_batch_only_what_was_refused_is_sent_again(self):
        sent = []

        def first(items):
            for item in items:
                sent.append(item.id)
                yield refused(item, busy()) if item.id in ("1", "3") else scored(item)

        def second(items):
            for item in reversed(list(items)):
                sent.append(item.id)
                yield scored(item)

        server = self.serve(ScoreStream=[first, second])
        client = self.connect(server.address, retry=QUICK)
        done = []
        answers = self.all_of(client.score_many(
            self.items(5), progress=lambda *counts: done.append(counts)))
        self.assertEqual([answer[0].logprob for answer in answers], [-1, -2, -3, -4, -5])
        self.assertEqual(sent[:5], ["0", "1", "2", "3", "4"])
        self.assertEqual(sorted(sent[5:]), ["1", "3"])
        self.assertEqual(done, [(i, 5) for i in range(1, 6)])

    def test_of_a_batch_what_a_broken_stream_left_open_is_sent_again(self):
        def first(items):
            yield scored(next(items))
            next(items)
            yield Refusal(grpc.StatusCode.UNAVAILABLE, "the server drains", retry=0.001)

        def second(items):
            for item in items:
                yield scored(item)

        server = self.serve(ScoreStream=[first, second])
        client = self.connect(server.address, retry=QUICK)
        answers = self.all_of(client.score_many(self.items(3)))
        self.assertEqual([answer[0].logprob for answer in answers], [-1, -2, -3])
        self.assertEqual(len(server.calls("ScoreStream")), 2)

    def test_an_item_of_a_batch_that_fails_ends_it_or_takes_its_place(self):
        def script(items):
            for item in items:
                wrong = Refusal(grpc.StatusCode.OUT_OF_RANGE, "too long")
                yield refused(item, wrong) if item.id == "1" else scored(item)

        server = self.serve(ScoreStream=[script, script])
        client = self.connect(server.address)
        answers = self.all_of(client.score_many(self.items(3), return_exceptions=True))
        self.assertEqual([getattr(a, "code", None) for a in answers], [None, "OUT_OF_RANGE", None])
        with self.assertRaises(Exception) as raised:
            self.all_of(client.score_many(self.items(3)))
        self.assertEqual(raised.exception.code, "OUT_OF_RANGE")
        self.assertEqual(raised.exception.__notes__, ["of item 1"])

    def test_a_batch_that_fails_is_cancelled(self):
        def script(items):
            yield refused(next(items), Refusal(grpc.StatusCode.OUT_OF_RANGE, "too long"))
            for _ in items:  # there is no last one
                pass

        server = self.serve(ScoreStream=[script])
        client = self.connect(server.address)
        try:
            self.all_of(client.score_many(itertools.repeat(ScoreItem([1], [[2]]))))
        except OutOfRange as error:
            kept = error  # with its traceback, and so with everything that knows the call
        self.assertEqual(self.wait_for(lambda: server.ended.get(timeout=30)), "ScoreStream")
        self.assertEqual(kept.code, "OUT_OF_RANGE")

    def test_what_is_wrong_with_the_items_is_said_as_it_is(self):
        def script(items):
            for item in items:
                yield scored(item)

        def items():
            yield ScoreItem([1], [[2]])
            raise LookupError("no second item")

        server = self.serve(ScoreStream=[script, script])
        client = self.connect(server.address)
        with self.assertRaisesRegex(LookupError, "no second item"):
            self.all_of(client.score_many(items()))
        with self.assertRaisesRegex(TypeError, "must be a list"):
            self.all_of(client.score_many([ScoreItem([1], "one text")]))

    def test_many_generations_come_in_their_order(self):
        def answer(request):
            return whole(request.prompt.text.upper())

        server = self.serve(Generate=[busy(), *[answer] * 50])
        client = self.connect(server.address, retry=QUICK)
        done = []
        answers = self.all_of(client.generate_many(
            (f"p{i}" for i in range(50)), concurrency=4,
            progress=lambda *counts: done.append(counts)))
        self.assertEqual([a.text for a in answers], [f"P{i}" for i in range(50)])
        self.assertEqual(done[-1], (50, None))

    def test_a_stream_that_is_left_is_cancelled(self):
        def endless(_):
            yield started()
            while True:
                yield delta("a")

        server = self.serve(GenerateStream=[endless, endless])
        client = self.connect(server.address)

        def ended():
            return server.ended.get(timeout=30)

        closed = client.stream("x")
        self.first_of(closed)
        self.close(closed)
        self.assertEqual(self.wait_for(ended), "GenerateStream")
        self.assertEqual(self.all_of(closed), [])
        self.first_of(client.stream("x"))  # forgotten at once
        self.assertEqual(self.wait_for(ended), "GenerateStream")


class LostWordTest(unittest.TestCase):
    """Which of the two grpc.aio tells of, a failed write or what the server said, is a race."""

    def test_of_a_call_that_ended_while_it_was_written_to_is_asked_again(self):
        lost = grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(),
                                    grpc.aio.Metadata(), details="Internal error from Core")
        error = errors.from_rpc(lost)
        self.assertIsInstance(error, Unavailable)
        self.assertEqual(error.retry_delay, 0)
        other = grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(),
                                     grpc.aio.Metadata(), details="the step failed")
        self.assertIsInstance(errors.from_rpc(other), Internal)
        self.assertIsNone(errors.from_rpc(other).retry_delay)


class BlockingRetriesTest(Blocking, Retries, unittest.TestCase):
    pass


class AsynchronousRetriesTest(Asynchronous, Retries, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
