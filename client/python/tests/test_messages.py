"""Arguments become messages and messages become values, without a server."""

import struct
import unittest

import grpc
import numpy as np
from scripted_server import Refusal

from peerage import DataLoss, FinishReason, InvalidArgument, errors, requests, transport
from peerage.assembly import Assembly
from peerage.experts import trace_of, usage_of
from peerage.options import ScoreItem
from peerage.reading import generation_of
from peerage.v1 import experts_pb2
from peerage.v1 import inference_pb2 as pb


class RequestsTest(unittest.TestCase):

    def test_what_is_not_given_is_unset(self):
        request = requests.generate("x", {"temperature": None, "timeout": 3, "seed": None})
        self.assertEqual(request, pb.GenerateRequest(prompt=pb.Prompt(text="x")))
        self.assertFalse(request.prompt.HasField("add_bos"))
        self.assertEqual(requests.score(ScoreItem("", [" a"]), {}), pb.ScoreRequest(
            context=pb.Prompt(text=""), continuations=[pb.Continuation(text=" a")]))

    def test_zero_and_false_are_values(self):
        request = requests.generate("x", {"temperature": 0, "top_k": 0, "add_bos": False, "seed": 0,
                                          "logprobs": 0, "min_p": 0.0, "ignore_eos": False})
        for message, field in ((request.sampling, "temperature"), (request.sampling, "top_k"),
                               (request.sampling, "seed"), (request.sampling, "min_p"),
                               (request.prompt, "add_bos"), (request.output, "logprobs"),
                               (request.stopping, "ignore_eos")):
            self.assertTrue(message.HasField(field), field)
            self.assertFalse(getattr(message, field))

    def test_every_option_reaches_its_field(self):
        request = requests.stream([1, 2], {
            "model": "m", "add_bos": True, "priority": -3, "tenant": "t", "queue_timeout": 1.5,
            "expert_trace": "full", "temperature": 0.5, "top_k": 4, "top_p": 0.25, "min_p": 0.125,
            "seed": 2**64 - 1, "candidates": 3, "repetition_penalty": 2.0,
            "frequency_penalty": -1.0, "presence_penalty": 1.0, "logit_bias": {7: -100.0},
            "max_tokens": 9, "min_tokens": 2, "stop": "end", "stop_token_ids": (5,),
            "ignore_eos": True, "logprobs": 3, "prompt_logprobs": True, "tokens_per_message": 8})
        expected = pb.GenerateRequest(
            model="m", prompt=pb.Prompt(token_ids=pb.TokenIds(ids=[1, 2]), add_bos=True),
            sampling=pb.Sampling(
                temperature=0.5, top_k=4, top_p=0.25, min_p=0.125, seed=2**64 - 1, candidates=3,
                repetition_penalty=2, frequency_penalty=-1, presence_penalty=1,
                logit_bias={7: -100}),
            stopping=pb.Stopping(max_tokens=9, min_tokens=2, stop=["end"], stop_token_ids=[5],
                                 ignore_eos=True),
            output=pb.Output(logprobs=3, prompt_logprobs=True,
                             expert_trace=experts_pb2.EXPERT_TRACE_LEVEL_FULL),
            scheduling=pb.Scheduling(priority=-3, tenant="t"))
        expected.scheduling.queue_timeout.FromMilliseconds(1500)
        self.assertEqual(request, pb.GenerateStreamRequest(request=expected, tokens_per_message=8))

    def test_a_control_is_a_message_or_a_dict_with_words_for_kinds(self):
        message = experts_pb2.ExpertControl(layers=[experts_pb2.LayerControl(
            layer=3, kind=experts_pb2.EXPERT_LAYER_KIND_MIXTURE_FFN, masked_ids=[2, 5],
            bias={7: -1.5}, top_k=1)])
        fields = {"layers": [{"layer": 3, "kind": "mixture_ffn", "masked_ids": [2, 5],
                              "bias": {7: -1.5}, "top_k": 1}]}
        wire = {"layers": [{**fields["layers"][0], "kind": "EXPERT_LAYER_KIND_MIXTURE_FFN"}]}
        for control in (message, fields, wire):
            self.assertEqual(requests.generate("x", {"expert_control": control}).expert_control,
                             message)
            self.assertEqual(requests.score(ScoreItem("", ["a"]), {"expert_control": control})
                             .expert_control, message)
        self.assertFalse(requests.generate("x", {}).HasField("expert_control"))
        for wrong, said in (({"layers": [{"kind": "ffn"}]}, "^kind is 'ffn'"),
                            ({"layers": [{"mask": [1]}]}, "^expert_control: .*mask"),
                            ({"layer": 1}, "^expert_control: .*layer")):
            with self.assertRaisesRegex(ValueError, said):
                requests.generate("x", {"expert_control": wrong})

    def test_hidden_states_are_asked_for_by_words_or_numbers(self):
        def asked(**wanted):
            return requests.score(ScoreItem("a", ["b"]), {"hidden_states": wanted}).hidden_states

        self.assertEqual(asked(layers=[4, 0]),
                         pb.HiddenStatesRequest(layers=[0, 4], prompt=True, generated=True))
        self.assertEqual(asked(layers=range(2), positions="prompt"),
                         pb.HiddenStatesRequest(layers=[0, 1], prompt=True))
        self.assertEqual(asked(layers=(1,), positions=np.array([5, 2])),
                         pb.HiddenStatesRequest(layers=[1], positions=[2, 5]))
        for wanted, said in (({"layers": [1], "positions": "last"}, "'last'"),
                             ({"layers": [-1]}, "layers"), ({}, "layers is missing"),
                             ({"layers": [1], "position": [0]}, "unknown keys: position"),
                             ({"layers": [1], "positions": ["x"]}, "positions")):
            with self.assertRaisesRegex((TypeError, ValueError), f"hidden_states: .*{said}"):
                asked(**wanted)

    def test_prompts_have_three_forms(self):
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
        self.assertEqual(requests.tokenize(turns, {}).prompt, pb.Prompt(chat=pb.Chat(messages=[
            pb.ChatMessage(role="system", content="Be brief."),
            pb.ChatMessage(role="user", content="Hi")])))
        for ids in ([3, 1], np.array([3, 1]), (3, 1)):
            self.assertEqual(list(requests.tokenize(ids, {}).prompt.token_ids.ids), [3, 1])
        self.assertEqual(requests.tokenize([], {}).prompt.WhichOneof("input"), "token_ids")
        self.assertEqual(requests.one_prompt(None, turns, None), turns)
        for given in ((None, None, None), ("x", None, [1])):
            with self.assertRaisesRegex(TypeError, "one of prompt, messages and ids"):
                requests.one_prompt(*given)

    def test_errors_name_the_option(self):
        for options, kind, said in (
                ({"seed": -1}, ValueError, "^seed: "),
                ({"top_k": 2**32}, ValueError, "^top_k: "),
                ({"max_tokens": 2.5}, TypeError, "^max_tokens: "),
                ({"temperature": "hot"}, TypeError, "^temperature: "),
                ({"stop": ["a", 5]}, TypeError, r"^stop\[1\]: must be a text, is int"),
                ({"stop": ["a\udce9"]}, ValueError, r"^stop\[0\]: character 1 "),
                ({"model": "\udce9"}, ValueError, "^model: character 0 "),
                ({"expert_trace": "all"}, ValueError, "^expert_trace is 'all'"),
                ({"temprature": 1}, TypeError, "^unknown options: temprature$")):
            with self.assertRaisesRegex(kind, said):
                requests.generate("x", options)
        with self.assertRaisesRegex(ValueError, "^prompt: character 3 is half a surrogate pair"):
            requests.generate("caf\udce9", {})
        with self.assertRaisesRegex(ValueError, "^prompt: "):
            requests.generate([1, -1], {})
        with self.assertRaisesRegex(ValueError, r"^continuations\[1\]: character 0 "):
            requests.score(ScoreItem("", ["a", "\ud800"]), {})

    def test_a_server_is_a_host_and_a_port(self):
        for wrong in ("", "http://localhost:50051", "https://x"):
            with self.assertRaisesRegex(ValueError, "must be HOST:PORT"):
                transport.channel_options(wrong)
        for here in ("localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/tmp/x", "ipv4:127.0.0.1:1"):
            self.assertIn(("grpc.enable_http_proxy", 0), transport.channel_options(here))
        for there in ("example.org:1", "dns:///example.org:1", "localhost.example.org:1"):
            self.assertNotIn(("grpc.enable_http_proxy", 0), transport.channel_options(there))


