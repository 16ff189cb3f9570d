"""The server's log as its operators read it: what is in it, what never is, and who cannot forge it."""

import collections
import concurrent.futures
import json
import pathlib
import re
import socket
import time
import unittest

import grpc

import stubs
from server_process import LIMIT_SECONDS as TIMEOUT
from server_process import Server

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc, models_pb2, models_pb2_grpc  # noqa: E402

MODEL = pathlib.Path(__file__).parents[1] / "golden" / "models" / "peer_small"
METHOD = "peerage.v1.InferenceService/"
CANARY = "xylophonequetzal"
CANARY_IDS = [1931, 1847, 2011]
STARTS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d (debug|info|warn|error) ")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def generation(text=f"And the {CANARY} said", max_tokens=16):
    request = inference.GenerateRequest()
    request.prompt.text = text
    request.sampling.temperature = 0
    request.stopping.max_tokens = max_tokens
    request.stopping.ignore_eos = True
    return request


def score():
    request = inference.ScoreRequest()
    request.context.text = f"And the {CANARY}"
    request.continuations.add(text=f" {CANARY} spoke")
    request.continuations.add().token_ids.ids.extend(CANARY_IDS)
    return request


class Client:
    """Calls of one server, and everything that its errors said."""

    def __init__(self, server):
        self.channel = grpc.insecure_channel(server.grpc)
        self.stub = inference_pb2_grpc.InferenceServiceStub(self.channel)
        self.errors = []
        self.codes = collections.Counter()  # of requests: they have a line each

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def fail(self, method, request, request_id=None, **options):
        """A call that is refused or ends badly."""
        if request_id:
            options["metadata"] = [("x-request-id", request_id)]
        try:
            answer = method(request, timeout=options.pop("timeout", TIMEOUT), **options)
            list(answer)
        except grpc.RpcError as error:
            self.errors.append(f"{error.details()} {error.trailing_metadata()}")
            return error.code().name
        raise AssertionError("the call was answered")

    def refuse(self, method, request, **options):
        self.codes[self.fail(method, request, **options)] += 1

    def raw(self, method, message):
        """A call with bytes that its stub would not send."""
        call = self.channel.unary_unary(f"/{METHOD}{method}")
        return self.fail(call, message)

    def answer(self, method, request, **options):
        answer = method(request, timeout=TIMEOUT, **options)
        self.codes["OK"] += 1
        return answer

    def cancel_a_stream(self):
        stream = self.stub.GenerateStream(
            inference.GenerateStreamRequest(request=generation(max_tokens=900)), timeout=TIMEOUT)
        next(stream)
        stream.cancel()
        self.codes["CANCELLED or OK"] += 1


def load_with_canaries(client):
    """Calls of every kind and end that carry the canaries. What was generated."""
    stub = client.stub
    generated = [client.answer(stub.Generate, generation()).candidates[0].text]
    by_ids = generation()
    by_ids.prompt.token_ids.ids.extend(CANARY_IDS)
    generated.append(client.answer(stub.Generate, by_ids).candidates[0].text)
    stream = client.answer(stub.GenerateStream,
                           inference.GenerateStreamRequest(request=generation()))
    generated.append("".join(event.delta.text for event in stream))
    client.answer(stub.Score, score())
    client.cancel_a_stream()

    bad = score()
    bad.continuations.add(text="")
    items = [inference.ScoreStreamRequest(id=CANARY, request=score()),
             inference.ScoreStreamRequest(id="bad", request=bad)]
    for answer in stub.ScoreStream(iter(items), timeout=TIMEOUT):
        client.codes["INVALID_ARGUMENT" if answer.HasField("error") else "OK"] += 1
        client.errors.append(answer.error.message)

    tokens = stub.Tokenize(inference.TokenizeRequest(prompt=generation().prompt), timeout=TIMEOUT)
    stub.Detokenize(inference.DetokenizeRequest(token_ids=tokens.token_ids), timeout=TIMEOUT)

    client.fail(stub.Detokenize,
                inference.DetokenizeRequest(token_ids=[*CANARY_IDS, 4_000_000]))
    client.refuse(stub.Generate, generation(max_tokens=1_000_000))
    unknown = generation()
    unknown.model = "nobody"
    client.refuse(stub.Generate, unknown)
    many = generation()
    many.sampling.top_p = 7
    many.stopping.stop.extend([CANARY * 40, ""])
    many.prompt.chat.messages.add(role=CANARY, content=CANARY)
    client.refuse(stub.Generate, many)
    chat = generation()
    chat.prompt.chat.messages.add(role="user", content=CANARY)
    client.refuse(stub.Generate, chat)
    beyond = generation()
    beyond.prompt.token_ids.ids.extend([*CANARY_IDS, 4_000_000])
    client.refuse(stub.GenerateStream, inference.GenerateStreamRequest(request=beyond))
    client.refuse(stub.Generate, generation(), metadata=[("x-request-id", "x" * 200)])

    message = generation(text=f"?{CANARY}").SerializeToString()
    for method, unreadable in (("Generate", message.replace(b"?", b"\xff")),
                               ("Generate", b"\xff" + CANARY.encode()),
                               ("Score", b"\x0a\x7f" + CANARY.encode())):
        client.codes[client.raw(method, unreadable)] += 1
    client.raw("Generate", generation(text=CANARY * 500_000).SerializeToString())
    client.raw("NoSuchMethod", CANARY.encode())
    return generated


