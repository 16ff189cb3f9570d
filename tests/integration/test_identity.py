#!/usr/bin/env python3
"""Who may call: bearer tokens, a policy, certificates, and files of them that change while it serves.

PEERAGE_CERTIFICATE_SWAPS sets how often certificates change under load."""

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import warnings

import grpc

import certificates
import stubs
from server_process import BIN, LIMIT_SECONDS, Server, run_server_to_its_end, wait_until

stubs.load_stubs()
from peerage.v1 import inference_pb2, inference_pb2_grpc, models_pb2, models_pb2_grpc  # noqa: E402

SMALL_MODEL = pathlib.Path(__file__).resolve().parents[1] / "golden/models/llama_tied"
SWAPS = int(os.environ.get("PEERAGE_CERTIFICATE_SWAPS", "12"))
TOKEN, OLD_TOKEN, OTHER_TOKEN = "correct-horse-battery", "staple-of-last-year", "another-one-s"
DENIED, UNKNOWN, OK = "PERMISSION_DENIED", "UNAUTHENTICATED", "OK"


def token_line(name, token, expiry=""):
    return f"{name} {hashlib.sha256(token.encode()).hexdigest()} {expiry}\n"


TOKENS = (token_line("alice", TOKEN) + token_line("alice", OLD_TOKEN, "2020-01-01T00:00:00Z")
          + token_line("bob", OTHER_TOKEN))
POLICY = {"principals": {
    "alice": {"methods": ["peerage.v1.InferenceService/*", "peerage.v1.ModelService/*",
                          "peerage.v1.AdminService/SetLogLevel"], "tenants": ["a"]},
    "anonymous": {"methods": ["grpc.health.v1.Health/*"]}}}


def code_of(call):
    """How a call ends, and what it says."""
    try:
        call()
        return OK, ""
    except grpc.RpcError as error:
        return error.code().name, error.details()


def models(channel, metadata=()):
    return code_of(lambda: models_pb2_grpc.ModelServiceStub(channel).ListModels(
        models_pb2.ListModelsRequest(), metadata=metadata, timeout=LIMIT_SECONDS))


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="peerage-identity-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, text):
        # At once: nobody reads half of it.
        new = self.folder / f"{name}.new"
        new.write_text(text)
        return str(new.replace(self.folder / name))

    def serve(self, *options):
        server = Server(*options, model=SMALL_MODEL)
        self.addCleanup(server.__exit__)
        return server

    def connect(self, server):
        channel = grpc.insecure_channel(server.grpc)
        self.addCleanup(channel.close)
        return channel


