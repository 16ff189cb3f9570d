#!/usr/bin/env python3
"""peerage-server and peerage as their users meet them, with a real model."""

import json
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

from server_process import LIMIT_SECONDS, MODEL, Server, run_server_to_its_end

SMALL_MODEL = pathlib.Path(__file__).resolve().parents[1] / "golden/models/llama_tied"
LONG = ["--max-tokens", "1500", "--ignore-eos", "--temperature", "0"]


def start_long_stream(server):
    """A `peerage generate` that has begun to print and does not end soon."""
    stream = server.start("generate", "Once upon a time", *LONG)
    if not stream.stdout.read(1):
        raise AssertionError(stream.communicate(timeout=LIMIT_SECONDS))
    return stream


def terminate_and_see_draining(server):
    server.terminate()
    while server.get("/readyz")[0] == 200:
        pass


class StartTest(unittest.TestCase):

    def assert_refused(self, result, *parts):
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(result.stdout, "")
        last = result.stderr.splitlines()[-1]
        self.assertTrue(last.startswith("peerage-server: "), result.stderr)
        for part in parts:
            self.assertIn(part, last)

    def test_prints_the_ready_line_exactly_once_and_ends_cleanly(self):
        with Server("--model-name", "smol") as server:
            self.assertEqual(server.model, "smol")
            self.assertNotIn(":0", server.grpc[-2:])
            server.terminate()
            rest = server.process.stdout.read()
            self.assertEqual(server.wait(), 0)
            self.assertEqual(rest, "")

    def test_refuses_bad_options_with_one_line(self):
        for options, parts in [
                ([], ["--model"]),
                (["--model", MODEL, "--threads", "0"], ["--threads", "1..1024"]),
                (["--model", MODEL, "--thread", "1"], ["--thread"]),
                (["--model", MODEL, "--device", "cuda:0"], ["--device", "CUDA"]),
                (["--model", "/nowhere/model.gguf"], ["/nowhere/model.gguf"]),
                (["--model", MODEL, "--kv-cache-mib", "16000000"], ["KV cache", "available"]),
                (["--model", MODEL, "--config", "/nowhere.toml"], ["--config", "/nowhere.toml"]),
        ]:
            with self.subTest(options=options):
                ports = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]
                self.assert_refused(run_server_to_its_end(*options, *ports), *parts)

    def test_names_the_model_and_the_file_that_it_refuses(self):
        tokenizer = json.loads((SMALL_MODEL / "tokenizer.json").read_text())
        for name, content, part in [
                ("config.json", "{", "not valid JSON"),
                ("model.safetensors", "", "is an empty file"),
                ("tokenizer.json", "{", "not valid JSON"),
                ("tokenizer.json", json.dumps(tokenizer | {"normalizer": {"type": "NFC"}}), "NFC"),
                ("tokenizer_config.json", '{"bos_token": "<no>"}', "<no>"),
                ("generation_config.json", '{"eos_token_id": -1}', "eos_token_id"),
        ]:
            with self.subTest(name=name), tempfile.TemporaryDirectory() as folder:
                model = shutil.copytree(SMALL_MODEL, pathlib.Path(folder) / "model")
                (model / name).write_text(content)
                result = run_server_to_its_end(
                    "--model", str(model), "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0")
                self.assert_refused(result, str(model), name, part)

    def test_refuses_a_variable_out_of_range_by_name(self):
        self.assert_refused(
            run_server_to_its_end("--model", MODEL, environment={"PEERAGE_MAX_SEQUENCES": "0"}),
            "PEERAGE_MAX_SEQUENCES")

    def test_refuses_a_port_in_use(self):
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            address = f"127.0.0.1:{busy.getsockname()[1]}"
            for option, other in [("--listen", "--admin-listen"), ("--admin-listen", "--listen")]:
                with self.subTest(option=option):
                    self.assert_refused(
                        run_server_to_its_end("--model", MODEL, option, address, other,
                                              "127.0.0.1:0"), option, address)

    def test_refuses_a_port_of_another_server(self):
        with Server() as server:
            for option, address in [("--listen", server.grpc), ("--admin-listen", server.admin)]:
                other = "--admin-listen" if option == "--listen" else "--listen"
                with self.subTest(option=option):
                    self.assert_refused(
                        run_server_to_its_end("--model", MODEL, option, address, other,
                                              "127.0.0.1:0"), option, address)

    def test_prints_its_configuration_help_and_version(self):
        result = run_server_to_its_end("--model", MODEL, "--print-config", "--threads", "3")
        self.assertEqual(result.returncode, 0)
        self.assertIn("threads = 3\n", result.stdout)
        self.assertEqual(run_server_to_its_end("--help").returncode, 0)
        self.assertRegex(run_server_to_its_end("--version").stdout, r"^peerage-server \d+\.\d+")


