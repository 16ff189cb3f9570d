#!/usr/bin/env python3
"""What the statistics of experts and scrapes cost; prints the rows of docs/benchmarks.md.

Throughput: a model of twelve PEER layers of 2^20 experts (random weights, int8 tables), served with
--expert-metrics off and standard, 16 streams each, in turns of some rounds of the statistics.
Latency: the 99th percentile of short requests of a small model by the server's log, which computes
with one thread on --cores, without and with a scraper that asks a thousand times a second, and
connections that ask and never read. Clients and scrapers share the last core.

Usage: expert_metrics_cost.py [--rounds 4] [--seconds 30] [--cores 2] [--folder FOLDER]
(needs numpy and grpcio)
"""

import argparse
import concurrent.futures
import http.client
import json
import multiprocessing
import os
import pathlib
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import grpc
import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
import stubs  # noqa: E402
from server_process import Server  # noqa: E402

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

SMALL = ROOT / "tests/golden/models/peer_small"
LAYERS, SUB_KEYS, HEADS, TOP_K, HALF, HIDDEN = 12, 1024, 8, 16, 64, 128


def tensors():
    """(name, shape): those of peer_small, with a PEER layer of a million experts in each block."""
    header, _ = read_header(SMALL / "model.safetensors")
    dense = {name.replace("layers.0.", "layers.{}."): entry["shape"] for name, entry in header.items()
             if name.startswith("model.layers.0.") and ".ffn." not in name}
    for name, entry in header.items():
        if not name.startswith("model.layers."):
            yield name, entry["shape"]
    peer = {"keys": [HEADS, SUB_KEYS, 2, HALF], "norm.gamma": [HIDDEN],
            "to_queries.0.weight": [HEADS * 2 * HALF, HIDDEN],
            "weight_down_embed.weight": [SUB_KEYS**2, HIDDEN],
            "weight_up_embed.weight": [SUB_KEYS**2, HIDDEN]}
    for layer in range(LAYERS):
        for name, shape in dense.items():
            yield name.format(layer), shape
        for name, shape in peer.items():
            yield f"model.layers.{layer}.ffn.peer.{name}", shape


def read_header(path):
    content = path.open("rb")
    size = struct.unpack("<Q", content.read(8))[0]
    header = json.loads(content.read(size))
    header.pop("__metadata__", None)
    return header, size


def make_model(folder):
    folder.mkdir()
    for name in ("tokenizer.json",):
        shutil.copy(SMALL / name, folder)
    config = json.loads((SMALL / "config.json").read_text())
    peer = config["layers"]["1"]["ffn"][0]
    peer.update(num_experts=SUB_KEYS**2, heads=HEADS, top_k=TOP_K, key_dim=2 * HALF)
    config.update(num_hidden_layers=LAYERS, ffn=[peer], layers={})
    (folder / "config.json").write_text(json.dumps(config))
    header, offset = {}, 0
    for name, shape in tensors():
        size = 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = numpy.random.default_rng(1)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors():
            left = int(numpy.prod(shape))
            block = random.standard_normal(min(left, 1 << 23), numpy.float32)
            scale = 1 if "norm" in name or "keys" in name else 0.08
            block = (1 + 0 * block if "norm" in name else scale * block).astype("<f2")
            while left > 0:  # the same rows again: nobody counts on their values
                file.write(block[:left].tobytes())
                left -= len(block)


def series(server):
    """Sums over labels."""
    sums = {}
    for (name, _), value in server.series().items():
        sums[name] = sums.get(name, 0) + value
    return sums


def stream(stub, number, until):
    """Tokens of one client after the other until the time."""
    tokens = 0
    while time.monotonic() < until:
        request = inference.GenerateStreamRequest()
        request.request.prompt.text = f"In the beginning {number} "
        request.request.stopping.max_tokens = 48
        request.request.stopping.ignore_eos = True
        for event in stub.GenerateStream(request):
            if time.monotonic() < until:
                tokens += len(event.delta.token_ids)
    return tokens


def tokens_per_second(stub, seconds, streams=16):
    until = time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(streams) as pool:
        return sum(pool.map(lambda i: stream(stub, i, until), range(streams))) / seconds


