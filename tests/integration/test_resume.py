#!/usr/bin/env python3
"""Streams that are cut at any token and go on at another server: with the same tokens,
log-probabilities and text, to the last bit, as if nothing had happened.

PEERAGE_RESUME_STREAMS says how many are cut, PEERAGE_RESUME_SEED which choices they make.
"""

import codecs
import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import random
import subprocess
import sys
import unittest

import grpc

import stubs
from server_process import BIN, LIMIT_SECONDS, Server

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "client/python/tests"))
from cutting_proxy import CuttingProxy  # noqa: E402

stubs.load_stubs()
from peerage.v1 import inference_pb2 as pb  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

STREAMS = int(os.environ.get("PEERAGE_RESUME_STREAMS", "1000"))
SEED = int(os.environ.get("PEERAGE_RESUME_SEED", "14"))
AT_ONCE = 16
MODELS = pathlib.Path(__file__).resolve().parents[1] / "golden/models"
SERVED = ("peer_small", "mixture_bam_layers", "llama_tied")
PROMPTS = ("The tide went out before dawn", "Déjà vu:", "a", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ")


@dataclasses.dataclass
class Streamed:
    """What came of a stream, or of several that make one."""

    ids: list = dataclasses.field(default_factory=list)
    logprobs: list = dataclasses.field(default_factory=list)
    text: str = ""
    finished: pb.Finished | None = None
    sampling: pb.ResolvedSampling | None = None

    def take(self, message):
        if message.HasField("started"):
            self.sampling = message.started.sampling
        elif message.HasField("delta"):
            self.ids += message.delta.token_ids
            self.logprobs += [entry.SerializeToString() for entry in message.delta.logprobs]
            self.text += message.delta.text
        elif message.HasField("finished"):
            self.finished = message.finished

    def then(self, rest):
        """This and what a later stream brought."""
        return Streamed(self.ids + rest.ids, self.logprobs + rest.logprobs, self.text + rest.text,
                        rest.finished, rest.sampling)

    def all(self):
        return (self.ids, self.logprobs, self.text, self.finished.finish,
                self.finished.usage.completion_tokens, self.sampling)


class Model:
    """A model, served by two processes that share nothing but their build."""

    def __init__(self, test, name):
        self.first = self.connect(test, Server("--threads", "1", model=MODELS / name))
        self.second = self.connect(test, Server("--threads", "2", "--max-batch-tokens", "48",
                                                model=MODELS / name))
        ids = range(288)  # the bytes, and some words
        answer = self.first.Detokenize(pb.DetokenizeRequest(token_ids=ids), timeout=LIMIT_SECONDS)
        self.bytes_of = dict(zip(ids, answer.tokens, strict=True))
        self.id_of = {text: i for i, text in self.bytes_of.items()}

    @staticmethod
    def connect(test, server):
        channel = grpc.insecure_channel(test.enterClassContext(server).grpc)
        test.addClassCleanup(channel.close)
        return inference_pb2_grpc.InferenceServiceStub(channel)

    def bytes(self, ids):
        return b"".join(self.bytes_of.get(i, b"??") for i in ids)


def random_request(dice, model):
    request = pb.GenerateStreamRequest()
    inner = request.request
    inner.prompt.text = dice.choice(PROMPTS)
    inner.output.logprobs = dice.choice((0, 2))
    sampling, stopping = inner.sampling, inner.stopping
    sampling.temperature = dice.choice((0, 0.7, 1, 1.5))
    sampling.top_p = dice.choice((1, 0.9, 0.6))
    sampling.top_k = dice.choice((0, 0, 40))
    sampling.repetition_penalty = dice.choice((1, 1.2))
    sampling.frequency_penalty = dice.choice((0, 0.4))
    sampling.presence_penalty = dice.choice((0, -0.3))
    if dice.random() < 0.7:
        sampling.seed = dice.getrandbits(64)  # else the server draws one
    if dice.random() < 0.4:  # characters of two and three bytes
        for byte in "é€".encode():
            sampling.logit_bias[model.id_of[bytes([byte])]] = 6
    stopping.max_tokens = dice.randint(2, 40)
    stopping.min_tokens = dice.choice((0, 0, stopping.max_tokens // 2))
    if dice.random() < 0.3:
        request.tokens_per_message = dice.randint(2, 9)
    return request


def read(stub, request, most_tokens=None):
    """A stream to its end, or cut when so many tokens have come."""
    result = Streamed()
    call = stub.GenerateStream(request, timeout=LIMIT_SECONDS)
    for message in call:
        result.take(message)
        if most_tokens is not None and len(result.ids) >= most_tokens:
            call.cancel()
            break
    return result


def resumed(request, so_far):
    again = pb.GenerateStreamRequest()
    again.CopyFrom(request)
    again.request.sampling.seed = so_far.sampling.seed
    again.request.generated_token_ids.ids.extend(so_far.ids)
    return again


def stop_in(dice, text):
    """A piece of a text, long enough to come in several tokens."""
    begin = dice.randrange(len(text))
    return text[begin:begin + dice.randint(2, 8)]


def kinds_of_cut(model, request, begun, uncut):
    """What a cut went through, so that easy cuts do not pass for thorough ones."""
    kinds = ["behind the last token" if len(begun.ids) == len(uncut.ids) else "before the last"]
    if request.tokens_per_message > 1:
        kinds.append("between gathered tokens")
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    if len(decoder.decode(model.bytes(begun.ids))) > len(begun.text):
        kinds.append("inside what may be a stop string")
    if decoder.getstate()[0]:
        kinds.append("inside a character")
    return kinds


KINDS = ("before the last", "behind the last token", "between gathered tokens",
         "inside what may be a stop string", "inside a character", "cut again")


class ResumeTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.models = {name: Model(cls, name) for name in SERVED}

    def trial(self, number):
        """One stream; the kinds of its cut."""
        dice = random.Random(f"{SEED}.{number}")
        model = self.models[SERVED[number % len(SERVED)]]
        request = random_request(dice, model)
        if dice.random() < 0.5:
            text = read(model.first, request).text
            if len(text) > 2:
                request.request.stopping.stop.append(stop_in(dice, text))
        # The first tokens give the seed, with which the rest is known.
        begun = read(model.first, request, dice.randint(1, request.request.stopping.max_tokens))
        request.request.sampling.seed = begun.sampling.seed
        uncut = read(model.first, request)
        kinds = kinds_of_cut(model, request, begun, uncut)
        if begun.finished is None and dice.random() < 0.2:
            begun = begun.then(read(model.first, resumed(request, begun), dice.randint(1, 5)))
            kinds.append("cut again")
        whole = begun.then(read(model.second, resumed(request, begun)))
        self.assertEqual(whole.all(), uncut.all(),
                         f"PEERAGE_RESUME_SEED={SEED}, stream {number}, cut at {len(begun.ids)}:\n"
                         f"{request}")
        return kinds

    def test_streams_that_are_cut_go_on_elsewhere_as_if_they_were_not(self):
        tally = collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for kinds in pool.map(self.trial, range(STREAMS)):
                tally.update(kinds)
        for kind in KINDS:
            self.assertGreater(tally[kind], STREAMS / 100, tally)

    def test_the_command_prints_one_text_whose_connection_breaks(self):
        """With --retries 0 it prints what came."""
        command = ["generate", "It was", "--max-tokens", "300", "--ignore-eos", "--seed", "9",
                   "--repetition-penalty", "1.1", "--logprobs", "0"]
        with Server(model=MODELS / "peer_small") as server:
            whole = server.run(*command)
            self.assertEqual((whole.returncode, whole.stderr), (0, ""))
            for retries, code in ((9, 0), (0, 1)):
                with CuttingProxy(server.grpc, (3000, 4500)) as proxy:
                    through = subprocess.Popen(
                        [BIN / "peerage", *command, "--retries", str(retries),
                         "--server", proxy.address], env={}, stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
                    begun = through.stdout.read(1)  # so it has come to the client
                    proxy.may_cut.set()
                    rest, said = through.communicate(timeout=LIMIT_SECONDS)
                text = (begun + rest).decode()
                self.assertEqual(through.returncode, code, said)
                if code == 0:
                    self.assertEqual(text, whole.stdout)
                    self.assertRegex(said.decode(), r"^peerage: the text broke off \(UNAVAILABLE: "
                                                    r".*\), going on in 250\.0 ms\n")
                else:
                    self.assertTrue(whole.stdout.startswith(text.removesuffix("\n")))
                    self.assertTrue(said.startswith(b"peerage: UNAVAILABLE: "), said)


if __name__ == "__main__":
    unittest.main()
