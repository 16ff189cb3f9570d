#!/usr/bin/env python3
"""What the server lets in, and what it says of calls that end otherwise than with an answer."""

import os
import pathlib
import re
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import unittest

import grpc

import stubs
from server_process import LIMIT_SECONDS, Server, run_server_to_its_end, server_command, wait_until

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

SMALL_MODEL = pathlib.Path(__file__).resolve().parents[1] / "golden/models/llama_tied"
GO_AWAY, PING = 7, 6
ACK = 1


def literal(name, value):
    """A header field that is in no table."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


# The headers of a call of Generate, without its message.
CALL = (b"\x83\x86" + literal(b":path", b"/peerage.v1.InferenceService/Generate") +
        literal(b":authority", b"a") + literal(b"te", b"trailers") +
        literal(b"content-type", b"application/grpc"))


def text_request(text, max_tokens=1):
    request = inference.GenerateRequest()
    request.prompt.text = text
    request.stopping.max_tokens = max_tokens
    request.stopping.ignore_eos = True
    return request


class Http2:
    """A connection that sends frames of its own."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=LIMIT_SECONDS)
        self.reader = self.socket.makefile("rb")
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(4, 0, b""))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()
        self.socket.close()

    @staticmethod
    def frame(kind, flags, payload, stream=0):
        head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
        return head + struct.pack(">I", stream) + payload

    def send_to_the_end(self, frames):
        """The text of the goodbye that ends the connection; None where it ends without one."""
        goodbye = None
        try:
            self.socket.sendall(frames)
            while head := self.reader.read(9):
                payload = self.reader.read(int.from_bytes(head[:3], "big"))
                if head[3] == GO_AWAY:
                    goodbye = payload[8:].decode()
        except ConnectionError:
            pass  # closed before it had read everything
        return goodbye

    def ping(self):
        """What comes back: True for its acknowledgement, else the text of the goodbye."""
        self.socket.sendall(self.frame(PING, 0, bytes(8)))
        while True:
            head = self.reader.read(9)
            payload = self.reader.read(int.from_bytes(head[:3], "big"))
            if head[3] == PING and head[4] & ACK:
                return True
            if head[3] == GO_AWAY:
                return payload[8:].decode()


class LimitsTest(unittest.TestCase):

    def code(self, server, request):
        with grpc.insecure_channel(server.grpc) as channel:
            with self.assertRaises(grpc.RpcError) as raised:
                inference_pb2_grpc.InferenceServiceStub(channel).Generate(request,
                                                                          timeout=LIMIT_SECONDS)
            return raised.exception.code()

    def test_pings_and_messages_have_the_limits_that_are_documented(self):
        with Server(model=SMALL_MODEL) as server, Http2(server.grpc) as connection:
            answers = [connection.ping()]
            while answers[-1] is True and len(answers) < 20:
                answers.append(connection.ping())
            self.assertEqual(answers[-1], "too_many_pings")
            # It is read, and has more tokens than the context.
            self.assertEqual(self.code(server, text_request("a " * 1_500_000)),
                             grpc.StatusCode.OUT_OF_RANGE)
            self.assertEqual(self.code(server, text_request("a " * 2_500_000)),
                             grpc.StatusCode.RESOURCE_EXHAUSTED)

    def test_limits_can_be_chosen(self):
        options = ("--min-ping-interval", "0", "--max-request-mib", "1")
        with Server(*options, model=SMALL_MODEL) as server, Http2(server.grpc) as connection:
            self.assertEqual({connection.ping() for _ in range(20)}, {True})
            self.assertEqual(self.code(server, text_request("a " * 1_000_000)),
                             grpc.StatusCode.RESOURCE_EXHAUSTED)