class ErrorsTest(unittest.TestCase):

    def test_every_code_has_its_class(self):
        for code in grpc.StatusCode:
            if code is grpc.StatusCode.OK:
                continue
            error = errors.from_status(Refusal(code, "said").status)
            self.assertEqual((error.code, error.message, str(error)),
                             (code.name, "said", f"{code.name}: said"))
            if type(error) is not errors.PeerageError:
                self.assertEqual(type(error).__name__.upper(), code.name.replace("_", ""))

    def test_several_violations_are_all_said(self):
        error = errors.from_status(Refusal(
            grpc.StatusCode.INVALID_ARGUMENT, "a must be 1 (and 1 more)",
            violations=[("a", "must be 1"), ("b", "must be 2")], reason="INVALID_FIELD").status)
        self.assertIsInstance(error, InvalidArgument)
        self.assertIsInstance(error, ValueError)
        self.assertEqual(str(error), "INVALID_ARGUMENT: a must be 1; b must be 2")
        self.assertEqual(error.reason, "INVALID_FIELD")
        self.assertIsNone(error.retry_delay)


def full_trace(tokens, heads, top_k, ids, scores):
    return pb.GenerateResponse(candidates=[pb.Candidate()], expert_trace=experts_pb2.ExpertTrace(
        layers=[experts_pb2.LayerTrace(
            layer=5, kind=experts_pb2.EXPERT_LAYER_KIND_PEER, num_experts=2**20, tokens=tokens,
            heads=heads, top_k=top_k, expert_ids=ids, scores=scores)])).expert_trace


