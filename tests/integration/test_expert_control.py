#!/usr/bin/env python3
"""What is asked of real models' routers: replays that repeat every bit, experts that stay out, and
the lines of docs/experts.md as they stand."""

import concurrent.futures
import itertools
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import grpc
import numpy

import stubs
from server_process import BIN, LIMIT_SECONDS, Server

stubs.load_stubs()
from peerage.v1 import experts_pb2 as experts  # noqa: E402
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests/golden/models"
TEXT = "In the beginning God created the heaven and the earth. And the earth was without form."


SALTS = itertools.count()


def generation(prompt, seed):
    request = inference.GenerateRequest()
    request.prompt.text = prompt
    request.sampling.temperature, request.sampling.seed = 0.8, seed
    request.stopping.max_tokens = 16
    request.output.logprobs = 3
    request.output.prompt_logprobs = True
    request.output.expert_trace = experts.EXPERT_TRACE_LEVEL_FULL
    return request


def scoring(context):
    request = inference.ScoreRequest(logprobs=2, expert_trace=experts.EXPERT_TRACE_LEVEL_FULL)
    request.context.text = context
    for text in (" And there was light", " e", " and the morning were the first day."):
        request.continuations.add(text=text)
    return request


def replay(trace, scores=True):
    control = experts.ExpertControl()
    for traced in trace.layers:
        control.layers.add(layer=traced.layer, kind=traced.kind, forced=experts.ForcedPicks(
            first_position=trace.cached_tokens, tokens=traced.tokens, heads=traced.heads,
            top_k=traced.top_k,
            expert_ids=traced.expert_ids, scores=traced.scores if scores else b""))
    return control


def picks(traced):
    return numpy.frombuffer(traced.expert_ids, "<u4").reshape(
        traced.tokens, traced.heads, traced.top_k)


def afresh(call, request):
    """An answer of which nothing was cached."""
    alone = type(request)()
    alone.CopyFrom(request)
    alone.scheduling.cache_salt = str(next(SALTS))
    return call(alone, timeout=LIMIT_SECONDS)


def without_what_passes(response):
    """An answer without its id and its times, which differ, and the control that it tells of."""
    response.ClearField("request_id")
    response.ClearField("timings")
    response.expert_trace.ClearField("expert_control")
    return response


