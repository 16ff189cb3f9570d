#!/usr/bin/env python3
"""The `peerage` command at its edges: what it reads, what it prints, and what it says when that fails.

The model's tokenizer adds a BOS, unlike the demo's."""

import base64
import errno
import json
import math
import os
import pathlib
import pty
import re
import selectors
import signal
import subprocess
import tempfile
import unittest

import numpy as np
from server_process import BIN, LIMIT_SECONDS, Server

MODEL = pathlib.Path(__file__).resolve().parents[1] / "golden/models/llama_tied"
TEXT = "abc defghi"


def run_client(*arguments, environment=None, **keywords):
    """`peerage` by itself; bytes or text as the keywords say."""
    keywords.setdefault("stdin", subprocess.DEVNULL if "input" not in keywords else None)
    return subprocess.run([BIN / "peerage", *arguments], env=environment or {}, check=False,
                          timeout=LIMIT_SECONDS, stderr=subprocess.PIPE,
                          **{"stdout": subprocess.PIPE, "text": True, **keywords})


def model_with_bos(folder):
    """The small model with a tokenizer that puts a BOS in front."""
    config = json.loads((MODEL / "config.json").read_text())
    tokenizer = json.loads((MODEL / "tokenizer.json").read_text())
    token = next(token for token in tokenizer["added_tokens"] if token["special"])
    config["bos_token_id"] = token["id"]
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": token["content"], "type_id": 0}},
                   {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"SpecialToken": {"id": token["content"], "type_id": 0}},
                 {"Sequence": {"id": "A", "type_id": 0}},
                 {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token["content"]: {"id": token["content"], "ids": [token["id"]],
                                              "tokens": [token["content"]]}}}
    folder.mkdir()
    for path in MODEL.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder, token["id"]


class ClientTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        model, cls.bos = model_with_bos(cls.folder / "model")
        cls.server = cls.enterClassContext(Server(model=model))

    def run_ok(self, *arguments, **keywords):
        result = self.server.run(*arguments, **keywords)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def json(self, *arguments, **keywords):
        return json.loads(self.run_ok(*arguments, "--json", **keywords))

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def assert_usage(self, result, *parts):
        self.assertEqual(result.returncode, 2, result.stderr)
        lines = result.stderr if isinstance(result.stderr, str) else result.stderr.decode()
        self.assertEqual(len(lines.splitlines()), 1, lines)
        for part in parts:
            self.assertIn(part, lines)


class BosTest(ClientTest):
    """A flag that was not given is not sent."""

    def test_the_tokenizers_bos_stays(self):
        self.assertEqual(self.json("tokenize", "abc")["token_ids"][0], self.bos)
        self.assertEqual(self.json("tokenize", "abc", "--bos")["token_ids"][0], self.bos)
        self.assertNotIn(self.bos, self.json("tokenize", "abc", "--no-bos")["token_ids"])
        prompt = self.json("generate", "abc", "--max-tokens", "1")["usage"]["prompt_tokens"]
        bare = self.json("generate", "abc", "--max-tokens", "1", "--no-bos")["usage"]["prompt_tokens"]
        self.assertEqual(prompt, bare + 1)

    def test_a_score_after_nothing_has_a_first_token_to_score(self):
        ids = self.json("tokenize", "abc", "--no-bos")["token_ids"]
        after_bos = self.json("score", "--ids", str(self.bos), "--continuation-ids",
                              ",".join(map(str, ids)))["scores"][0]
        score = self.json("score", "", "--continuation", "abc")["scores"][0]
        self.assertEqual(score["logprob"], after_bos["logprob"])
        self.assertLess(score["logprob"], -1)
        self.assertTrue(all("logprob" in token for token in score["tokens"]))

    def test_what_cannot_be_scored_is_no_figure(self):
        ids = self.json("tokenize", "a", "--no-bos")["token_ids"][:1]
        row = self.run_ok("score", "", "--no-bos", "--continuation-ids", str(ids[0])).splitlines()[1]
        self.assertEqual(row.split(), ["-", "-", "-", "1", "-", '"a"'])


