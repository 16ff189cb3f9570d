#!/usr/bin/env python3
"""`peerage bench` against a server: what it counts is what the server counts, and nothing that was refused is in
its latencies.

The model is small and has PEER layers, unlike the demo's dense one."""

import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import tempfile
import unittest

from server_process import LIMIT_SECONDS, Server

MODEL = pathlib.Path(__file__).resolve().parents[1] / "golden/models/peer_small"
SMALL = ["--random-input-len", "20", "--random-output-len", "8", "--random-range-ratio", "0.5"]


def value(series, name, **labels):
    return series["peerage_" + name, tuple(sorted(labels.items()))]


def ended(series):
    return sum(count for (name, _), count in series.items() if name == "peerage_requests_total")


def series_after(server, requests):
    """The series once so many requests have ended, which clients hear of a little earlier."""
    while True:
        series = server.series()
        if ended(series) >= requests:
            return series


class BenchTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server(model=MODEL))

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def bench(self, *arguments, server=None, code=0):
        result = (server or self.server).run("bench", *arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout

    def json(self, *arguments, **keywords):
        return [json.loads(line) for line in self.bench(*arguments, "--json", **keywords).splitlines()]

    def figures(self, text):
        """The lines of a block, by label."""
        return {match[1]: float(match[2]) for match in re.finditer(r"^(.{1,40}):\s+([\d.]+) *$", text, re.MULTILINE)}


class CountsTest(BenchTest):
    """Against a server that has served nobody else."""

    def setUp(self):
        super().setUp()
        self.fresh = self.enterContext(Server(model=MODEL))

    def count(self, requests):
        """What the server has counted once so many requests have ended."""
        series = series_after(self.fresh, requests)
        return lambda name, **labels: value(series, name, **labels)

    def test_are_the_servers(self):
        result, = self.json("--num-prompts", "60", "--max-concurrency", "7", *SMALL, server=self.fresh)
        self.assertEqual(result["completed"], 60)
        self.assertEqual(result["codes"], {"OK": 60})
        self.assertTrue(all(10 <= length <= 30 for length in result["input_lens"]))
        self.assertTrue(all(4 <= length <= 12 for length in result["output_lens"]))
        self.assertEqual(sum(result["input_lens"]), result["total_input_tokens"])
        self.assertEqual(sum(result["output_lens"]), result["total_output_tokens"])
        self.assertEqual(sum(result["output_tokens_by_second"]), result["total_output_tokens"])
        self.assertLessEqual(result["max_concurrent_requests"], 7)
        served = self.count(60)
        self.assertEqual(served("requests_total", method="generate", code="OK"), 60)
        self.assertEqual(served("prompt_tokens_total"), result["total_input_tokens"])
        self.assertEqual(served("generation_tokens_total"), result["total_output_tokens"])

    def test_leave_warm_up_out(self):
        result, = self.json("--num-prompts", "30", "--num-warmups", "5", "--request-rate", "200", *SMALL,
                            server=self.fresh)
        self.assertEqual(result["completed"], 30)
        self.assertGreaterEqual(result["duration"], 30 / 200)  # nothing is sent before it is due
        self.assertAlmostEqual(result["output_throughput"], result["total_output_tokens"] / result["duration"])
        served = self.count(35)
        warmed = served("prompt_tokens_total") - result["total_input_tokens"]
        self.assertTrue(5 * 10 <= warmed <= 5 * 30, warmed)

    def test_of_scores_are_the_servers(self):
        options = ["--mode", "score", "--num-prompts", "25", "--max-concurrency", "4", "--score-continuations", "3",
                   "--random-prefix-len", "10", *SMALL]
        result, = self.json(*options, server=self.fresh)
        self.assertEqual(result["items"], 75)
        self.assertTrue(all(20 <= length <= 40 for length in result["input_lens"]))
        self.assertAlmostEqual(result["item_throughput"], 75 / result["duration"])
        self.assertGreater(result["mean_e2el_ms"], 0)
        self.assertNotIn("mean_ttft_ms", result)
        served = self.count(25)
        self.assertEqual(served("requests_total", method="score", code="OK"), 25)
        self.assertEqual(served("scored_tokens_total"), result["total_output_tokens"])
        figures = self.figures(self.bench(*options))
        self.assertEqual(figures["Total scored tokens"], result["total_output_tokens"])
        self.assertGreater(figures["Item throughput (items/s)"], 0)


class ResultTest(BenchTest):

    def test_ask_the_same_of_the_same_seed(self):
        options = ["--num-prompts", "5", "--max-concurrency", "2", "--save-detailed", *SMALL]
        one, = self.json(*options)
        two, = self.json(*options)
        other, = self.json(*options, "--seed", "1")
        self.assertEqual(one["generated_texts"], two["generated_texts"])
        self.assertEqual(one["output_lens"], two["output_lens"])
        self.assertNotEqual(one["generated_texts"], other["generated_texts"])
        self.assertEqual([len(gaps) + 1 for gaps in one["itls"]], one["output_lens"])
        # All gaps and the first token make up the whole time, but for the stream's end.
        for first, gaps, whole in zip(one["ttfts"], one["itls"], one["latencies"]):
            self.assertLessEqual(first + sum(gaps), whole * 1.0001)

    def test_is_a_block_for_people(self):
        text = self.bench("--num-prompts", "10", "--max-concurrency", "2", "--goodput", "ttft:60000", "tpot:0",
                          "--percentile-metrics", "ttft,e2el", *SMALL)
        lines = text.splitlines()
        self.assertEqual(lines[0], "============ Serving Benchmark Result ============")
        self.assertEqual(lines[1], "Successful requests:                     10        ")
        self.assertEqual(lines[-1], "=" * 50)
        figures = self.figures(text)
        self.assertEqual(figures["Request goodput (req/s)"], 0)
        for label in ("Mean", "Median", "P50", "P90", "P99"):
            self.assertGreater(figures[f"{label} E2EL (ms)"], figures[f"{label} TTFT (ms)"] / 2)
        self.assertNotIn("P99 ITL (ms)", figures)

    def test_says_who_answered(self):
        result, = self.json("--num-prompts", "3", "--label", "mine", *SMALL)
        model = json.loads(self.server.run("models", "--json").stdout)["models"][0]
        self.assertEqual(result["model_id"], model["name"])
        self.assertEqual(result["model_fingerprint"], model["fingerprint"])
        self.assertEqual(result["server_version"], json.loads(self.server.run("status", "--json").stdout)["version"])
        self.assertEqual(result["label"], "mine")

    def test_is_a_line_of_a_file_for_each_load(self):
        path = self.folder / "result.json"
        options = ["--num-prompts", "6", "--result-filename", str(path), *SMALL]
        self.bench("--max-concurrency", "1,3", "--save-result", *options)
        self.bench("--max-concurrency", "3", "--append-result", *options)
        results = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual([result["max_concurrency"] for result in results], [1, 3, 3])
        self.assertEqual([result["max_concurrent_requests"] for result in results[:1]], [1])
        # A run's prompts are its own, so that no cache knows them, and another command's first run has them again.
        lengths = [result["input_lens"] for result in results]
        self.assertNotEqual(lengths[0], lengths[1])
        self.assertEqual(lengths[0], lengths[2])
        self.bench("--max-concurrency", "2", "--save-result", *options)
        self.assertEqual(len(path.read_text().splitlines()), 1)

    def test_that_cannot_be_written_is_an_error(self):
        result = self.server.run("bench", "--num-prompts", "2", "--save-result", "--result-filename",
                                 str(self.folder / "no" / "result.json"), *SMALL)
        self.assertEqual(result.returncode, 1)
        self.assertIn("cannot write", result.stderr)

    def test_has_the_experts_of_the_run(self):
        first, second = self.json("--num-prompts", "4", "--max-concurrency", "1,2", "--experts", *SMALL)
        for result in (first, second):
            layers = result["experts"]
            self.assertGreater(len(layers), 0)
            # Every token that the model was fed: all but the last of each answer, and what a cache had.
            fed = result["total_input_tokens"] - result["cached_prompt_tokens"] + result["total_output_tokens"] - 4
            self.assertEqual({layer["tokens"] for layer in layers}, {fed})

    def test_is_of_the_lines_of_a_file(self):
        path = self.folder / "prompts.jsonl"
        path.write_text('{"prompt": "Once upon a time", "output_len": 3}\n{"prompt": [1, 2, 3, 4], "output_len": 5}\n')
        result, = self.json("--dataset-name", "custom", "--dataset-path", str(path), "--num-prompts", "4",
                            "--ignore-eos")
        self.assertEqual(result["output_lens"], [3, 5, 3, 5])
        self.assertEqual(result["input_lens"][1], 4)


class SweepTest(BenchTest):

    def test_has_a_block_for_each_load_a_table_and_a_picture(self):
        picture = self.folder / "load.png"
        text = self.bench("--num-prompts", "8", "--request-rate", "50,100,200", "--png", str(picture), *SMALL)
        self.assertEqual(text.count("Serving Benchmark Result"), 3)
        rows = text.splitlines()[-3:]
        self.assertEqual([row.split()[0] for row in rows], ["50", "100", "200"])
        png = picture.read_bytes()
        self.assertEqual(png[:8], b"\x89PNG\r\n\x1a\n")
        self.assertGreater(int.from_bytes(png[20:24], "big"), 800)  # four panels, one below the other

    def test_is_compared_with_another(self):
        before, after = self.folder / "before.json", self.folder / "after.json"
        for path, length in ((before, "8"), (after, "80")):
            self.bench("--num-prompts", "60", "--max-concurrency", "1,2", "--save-result", "--result-filename",
                       str(path), "--random-input-len", "20", "--random-output-len", length)
        text = self.bench("--compare", str(before), str(after))
        self.assertRegex(text, r"1 at once  E2EL P50 ms .* worse\n")
        self.assertRegex(text, r"2 at once  E2EL P50 ms .* worse\n")
        self.assertIn("one run each", text)
        compared = json.loads(self.bench("--compare", str(before), str(after), "--json"))
        worse = [figure for figure in compared["figures"] if figure["figure"] == "E2EL P50 ms"]
        self.assertEqual([figure["verdict"] for figure in worse], ["worse", "worse"])
        self.assertGreater(worse[0]["interval"][0], 1)


class RefusalTest(BenchTest):
    FULL = ["--max-sequences", "2", "--max-queued-requests", "1"]

    def test_is_counted_by_code_and_in_no_latency(self):
        with Server(*self.FULL, model=MODEL) as server:
            result, = self.json("--num-prompts", "40", "--random-input-len", "20", "--random-output-len", "200",
                                server=server)
            refused = result["codes"]["RESOURCE_EXHAUSTED"]
            self.assertGreater(refused, 0)
            self.assertEqual(result["failed"], refused)
            self.assertEqual(result["completed"], 40 - refused)
            series = series_after(server, 40)
            self.assertEqual(value(series, "requests_total", method="generate", code="RESOURCE_EXHAUSTED"), refused)
            times = [time for time in result["latencies"] if time is not None]
            self.assertEqual(len(times), result["completed"])
            self.assertAlmostEqual(result["mean_e2el_ms"], 1e3 * sum(times) / len(times))
            self.assertEqual(result["retries"], 0)
            text = self.bench("--num-prompts", "40", "--random-input-len", "20", "--random-output-len", "200",
                              server=server)
            self.assertRegex(text, r"(?m)^\d+ not served: RESOURCE_EXHAUSTED: ")

    def test_is_tried_again_when_asked(self):
        with Server(*self.FULL, model=MODEL) as server:
            result, = self.json("--num-prompts", "20", "--retries", "1000", *SMALL, server=server)
            self.assertEqual(result["codes"], {"OK": 20})
            self.assertGreater(result["retries"], 0)
            series = series_after(server, 20 + result["retries"])
            self.assertEqual(value(series, "requests_total", method="generate", code="RESOURCE_EXHAUSTED"),
                             result["retries"])

    def test_of_all_ends_with_1(self):
        path = self.folder / "prompts.jsonl"
        path.write_text(json.dumps({"prompt": [999999], "output_len": 3}) + "\n")
        text = self.bench("--dataset-name", "custom", "--dataset-path", str(path), code=1)
        self.assertEqual(self.figures(text)["Failed requests"], 1)
        self.assertIn("1 not served: INVALID_ARGUMENT: ", text)

    def test_of_deadlines_is_counted(self):
        # Far more than a fraction of a second's work.
        result, = self.json("--num-prompts", "100", "--timeout", "300ms", "--random-input-len", "100",
                            "--random-output-len", "900", code=1)
        self.assertEqual(result["codes"], {"DEADLINE_EXCEEDED": 100})
        self.assertEqual(result["mean_e2el_ms"], 0)


class UsageTest(BenchTest):

    def assert_usage(self, *arguments, says):
        result = self.server.run("bench", *arguments)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn(says, result.stderr)

    def test_names_the_option_that_is_wrong(self):
        before = ended(self.server.series())
        for arguments, says in [
                (["--request-rate", "0"], "--request-rate"),
                (["--goodput", "x:5"], "--goodput"),
                (["--max-concurrency", "1,2", "--request-rate", "1,2"], "--max-concurrency"),
                (["--metric-percentiles", "99,"], "--metric-percentiles"),
                (["--percentile-metrics", "tpto"], "--percentile-metrics"),
                (["--dataset-path", "x"], "--dataset-name"),
                (["--dataset-name", "custom", "--dataset-path", "/nowhere"], "--dataset-path (/nowhere)"),
                (["--max-concurency", "1"], "--max-concurrency"),
                (["--compare", "a.json"], "--compare takes two files"),
                (["--compare", "/nowhere", "/nowhere"], "--compare (/nowhere)"),
                (["--random-input-len", "1000", "--random-output-len", "100"], "--random-input-len")]:
            with self.subTest(arguments=arguments):
                self.assert_usage(*arguments, says=says)
        self.assertEqual(before, ended(self.server.series()))

    def test_has_all_options_in_the_completion(self):
        completion = self.server.run("completion").stdout
        for option in ("--request-rate", "--goodput", "--ramp-up-strategy", "--compare"):
            self.assertIn(option, completion)


class InterruptTest(BenchTest):

    def test_prints_what_there_is(self):
        before = ended(self.server.series())
        run = self.server.start("bench", "--num-prompts", "1000000", "--max-concurrency", "4", *SMALL)
        series_after(self.server, before + 20)
        run.send_signal(signal.SIGINT)
        output, errors = run.communicate(timeout=LIMIT_SECONDS)
        self.assertEqual(run.returncode, 130, errors)
        figures = self.figures(output.decode())
        completed = figures["Successful requests"]
        self.assertGreaterEqual(completed, 10)
        self.assertEqual(figures["Failed requests"], 0)
        self.assertIn(f"{1000000 - int(completed)} not made to the end", output.decode())
        self.assertIn(b"interrupted", errors)

    def test_shows_progress_on_a_terminal_only(self):
        terminal, user = pty.openpty()
        self.addCleanup(os.close, terminal)
        run = subprocess.Popen(self.server.command("bench", "--num-prompts", "1000000", "--max-concurrency", "4",
                                                   *SMALL),
                               env={}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=user)
        os.close(user)
        shown = b""
        while b"of 1000000 requests" not in shown:
            shown += os.read(terminal, 4096)
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate(timeout=LIMIT_SECONDS)
        self.assertEqual(run.returncode, 130)
        self.assertNotIn(b"[#", output)
        self.assertEqual(self.server.run("bench", "--num-prompts", "5", *SMALL).stderr, "")


if __name__ == "__main__":
    unittest.main()