class Log:
    """Everything that a server wrote, after it has ended."""

    def __init__(self, server):
        server.terminate()
        assert server.wait() == 0
        self.text = server.read_log()
        self.lines = self.text.splitlines()

    def json(self, message):
        parsed = [json.loads(line) for line in self.lines]
        return [line for line in parsed if line["message"] == message]


def canaries_in(text, generated):
    """Which canaries a text holds. Of ids several in one line: one number may be anything."""
    found = [canary for canary in (CANARY, *generated) if canary and canary in text]
    for line in text.splitlines():
        ids = {number for number in CANARY_IDS if re.search(rf"\b{number}\b", line)}
        found += [str(ids)] if len(ids) > 1 else []
    return found


class ContentTest(unittest.TestCase):
    """What requests hold is nowhere but in their answers."""

    def run_load(self, *options):
        with Server("--log-level", "debug", "--log-rate", "100000", *options, model=MODEL) as server:
            with Client(server) as client:
                generated = [text[:12] for text in load_with_canaries(client)]
                self.assertTrue(all(len(text) == 12 for text in generated), generated)
                metrics = server.get("/metrics")[1]
            return Log(server), metrics, client, generated

    def test_is_in_no_line_metric_or_error(self):
        for form in ("text", "json"):
            log, metrics, client, generated = self.run_load("--log-format", form)
            self.assertGreater(len(log.lines), 20)
            self.assertGreater(len(client.errors), 10)
            for text in (log.text, metrics, *client.errors):
                self.assertEqual(canaries_in(text, generated), [])

    def test_is_in_the_log_of_who_wants_it(self):
        log, metrics, client, generated = self.run_load("--log-content", "--log-format", "json")
        texts = [line["text"] for line in log.json("content")]
        self.assertIn(f"And the {CANARY} said", texts)
        self.assertIn(f" {CANARY} spoke", texts)
        for text in generated:
            self.assertTrue(any(line.startswith(text) for line in texts), text)
        for text in (metrics, *client.errors):
            self.assertEqual(canaries_in(text, generated), [])
        # Nor do the lines of requests have it.
        for line in log.json("request"):
            self.assertEqual(canaries_in(json.dumps(line), generated), [])


