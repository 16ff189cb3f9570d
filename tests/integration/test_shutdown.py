"""SIGTERM while clients call, again and again: no stream is lost, cut or told anything twice."""

import concurrent.futures
import os
import pathlib
import random
import threading
import unittest

import grpc

import stubs
from server_process import LIMIT_SECONDS, Server

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

MODEL = pathlib.Path(__file__).resolve().parents[1] / "golden/models/llama_tied"
ROUNDS = int(os.environ.get("PEERAGE_SHUTDOWN_ROUNDS", "4"))
SEED = int(os.environ.get("PEERAGE_SHUTDOWN_SEED", "14"))
CLIENTS = 8  # every other one streams
PROMPTS = 12
MOST_TOKENS = 40


def request_of(prompt):
    request = inference.GenerateRequest()
    request.prompt.token_ids.ids.extend([1 + prompt, 2, 3 + prompt % 5])
    request.sampling.seed = prompt
    request.stopping.max_tokens = MOST_TOKENS - prompt
    request.stopping.ignore_eos = True
    return request


class Calls:
    """What clients of one server got."""

    def __init__(self, server, seed):
        self.server, self.seed = server, seed
        self.tokens_until_signal = random.Random(seed).randrange(1, 600)
        self.lock = threading.Lock()
        self.ended = []  # prompt, tokens, code

    def count(self, tokens):
        """Ends the server in the midst of what the clients do."""
        with self.lock:
            before = self.tokens_until_signal
            self.tokens_until_signal -= tokens
            if before > 0 >= self.tokens_until_signal:
                self.server.terminate()

    def stream(self, stub, prompt):
        tokens = []
        try:
            for message in stub.GenerateStream(
                    inference.GenerateStreamRequest(request=request_of(prompt)), timeout=LIMIT_SECONDS):
                tokens.extend(message.delta.token_ids)
                self.count(len(message.delta.token_ids))
        except grpc.RpcError as error:
            return tokens, error
        return tokens, None

    def generate(self, stub, prompt):
        try:
            response = stub.Generate(request_of(prompt), timeout=LIMIT_SECONDS)
        except grpc.RpcError as error:
            return [], error
        self.count(len(response.candidates[0].token_ids))
        return list(response.candidates[0].token_ids), None

    def run(self, client):
        """Calls one after the other until the server is gone."""
        call = self.stream if client % 2 == 0 else self.generate
        prompts = random.Random(self.seed * CLIENTS + client)
        own = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        with grpc.insecure_channel(self.server.grpc, options=own) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            while True:
                prompt = prompts.randrange(PROMPTS)
                tokens, error = call(stub, prompt)
                with self.lock:
                    self.ended.append((prompt, tokens, error))
                if error is not None and self.server.process.poll() is not None:
                    return

    def run_all(self):
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            for client in [pool.submit(self.run, client) for client in range(CLIENTS)]:
                client.result()


class ShutdownTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        with Server(model=MODEL) as server:
            calls = Calls(server, 0)
            with grpc.insecure_channel(server.grpc) as channel:
                stub = inference_pb2_grpc.InferenceServiceStub(channel)
                cls.right = [calls.generate(stub, prompt)[0] for prompt in range(PROMPTS)]

    def test_sigterm_under_load_loses_repeats_and_cuts_nothing(self):
        whole = cut = refused = 0
        for round in range(ROUNDS):
            seed = SEED + round
            # Every third server has no time for what runs.
            drain = "--drain-timeout=0s" if round % 3 == 2 else "--drain-timeout=30s"
            with self.subTest(seed=seed), Server(drain, model=MODEL) as server:
                calls = Calls(server, seed)
                calls.run_all()
                self.assertEqual(server.wait(), 0, server.read_log())
                for prompt, tokens, error in calls.ended:
                    right = self.right[prompt]
                    if error is None:
                        self.assertEqual(tokens, right)
                        whole += 1
                        continue
                    self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE, error)
                    self.assertEqual(tokens, right[:len(tokens)])
                    cut += len(tokens) > 0
                    refused += len(tokens) == 0
        print(f"{whole} calls whole, {cut} streams cut, {refused} calls refused")
        self.assertGreater(whole, 0)
        self.assertGreater(refused, 0)


if __name__ == "__main__":
    unittest.main()