class IdsTest(ClientTest):

    def test_ids_are_a_prompt(self):
        ids = self.json("tokenize", TEXT)["token_ids"]
        listed = ",".join(map(str, ids))
        options = ["--max-tokens", "5", "--temperature", "0", "--ignore-eos"]
        expected = self.json("generate", TEXT, *options)["candidates"]
        path = self.file("ids.txt", "\n".join(map(str, ids)) + "\n")
        for given in (listed, path, json.dumps(ids)):
            self.assertEqual(self.json("generate", "--ids", given, *options)["candidates"], expected)
        self.assertEqual(self.json("generate", "--ids", "-", *options, text_in=listed)["candidates"],
                         expected)

    def test_text_stands_beside_ids(self):
        answer = self.json("generate", TEXT, "--max-tokens", "4", "--ignore-eos", "--logprobs", "2")
        candidate = answer["candidates"][0]
        self.assertEqual(len(candidate["tokens"]), 4)
        for token, text in zip(candidate["logprobs"], candidate["tokens"]):
            self.assertEqual(token["token"], text)
            self.assertEqual(len(token["alternative_tokens"]), 2)
        back = self.json("detokenize", ",".join(map(str, candidate["token_ids"])))
        self.assertEqual(back["tokens"], candidate["tokens"])
        score = self.json("score", "abc", "-c", "def")["scores"][0]
        self.assertEqual("".join(token["token"] for token in score["tokens"]), "def")
        table = self.run_ok("score", "abc", "-c", "def", "--logprobs", "1")
        self.assertIn(f'"{score["tokens"][0]["token"]}"', table)

    def test_ids_are_text_again(self):
        answer = self.json("tokenize", TEXT)
        self.assertEqual("".join(answer["tokens"][1:]), TEXT)
        listed = ",".join(map(str, answer["token_ids"]))
        self.assertEqual(self.run_ok("detokenize", listed), TEXT + "\n")
        self.assertEqual(self.run_ok("detokenize", *map(str, answer["token_ids"])), TEXT + "\n")
        self.assertEqual(self.run_ok("detokenize", text_in=listed), TEXT + "\n")
        self.assertEqual(self.run_ok("detokenize", "--ids", listed, "--special"),
                         answer["tokens"][0] + TEXT + "\n")
        rows = self.run_ok("detokenize", listed, "--tokens").splitlines()
        self.assertEqual(len(rows), 1 + len(answer["token_ids"]))
        self.assertEqual(self.server.run("detokenize", "999999").returncode, 1)
        self.assert_usage(self.server.run("detokenize", "1,-2"), "token_ids", '"-2"')


