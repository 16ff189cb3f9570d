#!/usr/bin/env python3
"""How soon the server is ready and how much memory it takes; prints the rows of docs/benchmarks.md.

Ready: from exec to the ready line, model file in the page cache, median of several starts.
Memory: peak resident bytes (VmHWM) after a load of prompts and continuations, beside what is
expected: weights + touched KV blocks + an allowance of 100 MB for everything else.

Usage: footprint.py --model FILE.gguf [--starts 5]
"""

import argparse
import json
import pathlib
import re
import signal
import statistics
import subprocess
import time

BIN = pathlib.Path(__file__).resolve().parents[2] / "build/release/bin"
ALLOWANCE = 100_000_000


class Server:
    def __init__(self, model):
        start = time.monotonic()
        self.process = subprocess.Popen(
            [BIN / "peerage-server", "--model", model, "--listen", "127.0.0.1:0",
             "--admin-listen", "127.0.0.1:0", "--threads", "2"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        self.seconds = time.monotonic() - start
        match = re.search(r"grpc=(\S+)", line)
        if not match:
            raise SystemExit("the server did not start")
        self.grpc = match.group(1)

    def peak_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def client(server, *arguments):
    done = subprocess.run([BIN / "peerage", *arguments, "--server", server.grpc],
                          capture_output=True, text=True, check=True)
    return done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--starts", type=int, default=5)
    args = parser.parse_args()
    pathlib.Path(args.model).read_bytes()  # into the page cache

    starts = []
    for _ in range(args.starts):
        server = Server(args.model)
        starts.append(server.seconds)
        server.stop()

    server = Server(args.model)
    model = json.loads(client(server, "models", "--json"))["models"][0]
    prompt = "The tide went out before dawn. " * 60
    generation = json.loads(client(server, "generate", prompt, "--max-tokens", "64",
                                   "--temperature", "0", "--candidates", "4", "--json"))
    client(server, "score", prompt, "--continuation", " a", "--continuation", " b c d")
    peak = server.peak_bytes()
    server.stop()

    usage = generation["usage"]
    tokens = int(usage["prompt_tokens"]) + int(usage["completion_tokens"]) + 5 * 32
    weights = int(model["weights_bytes"])
    kv = tokens * int(model["kv_bytes_per_token"])
    bound = weights + kv + ALLOWANCE
    print(f"ready after {statistics.median(starts):.2f} s "
          f"({', '.join(f'{s:.2f}' for s in starts)})")
    print(f"peak resident {peak / 1e6:.0f} MB; weights {weights / 1e6:.0f} + touched KV "
          f"{kv / 1e6:.0f} + allowance {ALLOWANCE / 1e6:.0f} = {bound / 1e6:.0f} MB")
    if peak > bound:
        raise SystemExit("more than expected")


if __name__ == "__main__":
    main()