class LinesTest(unittest.TestCase):

    def test_each_request_has_one_that_says_how_it_went(self):
        with Server("--log-format", "json", "--log-rate", "100000", model=MODEL) as server:
            with Client(server) as client:
                load_with_canaries(client)
                traced = client.answer(client.stub.Generate, generation(max_tokens=5), metadata=[
                    ("x-request-id", "traced \"1\""), ("traceparent", f"00-{TRACE}-{SPAN}-01")])
                client.answer(client.stub.Generate, generation(), metadata=[
                    ("x-request-id", "untraced"), ("traceparent", f"00-{TRACE}-{SPAN}")])
                with concurrent.futures.ThreadPoolExecutor(4) as pool:
                    list(pool.map(lambda i: client.stub.Generate(
                        generation(max_tokens=2), timeout=TIMEOUT,
                        metadata=[("x-request-id", f"many-{i}")]), range(40)))
                client.codes["OK"] += 40
                values = self.requests_total(server, client.codes.total())
            log = Log(server)
        lines = log.json("request")
        codes = collections.Counter(line["code"] for line in lines)
        self.assertEqual(codes, values)
        either = client.codes.pop("CANCELLED or OK")
        self.assertEqual(codes.total(), client.codes.total() + either)
        codes["OK"] -= either - codes.pop("CANCELLED", 0)
        self.assertEqual(codes, client.codes)
        ids = collections.Counter(line.get("request_id") for line in lines)
        for i in range(40):
            self.assertEqual(ids[f"many-{i}"], 1)
        self.assertEqual({line["method"] for line in lines},
                         {METHOD + name for name in
                          ("Generate", "GenerateStream", "Score", "ScoreStream")})

        line = next(line for line in lines if line.get("request_id") == "traced \"1\"")
        self.assertEqual((line["level"], line["code"], line["method"]),
                         ("info", "OK", METHOD + "Generate"))
        self.assertEqual((line["trace_id"], line["span_id"]), (TRACE, SPAN))
        self.assertEqual((line["prompt_tokens"], line["generated_tokens"]),
                         (traced.usage.prompt_tokens, 5))
        self.assertGreater(line["distinct_experts"], 0)
        for key in ("queue_seconds", "prefill_seconds", "decode_seconds"):
            self.assertGreaterEqual(line[key], 0)
        self.assertGreater(line["ttft_seconds"], 0)
        self.assertGreaterEqual(line["total_seconds"], line["ttft_seconds"])
        self.assertNotIn("error", line)
        untraced = next(line for line in lines if line.get("request_id") == "untraced")
        self.assertNotIn("trace_id", untraced)

        refused = [line for line in lines if line["code"] != "OK"]
        for line in refused:
            self.assertTrue(line["error"], line)
        # Calls that never were a request, and those of other methods.
        calls = collections.Counter((line["method"], line["code"]) for line in log.json("call"))
        self.assertEqual(calls[METHOD + "Tokenize", "OK"], 1)
        self.assertEqual(calls[METHOD + "Detokenize", "INVALID_ARGUMENT"], 1)
        self.assertEqual(calls[METHOD + "ScoreStream", "OK"], 1)
        self.assertNotIn((METHOD + "Score", "INVALID_ARGUMENT"), calls)
        self.assertEqual(calls[METHOD + "NoSuchMethod", "UNIMPLEMENTED"], 1)
        self.assertNotIn((METHOD + "Generate", "OK"), calls)

    def requests_total(self, server, requests):
        """Ended requests by code, as the metrics count them, once so many have ended."""
        counts = collections.Counter()
        while counts.total() < requests:
            text = server.get("/metrics")[1]
            counts.clear()
            for code, value in re.findall(r'peerage_requests_total\{.*code="(\w+)".*\} (\d+)', text):
                counts[code] += int(value)
        return +counts

    def test_refusals_of_a_full_queue_are_told(self):
        with Server("--log-format", "json", "--max-sequences", "1", "--max-queued-requests", "1",
                    model=MODEL) as server, Client(server) as client:
            long = inference.GenerateStreamRequest(request=generation(max_tokens=900))
            running = client.stub.GenerateStream(long, timeout=TIMEOUT)
            next(running)
            others = [client.stub.GenerateStream(long, timeout=TIMEOUT) for _ in range(4)]
            codes = collections.Counter()
            for stream in (*others, running):
                try:
                    collections.deque(stream, maxlen=0)
                except grpc.RpcError:
                    pass
                codes[stream.code().name] += 1
            self.assertGreaterEqual(codes["RESOURCE_EXHAUSTED"], 1)
            lines = Log(server).json("request")
        self.assertEqual(collections.Counter(line["code"] for line in lines), codes)
        refused = next(line for line in lines if line["code"] == "RESOURCE_EXHAUSTED")
        self.assertEqual(refused["level"], "warn")
        self.assertIn("queue is full", refused["error"])


def frame(kind, flags, stream, payload):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
            + payload)


def send_header(address, name, value):
    """An HTTP/2 request with a header that no gRPC client would send, until it is answered."""
    headers = {":method": "POST", ":scheme": "http", ":path": "/x", ":authority": "x",
               "content-type": "application/grpc", name: value}
    block = b"".join(b"\0" + bytes([len(k)]) + k.encode() + bytes([len(v)]) + v.encode()
                     for k, v in headers.items())
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
                           + frame(1, 5, 1, block))
        reader = connection.makefile("rb")
        while head := reader.read(9):
            reader.read(int.from_bytes(head[:3], "big"))
            if head[3] in (1, 3, 7):  # headers, a reset, or the connection's end
                return


