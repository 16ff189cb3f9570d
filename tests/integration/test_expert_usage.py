"""Expert usage of a real PEER model, counted again by a client from the traces of its requests."""

import array
import concurrent.futures
import math
import pathlib
import unittest

import grpc

import stubs
from server_process import LIMIT_SECONDS as TIMEOUT
from server_process import Server

stubs.load_stubs()
from peerage.v1 import experts_pb2 as experts  # noqa: E402
from peerage.v1 import experts_pb2_grpc, inference_pb2_grpc, models_pb2, models_pb2_grpc  # noqa: E402
from peerage.v1 import inference_pb2 as inference  # noqa: E402

MODEL = pathlib.Path(__file__).parents[1] / "golden" / "models" / "peer_small"
PAGE = (MODEL / "held_out.txt").read_text()


def generate(stub, number, characters):
    request = inference.GenerateRequest()
    request.prompt.text = PAGE[400 * number:400 * number + characters]
    request.sampling.seed = number
    request.stopping.max_tokens = 12
    request.output.expert_trace = experts.EXPERT_TRACE_LEVEL_FULL
    return stub.Generate(request, timeout=TIMEOUT).expert_trace


def score(stub, number, characters):
    request = inference.ScoreRequest(expert_trace=experts.EXPERT_TRACE_LEVEL_FULL)
    request.context.text = PAGE[400 * number:400 * number + characters]
    for text in (" and it came to pass", " Amen."):
        request.continuations.add(text=text)
    return stub.Score(request, timeout=TIMEOUT).expert_trace


UNITS_OF_ONE = 2**24  # what scores are summed in


def fixed_point(weight):
    return math.floor(weight * UNITS_OF_ONE + 0.5)


class ExpertUsageTest(unittest.TestCase):
    REQUESTS = 24
    PROMPT_CHARACTERS = 300
    EXPERT_LAYERS = 2

    @staticmethod
    def start_server():
        return Server("--expert-trace", "full", model=MODEL)

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(cls.start_server())
        cls.channel = grpc.insecure_channel(cls.server.grpc)
        cls.addClassCleanup(cls.channel.close)

    def usage(self, layer, window):
        """(header, selections, score sums) of a layer."""
        stub = experts_pb2_grpc.ExpertServiceStub(self.channel)
        request = experts.GetExpertUsageRequest(layer=layer.layer, kind=layer.kind, window=window)
        selections, scores = array.array("Q"), array.array("d")
        header = None
        for message in stub.GetExpertUsage(request, timeout=TIMEOUT):
            if message.HasField("header"):
                header = message.header
                continue
            self.assertEqual(message.chunk.first_expert, len(selections))
            selections.frombytes(message.chunk.selections)
            scores.frombytes(message.chunk.score_sums)
        return header, selections, scores

    def test_usage_is_what_the_traces_of_a_concurrent_load_say(self):
        stub = inference_pb2_grpc.InferenceServiceStub(self.channel)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(score if i % 2 else generate, stub, i, self.PROMPT_CHARACTERS)
                     for i in range(self.REQUESTS)]
            traces = [call.result() for call in calls]
        models = models_pb2_grpc.ModelServiceStub(self.channel)
        model = models.ListModels(models_pb2.ListModelsRequest(), timeout=TIMEOUT).models[0]
        self.assertEqual(len(model.expert_layers), self.EXPERT_LAYERS)
        for index, layer in enumerate(model.expert_layers):
            selections, scores = [0] * layer.num_experts, [0] * layer.num_experts
            tokens = 0
            for trace in traces:
                part = trace.layers[index]
                ids, weights = array.array("I"), array.array("f")
                ids.frombytes(part.expert_ids)
                weights.frombytes(part.scores)
                self.assertEqual(len(ids), part.tokens * layer.heads * layer.top_k)
                tokens += part.tokens
                for expert, weight in zip(ids, weights, strict=True):
                    selections[expert] += 1
                    scores[expert] += fixed_point(weight)
            for window in (experts.USAGE_WINDOW_RECENT, experts.USAGE_WINDOW_TOTAL):
                header, counted, sums = self.usage(layer, window)
                self.assertEqual(header.tokens, tokens)
                self.assertEqual(header.num_experts, layer.num_experts)
                self.assertEqual(counted.tolist(), selections)
                self.assertEqual(sums.tolist(), [units / UNITS_OF_ONE for units in scores])


if __name__ == "__main__":
    unittest.main()