class ScoreFileTest(ClientTest):

    def test_lines_are_scored_as_texts(self):
        texts = [TEXT, "a", "the whole file"]
        path = self.file("texts.txt", texts[0] + "\n\n" + "\r\n".join(texts[1:]) + "\n")
        *lines, last = [json.loads(line) for line in
                        self.run_ok("score", "--file", path, "--json").splitlines()]
        self.assertEqual([line["line"] for line in lines], [1, 3, 4])
        logprobs, tokens, size = [], 0, 0
        for text, line in zip(texts, lines):
            score = self.json("score", "", "-c", text)["scores"][0]
            self.assertEqual(line["scores"][0]["logprob"], score["logprob"])
            self.assertAlmostEqual(line["scores"][0]["bits_per_byte"], score["bits_per_byte"])
            self.assertAlmostEqual(line["scores"][0]["perplexity"],
                                   math.exp(-score["logprob"] / len(score["tokens"])))
            logprobs.append(score["logprob"])
            tokens += len(score["tokens"])
            size += len(text)
        summary = last["summary"]
        self.assertEqual((summary["lines"], summary["failed"]), (3, 0))
        self.assertEqual((summary["tokens"], summary["scored_tokens"]), (tokens, tokens))
        self.assertAlmostEqual(summary["logprob"], math.fsum(logprobs))
        self.assertAlmostEqual(summary["perplexity"], math.exp(-math.fsum(logprobs) / tokens))
        self.assertAlmostEqual(summary["bits_per_byte"], -math.fsum(logprobs) / math.log(2) / size)
        *rows, all_row = self.run_ok("score", "--file", path).splitlines()[1:]
        self.assertEqual([row.split()[0] for row in rows], ["1", "3", "4"])
        self.assertEqual(all_row.split()[:2], ["all", f"{summary['logprob']:.4f}"])

    def test_jsonl_has_contexts_choices_and_ids(self):
        ids = self.json("tokenize", "def", "--no-bos")["token_ids"]
        path = self.file("choices.jsonl", "\n".join(json.dumps(line) for line in [
            {"id": "first", "context": "abc", "continuations": ["def", ids]},
            {"context": self.json("tokenize", "abc")["token_ids"], "continuations": ["def"]},
            {"ids": [self.bos, *ids]}]))
        first, second, third, _ = [json.loads(line) for line in self.run_ok(
            "score", "--file", path, "--json", "--logprobs", "0").splitlines()]
        expected = self.json("score", "abc", "-c", "def")["scores"][0]["logprob"]
        self.assertEqual(first["id"], "first")
        self.assertEqual([score["logprob"] for score in first["scores"]], [expected, expected])
        self.assertEqual(second["scores"][0]["logprob"], expected)
        self.assertEqual("".join(token["token"] for token in first["scores"][0]["token_logprobs"]),
                         "def")
        self.assertEqual(third["scores"][0]["scored_tokens"], len(ids) + 1)

    def test_a_line_that_fails_does_not_stop_the_others(self):
        lines = ["a", "b " * 100_000, "c"]
        result = self.server.run("score", "--file", "-", "--json", text_in="\n".join(lines))
        self.assertEqual(result.returncode, 1)
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([list(answer)[-1] for answer in answers],
                         ["scores", "error", "scores", "summary"])
        self.assertEqual(answers[1]["error"]["code"], "OUT_OF_RANGE")
        self.assertEqual(answers[3]["summary"]["failed"], 1)
        self.assertIn("line 2: OUT_OF_RANGE", result.stderr)

    def test_wrong_files_are_refused_before_anything_is_sent(self):
        before = self.server.series()["peerage_step_seconds_count", (("phase", "prefill"),)]
        for arguments, parts in [
                (["score", "--file", "/nowhere"], ["--file", "No such file"]),
                (["score", "--file", self.file("bad.jsonl", '{"text": "a"}\n{"txt": "a"}')],
                 ["line 2"]),
                (["score", "x", "--file", self.file("a", "a")], ["--file"]),
                (["score", "--file", self.file("a", "a"), "-c", "x"], ["--file"]),
                (["generate", "--file", self.file("b.jsonl", "{}")], ["line 1", "prompt"]),
                (["generate", "x", "--file", self.file("a", "a")], ["--file"])]:
            with self.subTest(arguments=arguments):
                self.assert_usage(self.server.run(*arguments), *parts)
        self.assertEqual(self.server.series()["peerage_step_seconds_count", (("phase", "prefill"),)],
                         before)


class GenerateFileTest(ClientTest):

    def test_answers_come_in_the_order_of_the_prompts(self):
        prompts = [f"abc {i}" for i in range(9)]
        options = ["--max-tokens", "3", "--temperature", "0", "--ignore-eos"]
        path = self.file("prompts.jsonl", "".join(
            json.dumps({"id": i, "prompt": prompt if i % 2 else
                        self.json("tokenize", prompt)["token_ids"]}) + "\n"
            for i, prompt in enumerate(prompts)))
        answers = [json.loads(line) for line in self.run_ok(
            "generate", "--file", path, "--json", "--parallel", "3", *options).splitlines()]
        self.assertEqual([answer["id"] for answer in answers], list(range(9)))
        for prompt, answer in zip(prompts, answers):
            alone = self.json("generate", prompt, *options)
            self.assertEqual(answer["candidates"], alone["candidates"])
        lines = self.run_ok("generate", "--file", "-", *options, text_in="\n".join(prompts))
        self.assertEqual(len(lines.splitlines()), 9)

    def test_a_prompt_that_fails_does_not_stop_the_others(self):
        result = self.server.run("generate", "--file", "-", "--max-tokens", "2", "--json",
                                 text_in="a\n" + "b " * 100_000 + "\nc\n")
        self.assertEqual(result.returncode, 1)
        keys = [set(json.loads(line)) for line in result.stdout.splitlines()]
        self.assertEqual(["error" in key for key in keys], [False, True, False])
        self.assertIn("line 2: OUT_OF_RANGE", result.stderr)


