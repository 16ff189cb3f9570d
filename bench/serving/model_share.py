#!/usr/bin/env python3
"""What share of the model's own speed a server's clients get: decoding by 16 streams, a token a message.

  PEERAGE_BIN=build/release/bin build/deps/venv/bin/python bench/serving/model_share.py

The model alone is `model_bench`: the same steps in a loop, without server, scheduler or clients. The
other is a server and `peerage bench`, whose time the server's cores give as well. Both take turns; the
share is of one round, so that the machine's mood is the same for both."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/integration"))
from server_process import MODEL, Server  # noqa: E402

BIN = pathlib.Path(os.environ["PEERAGE_BIN"])


def alone(options):
    """Tokens per second of all streams."""
    said = subprocess.run(
        [BIN / "model_bench", "--model", options.model, "--threads", str(options.threads), "--prefill", "1",
         "--decode", str(options.tokens), "--streams", str(options.streams), "--repetitions", "1"],
        check=True, capture_output=True, text=True)
    return json.loads(said.stdout)["streams_tokens_per_second"]


def served(server, options, folder):
    """The same through the server: every stream begins at once, with a prompt of one token."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    subprocess.run(
        [BIN / "peerage", "bench", "--server", server.grpc, "--num-prompts", str(options.streams),
         "--random-input-len", "1", "--random-output-len", str(options.tokens), "--temperature", "0",
         "--save-result", "--result-filename", result],
        check=True, capture_output=True, text=True)
    return json.loads(result.read_text())["output_throughput"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    shares = []
    with tempfile.TemporaryDirectory() as folder, \
            Server("--threads", str(options.threads), model=options.model) as server:
        served(server, options, pathlib.Path(folder))  # Warms the server.
        for _ in range(options.rounds):
            model, clients = alone(options), served(server, options, pathlib.Path(folder))
            shares.append(clients / model)
            print(f"model alone {model:7.1f} tokens/s, served {clients:7.1f}, share {shares[-1]:.3f}", flush=True)
    print(f"median share {statistics.median(shares):.3f} ({min(shares):.3f} to {max(shares):.3f})")


if __name__ == "__main__":
    main()
