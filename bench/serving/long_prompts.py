#!/usr/bin/env python3
"""What long prompts cost running streams: their inter-token latency, alone and beside two clients that send
prompts of 4,000 tokens one after the other.

  PEERAGE_BIN=build/release/bin build/deps/venv/bin/python bench/serving/long_prompts.py

Both are measured in turns, so that the machine's mood is the same for both."""

import argparse
import pathlib
import random
import statistics
import sys
import threading
import time

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/integration"))
import stubs  # noqa: E402
from server_process import MODEL, Server  # noqa: E402

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402


def generate(source, prompt, tokens):
    request = inference.GenerateRequest()
    request.prompt.token_ids.ids.extend(source.randrange(1000, 40000) for _ in range(prompt))
    request.stopping.max_tokens = request.stopping.min_tokens = tokens
    return request


class Streams:
    """Streams that run until the end, one after the other in each of some threads, and their gaps."""

    def __init__(self, stub, count):
        self.stub, self.gaps, self.stopped = stub, [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(seed,)) for seed in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, seed):
        source = random.Random(seed)
        while not self.stopped.is_set():
            last = None
            call = self.stub.GenerateStream(inference.GenerateStreamRequest(request=generate(source, 16, 1000)))
            for answer in call:
                if self.stopped.is_set():
                    call.cancel()
                    return
                if not answer.HasField("delta"):
                    continue
                now = time.monotonic()
                if last is not None:
                    self.gaps.append((now, now - last))
                last = now

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def milliseconds(gaps):
    gaps = sorted(gaps)
    return [1000 * statistics.mean(gaps)] + [1000 * gaps[int(share * (len(gaps) - 1))] for share in (0.5, 0.9, 0.99, 1)]


def beside_prompts(stub, options, seed):
    """Sends prompts for a while: how many were computed."""
    end = time.monotonic() + options.seconds
    counts = [0, 0]

    def run(which):
        source = random.Random(f"{seed} {which}")
        while time.monotonic() < end:
            stub.Generate(generate(source, options.prompt, 1))
            counts[which] += 1

    threads = [threading.Thread(target=run, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--prompt", type=int, default=4000)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with Server(model=options.model) as server, grpc.insecure_channel(server.grpc) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        streams = Streams(stub, options.streams)
        try:
            beside_prompts(stub, options, "warm")
            ratios = []
            for round_ in range(options.rounds):
                times = [time.monotonic()]
                time.sleep(options.seconds)
                times.append(time.monotonic())
                prompts = beside_prompts(stub, options, round_)
                times.append(time.monotonic())
                alone, beside = (milliseconds(gap for when, gap in streams.gaps if begin < when <= end)
                                 for begin, end in zip(times, times[1:]))
                ratios.append(beside[0] / alone[0])
                print("gaps in ms, mean, p50, p90, p99, most: alone " + ", ".join(f"{gap:.1f}" for gap in alone) +
                      f"; beside {prompts} prompts " + ", ".join(f"{gap:.1f}" for gap in beside) +
                      f"; ratio of means {ratios[-1]:.2f}", flush=True)
            print(f"median ratio {statistics.median(ratios):.2f}")
        finally:
            streams.stop()


if __name__ == "__main__":
    main()