class Utf8Test(ClientTest):

    def test_texts_that_are_not_utf8_are_refused_by_option_and_byte(self):
        bad = b"caf\xe9"
        for arguments, parts in [
                (["generate", bad], ["prompt", "byte 3"]),
                (["generate", "x", "--system", bad], ["--system", "byte 3"]),
                (["generate", "x", "--stop", b"\xff"], ["--stop", "byte 0"]),
                (["generate", "x", "--model", bad], ["--model", "byte 3"]),
                (["score", bad, "-c", "x"], ["context", "byte 3"]),
                (["score", "x", "-c", bad], ["--continuation", "byte 3"]),
                (["tokenize", bad], ["text", "byte 3"]),
                (["chat", "--system", bad], ["--system", "byte 3"]),
                (["experts", "--model", bad], ["--model", "byte 3"]),
                (["health", "--service", bad], ["--service", "byte 3"]),
                (["score", "--file", self.file("bad_lines", b"a\n" + bad)],
                 ["--file", "byte 5", "line 2"]),
                (["generate", "--file", self.file("bad_lines", b"a\n" + bad)], ["--file", "byte 5"]),
                (["detokenize", "--ids", self.file("bad", bad)], ["--ids", "byte 3"])]:
            with self.subTest(arguments=arguments):
                self.assert_usage(run_client(*arguments, text=False), *parts)

    def test_so_is_standard_input(self):
        for command, name in [("generate", "prompt"), ("tokenize", "text"), ("chat", "line 1")]:
            result = run_client(command, "--server", self.server.grpc, text=False, input=b"caf\xe9")
            self.assert_usage(result, name, "byte 3")
        self.assert_usage(run_client("score", "-c", "x", text=False, input=b"caf\xe9"), "context",
                          "byte 3")


class OutputTest(ClientTest):
    COMMANDS = [["models"], ["models", "--json"], ["status"], ["health"], ["tokenize", "a"],
                ["detokenize", "5"], ["generate", "a", "--max-tokens", "2"], ["log-level"],
                ["generate", "a", "--max-tokens", "2", "--json"], ["score", "a", "-c", "b"],
                ["score", "--file", "-"], ["generate", "--file", "-"], ["experts", "--help"],
                ["--help"], ["--version"], ["completion"]]

    def test_lost_output_is_an_error(self):
        for command in self.COMMANDS:
            with self.subTest(command=command), open("/dev/full", "wb") as full:
                result = run_client(*command, stdout=full, input="abc\n",
                                    environment={"PEERAGE_SERVER": self.server.grpc})
                self.assertEqual(result.returncode, 1)
                self.assertEqual(result.stderr.splitlines()[-1],
                                 f"peerage: standard output: {os.strerror(errno.ENOSPC)}")

    def test_so_is_output_that_is_closed(self):
        for command in ["models", "models --json"]:
            result = subprocess.run(["sh", "-c", f"{BIN / 'peerage'} {command} >&-"],
                                    env={"PEERAGE_SERVER": self.server.grpc}, check=False,
                                    capture_output=True, text=True, timeout=LIMIT_SECONDS)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stderr,
                             f"peerage: standard output: {os.strerror(errno.EBADF)}\n")

    def test_a_long_answer_ends_when_nobody_reads_it(self):
        with open("/dev/full", "wb") as full:
            result = run_client("generate", "a", "--max-tokens", "100", "--ignore-eos",
                                "--server", self.server.grpc, stdout=full)
        self.assertEqual(result.returncode, 1)
        stream = self.server.start("experts", "--watch", "1")
        stream.stdout.readline()
        stream.stdout.close()
        self.assertEqual(stream.wait(LIMIT_SECONDS), -signal.SIGPIPE)
        self.assertEqual(stream.stderr.read(), b"")
        stream.stderr.close()

    def test_files_that_cannot_be_written_are_an_error(self):
        result = self.server.run("experts", "--npy", "/dev/full")
        self.assertEqual(result.returncode, 1)
        self.assertIn("/dev/full", result.stderr)


