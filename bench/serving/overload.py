#!/usr/bin/env python3
"""What a server does with three times the load that it can take: goodput, memory, and how right refusals are.

  PEERAGE_BIN=build/release/bin build/deps/venv/bin/python bench/serving/overload.py

First as many clients as the server has slots call in closed loops: that is the peak. Then calls come at
random times, three times as many a second, and do not come again when they are refused. Goodput is the
tokens a second of calls that end well, from the time on at which the queue is full. A refusal says when to
try again; what it should have said is how long the last call waited that was accepted before it: by
then all that were in front of it have started."""

import argparse
import asyncio
import bisect
import pathlib
import random
import statistics
import sys
import time

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/integration"))
import stubs  # noqa: E402
from server_process import MODEL, Server  # noqa: E402

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

SLOTS, QUEUE = 64, 64


class Caller:
    """Calls of one run and what became of them."""

    def __init__(self, stub, options, seed):
        self.stub, self.options, self.random = stub, options, random.Random(seed)
        self.ended = []     # (when, tokens) of calls that ended well
        self.accepted = []  # (sent, seconds to the first token)
        self.refused = []   # (sent, seconds after which to try again; None: not said)
        self.other = {}     # how many ended with which other code

    async def call(self):
        request = inference.GenerateRequest()
        request.prompt.token_ids.ids.extend(self.random.randrange(1000, 40000) for _ in range(self.options.prompt))
        request.stopping.max_tokens = self.options.tokens
        request.stopping.min_tokens = self.options.tokens
        sent = time.monotonic()
        first = None
        try:
            async for answer in self.stub.GenerateStream(inference.GenerateStreamRequest(request=request)):
                if first is None and answer.HasField("delta"):
                    first = time.monotonic()
                    self.accepted.append((sent, first - sent))
            self.ended.append((time.monotonic(), self.options.tokens))
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                self.other[error.code().name] = self.other.get(error.code().name, 0) + 1
                return
            pushback = dict(error.trailing_metadata()).get("grpc-retry-pushback-ms")
            self.refused.append((sent, None if pushback is None else int(pushback) / 1000))

    def tokens_per_second(self, begin, end):
        return sum(tokens for when, tokens in self.ended if begin <= when < end) / (end - begin)


async def closed_loops(caller, seconds):
    end = time.monotonic() + seconds

    async def loop():
        while time.monotonic() < end:
            await caller.call()

    await asyncio.gather(*(loop() for _ in range(SLOTS)))
    return caller.tokens_per_second(end - seconds * 0.75, end)


async def open_loop(caller, rate, seconds):
    begin = time.monotonic()
    at, tasks = begin, []
    while (at := at + caller.random.expovariate(rate)) < begin + seconds:
        await asyncio.sleep(max(at - time.monotonic(), 0))
        tasks.append(asyncio.create_task(caller.call()))
    await asyncio.gather(*tasks)
    full = min((sent for sent, _ in caller.refused), default=begin)
    return len(tasks), caller.tokens_per_second(full, begin + seconds)


def ratios(caller):
    """Of what refusals said to what they should have said."""
    accepted = sorted(caller.accepted)
    sent = [when for when, _ in accepted]
    for when, said in caller.refused:
        last = bisect.bisect(sent, when) - 1
        if said is not None and last >= 0:
            yield said / accepted[last][1]


def rss_mib(process):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


async def run(server, options):
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        await closed_loops(Caller(stub, options, 1), options.seconds / 4)  # warms
        shares = []
        for round_ in range(options.rounds):
            peak = await closed_loops(Caller(stub, options, 2 + round_), options.seconds)
            before = rss_mib(server.process)
            caller = Caller(stub, options, 1000 + round_)
            calls, goodput = await open_loop(caller, options.overload * peak / options.tokens, options.seconds)
            said = list(ratios(caller))
            right = sum(0.5 <= ratio <= 2 for ratio in said)
            shares.append(goodput / peak)
            print(f"peak {peak:.0f} tokens/s; {calls} calls at {options.overload:g} times as many: {len(caller.ended)} "
                  f"ended well, {len(caller.refused)} refused, {caller.other or 'no'} other; goodput {goodput:.0f} tokens/s "
                  f"({goodput / peak:.2f} of the peak); memory {before:.0f} -> {rss_mib(server.process):.0f} MiB; "
                  f"{right} of {len(said)} refusals right within a factor of two "
                  f"(median ratio {statistics.median(said):.2f})", flush=True)
        print(f"median goodput {statistics.median(shares):.2f} of the peak")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--prompt", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--overload", type=float, default=3)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with Server("--max-sequences", str(SLOTS), "--max-queued-requests", str(QUEUE), "--kv-cache-mib", "256", model=options.model) as server:
        asyncio.run(run(server, options))


if __name__ == "__main__":
    main()
