"""The client whom an attack must not hurt, in a process of its own: for each address that it is given
on a line of stdin it calls once and again, and probes /healthz beside, until the next line asks for
the latencies. Everything is told in lines of JSON."""

import json
import pathlib
import sys
import threading
import time
import urllib.request

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import stubs  # noqa: E402

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference, inference_pb2_grpc  # noqa: E402

LONGEST_SECONDS = 5
PAUSE_SECONDS = 0.002  # it does not compete with the attack
KINDS = ("old", "fresh", "text", "healthz")  # the methods of Honest that are measured
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]  # a channel is a connection


def one_token():
    request = inference.GenerateRequest()
    request.prompt.token_ids.ids.extend([1, 2, 3])
    request.stopping.max_tokens = 1
    request.stopping.ignore_eos = True
    return request


def seconds_of(action):
    """None where it failed."""
    begin = time.monotonic()
    try:
        action()
    except grpc.RpcError as error:
        print(f"honest: {error.code().name}: {error.details()}", file=sys.stderr)
        return None
    except OSError as error:
        print(f"honest: {error}", file=sys.stderr)
        return None
    return time.monotonic() - begin


class Honest:
    """Calls on one connection that lasts and on fresh ones in turn."""

    def __init__(self, grpc_address, admin_address):
        self.grpc, self.admin = grpc_address, admin_address
        self.lasting = grpc.insecure_channel(grpc_address, OPTIONS)
        self.over = threading.Event()

    def start(self):
        self.over.clear()
        self.latencies = {kind: [] for kind in KINDS}
        self.threads = [threading.Thread(target=self.repeat, args=(kind,)) for kind in KINDS]
        for thread in self.threads:
            thread.start()

    def finish(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        return self.latencies

    def repeat(self, kind):
        while not self.latencies[kind] or not self.over.wait(PAUSE_SECONDS):
            self.latencies[kind].append(seconds_of(getattr(self, kind)))

    def old(self):
        self.call(self.lasting)

    def fresh(self):
        with grpc.insecure_channel(self.grpc, OPTIONS) as channel:
            self.call(channel)

    def call(self, channel):
        inference_pb2_grpc.InferenceServiceStub(channel).Generate(one_token(), timeout=LONGEST_SECONDS)

    def text(self):
        """Long enough to wait for its turn to be read."""
        request = inference.TokenizeRequest()
        request.prompt.text = "the cat " * 1024
        inference_pb2_grpc.InferenceServiceStub(self.lasting).Tokenize(request, timeout=LONGEST_SECONDS)

    def healthz(self):
        url = f"http://{self.admin}/healthz"
        with urllib.request.urlopen(url, timeout=LONGEST_SECONDS) as answer:
            answer.read()

    def once(self):
        """The time until a call of each kind has worked."""
        return {kind: self.until_it_works(getattr(self, kind)) for kind in KINDS}

    def until_it_works(self, action):
        begin = time.monotonic()
        while time.monotonic() - begin < LONGEST_SECONDS:
            if seconds_of(action) is not None:
                return time.monotonic() - begin
        return None

    def close(self):
        self.lasting.close()


def main():
    honest = None
    for line in sys.stdin:
        word, *addresses = line.split()
        if word == "meet":
            honest = Honest(*addresses)
            answer = honest.once()
        elif word == "start":
            answer = honest.start()
        elif word == "finish":
            answer = honest.finish()
        elif word == "once":
            answer = honest.once()
        else:
            answer = honest.close()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