class HiddenStatesTest(ClientTest):

    def rows(self, *arguments):
        path = self.folder / "rows.npy"
        self.run_ok(*arguments, "--npy", str(path))
        return np.load(path)

    def test_a_generation_and_the_score_of_it_have_the_same_rows(self):
        options = ["--hidden-states", "0,1,2", "--positions", "all"]
        answer = self.json("generate", TEXT, "--max-tokens", "6", "--seed", "3", "--ignore-eos")
        generated = self.rows("generate", TEXT, "--max-tokens", "6", "--seed", "3", "--ignore-eos",
                              *options)
        prompt = answer["usage"]["prompt_tokens"]
        self.assertEqual(generated["position"].tolist(), 3 * [*range(prompt)] + 3 * [*range(prompt, prompt + 5)])
        self.assertEqual(np.unique(generated["part"]).tolist(), [-1, 0])
        self.assertTrue(np.isfinite(generated["values"]).all())
        ids = ",".join(map(str, answer["candidates"][0]["token_ids"]))
        scored = self.rows("score", TEXT, "--continuation-ids", ids, *options)
        self.assertEqual(scored.tobytes(), generated.tobytes())

    def test_json_has_them_as_base64(self):
        answer = self.json("generate", TEXT, "--max-tokens", "3", "--temperature", "0",
                           "--hidden-states", "2,1", "--positions", "0,1")
        rows = self.rows("generate", TEXT, "--max-tokens", "3", "--temperature", "0",
                         "--hidden-states", "2,1", "--positions", "0,1")
        for states, layer in zip(answer["hidden_states"], (1, 2), strict=True):
            self.assertEqual((states["layer"], states["positions"]), (layer, [0, 1]))
            self.assertEqual(base64.b64decode(states["values"]),
                             rows["values"][rows["layer"] == layer].tobytes())

    def test_each_candidate_has_its_own(self):
        rows = self.rows("generate", TEXT, "--max-tokens", "4", "--seed", "1", "--candidates", "3",
                         "--ignore-eos", "--hidden-states", "1", "--positions", "generated")
        self.assertEqual(rows["part"].tolist(), 3 * [0] + 3 * [1] + 3 * [2])

    def test_what_cannot_be_asked_is_refused(self):
        for arguments in (["--file", "-"], ["x", "--positions", "0"]):
            result = self.server.run("generate", *arguments, *(
                ["--hidden-states", "1", "--npy", "x"] if "--file" in arguments else []))
            self.assert_usage(result, "--hidden-states")
        result = self.server.run("generate", TEXT, "--hidden-states", "999", "--json")
        self.assertEqual(result.returncode, 1)
        self.assertIn("hidden_states.layers[0]", result.stderr)


