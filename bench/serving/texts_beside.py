#!/usr/bin/env python3
"""How large texts are read, and what other callers notice of it.

  PEERAGE_BIN=build/release/bin build/deps/venv/bin/python bench/serving/texts_beside.py

Prints milliseconds: Tokenize of 1 MB of special tokens and of English, alone (by the clock, with what
the client takes for reading the answer, and as the server's processor time); a health check beside
eight refused Generates of 1 MB at a time; the longest gap of a stream that runs all the while; and a
one-token call whose text is read at once, beside one whose text is read by a thread of its own."""

import concurrent.futures
import pathlib
import statistics
import sys
import threading
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/integration"))
import stubs  # noqa: E402
from server_process import Server  # noqa: E402

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

MEGABYTE = 1_000_000
TEXTS = {"special tokens": "a<|im_start|>" * (MEGABYTE // 13),
         "English": "The cat sat on the mat, and it was not amused. " * (MEGABYTE // 47)}
WIDE = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


def timed(call):
    begin = time.perf_counter()
    try:
        call()
    except grpc.RpcError:
        pass
    return 1000 * (time.perf_counter() - begin)


def spread(name, values):
    values = sorted(values)
    print(f"{name}: median {statistics.median(values):.1f}, "
          f"99 % {values[int(0.99 * (len(values) - 1))]:.1f}, most {values[-1]:.1f} "
          f"({len(values)} calls)", flush=True)


class Beside:
    """Eight callers of one large request each, again and again."""

    def __init__(self, server, request):
        self.server, self.request = server, request
        self.over = threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(8)

    def __enter__(self):
        self.calls = [self.pool.submit(self.run) for _ in range(8)]
        return self

    def __exit__(self, *_):
        self.over.set()
        print("  large calls refused:", sum(call.result() for call in self.calls))

    def run(self):
        with grpc.insecure_channel(self.server.grpc, options=WIDE) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            calls = 0
            while not self.over.is_set():
                timed(lambda: stub.Generate(self.request, timeout=60))
                calls += 1
            return calls


def health_checks(server, seconds):
    values = []
    with grpc.insecure_channel(server.grpc, options=WIDE) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            values.append(timed(lambda: stub.Check(health_pb2.HealthCheckRequest(), timeout=60)))
            time.sleep(0.02)
    return values


def stream_gaps(stub, over, gaps):
    request = inference.GenerateStreamRequest()
    request.request.prompt.text = "Once upon a time"
    request.request.stopping.max_tokens = 8000
    request.request.stopping.ignore_eos = True
    last = None
    stream = stub.GenerateStream(request, timeout=600)
    for _ in stream:
        now = time.perf_counter()
        if last is not None:
            gaps.append(1000 * (now - last))
        last = now
        if over.is_set():
            stream.cancel()
            return


def main():
    with Server() as server, grpc.insecure_channel(server.grpc, options=WIDE) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        for name, text in TEXTS.items():
            request = inference.TokenizeRequest()
            request.prompt.text = text
            before = server.cpu_seconds()
            spread(f"Tokenize, 1 MB of {name}",
                   [timed(lambda: stub.Tokenize(request, timeout=60)) for _ in range(20)])
            print(f"  processor time of the server: {50 * (server.cpu_seconds() - before):.0f} a call")
        small = inference.GenerateRequest()
        small.prompt.token_ids.ids.append(1)
        small.stopping.max_tokens = 1
        queued = inference.GenerateRequest()
        queued.CopyFrom(small)
        queued.stopping.stop.extend(["x" * 255] * 16)  # more than is read at once
        queued.scheduling.tenant = "x" * 128
        for name, request in (("at once", small), ("by its thread", queued)) * 2:
            spread(f"one token, read {name}",
                   [timed(lambda: stub.Generate(request, timeout=60)) for _ in range(200)])
        spread("health check alone", health_checks(server, 2))

        large = inference.GenerateRequest()
        large.prompt.text = TEXTS["special tokens"]
        chat = inference.GenerateRequest()
        for _ in range(100_000):
            chat.prompt.chat.messages.add(role="user")
        for name, request in (("special tokens", large), ("empty messages", chat)):
            over, gaps = threading.Event(), []
            stream = threading.Thread(target=stream_gaps, args=(stub, over, gaps))
            stream.start()
            with Beside(server, request):
                values = health_checks(server, 8)
            over.set()
            stream.join()
            spread(f"health check beside eight of {name}", values)
            spread(f"stream's gaps beside eight of {name}", gaps)


if __name__ == "__main__":
    main()
