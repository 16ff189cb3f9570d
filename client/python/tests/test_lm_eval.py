"""lm-evaluation-harness, offline, with tasks of its own files, on the server PEERAGE_ENGLISH, whose
model knows English; PEERAGE_PEER's model has no BOS token and a context of 1,024."""

import math
import os
import pathlib
import re
import unittest
from unittest import mock

import grpc
import lm_eval
from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

import peerage.lm_eval
from peerage import Client, requests
from peerage.lm_eval.documents import group
from peerage.requests import generate, score
from peerage.v1 import inference_pb2, inference_pb2_grpc

TASKS = pathlib.Path(__file__).parent / "lm_eval_tasks"
ENGLISH = os.environ["PEERAGE_ENGLISH"]


def evaluate(task, **options):
    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    return lm_eval.simple_evaluate(
        model="peerage", model_args={"server": ENGLISH}, tasks=[task], task_manager=manager,
        log_samples=True, bootstrap_iters=0, **options)


def ask(kind, *arguments):
    return [Instance(request_type=kind, doc={}, arguments=a, idx=i)
            for i, a in enumerate(arguments)]


class Wire:
    """Scores and tokens by stubs, without any of our code."""

    def __init__(self, channel):
        self._stub = inference_pb2_grpc.InferenceServiceStub(channel)

    def tokens(self, text):
        request = inference_pb2.TokenizeRequest(prompt=inference_pb2.Prompt(text=text))
        return list(self._stub.Tokenize(request, timeout=60).token_ids)

    def score(self, context, continuation):
        request = inference_pb2.ScoreRequest()
        request.context.token_ids.ids.extend(context)
        request.continuations.add().token_ids.ids.extend(continuation)
        score = self._stub.Score(request, timeout=60).scores[0]
        return score.logprob, score.is_greedy


class TasksTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.wire = Wire(cls.enterClassContext(grpc.insecure_channel(ENGLISH)))

    def test_choices_are_scored_as_score_does_and_far_from_chance(self):
        evaluated = evaluate("local_facts")
        samples = evaluated["samples"]["local_facts"]
        self.assertEqual(len(samples), 40)
        for sample in samples:
            for (context, choice), ((logprob, greedy),) in zip(
                    sample["arguments"], sample["resps"], strict=True):
                begun = self.wire.tokens(context)
                whole = self.wire.tokens(context + choice)
                self.assertEqual(whole[:len(begun)], begun)
                self.assertEqual((logprob, greedy),
                                 self.wire.score(begun, whole[len(begun):]), context + choice)
        # Chance is 0.25; the measured value is 0.9.
        self.assertGreater(evaluated["results"]["local_facts"]["acc,none"], 0.75)

    def test_perplexity_is_that_of_whole_texts(self):
        evaluated = evaluate("local_prose")
        total = length = 0
        for sample in evaluated["samples"]["local_prose"]:
            text = sample["doc"]["text"]
            logprob, _ = self.wire.score([1], self.wire.tokens(text))  # 1: <|im_start|>, its BOS
            # A request of its own, or one of several continuations of a BOS: the same bits.
            self.assertEqual(sample["resps"][0][0], logprob)
            total += logprob
            length += len(text.encode())
        self.assertAlmostEqual(evaluated["results"]["local_prose"]["bits_per_byte,none"],
                               -total / length / math.log(2), places=12)

    def test_generations_end_where_the_task_says(self):
        evaluated = evaluate("local_series")
        texts = [s["resps"][0][0] for s in evaluated["samples"]["local_series"]]
        self.assertTrue(all("," not in text and "\n" not in text for text in texts), texts)
        with Client(ENGLISH) as client:
            self.assertEqual(texts, [
                client.generate(s["arguments"][0][0], temperature=0, max_tokens=8,
                                stop=[",", "\n"]).text
                for s in evaluated["samples"]["local_series"]])
        self.assertGreater(evaluated["results"]["local_series"]["exact_match,stripped"], 0.5)

    def test_chats_are_rendered_by_the_server(self):
        evaluated = evaluate("local_facts", apply_chat_template=True, limit=4)
        (context, _), *_ = evaluated["samples"]["local_facts"][0]["arguments"]
        self.assertTrue(context.endswith("<|im_start|>user\nThe capital of France is<|im_end|>\n"
                                         "<|im_start|>assistant\n"), context)
        with Client(ENGLISH) as client:
            turns = [{"role": "user", "content": "The capital of France is"}]
            self.assertEqual(tuple(self.wire.tokens(context)), client.tokenize(turns).ids)
        self.assertEqual(evaluated["config"]["model"], "peerage")


class ModelTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.model = peerage.lm_eval.PeerageLM(ENGLISH)
        cls.addClassCleanup(cls.model.client.close)
        cls.wire = Wire(cls.enterClassContext(grpc.insecure_channel(ENGLISH)))

    def test_context_and_continuation_are_tokenised_together(self):
        # What the harness does: the whole text's tokens from where the context's end, and a space
        # at the context's end is the continuation's. By themselves the continuations are others.
        for context, continuation, border in (("The bird was sing", "ing a song", 17),
                                              ("A ", "dog", 1)):
            (answer,) = self.model.loglikelihood(
                ask("loglikelihood", (context, continuation)), disable_tqdm=True)
            begun = self.wire.tokens(context[:border])
            rest = self.wire.tokens(context + continuation)[len(begun):]
            self.assertNotEqual(rest, self.wire.tokens(continuation))
            self.assertEqual(answer, self.wire.score(begun, rest))

    def test_an_empty_context_is_the_bos_token(self):
        (answer,) = self.model.loglikelihood(ask("loglikelihood", ("", "Once upon")), True)
        self.assertEqual(answer, self.wire.score([1], self.wire.tokens("Once upon")))
        self.assertEqual(self.model.prefix_token_id, 1)

    def test_a_bos_token_is_added_once_at_most(self):
        forced = peerage.lm_eval.PeerageLM(ENGLISH, add_bos_token=True)
        self.addCleanup(forced.client.close)
        plain = self.model.tok_encode("hello")
        self.assertEqual(forced.tok_encode("hello"), [1, *plain])
        self.assertEqual(forced.tok_encode("<|im_start|>hello"), [1, *plain])
        self.assertEqual(forced.tok_encode("hello", add_special_tokens=False), plain)

    def test_long_texts_are_scored_in_the_harness_windows(self):
        small = peerage.lm_eval.PeerageLM(ENGLISH, max_length=16)
        self.addCleanup(small.client.close)
        text = "It was the best of times, it was the worst of times, it was the age of wisdom, " \
               "it was the age of foolishness, it was the epoch of belief."
        (total,) = small.loglikelihood_rolling(ask("loglikelihood_rolling", (text,)), True)
        windows = list(utils.get_rolling_token_windows(
            small.tok_encode(text), prefix_token=1, max_seq_len=16, context_len=1))
        self.assertGreater(len(windows), 2)
        expected = [self.wire.score(*utils.make_disjoint_window(window))[0] for window in windows]
        self.assertEqual(total, sum(expected))

    def test_what_is_too_long_loses_its_beginning(self):
        small = peerage.lm_eval.PeerageLM(ENGLISH, max_length=7)
        self.addCleanup(small.client.close)
        (answer,) = small.loglikelihood(
            ask("loglikelihood", ("one two three four five six seven", " eight nine")), True)
        whole = self.wire.tokens("one two three four five six seven eight nine")
        self.assertEqual(answer, self.wire.score(whole[-8:-2], whole[-2:]))
        (text,) = small.generate_until(
            ask("generate_until", ("one two three four five six", {"max_gen_toks": 3})), True)
        with Client(ENGLISH) as client:
            ids = self.wire.tokens("one two three four five six")[-5:]
            self.assertEqual(text, client.generate(ids=ids, max_tokens=3, temperature=0).text)

    def test_sampling_follows_the_task_and_repeats(self):
        options = {"do_sample": True, "temperature": 0.9, "top_p": 0.9, "max_gen_toks": 12}
        requests = ask("generate_until", *[("Once upon a time", options)] * 3)
        first = self.model.generate_until(requests, disable_tqdm=True)
        self.assertEqual(self.model.generate_until(requests, disable_tqdm=True), first)
        self.assertEqual(len(set(first)), 3)  # repeats are samples, not copies
        greedy = ask("generate_until", ("Once upon a time", {"until": [""], "max_gen_toks": 12}))
        with Client(ENGLISH) as client:
            self.assertEqual(self.model.generate_until(greedy, disable_tqdm=True), [
                client.generate("Once upon a time", temperature=0, max_tokens=12).text])

    def test_stops_beyond_the_limits_of_the_wire_are_cut_off_here(self):
        many = [f"never{i}" for i in range(16)] + ["x" * 300]
        (whole,) = self.model.generate_until(
            ask("generate_until", ("1, 2, 3,", {"max_gen_toks": 9})), True)
        (cut,) = self.model.generate_until(
            ask("generate_until", ("1, 2, 3,", {"until": [*many, ","], "max_gen_toks": 9})), True)
        self.assertIn(",", whole)
        self.assertEqual(cut, whole.split(",")[0])

    def test_an_evaluation_may_stand_back_behind_others(self):
        model = peerage.lm_eval.PeerageLM(ENGLISH, priority=10, tenant="evaluation")
        self.addCleanup(model.client.close)
        sent = []
        with (mock.patch.object(requests, "score", lambda item, options: sent.append(options) or
                                score(item, options)),
              mock.patch.object(requests, "generate", lambda prompt, options:
                                sent.append(options) or generate(prompt, options))):
            model.loglikelihood(ask("loglikelihood", ("a", " b")), disable_tqdm=True)
            model.generate_until(ask("generate_until", ("a", {"max_gen_toks": 1})), True)
        self.assertEqual([(o["priority"], o["tenant"]) for o in sent], [(10, "evaluation")] * 2)

    def test_options_that_would_be_ignored_are_refused(self):
        with self.assertRaisesRegex(ValueError, "does not have: num_beams"):
            self.model.generate_until(
                ask("generate_until", ("x", {"num_beams": 4, "max_gen_toks": 2})), True)

    def test_the_beginning_of_an_answer_goes_on(self):
        turns = [{"role": "user", "content": "Name a river."},
                 {"role": "assistant", "content": "The river"}]
        rendered = self.model.apply_chat_template(turns, add_generation_prompt=False)
        self.assertTrue(rendered.endswith("<|im_start|>assistant\nThe river"), rendered)

    def test_a_model_without_bos_says_what_it_needs(self):
        model = peerage.lm_eval.PeerageLM(os.environ["PEERAGE_PEER"])
        self.addCleanup(model.client.close)
        with self.assertRaisesRegex(ValueError, "prefix_token_id=0"):
            model.loglikelihood(ask("loglikelihood", ("", "In the")), True)
        told = peerage.lm_eval.PeerageLM(os.environ["PEERAGE_PEER"], prefix_token_id=0)
        self.addCleanup(told.client.close)
        ((logprob, _),) = told.loglikelihood(ask("loglikelihood", ("", "In the")), True)
        self.assertLess(logprob, 0)
        reason = re.escape(told.served.chat_template_error)
        with self.assertRaisesRegex(ValueError, f"no chat template .*: {reason}$"):
            told.chat_template(True)
        self.assertEqual(told.max_length, 1023)


class GroupTest(unittest.TestCase):

    @staticmethod
    def pair(context, continuation):
        return (("", ""), context, continuation)

    def test_choices_of_a_document_are_one_request(self):
        documents = group([self.pair([1, 2], [3]), self.pair([9], [4]), self.pair([1, 2], [5, 6])],
                          100)
        self.assertEqual([(d.context, d.continuations, d.positions) for d in documents],
                         [([1, 2], [[3], [5, 6]], [0, 2]), ([9], [[4]], [1])])

    def test_requests_keep_to_the_limits_of_the_wire(self):
        documents = group([self.pair([1], [2])] * 1500, 100)
        self.assertEqual([len(d.continuations) for d in documents], [1024, 476])
        documents = group([self.pair([1], [2] * 5000)] * 3, 9000)
        self.assertEqual([len(d.continuations) for d in documents], [1, 1, 1])

    def test_what_cannot_be_scored_is_refused(self):
        for continuation in ([], [1] * 10):
            with self.assertRaisesRegex(ValueError, "must have 1 to 9"):
                group([self.pair([1], continuation)], 10)


if __name__ == "__main__":
    unittest.main()