class TokensTest(Folder):
    def setUp(self):
        super().setUp()
        self.tokens = self.write("tokens", TOKENS)
        self.policy = self.write("policy.json", json.dumps(POLICY))
        self.server = self.serve("--token-file", self.tokens, "--policy-file", self.policy, "--log-level", "debug")
        self.channel = self.connect(self.server)

    def test_lets_in_whom_it_knows(self):
        cases = [
            ((), UNKNOWN),
            (bearer(TOKEN), OK),
            ((("authorization", f"bearer   {TOKEN} "),), OK),
            (bearer(OLD_TOKEN), UNKNOWN),
            (bearer(OTHER_TOKEN), DENIED),
            (bearer("guessed"), UNKNOWN),
            (bearer(""), UNKNOWN),
            (bearer(TOKEN + "x"), UNKNOWN),
            (bearer(TOKEN[:-1]), UNKNOWN),
            (bearer(TOKEN.upper()), UNKNOWN),
            (bearer(hashlib.sha256(TOKEN.encode()).hexdigest()), UNKNOWN),
            ((("authorization", TOKEN),), UNKNOWN),
            ((("authorization", f"Basic {TOKEN}"),), UNKNOWN),
            ((("authorization", ""),), UNKNOWN),
            (bearer(TOKEN) + bearer(TOKEN), UNKNOWN),
            (bearer(TOKEN) + bearer("guessed"), UNKNOWN),
            ((("x-authorization", f"Bearer {TOKEN}"),), UNKNOWN),
        ]
        texts = set()
        for metadata, expected in cases:
            code, text = models(self.channel, metadata)
            self.assertEqual(code, expected, metadata)
            if code == UNKNOWN:
                texts.add(text)
        self.assertEqual(texts, {"the call has no credentials that are valid here"})

        # Nothing of a token is anywhere.
        wait_until(lambda: self.server.read_log().count(UNKNOWN) == 14, "the log of all calls")
        everything = self.server.read_log() + self.server.get("/metrics")[1]
        self.assertIn("principal=alice", everything)
        for secret in (TOKEN, OLD_TOKEN, OTHER_TOKEN, "guessed", "Bearer"):
            self.assertNotIn(secret, everything)
        series = self.server.series()
        counted = {dict(labels)["decision"]: value for (name, labels), value in series.items()
                   if name == "peerage_identity_decisions_total"}
        self.assertEqual(counted, {"allowed": 2, "expired_token": 1, "method": 1, "no_credentials": 2,
                                   "bad_credentials": 11})

    def test_holds_calls_and_requests_to_the_policy(self):
        inference = inference_pb2_grpc.InferenceServiceStub(self.channel)
        admin = models_pb2_grpc.AdminServiceStub(self.channel)
        request = inference_pb2.GenerateRequest()
        request.prompt.text = "a"
        request.stopping.max_tokens = 1

        def generate():
            return code_of(lambda: inference.Generate(request, metadata=bearer(TOKEN), timeout=LIMIT_SECONDS))[0]

        self.assertEqual(generate(), OK)
        request.scheduling.priority = -1
        self.assertEqual(generate(), DENIED)
        request.scheduling.priority = 5
        request.scheduling.tenant = "b"
        self.assertEqual(generate(), DENIED)
        request.scheduling.tenant = "a"
        self.assertEqual(generate(), OK)
        wait_until(lambda: "tenant=a" in self.server.read_log(), "the policy's tenant")
        self.assertEqual(code_of(lambda: admin.Drain(models_pb2.DrainRequest(), metadata=bearer(TOKEN)))[0], DENIED)
        level = models_pb2.SetLogLevelRequest(level="LOG_LEVEL_INFO")
        self.assertEqual(code_of(lambda: admin.SetLogLevel(level, metadata=bearer(TOKEN)))[0], OK)

    def test_serves_the_client_that_shows_a_token(self):
        token = self.write("mine", TOKEN + "\n")
        self.assertEqual(self.server.run("models", "--token-file", token).returncode, 0)
        refused = self.server.run("models", "--token-file", self.write("other", "guessed"))
        self.assertEqual(refused.returncode, 1)
        self.assertIn("no credentials", refused.stderr)
        self.assertNotIn("guessed", refused.stderr)
        self.assertEqual(self.server.run("health").returncode, 0)
        away = subprocess.run([BIN / "peerage", "models", "--token-file", token, "--server", "models.example.org:1"],
                              env={}, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
        self.assertEqual(away.returncode, 2)
        self.assertIn("in the clear", away.stderr)
        broken = self.server.run("models", "--token-file", self.write("broken", "two words"))
        self.assertEqual(broken.returncode, 2)
        self.assertNotIn("two words", broken.stderr)

    def test_reads_files_anew_and_keeps_what_was_good(self):
        self.write("tokens", token_line("alice", "fresh"))
        self.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "tokens and policy: read anew" in self.server.read_log(), "read anew")
        self.assertEqual(models(self.channel, bearer("fresh"))[0], OK)
        self.assertEqual(models(self.channel, bearer(TOKEN))[0], UNKNOWN)

        self.write("policy.json", '{"principals": {"alice": {"method": ["*"]}}}')
        self.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "as before" in self.server.read_log(), "refused")
        self.assertIn('principals."alice".method is not a known key', self.server.read_log().replace('\\"', '"'))
        self.assertEqual(models(self.channel, bearer("fresh"))[0], OK)