class GuardTest(unittest.TestCase):
    """What is ended before gRPC meets it, while others are served."""

    def refusals(self, server, reason):
        return server.series()["peerage_door_refusals_total", (("reason", reason),)]

    def assert_refused(self, frames, reason, text):
        """These frames end their connection with this goodbye, and nobody else's."""
        with Server(model=SMALL_MODEL) as server, grpc.insecure_channel(server.grpc) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            self.assertTrue(stub.Generate(text_request("a"), timeout=LIMIT_SECONDS).candidates)
            with Http2(server.grpc) as connection:
                self.assertTrue(connection.ping())
                self.assertEqual(connection.send_to_the_end(frames), text)
            self.assertEqual(self.refusals(server, reason), 1)
            self.assertTrue(stub.Generate(text_request("a"), timeout=LIMIT_SECONDS).candidates)
            server.terminate()
            self.assertEqual(server.wait(), 0)  # by then it has written all of its log
            self.assertRegex(server.read_log(),
                             rf"warn refused at the door reason={reason} peer=ipv4:127.0.0.1:\d+\n")

    def test_a_header_that_grows_for_ever(self):
        block = bytes([0x40, 1, ord("x"), 0x7f]) + b"\x80\xff\xff\x7f"  # x: of 256 MiB
        frames = Http2.frame(1, 0, block, 1) + Http2.frame(9, 0, bytes(8000), 1) * 100
        self.assert_refused(frames, "header_block", "a header block is too large")

    def test_calls_that_are_reset_at_once(self):
        frames = b"".join(Http2.frame(1, 5, CALL, stream) + Http2.frame(3, 0, bytes(4), stream)
                          for stream in range(1, 6001, 2))
        self.assert_refused(frames, "resets", "too many cancelled calls")

    def test_more_streams_than_settings_allow(self):
        frames = b"".join(Http2.frame(1, 4, CALL, stream) for stream in range(1, 2001, 2))
        self.assert_refused(frames, "streams", "more streams than allowed")

    def test_more_calls_than_may_run_are_turned_away_and_the_others_go_on(self):
        options = ("--max-calls", "1")
        with Server(*options) as server, grpc.insecure_channel(server.grpc) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            request = inference.GenerateStreamRequest(request=text_request("Once", 300))
            stream = stub.GenerateStream(request, timeout=LIMIT_SECONDS)
            next(stream)
            for _ in range(3):
                with self.assertRaises(grpc.RpcError) as raised:
                    stub.Generate(text_request("a"), timeout=LIMIT_SECONDS)
                self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                self.assertEqual(raised.exception.details(), "too many calls run on this server")
            *_, last = stream
            self.assertEqual(stream.code(), grpc.StatusCode.OK)
            self.assertTrue(stub.Generate(text_request("a"), timeout=LIMIT_SECONDS).candidates)
            self.assertEqual(self.refusals(server, "calls"), 3)

    def test_more_connections_than_may_be_open(self):
        options = ("--max-connections-per-peer", "2")
        with Server(*options, model=SMALL_MODEL) as server:
            with Http2(server.grpc) as first, Http2(server.grpc) as second:
                self.assertTrue(first.ping() and second.ping())
                with Http2(server.grpc) as third:
                    self.assertEqual(third.send_to_the_end(b""), None)
                self.assertTrue(first.ping() and second.ping())
            self.assertEqual(self.refusals(server, "peer_connections"), 1)

    def test_more_connections_than_may_begin_in_a_second(self):
        with Server("--max-new-connections", "5", model=SMALL_MODEL) as server:
            for _ in range(100):  # five at once, one more a second
                socket.create_connection(("127.0.0.1", int(server.grpc.rpartition(":")[2]))).close()
            wait_until(lambda: self.refusals(server, "connection_rate") >= 1, "the door hears of the last ones")
            self.assertGreaterEqual(server.series()["peerage_door_connections_total", ()], 5)

    def test_each_connection_of_a_proxy_is_a_peer(self):
        options = ("--max-connections-per-peer", "1", "--trusted-proxies", "10.0.0.0/8,127.0.0.1")
        with Server(*options, model=SMALL_MODEL) as server:
            with Http2(server.grpc) as first, Http2(server.grpc) as second:
                self.assertTrue(first.ping() and second.ping())
            self.assertEqual(self.refusals(server, "peer_connections"), 0)

    def test_few_descriptors_are_few_connections_and_a_line_says_so(self):
        few = ("prlimit", "--nofile=520:520")
        with Server(model=SMALL_MODEL, wrapper=few) as server:
            server.terminate()
            self.assertEqual(server.wait(), 0)
            self.assertIn("the limit of 520 file descriptors leaves 86 connections, at 3 each beside "
                          "260 others, not 1024", server.read_log())

    def test_a_unix_socket_with_the_mode_that_was_asked_for(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "grpc.sock")
            options = ("--listen", f"unix:{path}", "--listen-mode", "640")
            with Server(*options, model=SMALL_MODEL) as killed:
                self.assertEqual(killed.grpc, f"unix:{path}")
                self.assertEqual(stat.filemode(path.stat().st_mode), "srw-r-----")
                refused = run_server_to_its_end("--model", SMALL_MODEL, *options, "--admin-listen", "127.0.0.1:0")
                self.assertIn("Address already in use", refused.stderr)
            self.assertTrue(path.exists())
            with Server(*options, model=SMALL_MODEL) as server:
                self.assertEqual(server.run("status").returncode, 0)
                changed = server.run("log-level", "debug")  # for who is on the machine
                self.assertEqual(changed.returncode, 0, changed.stderr)
                server.terminate()
                self.assertEqual(server.wait(), 0)
            self.assertFalse(path.exists())

    def test_a_unix_socket_of_grpc_has_that_mode_too(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "grpc.sock")
            options = ("--door", "off", "--listen", f"unix:{path}", "--listen-mode", "620")
            with Server(*options, model=SMALL_MODEL) as server:
                self.assertEqual(stat.filemode(path.stat().st_mode), "srw--w----")
                self.assertEqual(server.run("status").returncode, 0)
                server.terminate()
                self.assertEqual(server.wait(), 0)

    def test_without_the_door_grpc_listens_itself(self):
        with Server("--door", "off", model=SMALL_MODEL) as server:
            with grpc.insecure_channel(server.grpc) as channel:
                stub = inference_pb2_grpc.InferenceServiceStub(channel)
                self.assertTrue(stub.Generate(text_request("a"), timeout=LIMIT_SECONDS).candidates)
            self.assertEqual(server.run("status").returncode, 0)
            server.terminate()
            self.assertEqual(server.wait(), 0)