class ForgeryTest(unittest.TestCase):
    """Whatever a client writes stays within its own field of its own line."""

    HOSTILE = "a\n2026-01-01T00:00:00.000+00:00 info request request_id=fake code=OK\r\x1b[31m\u202e\x00"

    def send(self, server):
        with Client(server) as client:
            request = generation(max_tokens=1)
            request.scheduling.tenant = self.HOSTILE
            client.answer(client.stub.Generate, request)
            request.model = self.HOSTILE
            client.refuse(client.stub.Generate, request)
            client.answer(client.stub.Generate, generation(max_tokens=1), metadata=[
                ("x-request-id", 'x" code=INTERNAL y="'), ("traceparent", "00-\"-x-01")])
        send_header(server.grpc, "te", "x\nE0101 FAKE\x1b[31m")

    def test_text(self):
        with Server(model=MODEL) as server:
            self.send(server)
            log = Log(server)
        self.assertTrue(log.text.isascii())
        self.assertTrue(log.text.replace("\n", "").isprintable())
        for line in log.lines:
            self.assertRegex(line, STARTS)
        requests = [line for line in log.lines if " info request " in STARTS.sub(r" \1 ", line)[:15]]
        self.assertEqual(len(requests), 3)
        self.assertIn(r"\n2026-01-01T00:00:00.000+00:00 info request", log.text)
        self.assertIn(r'request_id="x\" code=INTERNAL y=\"" method=', log.text)
        self.assertNotIn("trace_id", log.text)
        self.assert_grpc_is_heard(log)

    def test_json(self):
        with Server("--log-format", "json", model=MODEL) as server:
            self.send(server)
            log = Log(server)
        lines = log.json("request")
        self.assertEqual(len(lines), 3)
        self.assertEqual(lines[0]["tenant"], self.HOSTILE)
        self.assertEqual(lines[2]["request_id"], 'x" code=INTERNAL y="')
        self.assertEqual(lines[2]["code"], "OK")
        self.assert_grpc_is_heard(log)

    def assert_grpc_is_heard(self, log):
        """gRPC complains of the header; it wrote its value raw on stderr."""
        heard = [line for line in log.lines if "E0101 FAKE" in line]
        self.assertEqual(len(heard), 1, log.text)
        self.assertIn(r"\nE0101 FAKE\u001b[31m", heard[0])


class LimitTest(unittest.TestCase):

    def test_a_flood_of_refusals_is_counted_in_place_of_written(self):
        flood, rate = 400, 5
        with Server("--log-format", "json", "--log-rate", str(rate), model=MODEL) as server:
            with Client(server) as client:
                unknown = generation()
                unknown.model = "nobody"
                begin = time.monotonic()
                for _ in range(flood):
                    client.refuse(client.stub.Generate, unknown)
                seconds = time.monotonic() - begin
                client.answer(client.stub.Generate, generation(max_tokens=1))
            log = Log(server)
        written = collections.Counter(line["code"] for line in log.json("request"))
        left_out = sum(line["lines"] for line in log.json("lines left out"))
        self.assertEqual({line["kind"] for line in log.json("lines left out")},
                         {"request NOT_FOUND"})
        self.assertEqual(written["OK"], 1)
        self.assertLessEqual(written["NOT_FOUND"], rate * (seconds + 1))
        self.assertGreaterEqual(written["NOT_FOUND"], rate)
        self.assertEqual(written["NOT_FOUND"] + left_out, flood)


class LevelTest(unittest.TestCase):

    def test_changes_while_the_server_runs(self):
        with Server(model=MODEL) as server:
            self.assertEqual(server.run("log-level").stdout, "info\n")
            server.run("health")
            self.assertEqual(server.run("log-level", "debug").stdout, "debug, was info\n")
            server.run("health")
            changed = json.loads(server.run("log-level", "warn", "--json").stdout)
            self.assertEqual(changed, {"previous": "debug"})
            server.run("generate", "a", "--max-tokens", "1")
            self.assertEqual(server.run("log-level").stdout, "warn\n")
            self.assertEqual(server.run("log-level", "loud").returncode, 2)
            with grpc.insecure_channel(server.grpc) as channel:
                admin = models_pb2_grpc.AdminServiceStub(channel)
                with self.assertRaises(grpc.RpcError) as raised:
                    admin.SetLogLevel(models_pb2.SetLogLevelRequest(), timeout=TIMEOUT)
                self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            log = Log(server)
        self.assertEqual(log.text.count("debug call method=grpc.health.v1.Health/Check code=OK"), 1)
        self.assertNotIn("info request", log.text)
        self.assertIn("info log level: debug\n", log.text)
        self.assertTrue(log.lines[-1].endswith("info log level: warn"), log.lines[-1])


if __name__ == "__main__":
    unittest.main()
