#!/usr/bin/env python3
"""What the door costs; prints the rows of docs/benchmarks.md.

  PEERAGE_BIN=build/release/bin build/deps/venv/bin/python bench/serving/door_cost.py [--rounds 9]

The servers of one model, which is small so that nothing but the way of a call takes time, differ in
what lets their clients in. They take turns: in each round each of them has 64 streams of 200 tokens
at a time, 64 unary calls at a time, and one unary call after the other. Printed are medians over rounds,
and how much more or less each was than without the door in the same round."""

import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/integration"))
from certificates import Authority  # noqa: E402
from server_process import Server  # noqa: E402

MODEL = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/models/llama_tied"
WAYS = ("off", "on", "TLS")
# What is measured: options of `peerage bench`, the key of its result, and the unit.
STREAMS = ("--num-prompts", "1280", "--max-concurrency", "64", "--random-input-len", "8",
           "--random-output-len", "200")
CALLS = ("--mode", "score", "--num-prompts", "20000", "--max-concurrency", "64", "--random-input-len", "4",
         "--random-output-len", "1")
ONE_CALL = ("--mode", "score", "--num-prompts", "4000", "--max-concurrency", "1", "--random-input-len", "4",
            "--random-output-len", "1")
FIGURES = [("streamed tokens/s at 64 streams", STREAMS, "output_throughput", 1),
           ("unary calls/s at 64 at a time", CALLS, "request_throughput", 1),
           ("p99 of them, ms", CALLS, "p99_e2el_ms", 1),
           ("median of one call at a time, us", ONE_CALL, "p50_e2el_ms", 1000),
           ("p99 of one call at a time, us", ONE_CALL, "p99_e2el_ms", 1000)]


def ways(folder):
    """Options of the server and of its clients."""
    authority = Authority(folder, "authority")
    own = authority.issue("server", alternatives="IP:127.0.0.1")
    return {"off": (("--door", "off"), ()), "on": (("--door", "on"), ()),
            "TLS": (("--tls-cert", str(own.path), "--tls-key", str(own.key)), ("--tls-ca", str(authority.path)))}


def measured(server, options, folder):
    """The line of JSON of a run of `peerage bench`."""
    file = folder / "result.json"
    subprocess.run(server.command("bench", *options, "--metric-percentiles", "50,99", "--percentile-metrics", "e2el",
                                  "--save-result", "--result-filename", str(file)),
                   env={}, stdout=subprocess.DEVNULL, check=True)
    return json.loads(file.read_text())


def one_round(servers, folder):
    """Values by way and figure."""
    values = {}
    for options in (STREAMS, CALLS, ONE_CALL):
        for way, (server, of_client) in servers.items():
            result = measured(server, (*options, *of_client), folder)
            for name, of, key, scale in FIGURES:
                if of is options:
                    values[way, name] = scale * result[key]
    return values


def row(name, way, rounds):
    median = statistics.median(values[way, name] for values in rounds)
    ratios = [values[way, name] / values["off", name] for values in rounds]
    return f"| {name} | {way} | {median:,.1f} | {100 * (statistics.median(ratios) - 1):+.1f} % |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {way: (stack.enter_context(Server("--log-level", "warn", *options, model=MODEL)), of_client)
                   for way, (options, of_client) in ways(folder).items()}
        one_round(servers, folder)  # to warm up
        results = [one_round(servers, folder) for _ in range(rounds)]
    print("| | door | median | to `off` in the same round |\n| --- | --- | ---: | ---: |")
    for name, *_ in FIGURES:
        for way in WAYS:
            print(row(name, way, results))


if __name__ == "__main__":
    main()
