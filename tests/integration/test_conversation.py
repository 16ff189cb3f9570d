"""A conversation with peerage-server by a gRPC client that no one here wrote."""

import math
import unittest

import grpc
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase)
from grpc_status import rpc_status

import stubs
from server_process import LIMIT_SECONDS as TIMEOUT
from server_process import Server

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc, models_pb2, models_pb2_grpc  # noqa: E402


def detail(error, kind):
    """The error detail of a kind that a failed call carries, or None."""
    status = rpc_status.from_call(error)
    for any_detail in status.details if status else []:
        if any_detail.Is(kind.DESCRIPTOR):
            message = kind()
            any_detail.Unpack(message)
            return message
    return None


def greedy(text, max_tokens):
    request = inference.GenerateRequest()
    request.prompt.text = text
    request.sampling.temperature = 0
    request.stopping.max_tokens = max_tokens
    return request


class ConversationTest(unittest.TestCase):
    DEVICE = "cpu"

    @staticmethod
    def start_server():
        return Server()

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(cls.start_server())
        cls.channel = grpc.insecure_channel(cls.server.grpc)
        cls.addClassCleanup(cls.channel.close)
        cls.stub = inference_pb2_grpc.InferenceServiceStub(cls.channel)

    def test_reflection_lists_the_services_and_their_methods(self):
        database = ProtoReflectionDescriptorDatabase(self.channel)
        services = set(database.get_services())
        self.assertLessEqual(
            {"peerage.v1.InferenceService", "peerage.v1.ModelService", "peerage.v1.AdminService",
             "grpc.health.v1.Health"}, services)
        described = database.FindFileContainingSymbol("peerage.v1.InferenceService")
        self.assertIsInstance(described, descriptor_pb2.FileDescriptorProto)
        self.assertEqual(
            [method.name for method in described.service[0].method],
            ["Generate", "GenerateStream", "Score", "ScoreStream", "Tokenize", "Detokenize"])

    def test_health_tells_alive_and_ready(self):
        health = health_pb2_grpc.HealthStub(self.channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        for service in ("", self.server.model):
            request = health_pb2.HealthCheckRequest(service=service)
            self.assertEqual(health.Check(request, timeout=TIMEOUT).status, serving)
            watch = health.Watch(request, timeout=TIMEOUT)
            self.assertEqual(next(watch).status, serving)
            watch.cancel()
        with self.assertRaises(grpc.RpcError) as raised:
            health.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=TIMEOUT)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_the_admin_port_answers(self):
        for path in ("/healthz", "/readyz"):
            self.assertEqual(self.server.get(path)[0], 200)

    def test_models_and_status(self):
        models = models_pb2_grpc.ModelServiceStub(self.channel)
        listed = models.ListModels(models_pb2.ListModelsRequest(), timeout=TIMEOUT).models
        self.assertEqual([model.name for model in listed], [self.server.model])
        self.assertRegex(listed[0].fingerprint, "^[0-9a-f]{64}$")
        admin = models_pb2_grpc.AdminServiceStub(self.channel)
        status = admin.GetServerStatus(models_pb2.GetServerStatusRequest(), timeout=TIMEOUT)
        self.assertFalse(status.draining)
        self.assertEqual(status.workers[0].device, self.DEVICE)

    def test_generate_and_its_stream_say_the_same(self):
        request = greedy("The capital of France is", 12)
        whole = self.stub.Generate(request, timeout=TIMEOUT)
        self.assertTrue(whole.candidates[0].text)
        self.assertEqual(whole.usage.completion_tokens, len(whole.candidates[0].token_ids))
        self.assertEqual(whole.model.name, self.server.model)

        events = list(self.stub.GenerateStream(
            inference.GenerateStreamRequest(request=request), timeout=TIMEOUT))
        self.assertEqual(events[0].WhichOneof("event"), "started")
        self.assertEqual(events[-1].WhichOneof("event"), "finished")
        deltas = [event.delta for event in events[1:-1]]
        self.assertEqual("".join(delta.text for delta in deltas), whole.candidates[0].text)
        self.assertEqual([token for delta in deltas for token in delta.token_ids],
                         list(whole.candidates[0].token_ids))
        self.assertEqual(events[-1].finished.finish, whole.candidates[0].finish)

    def test_the_reported_seed_repeats_the_answer(self):
        request = greedy("Once upon a time", 8)
        request.sampling.temperature = 1
        first = self.stub.Generate(request, timeout=TIMEOUT)
        request.sampling.seed = first.sampling.seed
        again = self.stub.Generate(request, timeout=TIMEOUT)
        self.assertEqual(again.candidates, first.candidates)

    def test_chat_is_answered(self):
        request = greedy("", 8)
        request.prompt.chat.messages.add(role="user", content="Say hello.")
        self.assertTrue(self.stub.Generate(request, timeout=TIMEOUT).candidates[0].text)

    def test_scores_equal_the_log_probabilities_of_generation(self):
        request = greedy("The capital of France is", 6)
        request.output.logprobs = 0
        candidate = self.stub.Generate(request, timeout=TIMEOUT).candidates[0]

        score = inference.ScoreRequest()
        score.context.text = request.prompt.text
        score.continuations.add().token_ids.ids.extend(candidate.token_ids)
        score.continuations.add().text = " Berlin"
        scored = self.stub.Score(score, timeout=TIMEOUT)
        self.assertEqual([token.logprob for token in scored.scores[0].tokens],
                         [token.logprob for token in candidate.logprobs])
        self.assertTrue(scored.scores[0].is_greedy)
        self.assertAlmostEqual(scored.scores[0].logprob,
                               math.fsum(token.logprob for token in candidate.logprobs), places=9)
        self.assertGreater(scored.scores[1].bits_per_byte, 0)

    def test_a_score_stream_answers_each_item(self):
        def items():
            for i in range(40):
                item = inference.ScoreStreamRequest(id=str(i))
                item.request.context.text = "One, two,"
                item.request.continuations.add().text = " three" if i != 7 else ""
                yield item

        answers = {answer.id: answer for answer in self.stub.ScoreStream(items(), timeout=TIMEOUT)}
        self.assertEqual(set(answers), {str(i) for i in range(40)})
        failed = answers.pop("7")
        self.assertEqual(failed.error.code, grpc.StatusCode.INVALID_ARGUMENT.value[0])
        self.assertEqual(len({answer.response.scores[0].logprob for answer in answers.values()}), 1)

    def test_tokens_are_text_again(self):
        text = "Grüße, 世界! 👋🏽 \t<|im_end|> it's 42"
        request = inference.TokenizeRequest()
        request.prompt.text = text
        tokens = self.stub.Tokenize(request, timeout=TIMEOUT)
        self.assertEqual(b"".join(tokens.tokens).decode(), text)
        back = inference.DetokenizeRequest(token_ids=tokens.token_ids, include_special_tokens=True)
        self.assertEqual(self.stub.Detokenize(back, timeout=TIMEOUT).text, text)

    def test_errors_carry_their_fields(self):
        request = greedy("x", 1)
        request.sampling.top_p = 0
        request.sampling.temperature = math.nan
        with self.assertRaises(grpc.RpcError) as raised:
            self.stub.Generate(request, timeout=TIMEOUT)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        violations = detail(raised.exception, error_details_pb2.BadRequest).field_violations
        self.assertEqual([violation.field for violation in violations],
                         ["sampling.temperature", "sampling.top_p"])
        info = detail(raised.exception, error_details_pb2.ErrorInfo)
        self.assertEqual((info.domain, info.reason), ("peerage", "INVALID_FIELD"))

    def test_an_answer_past_the_context_is_out_of_range(self):
        with self.assertRaises(grpc.RpcError) as raised:
            self.stub.Generate(greedy("x", 2**31), timeout=TIMEOUT)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.OUT_OF_RANGE)

    def test_text_that_is_not_utf8_is_refused_with_a_reason(self):
        generate = self.channel.unary_unary(
            "/peerage.v1.InferenceService/Generate",
            response_deserializer=inference.GenerateResponse.FromString)
        bad = greedy("?", 1).SerializeToString().replace(b"?", b"\xff")
        with self.assertRaises(grpc.RpcError) as raised:
            generate(bad, timeout=TIMEOUT)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("not UTF-8", raised.exception.details())
        self.assertTrue(self.stub.Generate(greedy("?", 1), timeout=TIMEOUT).candidates)

    def test_the_request_id_comes_back(self):
        response, call = self.stub.Generate.with_call(
            greedy("x", 1), timeout=TIMEOUT, metadata=[("x-request-id", "conversation-1")])
        self.assertEqual(response.request_id, "conversation-1")
        self.assertEqual(dict(call.initial_metadata())["x-request-id"], "conversation-1")

    def test_a_cancelled_stream_leaves_the_server_idle(self):
        call = self.stub.GenerateStream(
            inference.GenerateStreamRequest(request=greedy("Count: 1", 512)), timeout=TIMEOUT)
        next(call)
        call.cancel()
        admin = models_pb2_grpc.AdminServiceStub(self.channel)
        # Cancellation takes a step; each question is a round trip, so this is no busy loop for long.
        for _ in range(10_000):
            status = admin.GetServerStatus(models_pb2.GetServerStatusRequest(), timeout=TIMEOUT)
            if status.requests_running == 0:
                break
        self.assertEqual(status.requests_running, 0)
        self.assertEqual(status.workers[0].kv_blocks_free, status.workers[0].kv_blocks_total)


class ShutdownTest(unittest.TestCase):

    def test_sigterm_ends_an_idle_server_with_code_0(self):
        with Server() as server:
            server.terminate()
            self.assertEqual(server.wait(), 0)


if __name__ == "__main__":
    unittest.main()