class StartTest(unittest.TestCase):

    def test_a_busy_port_is_found_before_the_model_is_opened(self):
        with socket.create_server(("127.0.0.1", 0)) as busy:
            address = f"127.0.0.1:{busy.getsockname()[1]}"
            refused = run_server_to_its_end("--model", "/nowhere/model.gguf", "--listen", address,
                                            "--admin-listen", "127.0.0.1:0")
        self.assertEqual(refused.returncode, 2)
        self.assertEqual(refused.stderr.splitlines()[-1],
                         f"peerage-server: --listen: cannot listen on {address}: "
                         "Address already in use")

    def test_a_printed_configuration_says_what_auto_comes_to(self):
        printed = run_server_to_its_end("--model", SMALL_MODEL, "--device", "cpu",
                                        "--max-sequences", "3", "--print-config")
        self.assertEqual(printed.returncode, 0, printed.stderr)
        for line in ('device = "cpu"', 'activation-dtype = "f32"', 'kv-dtype = "f32"'):
            self.assertIn(line + "\n", printed.stdout)
        self.assertRegex(printed.stdout, r"\nkv-cache-mib = [1-9]\d*\n")
        auto = run_server_to_its_end("--model", SMALL_MODEL, "--print-config").stdout
        self.assertRegex(auto, r'\ndevice = "(cpu|cuda:\d+)"\n')

    def test_serves_on_when_nobody_reads_its_log(self):
        reader, writer = os.pipe()
        os.close(reader)
        process = subprocess.Popen(server_command(model=SMALL_MODEL), env={},
                                   stdout=subprocess.PIPE, stderr=writer, text=True)
        os.close(writer)
        try:
            self.assertRegex(process.stdout.readline(), "^peerage-server ready ")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(LIMIT_SECONDS), 0)
        finally:
            process.kill()
            process.wait(LIMIT_SECONDS)
            process.stdout.close()


class EndsTest(unittest.TestCase):

    def counts(self, server, requests):
        """Ended generations by code, once so many have ended."""
        while True:
            text = server.get("/metrics")[1]
            found = re.findall(r'peerage_requests_total\{.*code="(\w+)",method="generate".*\} (\d+)',
                               text)
            counts = {code: int(count) for code, count in found if count != "0"}
            if sum(counts.values()) == requests:
                return counts

    def test_who_gives_up_at_a_deadline_is_counted_as_it_sees_itself(self):
        with Server("--log-format", "json") as server:
            with grpc.insecure_channel(server.grpc) as channel:
                stub = inference_pb2_grpc.InferenceServiceStub(channel)
                calls = [stub.Generate.future(text_request("Once", 1500), timeout=0.5)
                         for _ in range(8)]
                self.assertEqual({call.code() for call in calls},
                                 {grpc.StatusCode.DEADLINE_EXCEEDED})
            self.assertEqual(self.counts(server, 8), {"DEADLINE_EXCEEDED": 8})
            series = server.series()
            blocks = {labels: value for (name, labels), value in series.items()
                      if name == "peerage_kv_cache_blocks"}
            self.assertEqual(blocks[(("state", "used"),)], 0)
            self.assertGreater(blocks[(("state", "free"),)], 0)
            server.terminate()
            self.assertEqual(server.wait(), 0)
            self.assertEqual(server.read_log().count('"code":"DEADLINE_EXCEEDED"'), 8)


if __name__ == "__main__":
    unittest.main()