class IdleTest(unittest.TestCase):

    def test_sleeps_while_nothing_happens(self):
        """Its threads neither look again and again (wake-ups) nor spin (processor time).

        Processor time alone would not do: it is counted in ticks of 10 ms, and a wake-up costs a tenth as much
        on one machine as on another. A poll every 10 ms would be 100 wake-ups a second; 17 are gRPC's and ours.
        """
        with Server() as server:
            self.assertEqual(server.run("generate", "Hello", "--max-tokens", "8").returncode, 0)
            begin, wake_ups, busy = time.monotonic(), server.wake_ups(), server.cpu_seconds()
            with self.assertRaises(subprocess.TimeoutExpired):  # nothing happens
                server.process.wait(2)
            wake_ups, busy = server.wake_ups() - wake_ups, server.cpu_seconds() - busy
            seconds = time.monotonic() - begin
            self.assertLess(wake_ups, 50 * seconds)
            self.assertLess(busy, 0.1 * seconds)


class DrainTest(unittest.TestCase):

    def test_finishes_a_running_stream_before_it_ends(self):
        with Server() as server:
            stream = server.start("generate", "Once upon a time", "--max-tokens", "200",
                                  "--ignore-eos", "--temperature", "0")
            self.assertTrue(stream.stdout.read(1))  # it runs
            server.terminate()
            text, errors = stream.communicate(timeout=LIMIT_SECONDS)
            self.assertEqual(stream.returncode, 0, errors)
            self.assertGreater(len(text), 200)
            self.assertEqual(server.wait(), 0)

    def test_is_not_ready_and_takes_nothing_while_it_drains(self):
        with Server() as server:
            stream = start_long_stream(server)
            terminate_and_see_draining(server)
            self.assertEqual(server.get("/readyz")[0], 503)
            self.assertEqual(server.get("/healthz")[0], 200)
            refused = server.run("generate", "x")
            self.assertEqual(refused.returncode, 1)
            self.assertIn("UNAVAILABLE", refused.stderr)
            self.assertEqual(server.run("health", "--service", server.model).returncode, 1)
            stream.send_signal(signal.SIGINT)
            stream.communicate(timeout=LIMIT_SECONDS)
            self.assertEqual(server.wait(), 0)

    def test_gives_a_stream_up_after_the_drain_timeout(self):
        with Server("--drain-timeout", "100ms") as server:
            stream = start_long_stream(server)
            server.terminate()
            _, errors = stream.communicate(timeout=LIMIT_SECONDS)
            self.assertEqual(stream.returncode, 1)
            self.assertIn(b"UNAVAILABLE", errors)
            self.assertEqual(server.wait(), 0)

    def test_ends_at_once_at_a_second_signal(self):
        with Server() as server:
            stream = start_long_stream(server)
            terminate_and_see_draining(server)
            server.terminate()
            self.assertEqual(server.wait(), 128 + signal.SIGTERM)
            stream.communicate(timeout=LIMIT_SECONDS)
            self.assertEqual(stream.returncode, 1)