class AnswersTest(unittest.TestCase):

    def test_packed_picks_become_arrays(self):
        ids = [7, 2**20 - 1, 0, 258, 4, 5, 6, 7, 8, 9, 10, 11]
        weights = [i / 8 for i in range(12)]
        layer = trace_of(full_trace(3, 2, 2, struct.pack("<12I", *ids),
                                    struct.pack("<12f", *weights))).layers[0]
        self.assertEqual((layer.layer, layer.kind), (5, "peer"))
        self.assertEqual(layer.expert_ids.dtype, np.uint32)
        np.testing.assert_array_equal(layer.expert_ids, np.reshape(ids, (3, 2, 2)))
        np.testing.assert_array_equal(layer.scores,
                                      np.reshape(np.array(weights, np.float32), (3, 2, 2)))
        with self.assertRaises(ValueError):
            layer.scores[0, 0, 0] = 1  # several may hold the same answer

    def test_layers_of_one_shape_are_stacked(self):
        message = full_trace(2, 1, 1, struct.pack("<2I", 1, 2), struct.pack("<2f", 0.5, 0.25))
        message.layers.append(message.layers[0])
        ids, weights = trace_of(message).stacked("peer")
        np.testing.assert_array_equal(ids, [[[[1]], [[1]]], [[[2]], [[2]]]])
        self.assertEqual(weights.shape, (2, 2, 1, 1))
        with self.assertRaisesRegex(ValueError, "no full trace"):
            trace_of(message).stacked("mixture_ffn")

    def test_a_full_trace_may_have_no_tokens_and_a_summary_has_no_picks(self):
        self.assertEqual(trace_of(full_trace(0, 2, 3, b"", b"")).layers[0].expert_ids.shape,
                         (0, 2, 3))
        summary = trace_of(full_trace(0, 0, 0, b"", b""))
        self.assertIsNone(summary.layers[0].expert_ids)
        with self.assertRaisesRegex(ValueError, "no full trace"):
            summary.stacked()
        self.assertIsNone(trace_of(experts_pb2.ExpertTrace()))

    def test_a_full_trace_can_be_replayed(self):
        ids, weights = struct.pack("<4I", 7, 2, 0xFFFFFFFF, 1), struct.pack("<4f", 1, .5, 0, 2)
        message = full_trace(2, 1, 2, ids, weights)
        control = trace_of(message).replay()
        layer = control.layers[0]
        self.assertEqual((layer.layer, layer.kind), (5, experts_pb2.EXPERT_LAYER_KIND_PEER))
        self.assertEqual(layer.forced, experts_pb2.ForcedPicks(
            tokens=2, heads=1, top_k=2, expert_ids=ids, scores=weights))
        message.cached_tokens = 32
        self.assertEqual(trace_of(message).replay().layers[0].forced.first_position, 32)
        self.assertEqual(trace_of(message).replay(scores=False).layers[0].forced.scores, b"")
        self.assertEqual(len(trace_of(full_trace(0, 2, 3, b"", b"")).replay().layers), 0)
        with self.assertRaisesRegex(ValueError, "no full trace"):
            trace_of(full_trace(0, 0, 0, b"", b"")).replay()
        self.assertIsNone(trace_of(message).expert_control)
        message.expert_control.CopyFrom(control)
        self.assertEqual(trace_of(message).expert_control, control)

    def test_picks_of_another_size_are_refused(self):
        for ids, weights in ((b"\0" * 12, b"\0" * 16), (b"\0" * 16, b"\0" * 20), (b"", b"")):
            with self.assertRaises(DataLoss):
                trace_of(full_trace(2, 1, 2, ids, weights))

    def test_chunks_of_usage_are_put_together_and_must_be_whole(self):
        def part(first, counts):
            return experts_pb2.GetExpertUsageResponse(chunk=experts_pb2.UsageChunk(
                first_expert=first, selections=struct.pack(f"<{len(counts)}Q", *counts),
                score_sums=struct.pack(f"<{len(counts)}d", *(c / 2 for c in counts))))

        header = experts_pb2.GetExpertUsageResponse(header=experts_pb2.UsageHeader(
            num_experts=3, kind=experts_pb2.EXPERT_LAYER_KIND_MIXTURE_FFN, tokens=8))
        usage = usage_of([header, part(0, [2**63, 1]), part(2, [4])])
        np.testing.assert_array_equal(usage.selections, np.array([2**63, 1, 4], np.uint64))
        np.testing.assert_array_equal(usage.score_sums, [2.0**62, 0.5, 2.0])
        self.assertEqual((usage.kind, usage.tokens), ("mixture_ffn", 8))
        for broken in ([header, part(0, [1, 2])], [header, part(1, [1, 2])], [part(0, [1, 2, 3])],
                       [header, part(0, [1, 2]), part(1, [3])], [header, part(0, [1] * 4)]):
            with self.assertRaises(DataLoss):
                usage_of(broken)

    def test_a_token_without_anything_before_it_has_no_logprob(self):
        message = pb.GenerateResponse(candidates=[pb.Candidate()], prompt_logprobs=[
            pb.TokenLogprob(token_id=1), pb.TokenLogprob(
                token_id=2, logprob=0.0, rank=1, alternative_ids=[2], alternative_logprobs=[0.0])])
        first, second = generation_of(message).prompt_logprobs
        self.assertIsNone(first.logprob)
        self.assertEqual((second.logprob, second.alternatives), (0.0, ((2, 0.0),)))

    def test_reasons_of_a_newer_server_are_unknown(self):
        message = pb.GenerateResponse(candidates=[pb.Candidate(finish=pb.Finish(reason=99))])
        self.assertIs(generation_of(message).finish_reason, FinishReason.UNKNOWN)

    def test_a_stream_that_ends_early_is_no_generation(self):
        assembly = Assembly()
        with self.assertRaises(DataLoss):
            assembly.generation()
        assembly.add(pb.GenerateStreamResponse(started=pb.Started(
            sampling=pb.ResolvedSampling(candidates=2))))
        assembly.add(pb.GenerateStreamResponse(finished=pb.Finished(index=1)))
        with self.assertRaises(DataLoss):
            assembly.generation()
        assembly.add(pb.GenerateStreamResponse(finished=pb.Finished(index=0)))
        self.assertEqual(len(assembly.generation().candidates), 2)


if __name__ == "__main__":
    unittest.main()
