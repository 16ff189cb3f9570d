"""What /metrics says of a real model at rest, beside what the clients of a mixed load saw."""

import collections
import concurrent.futures
import pathlib
import re
import unittest

import grpc

import stubs
from server_process import LIMIT_SECONDS as TIMEOUT
from server_process import Server

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

MODEL = pathlib.Path(__file__).parents[1] / "golden" / "models" / "peer_small"
PAGE = (MODEL / "held_out.txt").read_text()
CALLS = "peerage_grpc_server_call_duration_seconds_count"


def prompt(number):
    return PAGE[300 * number:300 * number + 200]


class Client:
    """Calls of one load, and what came back."""

    def __init__(self, stub):
        self.stub = stub

    def generate(self, number, candidates=1):
        request = inference.GenerateRequest()
        request.prompt.text = prompt(number)
        request.sampling.candidates = candidates
        request.stopping.max_tokens = 3 + number % 7
        answer = self.stub.Generate(request, timeout=TIMEOUT)
        return {"code": "OK", "method": "generate", "prompt": answer.usage.prompt_tokens,
                "generated": sum(len(c.token_ids) for c in answer.candidates),
                "candidates": candidates}

    def score(self, number):
        request = inference.ScoreRequest()
        request.context.text = prompt(number)
        for text in (" and it came to pass", " Amen."):
            request.continuations.add(text=text)
        answer = self.stub.Score(request, timeout=TIMEOUT)
        return {"code": "OK", "method": "score", "prompt": answer.usage.prompt_tokens,
                "scored": answer.usage.completion_tokens}

    def cancel_a_stream(self, number):
        """Reads one token of a stream, then cancels it."""
        request = inference.GenerateStreamRequest()
        request.request.prompt.text = prompt(number)
        request.request.stopping.max_tokens = 900
        request.request.stopping.ignore_eos = True
        stream = self.stub.GenerateStream(request, timeout=TIMEOUT)
        received = 0
        for event in stream:
            received += len(event.delta.token_ids)
            if received:
                break
        stream.cancel()
        return {"code": "CANCELLED or OK", "method": "generate", "call": "GenerateStream",
                "candidates": 1, "generated": 1}

    def ask_for_too_much(self, number):
        request = inference.GenerateRequest()
        request.prompt.text = prompt(number)
        request.stopping.max_tokens = 1_000_000
        try:
            self.stub.Generate(request, timeout=TIMEOUT)
        except grpc.RpcError as error:
            return {"code": error.code().name, "method": "generate"}
        raise AssertionError("it was not refused")


class MetricsTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server(model=MODEL))
        cls.channel = grpc.insecure_channel(cls.server.grpc)
        cls.addClassCleanup(cls.channel.close)
        cls.stub = inference_pb2_grpc.InferenceServiceStub(cls.channel)

    def at_rest(self, requests):
        """The series once so many requests, each in a call of its own, have ended."""
        while True:
            values = self.server.series()
            ended = min(sum(v for (name, _), v in values.items() if name == counter)
                        for counter in ("peerage_requests_total", CALLS))
            if ended >= requests:
                return values

    def test_series_at_rest_are_what_clients_saw(self):
        before = self.server.series()
        client = Client(self.stub)
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            calls = [pool.submit(client.generate, i) for i in range(8)]
            calls += [pool.submit(client.generate, i, candidates=3) for i in range(8, 10)]
            calls += [pool.submit(client.score, i) for i in range(8)]
            calls += [pool.submit(client.cancel_a_stream, i) for i in range(3)]
            calls += [pool.submit(client.ask_for_too_much, i) for i in range(2)]
            seen = [call.result() for call in calls]
        after = self.at_rest(len(seen))

        def grown(name, **labels):
            key = name, tuple(sorted(labels.items()))
            return after[key] - before[key]

        def total(name):
            return sum(value - before[key] for key, value in after.items() if key[0] == name)

        calls = collections.Counter((s["method"], s["code"]) for s in seen)
        # Who cancels may come too late, but hardly each time.
        cancelled = grown("peerage_requests_total", method="generate", code="CANCELLED")
        self.assertGreaterEqual(cancelled, 1)
        calls["generate", "CANCELLED"] = cancelled
        calls["generate", "OK"] += calls.pop(("generate", "CANCELLED or OK")) - cancelled
        for (method, code), count in calls.items():
            self.assertEqual(grown("peerage_requests_total", method=method, code=code), count)
        # gRPC's calls are told with the same ends, by the methods that the load used.
        ended = collections.Counter()
        for (name, labels), value in after.items():
            if name == CALLS and value > 0:
                ended[labels] = value - before.get((name, labels), 0)
        for method in ("Generate", "GenerateStream", "Score"):
            for code in ("OK", "CANCELLED", "OUT_OF_RANGE"):
                expected = sum(s.get("call", s["method"].title()) == method and
                               code in s["code"].split(" or ") for s in seen)
                got = ended.pop((("grpc_method", f"peerage.v1.InferenceService/{method}"),
                                 ("grpc_status", code)), 0)
                if method == "GenerateStream" and code == "CANCELLED":
                    expected = cancelled
                elif method == "GenerateStream" and code == "OK":
                    expected -= cancelled
                self.assertEqual(got, expected, f"{method} {code}")
        self.assertEqual(ended, {})
        self.assertEqual(total("peerage_requests_total"), len(seen))
        refused = calls["generate", "OUT_OF_RANGE"]
        self.assertEqual(grown("peerage_requests_refused_total", reason="too_large"), refused)
        self.assertEqual(total("peerage_requests_refused_total"), refused)
        self.assertEqual(total("peerage_requests_cancelled_total"), calls["generate", "CANCELLED"])
        self.assertEqual(total("peerage_candidates_finished_total"),
                         sum(s.get("candidates", 0) for s in seen))
        self.assertEqual(grown("peerage_candidates_finished_total", reason="cancelled"),
                         calls["generate", "CANCELLED"])
        self.assertEqual(grown("peerage_scored_tokens_total"),
                         sum(s.get("scored", 0) for s in seen))
        # Who cancels may have got less than was sent to it.
        self.assertGreaterEqual(grown("peerage_generation_tokens_total"),
                                sum(s.get("generated", 0) for s in seen))
        self.assertGreaterEqual(grown("peerage_prompt_tokens_total")
                                + grown("peerage_prefix_cache_hit_tokens_total"),
                                sum(s.get("prompt", 0) for s in seen))
        started = len(seen) - refused
        self.assertEqual(grown("peerage_request_queue_seconds_count"), started)
        self.assertEqual(grown("peerage_time_to_first_token_seconds_count"), started)
        self.assertEqual(grown("peerage_inter_token_latency_seconds_count"),
                         grown("peerage_generation_tokens_total")
                         - sum(s.get("candidates", 0) for s in seen))
        for gauge in ("requests_running", "requests_waiting", "queued_prompt_tokens",
                      "streams_parked", "kv_cache_usage_ratio"):
            self.assertEqual(after[f"peerage_{gauge}", ()], 0, gauge)

    def test_every_family_is_described(self):
        text = self.server.get("/metrics")[1]
        described = re.findall(r"# HELP (\w+) \S", text)
        typed = re.findall(r"# TYPE (\w+) (?:counter|gauge|histogram)$", text, re.MULTILINE)
        self.assertEqual(described, typed)
        self.assertEqual(len(set(typed)), len(typed))
        self.assertIn("peerage_expert_unevenness_expected_nats", typed)
        for name in typed:
            self.assertRegex(name, "^(peerage|process)_")

    def test_levels_of_expert_metrics(self):
        for options, experts in ((("--expert-metrics", "off"), False),
                                 (("--expert-usage", "off"), False),
                                 (("--expert-metrics", "basic"), True)):
            with Server(*options, model=MODEL) as server:
                names = {name for name, _ in server.series()}
                self.assertEqual("peerage_expert_used_ratio" in names, experts, options)
                self.assertNotIn("peerage_expert_gini", names)


class HungStepTest(unittest.TestCase):
    """A step that takes longer than --step-timeout ends its request; /healthz tells of it while it
    lasts, and the worker goes on with another model."""

    def test_its_request_ends_and_the_worker_goes_on(self):
        with Server("--step-timeout", "2s", "--max-batch-tokens", "8192", "--threads", "1") as server:
            self.assertEqual(server.get("/healthz"), (200, "ok\n"))
            call = server.start("score", "word " * 2500, "-c", " end")
            status, body = 200, ""
            while status == 200 and call.poll() is None:
                status, body = server.get("/healthz")
            _, error = call.communicate(timeout=TIMEOUT)
            self.assertNotEqual(call.returncode, 0, "a step over thousands of tokens ended within two seconds")
            self.assertIn(b"UNAVAILABLE: a step of the model does not end", error)
            again = server.run("score", "The sky is", "-c", " blue")
            self.assertEqual(again.returncode, 0, again.stderr)
            log = server.read_log()
            self.assertRegex(log, 'error worker worker=0 state=rebuilding error="a step of the model does not end"')
            self.assertRegex(log, "info worker worker=0 state=ready")
            while status == 503 or body != "ok\n":  # until the step ends after all
                status, body = server.get("/healthz")
                if status == 503:
                    self.assertRegex(body, r"not ended a turn for .*--step-timeout=2s")
            server.terminate()
            self.assertEqual(server.wait(), 0, server.read_log())


if __name__ == "__main__":
    unittest.main()