class StartTest(Folder):
    def refused(self, *options):
        done = run_server_to_its_end("--model", SMALL_MODEL, *options)
        self.assertEqual(done.returncode, 2, options)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def test_asks_for_a_word_before_it_is_open_in_plaintext(self):
        self.assertIn("--insecure", self.refused("--listen", "0.0.0.0:0", "--check-config"))
        for options in (["--listen", "0.0.0.0:0", "--insecure"], ["--listen", "127.0.0.1:0"], ["--listen", "[::1]:0"]):
            done = run_server_to_its_end("--model", SMALL_MODEL, *options, "--check-config")
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_names_what_is_wrong_with_a_file(self):
        authority = certificates.Authority(self.folder, "root")
        good, other = authority.issue("good"), authority.issue("other")
        old = authority.issue("old", days=-1)
        old_authority = certificates.Authority(self.folder, "old-root", days=-1)
        both = self.write("both.pem", authority.path.read_text() + old_authority.path.read_text())
        empty = self.write("empty.pem", "")
        garbage = self.write("garbage.pem", "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n")
        tokens = self.write("tokens", "alice hunter2\n")
        policy = self.write("policy.json", '{"principals": {"alice": {"models": 1}}}')
        cases = [
            (["--tls-cert", good.path], "--tls-key"),
            (["--tls-client-ca", authority.path], "--tls-cert"),
            (["--tls-cert", good.path, "--tls-key", good.key, "--door", "off"], "--door"),
            (["--tls-cert", empty, "--tls-key", good.key], "empty.pem"),
            (["--tls-cert", garbage, "--tls-key", good.key], "garbage.pem"),
            (["--tls-cert", self.folder / "none.pem", "--tls-key", good.key], "none.pem: cannot be read"),
            (["--tls-cert", good.path, "--tls-key", empty], "empty.pem"),
            (["--tls-cert", good.path, "--tls-key", other.key], "other.key: is not the key"),
            (["--tls-cert", old.path, "--tls-key", old.key], "old.pem: has expired"),
            (["--tls-cert", good.path, "--tls-key", good.key, "--tls-client-ca", garbage], "garbage.pem"),
            (["--tls-cert", good.path, "--tls-key", good.key, "--tls-client-ca", old_authority.path],
             "old-root.pem: has no authority that is valid now"),
            (["--tls-cert", good.path, "--tls-key", good.key, "--tls-client-ca", good.path],
             "good.pem: has a certificate that cannot be an authority"),
            (["--token-file", tokens], "tokens: line 1"),
            (["--policy-file", policy], 'principals."alice".models'),
            (["--policy-file", self.folder / "none.json"], "none.json"),
        ]
        for options, said in cases:
            line = self.refused(*options, "--check-config")
            self.assertIn(said, line)
            self.assertNotIn("hunter2", line)
        for following in (authority.path, both):
            done = run_server_to_its_end("--model", SMALL_MODEL, "--tls-cert", good.path, "--tls-key", good.key,
                                         "--tls-client-ca", following, "--check-config")
            self.assertEqual(done.returncode, 0, done.stderr)
        started = run_server_to_its_end("--model", SMALL_MODEL, "--tls-cert", old.path, "--tls-key", old.key)
        self.assertEqual(started.returncode, 2)
        self.assertIn("old.pem: has expired", started.stderr)


