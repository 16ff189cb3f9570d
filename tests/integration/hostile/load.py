"""Clients of all sorts, for a soak: ADDRESS SEED. They call until stdin ends, and then say in a line of
JSON how many calls ended with which code. A call that must not end so, or a generation that was
another one before, ends the program with 1."""

import collections
import json
import pathlib
import random
import sys
import threading

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import wellformed  # noqa: E402
from peerage.v1 import (experts_pb2_grpc, inference_pb2 as inference, inference_pb2_grpc,  # noqa: E402
                        models_pb2, models_pb2_grpc)

CLIENTS = 8
CALLS_BY_CONNECTION = 200
# Overload and what clients bring about themselves.
ENDS = {"OK", "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNAVAILABLE"}


class Client:

    def __init__(self, address, seed, over):
        self.address, self.over = address, over
        self.random = random.Random(seed)
        self.codes = collections.Counter()
        self.texts = {}  # tokens of a prompt, which are the same each time
        self.wrong = []
        self.kinds = [self.generate, self.generate, self.stream, self.leave_stream, self.be_late, self.score,
                      self.tokenize, self.be_wrong, self.look]

    def run(self):
        while not self.over.is_set():
            with grpc.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                self.inference = inference_pb2_grpc.InferenceServiceStub(channel)
                self.experts = experts_pb2_grpc.ExpertServiceStub(channel)
                self.admin = models_pb2_grpc.AdminServiceStub(channel)
                for _ in range(CALLS_BY_CONNECTION):
                    if not self.over.is_set():
                        self.call(self.random.choice(self.kinds))

    def call(self, kind):
        try:
            kind()
            self.codes["OK"] += 1
        except grpc.RpcError as error:
            code = error.code().name
            self.codes[code] += 1
            if code not in ENDS:
                self.wrong.append(f"{kind.__name__}: {code}: {error.details()}")

    def request(self):
        prompt = self.random.randrange(20)
        request = wellformed.generate(1 + prompt, prompt=[1, 2 + prompt, 3])
        request.sampling.seed = prompt
        return request

    def generate(self):
        request = self.request()
        answer = self.inference.Generate(request, timeout=10)
        self.compare(request, answer.candidates[0].token_ids)

    def stream(self):
        request = self.request()
        tokens = []
        for part in self.inference.GenerateStream(inference.GenerateStreamRequest(request=request), timeout=10):
            tokens += part.delta.token_ids
        self.compare(request, tokens)

    def compare(self, request, tokens):
        prompt = request.sampling.seed
        if self.texts.setdefault(prompt, list(tokens)) != list(tokens):
            self.wrong.append(f"prompt {prompt} got {list(tokens)}, and {self.texts[prompt]} before")

    def leave_stream(self):
        call = self.inference.GenerateStream(wellformed.stream(200), timeout=10)
        for _ in range(self.random.randrange(1, 5)):
            next(call)
        call.cancel()

    def be_late(self):
        self.inference.Generate(wellformed.generate(200), timeout=self.random.uniform(0.0005, 0.05))

    def score(self):
        self.inference.Score(wellformed.score(self.random.randrange(1, 30), 3, logprobs=2), timeout=10)

    def tokenize(self):
        self.inference.Tokenize(wellformed.tokenize("the cat " * self.random.randrange(2000)), timeout=10)

    def be_wrong(self):
        self.inference.Generate(wellformed.generate(1, prompt=[4_000_000_000]), timeout=10)

    def look(self):
        self.admin.GetServerStatus(models_pb2.GetServerStatusRequest(), timeout=10)
        for _ in self.experts.GetExpertUsage(wellformed.expert_usage(), timeout=10):
            pass
        self.experts.ResetExpertUsage(wellformed.reset_usage(), timeout=10)


def main():
    address, seed = sys.argv[1], int(sys.argv[2])
    over = threading.Event()
    clients = [Client(address, seed + i, over) for i in range(CLIENTS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    print(json.dumps(sum((client.codes for client in clients), collections.Counter())))
    wrong = [line for client in clients for line in client.wrong]
    sys.exit("\n".join(wrong[:10]) or None)


if __name__ == "__main__":
    main()
