"""What a client shows of itself: a token, and certificates."""

import pathlib
import tempfile
import unittest

from both_worlds import Asynchronous, Blocking
from scripted_server import ScriptedServer

from peerage.v1 import inference_pb2 as pb


class IdentityTests:
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def test_shows_its_token_with_every_call(self):
        answer = pb.GenerateResponse(candidates=[pb.Candidate(text="hi")])
        with ScriptedServer(Generate=[answer, answer]) as server:
            client = self.connect(server.address, token_file=self.write("token", "s3cret\n"),
                                  metadata=[("x-team", "a")])
            for _ in range(2):
                client.generate("x")
            for call in server.calls("Generate"):
                self.assertEqual(call[2]["authorization"], "Bearer s3cret")
                self.assertEqual(call[2]["x-team"], "a")

    def test_refuses_half_of_what_belongs_together(self):
        some = self.write("some.pem", "x")
        for options in ({"tls_cert": some}, {"tls_ca": some, "tls_key": some}, {"tls_cert": some, "tls_key": some}):
            with self.assertRaises(ValueError):
                self.connect("localhost:1", **options)

    def test_sends_no_token_over_a_network_in_the_clear_unless_that_is_meant(self):
        token = self.write("token", "s3cret")
        for server in ("models.example.org:1", "127.example.com:1", "10.0.0.1:1", "dns:///models.example.org:1"):
            with self.assertRaisesRegex(ValueError, "in the clear") as caught:
                self.connect(server, token_file=token)
            self.assertNotIn("s3cret", str(caught.exception))
            self.connect(server, token_file=token, insecure=True)
            self.connect(server)

    def test_never_repeats_what_is_no_token(self):
        for text in ("", "two words", "t\x00ken"):
            with self.assertRaises(ValueError) as caught:
                self.connect("localhost:1", token_file=self.write("token", text))
            self.assertNotIn("words", str(caught.exception))


class IdentityTest(IdentityTests, Blocking, unittest.TestCase):
    pass


class AsyncIdentityTest(IdentityTests, Asynchronous, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
