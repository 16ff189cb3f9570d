"""What hostile cases ask for is what they say: a client who reads the answers gets them."""

import pathlib
import sys
import unittest

import grpc

from server_process import LIMIT_SECONDS, Server

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "hostile"))
import connection  # noqa: E402
import frames  # noqa: E402
import wellformed  # noqa: E402

MODELS = pathlib.Path(__file__).resolve().parents[1] / "golden/models"
UNARY = [(frames.GENERATE, wellformed.generate(5)), (frames.SCORE, wellformed.score(1024, 1, logprobs=20)),
         (frames.TOKENIZE, wellformed.tokenize("the cat " * 1000)), (frames.RESET_USAGE, wellformed.reset_usage())]
STREAMS = [(frames.GENERATE_STREAM, wellformed.stream(200)), (frames.EXPERT_USAGE, wellformed.expert_usage()),
           (frames.WATCH_SUMMARY, wellformed.watch_summary()), (frames.HEALTH_WATCH, wellformed.health())]


class WellformedTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server(model=MODELS / "peer_small"))
        cls.channel = cls.enterClassContext(grpc.insecure_channel(cls.server.grpc))

    def test_requests_are_answered(self):
        for path, request in UNARY:
            call = self.channel.unary_unary(path)
            self.assertIsInstance(call(request.SerializeToString(), timeout=LIMIT_SECONDS), bytes, path)
        for path, request in STREAMS:
            call = self.channel.unary_stream(path)(request.SerializeToString(), timeout=LIMIT_SECONDS)
            self.assertGreater(len(next(call)), 0, path)
            call.cancel()

    def test_items_of_a_score_stream_are_answered(self):
        items = (wellformed.score_item(i, 20).SerializeToString() for i in range(3))
        answers = self.channel.stream_stream(frames.SCORE_STREAM)(items, timeout=LIMIT_SECONDS)
        self.assertEqual(len(list(answers)), 3)

    def test_calls_made_by_hand_are_answered(self):
        host, port = self.server.grpc.split(":")
        one = connection.Connection((host, int(port)), "127.0.1.1", end=float("inf"))
        self.addCleanup(one.close)
        one.greet()
        one.send(frames.call(1, wellformed.one_token()) + frames.call(3, wellformed.one_token()))
        while one.seen[frames.DATA] < 2 and not one.ended:
            connection.hold([one], 0.01)
        self.assertEqual(one.seen[frames.DATA], 2)


if __name__ == "__main__":
    unittest.main()