class ExpertControlTest(unittest.TestCase):
    REPLAYED = ("peer_small", "mixture_bam_layers", "mixture_moepp", "layout_omnimoe")
    ABLATED = ("peer_small", "mixture_bam_layers", "mixture_moepp")
    TEXT = TEXT

    def start_server(self, *options, model):
        return self.enterContext(Server(*options, model=MODELS / model))

    def calls(self, model):
        """(request, answer, the call) of a generation and a scoring."""
        server = self.start_server("--expert-trace", "full", "--max-batch-tokens", "24", model=model)
        stub = inference_pb2_grpc.InferenceServiceStub(
            self.enterContext(grpc.insecure_channel(server.grpc)))
        for request, call in ((generation(self.TEXT, 7), stub.Generate),
                              (scoring(self.TEXT), stub.Score)):
            with self.subTest(model=model, request=type(request).__name__):
                yield request, afresh(call, request), call

    def test_a_replay_repeats_every_bit_whatever_runs_beside_it(self):
        for model in self.REPLAYED:
            for request, played, call in self.calls(model):
                for scores in (True, False):
                    request.expert_control.CopyFrom(replay(played.expert_trace, scores))
                    with concurrent.futures.ThreadPoolExecutor(4) as pool:
                        answers = [pool.submit(afresh, call, request) for _ in range(4)]
                    for answer in answers:
                        again = answer.result()
                        self.assertEqual(again.expert_trace.expert_control,
                                         request.expert_control)
                        self.assertEqual(without_what_passes(again), without_what_passes(played))

    def test_masked_experts_stay_out_and_others_may_be_masked(self):
        for model in self.ABLATED:
            for request, played, call in self.calls(model):
                for traced in played.expert_trace.layers:
                    used = set(picks(traced).ravel().tolist())
                    unused = set(range(traced.num_experts)) - used
                    request.expert_control.layers.add(layer=traced.layer, kind=traced.kind,
                                                      masked_ids=sorted(unused))
                again = afresh(call, request)
                self.assertEqual(without_what_passes(again), without_what_passes(played))

                for traced, asked in zip(played.expert_trace.layers, request.expert_control.layers,
                                         strict=True):
                    asked.masked_ids[:] = traced.top_expert_ids[:traced.num_experts // 2]
                ablated = afresh(call, request)
                for traced, asked in zip(ablated.expert_trace.layers,
                                         request.expert_control.layers, strict=True):
                    self.assertEqual(len(asked.masked_ids) > 0, traced.num_experts > 1)
                    self.assertFalse(set(asked.masked_ids) & set(picks(traced).ravel().tolist()))
                self.assertNotEqual(without_what_passes(ablated), without_what_passes(played))

    def test_what_is_cached_under_a_control_is_of_use_to_that_control_alone(self):
        server = self.enterContext(Server("--expert-trace", "full", model=MODELS / "peer_small"))
        stub = inference_pb2_grpc.InferenceServiceStub(
            self.enterContext(grpc.insecure_channel(server.grpc)))
        request = scoring(4 * TEXT)
        traced = afresh(stub.Score, request).expert_trace
        request.ClearField("expert_trace")

        def scored(masked):
            del request.expert_control.layers[:]
            for layer in traced.layers if masked else ():
                request.expert_control.layers.add(layer=layer.layer, kind=layer.kind,
                                                  masked_ids=layer.top_expert_ids)
            answer = stub.Score(request, timeout=LIMIT_SECONDS)
            return [s.logprob for s in answer.scores], answer.usage.cached_prompt_tokens

        plain, ablated = scored(False), scored(True)
        self.assertEqual((plain[1], ablated[1]), (0, 0))
        self.assertNotEqual(plain[0], ablated[0])
        for masked, expected in ((True, ablated), (False, plain), (True, ablated)):
            logprobs, cached = scored(masked)
            self.assertGreater(cached, 0)
            self.assertEqual(logprobs, expected[0])

    def test_the_lines_of_the_page_work_as_they_stand(self):
        text = (ROOT / "docs/experts.md").read_text(encoding="utf-8")
        section = text.partition("## Leaving experts out, and repeating what they did")[2].partition("\n## ")[0]
        (shell,) = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        (python,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        server = self.enterContext(Server("--expert-trace", "full", model=MODELS / "peer_small"))
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        environment = {"PATH": f"{BIN.resolve()}:/usr/bin:/bin", "PEERAGE_SERVER": server.grpc,
                       "PYTHONPATH": str(folder)}
        shown = self.run_lines(["bash", "-euo", "pipefail", "-c", shell], folder, environment)
        plain, ablated = ((folder / f"{name}.txt").read_text() for name in ("with", "without"))
        self.assertEqual(shown, plain + ablated)
        self.assertNotEqual(plain, ablated)

        # The package beside stubs, as its wheel has them.
        shutil.copytree(ROOT / "client/python/peerage", folder / "peerage",
                        ignore=shutil.ignore_patterns("v1"))
        shutil.copytree(pathlib.Path(experts.__file__).parent, folder / "peerage/v1")
        (folder / "peerage-1.dist-info").mkdir()
        (folder / "peerage-1.dist-info/METADATA").write_text("Name: peerage\nVersion: 1\n")
        said = self.run_lines([sys.executable, "-c", python], folder, environment)
        first, without, again = map(float, said.split())
        self.assertEqual(again, first)
        self.assertNotEqual(without, first)

    def run_lines(self, command, folder, environment):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True,
                              timeout=LIMIT_SECONDS, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout


if __name__ == "__main__":
    unittest.main()