class CommandLineTest(ClientTest):

    def test_says_what_was_probably_meant(self):
        for arguments, line in [
                (["genrate", "x"], 'unknown command "genrate"; did you mean generate?'),
                (["generate", "x", "--temprature", "1"],
                 "unknown option --temprature; did you mean --temperature?"),
                (["generate", "x", "y"], 'one argument too many: "y"'),
                ([], "which command? `peerage --help` lists them"),
                (["generate", "x", "--seed", "-1"], '--seed is "-1"'),
                (["generate", "x", "--seed", "18446744073709551616"], "--seed is"),
                (["generate", "x", "--seed", ""], '--seed is ""'),
                (["generate", "x", "--temperature", "nan"], '--temperature is "nan"'),
                (["generate", "x", "--seed"], "--seed needs a value"),
                (["experts", "--layer", "-1"], '--layer is "-1"'),
                (["score", "x"], "--continuation is missing"),
                (["chat", "--json"], "--json is not for this command"),
                (["log-level", "loud"], "not one of debug, info, warn, error, off"),
                (["status", "--server", "http://127.0.0.1:1"], "it is HOST:PORT, not a URL"),
                (["status", "--server", ""], "it is HOST:PORT"),
                (["status", "--timeout", "1x"], "--timeout is")]:
            with self.subTest(arguments=arguments):
                self.assert_usage(run_client(*arguments), line)

    def test_takes_shared_options_before_and_behind_the_command(self):
        for arguments in [["--server", self.server.grpc, "--json", "models"],
                          ["models", "--json", "--server", self.server.grpc]]:
            result = run_client(*arguments)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(json.loads(result.stdout)["models"][0]["name"], self.server.model)
        result = run_client("generate", "models", "--max-tokens", "1", "--server", self.server.grpc)
        self.assertEqual(result.returncode, 0, result.stderr)  # a prompt that is a command's name

    def test_watches_every_so_often_without_a_value(self):
        stream = self.server.start("experts", "--watch", "--json")
        self.assertIn("layers", json.loads(stream.stdout.readline()))
        stream.send_signal(signal.SIGINT)
        stream.communicate(timeout=LIMIT_SECONDS)
        self.assertEqual(stream.returncode, 130)

    def test_says_what_to_try_when_nobody_answers(self):
        result = run_client("status", "--server", "127.0.0.1:1")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr, "peerage: UNAVAILABLE: no answer from 127.0.0.1:1 "
                         "(Connection refused): is peerage-server running there? --server or "
                         "PEERAGE_SERVER names another\n")

    def test_asks_no_proxy_for_this_machine(self):
        for variable in ("http_proxy", "grpc_proxy", "https_proxy"):
            result = run_client("status", environment={"PEERAGE_SERVER": self.server.grpc,
                                                       variable: "http://127.0.0.1:1"})
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(result.stderr, "")

    def test_says_errors_once_and_in_the_options_words(self):
        for option, value in [("--temperature", "11"), ("--top-p", "2"), ("--candidates", "99"),
                              ("--max-tokens", "999999999"), ("--logprobs", "99")]:
            for output in [], ["--json"]:
                result = self.server.run("generate", "x", option, value, *output)
                self.assertEqual(result.returncode, 1)
                self.assertEqual(result.stderr.count(option), 1, result.stderr)
                self.assertNotRegex(result.stderr, r"sampling|stopping|request\.|_tokens|top_p")
        empty = self.server.run("score", "x", "-c", "a", "-c", "")
        self.assertIn("the continuation (2.)", empty.stderr)


class CompletionTest(unittest.TestCase):

    @staticmethod
    def options_of(*command):
        """The long options that --help lists."""
        return set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*)(?=[ ,\n])", "\n".join(
            re.split("   *", line[2:])[0] if line.startswith("  -") else "" for line in
            run_client(*command, "--help").stdout.splitlines()) + "\n"))

    def offers(self, *words):
        script = f"""source <({BIN / 'peerage'} completion); compopt() {{ :; }}
COMP_WORDS=(peerage {' '.join(words)} ''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
[ "$0" = -- ] && COMP_WORDS[COMP_CWORD]=--
_peerage_completion; printf '%s\\n' "${{COMPREPLY[@]}}" """
        result = subprocess.run(["bash", "-c", script, *(["--"] if len(words) else ["x"])],
                                capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS)
        return set(result.stdout.split())

    def test_offers_every_command_and_option_that_help_lists(self):
        text = run_client("--help").stdout
        commands = re.findall(r"^  ([a-z-]+) ", text[text.index("Commands:"):], re.MULTILINE)
        self.assertGreater(len(commands), 9)
        self.assertLessEqual(set(commands), self.offers())
        for command in commands:
            options = self.options_of(command)
            self.assertIn("--server", options)
            self.assertEqual({word for word in self.offers(command) if word != "--version"}, options)


