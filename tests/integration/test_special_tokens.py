#!/usr/bin/env python3
"""What begins and ends texts, on a served model whose files do not agree, against Hugging Face."""

import json
import pathlib
import shutil
import tempfile
import unittest

import grpc
import tokenizers

from server_process import LIMIT_SECONDS, Server
from stubs import load_stubs

load_stubs()
from peerage.v1 import inference_pb2, inference_pb2_grpc, models_pb2, models_pb2_grpc

DENSE = pathlib.Path(__file__).resolve().parents[1] / "golden/models/llama_tied"
BOS = 0  # of the post-processor; config.json says 1
TURN_END = 2
CHATML = ("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
          "{% endfor %}{{ '<|im_start|>assistant\\n' }}")


def make_model(folder, template):
    """Adds a BOS by its post-processor, has no normalizer in a Sequence, and ends texts at a letter."""
    model = pathlib.Path(shutil.copytree(DENSE, folder / "model"))
    file = json.loads((model / "tokenizer.json").read_text())
    token = file["added_tokens"][BOS]["content"]
    bos = {"SpecialToken": {"id": token, "type_id": 0}}
    text = [{"Sequence": {"id": "A", "type_id": 0}}]
    file["post_processor"] = {
        "type": "TemplateProcessing", "single": [bos, *text],
        "pair": [bos, *text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [BOS], "tokens": [token]}}}
    file["normalizer"] = {"type": "Sequence", "normalizers": []}
    file["decoder"] = {"type": "Sequence", "decoders": [file["decoder"]]}
    (model / "tokenizer.json").write_text(json.dumps(file))
    config = json.loads((model / "config.json").read_text())
    config["eos_token_id"] = 100
    (model / "config.json").write_text(json.dumps(config))
    if template:
        (model / "chat_template.jinja").write_text(template)
    return model


class SpecialTokensTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def serve(self, template):
        model = make_model(self.folder, template)
        server = self.enterContext(Server("--threads", "1", model=model))
        return model, server, self.enterContext(grpc.insecure_channel(server.grpc))

    def test_texts_begin_as_hugging_face_has_them_the_empty_one_too(self):
        model, _, channel = self.serve(None)
        oracle = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        for text in ("", "a", "Hello 42 worlds", "<|im_end|> x"):
            with self.subTest(text=text):
                answer = stub.Tokenize(
                    inference_pb2.TokenizeRequest(prompt={"text": text}), timeout=LIMIT_SECONDS)
                self.assertEqual(list(answer.token_ids), oracle.encode(text).ids)
                self.assertEqual(answer.token_ids[0], BOS)
                bare = stub.Tokenize(inference_pb2.TokenizeRequest(
                    prompt={"text": text, "add_bos": False}), timeout=LIMIT_SECONDS)
                self.assertEqual(list(bare.token_ids),
                                 oracle.encode(text, add_special_tokens=False).ids)

    def test_says_why_chats_are_refused_in_the_model_and_in_the_log(self):
        reason = ("the model's chat template is not understood, as it is not ChatML: with messages "
                  'of user it gives "[INST]content" at byte 0')
        _, server, channel = self.serve("{% for m in messages %}{{ '[INST]' + m.content }}{% endfor %}")
        stub = models_pb2_grpc.ModelServiceStub(channel)
        model = stub.GetModel(models_pb2.GetModelRequest(), timeout=LIMIT_SECONDS).model
        self.assertEqual(model.chat_template, "")
        self.assertTrue(model.chat_template_error.startswith(reason), model.chat_template_error)
        self.assertIn("chat is refused: " + reason.split('"')[0], server.read_log())
        self.assertIn(f"takes no chats: {reason}", server.run("models").stdout)
        with self.assertRaises(grpc.RpcError) as refused:
            inference_pb2_grpc.InferenceServiceStub(channel).Tokenize(
                inference_pb2.TokenizeRequest(
                    prompt={"chat": {"messages": [{"role": "user", "content": "a"}]}}),
                timeout=LIMIT_SECONDS)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
        self.assertEqual(refused.exception.details(), model.chat_template_error)

    def test_a_chat_ends_at_the_end_of_a_turn_though_config_json_says_otherwise(self):
        _, server, channel = self.serve(CHATML)
        self.assertIn("chat: chatml", server.read_log())
        answer = inference_pb2_grpc.InferenceServiceStub(channel).Generate(
            inference_pb2.GenerateRequest(
                prompt={"chat": {"messages": [{"role": "user", "content": "a"}]}},
                sampling={"logit_bias": {TURN_END: 100.0}}, stopping={"max_tokens": 5}),
            timeout=LIMIT_SECONDS)
        candidate = answer.candidates[0]
        self.assertEqual(candidate.finish.reason, inference_pb2.FINISH_REASON_END_OF_SEQUENCE)


if __name__ == "__main__":
    unittest.main()