def throughput(folder, rounds, seconds):
    make_model(folder / "million")
    options = ("--expert-dtype", "int8", "--kv-cache-mib", "64", "--threads", "2", "--model-name", "m")
    speeds, rows, scrapes = {"off": [], "standard": []}, {}, []
    with Server(*options, "--expert-metrics", "off", model=folder / "million") as off, \
            Server(*options, "--expert-metrics", "standard", model=folder / "million") as standard:
        servers = {"off": off, "standard": standard}
        stubs_ = {level: inference_pb2_grpc.InferenceServiceStub(grpc.insecure_channel(s.grpc))
                  for level, s in servers.items()}
        for stub in stubs_.values():
            tokens_per_second(stub, 5)
        before = {level: series(server) for level, server in servers.items()}
        for turn in range(rounds):
            for level in sorted(stubs_, reverse=turn % 2 == 1):
                with concurrent.futures.ThreadPoolExecutor(1) as pool:
                    speed = pool.submit(tokens_per_second, stubs_[level], seconds)
                    while not speed.done():
                        start = time.monotonic()
                        series(servers[level])
                        if level == "standard":
                            scrapes.append(time.monotonic() - start)
                        time.sleep(1)
                    speeds[level].append(speed.result())
        after = {level: series(server) for level, server in servers.items()}
        rows = {level: {name: after[level][name] - before[level].get(name, 0) for name in after[level]}
                for level in servers}
    pairs = [b / a for a, b in zip(speeds["off"], speeds["standard"])]
    print("tokens/s off", [round(s, 1) for s in speeds["off"]],
          "standard", [round(s, 1) for s in speeds["standard"]])
    print(f"standard / off: pairs {[round(p, 3) for p in pairs]}, median {statistics.median(pairs):.3f}, "
          f"best of each {max(speeds['standard']) / max(speeds['off']):.3f}")
    busy, elapsed = rounds * seconds, 2 * rounds * seconds
    loop = [rows[level]["peerage_engine_overhead_seconds_total"] for level in ("off", "standard")]
    lane = rows["standard"]["peerage_expert_stats_seconds_sum"]
    print(f"accounted: {(loop[1] - loop[0]) / busy:.2%} of the worker's time, {lane / elapsed:.2%} of a core "
          f"at the lowest priority")
    for level, row in rows.items():
        print(f"{level}: a loop's time without the model {row['peerage_engine_overhead_seconds_total']:.3f} s "
              f"of {busy} s, statistics {row.get('peerage_expert_stats_seconds_sum', 0):.3f} s of processor time")
    scrapes.sort()
    print(f"scrape: median {statistics.median(scrapes) * 1e3:.1f} ms, largest {scrapes[-1] * 1e3:.1f} ms "
          f"of {len(scrapes)}")


# What disturbs is a process of its own: within this one it would hold the interpreter's lock.
def scrape(address, rate, done):
    """Asks for /metrics so many times a second."""
    os.nice(19)
    start, host, port = time.monotonic(), *address.split(":")
    while True:
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        connection.request("GET", "/metrics")
        connection.getresponse().read()
        connection.close()
        with done.get_lock():
            done.value += 1
        time.sleep(max(0, start + done.value / rate - time.monotonic()))


def ask_and_never_read(address, connections, done):
    """All anew once a second."""
    host, port = address.split(":")
    while True:
        opened = [socket.create_connection((host, int(port))) for _ in range(connections)]
        for connection in opened:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        with done.get_lock():
            done.value += connections
        time.sleep(1)
        for connection in opened:
            connection.close()


def p99(server, stub, calls=400):
    """Of what the server's log says a request took: this process has no part in it."""
    told = server.read_log().count('"message":"request"')
    for i in range(calls):
        request = inference.GenerateRequest()
        request.prompt.text = f"And it came to pass {i % 7}"
        request.stopping.max_tokens = 12
        stub.Generate(request)
    while True:
        lines = [line for line in server.read_log().splitlines() if '"message":"request"' in line]
        if len(lines) >= told + calls:
            return sorted(json.loads(line)["total_seconds"] for line in lines[told:])[int(0.99 * calls)]


def latency(rounds, cores):
    os.sched_setaffinity(0, {1})
    options = ("--threads", "1", "--expert-metrics", "full", "--log-format", "json", "--log-rate", "100000")
    with Server(*options, model=SMALL) as server:
        for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), range(cores))
        stub = inference_pb2_grpc.InferenceServiceStub(grpc.insecure_channel(server.grpc))
        p99(server, stub)
        disturbances = {"1,000 scrapes a second": (scrape, 1000), "16 that never read": (ask_and_never_read, 16)}
        ratios = {name: [] for name in disturbances}
        for _ in range(rounds):
            for name, (target, number) in disturbances.items():
                alone = p99(server, stub)
                done = multiprocessing.Value("q", 0)
                process = multiprocessing.Process(target=target, args=(server.admin, number, done), daemon=True)
                process.start()
                while done.value == 0:
                    time.sleep(0.01)
                begin, before = time.monotonic(), done.value
                disturbed = p99(server, stub)
                rate = (done.value - before) / (time.monotonic() - begin)
                process.terminate()
                process.join()
                ratios[name].append(disturbed / alone)
                print(f"{name}: p99 {alone * 1e3:.2f} ms alone, {disturbed * 1e3:.2f} ms, {rate:.0f} a second")
        for name, values in ratios.items():
            print(f"{name}: p99 x {statistics.median(values):.3f} (median of {len(values)})")


def main():
    multiprocessing.set_start_method("spawn")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--only", choices=["throughput", "latency"])
    parser.add_argument("--folder", help="for the model of 6.5 GB; a temporary one if not given")
    arguments = parser.parse_args()
    if arguments.only != "latency":
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            throughput(pathlib.Path(folder), arguments.rounds, arguments.seconds)
    if arguments.only != "throughput":
        latency(2 * arguments.rounds, arguments.cores)


if __name__ == "__main__":
    main()