class TlsTest(Folder):
    """Certificates on both sides."""

    def setUp(self):
        super().setUp()
        self.authority = certificates.Authority(self.folder, "root")
        self.own = self.authority.issue("server", alternatives="DNS:localhost,IP:127.0.0.1", purpose="serverAuth")

    def options(self, *more):
        return ["--tls-cert", self.own.path, "--tls-key", self.own.key, *more]

    def shake(self, server, certificate=None, chain=None, alpn=("h2",), highest=None):
        """What a client sees of a handshake and the server's first words: OK, or why not."""
        context = ssl.create_default_context(cafile=self.authority.path)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if highest:
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = highest
        if certificate:
            path = self.folder / "chain.pem"
            path.write_text(chain or certificate.with_chain())
            context.load_cert_chain(path, certificate.key)
        host, port = server.grpc.rsplit(":", 1)
        try:
            with socket.create_connection((host, int(port)), timeout=LIMIT_SECONDS) as raw:
                with context.wrap_socket(raw, server_hostname="localhost") as tls:
                    with contextlib.suppress(ConnectionError):  # who is refused reads why
                        tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                    told = OK if tls.recv(9)[3:4] == b"\x04" else "CLOSED"
                    self.assertFalse(tls.session and tls.session.has_ticket)
                    return told
        except ssl.SSLError as error:
            return error.reason
        except OSError:
            return "CLOSED"

    def test_lets_in_only_certificates_of_its_authority(self):
        policy = {"principals": {name: {"methods": ["peerage.v1.ModelService/*"]}
                                 for name in ("spiffe://example.org/batch", "batch.example.org", "batch")}}
        server = self.serve(*self.options("--tls-client-ca", self.authority.path, "--policy-file",
                                          self.write("policy.json", json.dumps(policy))))
        middle = certificates.Authority(self.folder, "middle", self.authority)
        stranger = certificates.Authority(self.folder, "stranger")
        issue = self.authority.issue
        lone = middle.issue("c4")
        bad = [
            ("none", None, None, {"TLSV13_ALERT_CERTIFICATE_REQUIRED"}),
            ("of another authority", stranger.issue("c1"), None, {"TLSV1_ALERT_UNKNOWN_CA"}),
            ("signed by itself", stranger, None, {"TLSV1_ALERT_UNKNOWN_CA"}),
            ("expired", issue("c2", days=-1), None, {"SSLV3_ALERT_CERTIFICATE_EXPIRED"}),
            ("of a server", issue("c3", purpose="serverAuth"), None, {"SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
                                                                     "TLSV1_ALERT_UNSUPPORTED_CERTIFICATE"}),
            ("without its issuer", lone, lone.path.read_text(), {"TLSV1_ALERT_UNKNOWN_CA"}),
        ]
        for what, certificate, chain, reasons in bad:
            self.assertIn(self.shake(server, certificate, chain), reasons, what)
        self.assertEqual(self.shake(server, lone), OK)

        for what, more in [("no ALPN", {"alpn": ()}), ("HTTP/1.1", {"alpn": ("http/1.1",)}),
                           ("TLS 1.1", {"highest": ssl.TLSVersion.TLSv1_1})]:
            self.assertNotEqual(self.shake(server, lone, **more), OK, what)
        self.assertEqual(self.shake(server, lone, highest=ssl.TLSVersion.TLSv1_2), OK)
        plain = code_of(lambda: models_pb2_grpc.ModelServiceStub(self.connect(server)).ListModels(
            models_pb2.ListModelsRequest(), timeout=LIMIT_SECONDS))
        self.assertEqual(plain[0], "UNAVAILABLE")

        named = [
            (issue("n1", alternatives="URI:spiffe://example.org/batch,DNS:other.example.org"), OK),
            (issue("n2", alternatives="DNS:batch.example.org,DNS:other.example.org"), OK),
            (issue("n3", common_name="batch"), OK),
            (issue("n4", common_name="batch", alternatives="DNS:other.example.org"), DENIED),
            (issue("n5", common_name="batch", alternatives="URI:https://example.org/batch"), OK),
            (issue("n6", alternatives="URI:spiffe://example.org/batch,URI:spiffe://example.org/b"), UNKNOWN),
            (issue("n7", common_name="anonymous"), UNKNOWN),
            (issue("n8", common_name="with blank"), UNKNOWN),
            (issue("n9", common_name=""), UNKNOWN),
            (issue("n10", alternatives="DNS:spiffe://example.org/batch"), UNKNOWN),
        ]
        for certificate, expected in named:
            credentials = grpc.ssl_channel_credentials(
                self.authority.path.read_bytes(), certificate.key.read_bytes(), certificate.path.read_bytes())
            with grpc.secure_channel(server.grpc, credentials) as channel:
                self.assertEqual(models(channel)[0], expected, certificate.path)
        first = named[0][0]
        done = server.run("models", "--tls-ca", str(self.authority.path), "--tls-cert", str(first.path),
                          "--tls-key", str(first.key))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_swaps_certificates_under_load(self):
        """Whatever the files become, handshakes succeed with the last good pair."""
        link = self.folder / "live"
        server_files = ["--tls-cert", link / "cert", "--tls-key", link / "key"]

        def put(number, certificate, key):
            folder = self.folder / f"set{number}"
            folder.mkdir()
            for name, text in (("cert", certificate), ("key", key)):
                if text is not None:
                    (folder / name).write_text(text)
            new = self.folder / "new"
            new.symlink_to(folder)
            new.replace(link)

        good = [(c.path.read_text(), c.key.read_text()) for c in
                (self.own, *(self.authority.issue(f"s{i}", alternatives="DNS:localhost") for i in range(3)))]
        old = self.authority.issue("old", alternatives="DNS:localhost", days=-1)
        put(0, *good[0])
        server = self.serve(*server_files, "--max-new-connections", "100000")
        expiry = server.series()["peerage_tls_certificate_expiry_timestamp_seconds", ()]
        self.assertAlmostEqual((expiry - time.time()) / 86_400, 30, delta=1)
        ended, failures, handshakes = threading.Event(), [], [0]

        def load():
            while not ended.is_set():
                result = self.shake(server)
                handshakes[0] += 1
                if result != OK:
                    failures.append(result)

        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for i in range(1, SWAPS + 1):
                pair, other = good[i // 6 % len(good)], good[(i // 6 + 1) % len(good)]
                states = [pair, ("", f"{i}"), (f"garbage {i}", pair[1] + f"# {i}\n"), (pair[0] + f"# {i}\n", other[1]),
                          (old.path.read_text() + f"# {i}\n", old.key.read_text()), (None, f"{i}")]
                told = server.read_log().count("certificates: ")
                put(i, *states[i % 6] if i % 6 else (pair[0] + f"# {i}\n", pair[1]))
                server.process.send_signal(signal.SIGHUP)
                wait_until(lambda: server.read_log().count("certificates: ") > told, f"swap {i}")
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        self.assertGreaterEqual(handshakes[0], 2)
        log = server.read_log()
        # A signal has files read that the look each second found a moment before.
        self.assertGreaterEqual(log.count("certificates: read anew"), SWAPS // 6)
        self.assertGreaterEqual(log.count("certificates: "), SWAPS)
        self.assertIsNone(server.process.poll())


if __name__ == "__main__":
    unittest.main()