class ExpertsOfAMixtureTest(unittest.TestCase):
    """`peerage experts` with a mixture whose experts have names, one of them hostile."""

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        shutil.copytree(SMALL_MODEL.parent / "mixture_bam_layers", folder / "bam")
        config = json.loads((folder / "bam" / "config.json").read_text())
        config["attention"]["expert_names"] = ["base", "law", "maths", "b\n\x1b[31mRED"]
        config["ffn"][1]["expert_names"] = ["base", "law", "b\n\x1b[31mRED"]
        (folder / "bam" / "config.json").write_text(json.dumps(config))
        cls.folder = folder
        cls.server = cls.enterClassContext(Server(model=folder / "bam"))
        cls.trace = cls.run_ok("score", "abc", "-c", "defghi", "--trace", "summary")

    @classmethod
    def run_ok(cls, *arguments):
        result = cls.server.run(*arguments)
        if result.returncode != 0:
            raise AssertionError(result.stderr)
        return result.stdout

    def test_never_prints_a_name_that_a_terminal_would_obey(self):
        for text in (self.trace, self.run_ok("experts"), self.run_ok("experts", "--layer", "1")):
            self.assertNotIn("\x1b", text)
            self.assertIn(r"b\n\x1b[31mRED", text)

    def test_labels_the_shares_of_a_trace(self):
        self.assertRegex(self.trace, r"in \d+ selections, effectively \d\.\d\d; "
                                     r"largest shares of the scores: ")

    def test_filters_by_kind(self):
        rows = self.run_ok("experts", "--kind", "mixture_attention").splitlines()
        self.assertTrue(any("mixture_attention" in row for row in rows))
        self.assertFalse(any("mixture_ffn" in row for row in rows))
        layers = json.loads(self.run_ok("experts", "--kind", "mixture_ffn", "--json"))["layers"]
        self.assertEqual({layer["kind"] for layer in layers}, {"mixture_ffn"})
        self.assertEqual(self.server.run("experts", "--kind", "peer").returncode, 1)

    def test_takes_the_kind_that_a_layer_has(self):
        self.assertIn("layer 1 (mixture_ffn)", self.run_ok("experts", "--layer", "1"))
        for arguments, message in [(["--layer", "0"], "mixture_attention and mixture_ffn"),
                                   (["--layer", "0", "--kind", "peer"],
                                    "it has mixture_attention and mixture_ffn"),
                                   (["--layer", "9"], "0-2")]:
            result = self.server.run("experts", *arguments)
            self.assertEqual(result.returncode, 1)
            self.assertIn(message, result.stderr)

    def test_counts_every_expert_in_json(self):
        usage = json.loads(self.run_ok("experts", "--layer", "1", "--json"))
        self.assertEqual({expert["id"] for expert in usage["experts"]}, {0, 1, 2})
        self.assertIn("b\n\x1b[31mRED", [expert["name"] for expert in usage["experts"]])
        self.assertEqual(sum(expert["selections"] for expert in usage["experts"]),
                         usage["selections"])

    def test_has_in_json_what_the_table_has(self):
        layers = json.loads(self.run_ok("experts", "--json"))["layers"]
        for layer in layers:
            shares = [expert["share_of_scores"] for expert in layer["experts"]]
            self.assertAlmostEqual(sum(shares), 1)
            row = next(row for row in self.run_ok("experts").splitlines()
                       if row.split()[:2] == [str(layer["layer"]), layer["kind"]])
            self.assertTrue(row.endswith("  ".join(f"{share:6.1%}".replace("%", " %")
                                                    for share in shares).strip().split("  ")[-1]), row)

    def test_draws_layers_and_experts(self):
        for arguments in [], ["--layer", "1"], ["--kind", "mixture_ffn"]:
            picture = self.folder / "map.png"
            run = self.server.run("experts", "--png", picture, *arguments)
            self.assertEqual(run.returncode, 0, run.stderr)
            png = picture.read_bytes()
            self.assertEqual(png[:4], b"\x89PNG")
            width, height = struct.unpack(">II", png[16:24])
            what = "layer 1, mixture_ffn" if "--layer" in arguments else r"\d layers"
            self.assertRegex(run.stderr,
                             f"^wrote {picture}: {what}, {width} x {height} pixels\n$")
            self.run_ok("experts", "--png", picture, "--scale", "2", *arguments)
            twice = struct.unpack(">II", picture.read_bytes()[16:24])
            self.assertAlmostEqual(twice[0], 2 * width, delta=20)
            picture.unlink()
        refused = self.server.run("experts", "--watch", "1", "--png", self.folder / "map.png")
        self.assertEqual(refused.returncode, 2)


class CommandTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server("--model-name", "smol"))

    def run_ok(self, *arguments, **keywords):
        result = self.server.run(*arguments, **keywords)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_generates_the_same_text_streamed_and_as_json(self):
        options = ["The capital of France is", "--max-tokens", "8", "--temperature", "0"]
        text = self.run_ok("generate", *options)
        answer = json.loads(self.run_ok("generate", *options, "--json"))
        self.assertIn("Paris", text)
        self.assertEqual(answer["candidates"][0]["text"].rstrip("\n") + "\n", text)
        self.assertEqual(answer["usage"]["completion_tokens"], 8)

    def test_reads_the_prompt_from_standard_input(self):
        options = ["--max-tokens", "8", "--temperature", "0"]
        self.assertEqual(self.run_ok("generate", "One, two,", *options),
                         self.run_ok("generate", *options, text_in="One, two,\n"))

    def test_chats(self):
        text = self.run_ok("generate", "--chat", "--system", "Answer in one word.",
                           "What is the capital of France?", "--max-tokens", "16",
                           "--temperature", "0")
        self.assertIn("Paris", text)

    def test_prints_several_candidates_one_after_the_other(self):
        lines = self.run_ok("generate", "Hello", "--candidates", "3", "--seed", "1",
                            "--max-tokens", "4", "--stop", "\n")
        for index in range(3):
            self.assertIn(f"[{index}] ", lines)

    def test_prints_log_probabilities_of_every_token(self):
        text = self.run_ok("generate", "Hello", "--max-tokens", "4", "--ignore-eos",
                           "--temperature", "0", "--logprobs", "2")
        rows = text[text.index("logprob"):].splitlines()[1:]
        self.assertEqual(len(rows), 4)

    def test_scores_continuations_in_a_table(self):
        options = ["The capital of France is", "-c", " Paris", "--continuation", " a banana"]
        header, paris, banana = self.run_ok("score", *options).splitlines()
        self.assertEqual(header.split()[-1], "text")
        self.assertTrue(paris.endswith('" Paris"') and banana.endswith('" a banana"'))
        self.assertGreater(float(paris.split()[0]), float(banana.split()[0]))
        scores = json.loads(self.run_ok("score", *options, "--json"))["scores"]
        self.assertAlmostEqual(scores[0]["logprob"], float(paris.split()[0]), places=3)

    def test_takes_one_word_for_each_repeatable_flag(self):
        rows = self.run_ok("score", "-c", "[a, b]", "-c", "c", "the context").splitlines()[1:]
        self.assertEqual([row.split("  ")[-1] for row in rows], ['"[a, b]"', '"c"'])
        stops = ["--stop", "one", "--stop", "two"]
        self.assertEqual(self.server.run("generate", *stops, "prompt", "extra").returncode, 2)

    def test_tokenizes(self):
        rows = self.run_ok("tokenize", "Hello <|im_start|>\n").splitlines()
        self.assertEqual(rows[1].split()[1], '"Hello"')
        self.assertEqual(rows[-1].split()[1], '"\\n"')
        answer = json.loads(self.run_ok("tokenize", "Hello <|im_start|>\n", "--json"))
        self.assertEqual(len(answer["token_ids"]), len(rows) - 1)

    def test_lists_models(self):
        header, row = self.run_ok("models").splitlines()
        self.assertTrue(header.startswith("name"))
        self.assertTrue(row.startswith("smol"))
        model = json.loads(self.run_ok("models", "--json"))["models"][0]
        self.assertEqual(model["name"], "smol")
        self.assertEqual(len(model["fingerprint"]), 64)

    def test_shows_the_status(self):
        self.assertIn("cpu", self.run_ok("status"))
        self.assertEqual(len(json.loads(self.run_ok("status", "--json"))["workers"]), 1)

    def test_checks_health(self):
        self.assertEqual(self.run_ok("health"), "SERVING\n")
        self.assertEqual(self.run_ok("health", "--service", "smol", "--quiet"), "")
        unknown = self.server.run("health", "--service", "other", "--quiet")
        self.assertEqual((unknown.returncode, unknown.stdout, unknown.stderr), (1, "", ""))

    def test_explains_a_refused_field_in_one_line(self):
        result = self.server.run("generate", "x", "--top-p", "2")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(len(result.stderr.splitlines()), 1)
        self.assertIn("INVALID_ARGUMENT", result.stderr)
        self.assertEqual(result.stderr.count("--top-p"), 1)
        self.assertNotIn("top_p", result.stderr)

    def test_tells_wrong_usage_from_failed_calls(self):
        for arguments in [["generate", "x", "--top-k", "many"], ["score", "x"], ["models", "--x"]]:
            self.assertEqual(self.server.run(*arguments).returncode, 2, arguments)

    def test_ends_a_call_at_its_time_limit(self):
        result = self.server.run("generate", "Once", *LONG, "--timeout", "300ms")
        self.assertEqual(result.returncode, 1)
        self.assertIn("DEADLINE_EXCEEDED", result.stderr)

    def test_cancels_the_call_at_control_c(self):
        stream = start_long_stream(self.server)
        stream.send_signal(signal.SIGINT)
        stream.communicate(timeout=LIMIT_SECONDS)
        self.assertEqual(stream.returncode, 130)
        # The server let go of it.
        while json.loads(self.run_ok("status", "--json"))["requests_running"] != 0:
            pass

    def test_serves_its_admin_port(self):
        self.run_ok("generate", "x", "--max-tokens", "2")
        self.assertEqual(self.server.get("/healthz"), (200, "ok\n"))
        self.assertEqual(self.server.get("/readyz")[0], 200)
        self.assertEqual(self.server.get("/")[0], 404)
        status, metrics = self.server.get("/metrics")
        self.assertEqual(status, 200)
        self.assertRegex(metrics,
                         r'peerage_requests_total\{model_name="smol",code="OK",method="generate"\} [1-9]')
        self.assertRegex(metrics, r'peerage_model_info\{.*model_name="smol".*\} 1')
        self.assertRegex(metrics, r'peerage_step_seconds_count\{model_name="smol",phase="decode"\} [1-9]')
        self.assertRegex(metrics, r'peerage_memory_planned_bytes\{.*part="weights"\} [1-9]')
        self.assertRegex(metrics, r'process_resident_memory_bytes\{model_name="smol"\} [1-9]')


if __name__ == "__main__":
    unittest.main(verbosity=2)
