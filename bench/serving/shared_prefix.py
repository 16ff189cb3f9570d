#!/usr/bin/env python3
"""What the prefix cache saves an evaluation: tokens computed and seconds, with the cache and without it.

  PEERAGE_BIN=build/release/bin build/deps/venv/bin/python bench/serving/shared_prefix.py

Each item is a context, of 400 tokens that all items share (few-shot examples) and 40 of its own, with 64
continuations of 4 to 12 tokens. The same items go as one Score each, and as harnesses send them that
know of single pairs only: a Score for each context and continuation. Servers with and without the
cache take turns, so that the machine's mood is the same for both."""

import argparse
import concurrent.futures
import pathlib
import random
import sys
import time

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/integration"))
import stubs  # noqa: E402
from server_process import Server  # noqa: E402

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

SHARED, OWN, CONTINUATIONS = 400, 40, 64


def tokens(source, count):
    return [source.randrange(1000, 40000) for _ in range(count)]


def items(count, seed):
    """Scores of one context and all its continuations."""
    source = random.Random(seed)
    shared = tokens(source, SHARED)
    for _ in range(count):
        request = inference.ScoreRequest()
        request.context.token_ids.ids.extend(shared + tokens(source, OWN))
        for _ in range(CONTINUATIONS):
            request.continuations.add().token_ids.ids.extend(tokens(source, source.randint(4, 12)))
        yield request


def pairs(request):
    """The same, a Score for each continuation."""
    for continuation in request.continuations:
        pair = inference.ScoreRequest(context=request.context)
        pair.continuations.append(continuation)
        yield pair


def run(server, requests):
    """Seconds, tokens of contexts computed, and all log-probabilities."""
    begin = time.perf_counter()
    with grpc.insecure_channel(server.grpc) as channel, concurrent.futures.ThreadPoolExecutor(16) as pool:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        answers = list(pool.map(lambda request: stub.Score(request, timeout=600), requests))
    seconds = time.perf_counter() - begin
    computed = sum(answer.usage.prompt_tokens - answer.usage.cached_prompt_tokens for answer in answers)
    return seconds, computed, [score.logprob for answer in answers for score in answer.scores]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=12)
    parser.add_argument("--pair-items", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{SHARED} shared and {OWN} own tokens, {CONTINUATIONS} continuations; seconds and context tokens "
          "computed")
    with Server("--prefix-cache", "on") as cached, Server("--prefix-cache", "off") as plain:
        for name, count, split in (("one Score an item", options.items, lambda request: [request]),
                                   ("one Score a continuation", options.pair_items, pairs)):
            for round_ in range(options.rounds):
                # Other tokens in each round: nothing is left of the one before.
                requests = [part for item in items(count, f"{name} {round_}") for part in split(item)]
                with_cache, without = run(cached, requests), run(plain, requests)
                assert with_cache[2] == without[2], "the cache changed an answer"
                print(f"{name}, {count} items: {with_cache[0]:.2f} s and {with_cache[1]} with the cache, "
                      f"{without[0]:.2f} s and {without[1]} without: {without[0] / with_cache[0]:.2f} times as "
                      "fast", flush=True)


if __name__ == "__main__":
    main()