class ChatServerTest(ClientTest):
    """With the demo's model, too, which chats."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.chat_server = cls.enterClassContext(Server())


class ChatTest(ChatServerTest):

    def chat(self, *arguments, text_in):
        return subprocess.run([BIN / "peerage", "chat", "--server", self.chat_server.grpc,
                               "--temperature", "0", *arguments], input=text_in, env={}, text=True,
                              capture_output=True, timeout=LIMIT_SECONDS, check=False)

    def test_remembers_the_conversation_until_reset(self):
        turns = ["Name a river.", "And another one?"]
        options = ["--max-tokens", "16", "--system", "Answer in one word."]
        result = self.chat(*options, text_in="\n".join(turns) + "\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        messages = [{"role": "system", "content": options[-1]}]
        answers = []
        for turn in turns:
            messages.append({"role": "user", "content": turn})
            answer = self.chat_server.run(
                "generate", "--file", "-", "--json", "--temperature", "0", *options[:2],
                text_in=json.dumps({"messages": messages}))
            self.assertEqual(answer.returncode, 0, answer.stderr)
            answers.append(json.loads(answer.stdout)["candidates"][0]["text"])
            messages.append({"role": "assistant", "content": answers[-1]})
        self.assertEqual(result.stdout, "".join(answer.rstrip("\n") + "\n" for answer in answers))
        forgot = self.chat(*options, text_in="\n/reset\n".join(turns) + "\n/quit\nx\n")
        alone = self.chat(*options, text_in=turns[1])
        self.assertEqual(forgot.stdout, answers[0].rstrip("\n") + "\n" + alone.stdout)
        self.assertNotEqual(forgot.stdout, result.stdout)

    def test_ends_without_a_terminal_when_a_call_fails(self):
        result = self.chat("--top-p", "7", text_in="a\nb\n")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr.count("--top-p"), 1)


class TerminalTest(ChatServerTest):

    def setUp(self):
        self.terminal, user = pty.openpty()
        self.addCleanup(os.close, self.terminal)
        self.shown = b""
        self.process = None
        self.user = user

    def start(self, *arguments):
        self.process = subprocess.Popen(
            [BIN / "peerage", *arguments, "--server", self.chat_server.grpc], env={},
            stdin=self.user, stdout=self.user, stderr=self.user, start_new_session=True,
            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0))
        os.close(self.user)
        self.addCleanup(self.process.wait, LIMIT_SECONDS)
        self.addCleanup(lambda: self.process.poll() is None and self.process.kill())

    def read_until(self, part):
        """What the terminal shows, up to this; the rest is kept."""
        selector = selectors.DefaultSelector()
        selector.register(self.terminal, selectors.EVENT_READ)
        while part not in self.shown:
            self.assertTrue(selector.select(LIMIT_SECONDS), self.shown)
            try:
                self.shown += os.read(self.terminal, 4096)
            except OSError:  # the program ended
                self.fail(f"no {part} in {self.shown}")
        before, _, self.shown = self.shown.partition(part)
        return before

    def type(self, keys):
        os.write(self.terminal, keys)

    def test_control_c_stops_the_answer_and_control_d_ends(self):
        self.start("chat", "--max-tokens", "1500", "--ignore-eos")
        self.read_until(b"> ")
        self.type(b"\x03")  # nothing to stop: says how to end
        self.read_until(b"/quit")
        self.read_until(b"> ")
        self.type(b"Tell me a long story.\n")
        self.read_until(b"story.\r\n")
        self.read_until(b" ")  # it began to answer
        self.type(b"\x03")
        self.read_until(b"(stopped)")
        self.read_until(b"> ")
        self.type(b"\x04")
        self.assertEqual(self.process.wait(LIMIT_SECONDS), 0)

    def test_an_answer_that_was_cut_off_says_so(self):
        self.start("generate", "Once upon a time", "--max-tokens", "3", "--ignore-eos")
        self.read_until(b"ended: cut off at --max-tokens")
        self.assertEqual(self.process.wait(LIMIT_SECONDS), 0)

    def test_a_file_has_a_progress_bar(self):
        self.start("score", "--file", self.file("texts", "one\ntwo\n"))
        self.read_until(b"100 % of 2 lines")
        self.read_until(b" all ")
        self.assertEqual(self.process.wait(LIMIT_SECONDS), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
