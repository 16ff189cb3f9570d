"""Dashboards and alerts: their files, and every query of theirs against a live Prometheus."""

import concurrent.futures
import importlib.util
import json
import math
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
import urllib.parse
import urllib.request

import grpc

import stubs
from server_process import LIMIT_SECONDS, MODEL, Server

stubs.load_stubs()
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
GOLDEN = ROOT / "tests/golden/models"
SCRAPES = 25  # of a second each: the figures of experts are 15 seconds old at most


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generator = load(DEPLOY / "grafana/dashboards.py")
rules_tests = load(DEPLOY / "prometheus/make_rules_test.py")
RULES = (DEPLOY / "prometheus/rules.yml").read_text()


def boards():
    return [json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))]


def panels():
    """(board, panel) of all panels that show something."""
    return [(board["title"], panel) for board in boards() for panel in board["panels"]
            if panel["type"] != "row"]


def rule_expressions():
    """Expressions of rules.yml, in its order."""
    inline = re.findall(r"expr: ([^|\n].*)", RULES)
    blocks = re.findall(r"expr: \|\n((?: {10,}.*\n)+)", RULES)
    return inline + blocks


class FilesTest(unittest.TestCase):

    def test_are_what_their_generators_write(self):
        for command in ("grafana/dashboards.py", "prometheus/make_rules_test.py"):
            subprocess.run(["python3", DEPLOY / command, "--check"], check=True)
        self.assertEqual(len(boards()), len(generator.BOARDS))

    def test_panels_lie_on_the_grid_side_by_side(self):
        for board in boards():
            cells = set()
            for panel in board["panels"]:
                place = panel["gridPos"]
                self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
                for x in range(place["x"], place["x"] + place["w"]):
                    for y in range(place["y"], place["y"] + place["h"]):
                        self.assertNotIn((x, y), cells, panel["title"])
                        cells.add((x, y))
            ids = [panel["id"] for panel in board["panels"]]
            self.assertEqual(len(ids), len(set(ids)))

    def test_panels_tell_what_they_show(self):
        for board, panel in panels():
            where = f"{board}: {panel['title']}"
            self.assertGreater(len(panel["title"]), 2, where)
            self.assertRegex(panel["description"], r"\.$", where)
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], where)
            self.assertEqual(panel["datasource"]["uid"], "${datasource}", where)
            for target in panel.get("targets", []):
                query = target["expr"]
                if query.startswith("vector("):
                    continue
                self.assertIn('job=~"$job"', query, where)
                for window in re.findall(r"\[([^\]]+)\]", query):
                    self.assertEqual(window, "$__rate_interval", where)
                # Counters only as rates, and no division without a guard.
                for counter in re.findall(r"\w+_total\b", query):
                    self.assertRegex(query, rf"(rate|increase)\({counter}\{{", where)
                self.assertLessEqual(query.count(" / "), query.count(" > 0)"), f"{where}: {query}")

    def test_every_metric_is_documented(self):
        documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
        used = set()
        for _, panel in panels():
            for target in panel.get("targets", []):
                used |= generator.names_in(target["expr"])
        for expression in rule_expressions():
            used |= {name for name in generator.names_in(expression) if ":" not in name}
        bare = {re.sub("_(bucket|sum|count)$", "", name) if name not in documented else name
                for name in used}
        self.assertEqual(bare - documented, set())
        self.assertGreater(len(bare), 40)

    def test_every_alert_has_its_runbook_and_its_tests(self):
        alerts = re.findall(r"alert: (\w+)", RULES)
        sections = set(re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE))
        self.assertEqual(set(alerts), sections)
        anchors = re.findall(r"runbook_url: docs/runbook.md#(\w+)", RULES)
        self.assertEqual(anchors, [alert.lower() for alert in alerts])
        self.assertEqual(set(rules_tests.CASES), set(alerts))
        for alert, (_, loads) in rules_tests.CASES.items():
            self.assertEqual({fires for fires, _ in loads}, {True, False}, alert)


class Prometheus:
    """A Prometheus that scrapes these servers every second, with the rules of deploy/."""

    def __init__(self, servers):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        shutil.copy(DEPLOY / "prometheus/rules.yml", folder)
        targets = ", ".join(f'"{server.admin}"' for server in servers)
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            "rule_files: [rules.yml]\n"
            "scrape_configs:\n"
            f"  - {{job_name: peerage, static_configs: [{{targets: [{targets}]}}]}}\n")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             "--web.listen-address=127.0.0.1:0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.address = None
        while self.address is None:
            if self.process.poll() is not None:
                raise AssertionError("Prometheus did not start")
            self.address = listening_address(self.process.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(LIMIT_SECONDS)
        self.folder.cleanup()

    def query(self, expression):
        """[(labels, value)]; an error of the query is an AssertionError."""
        data = urllib.parse.urlencode({"query": expression}).encode()
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/query", data,
                                        timeout=LIMIT_SECONDS) as response:
                result = json.load(response)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return []  # it is not ready yet
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        except urllib.error.URLError:
            return []  # nor listening
        return [(sample["metric"], float(sample["value"][1])) for sample in result["result"]]


def listening_address(pid):
    """The 127.0.0.1 port that a process listens on, by its sockets' inodes."""
    inodes = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(fd))
        except OSError:
            pass
    for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            host, port = fields[1].split(":")
            return f"{socket.inet_ntoa(bytes.fromhex(host)[::-1])}:{int(port, 16)}"
    return None


def substituted(query):
    """The query as Grafana would send it for scrapes every 15 seconds, with everything chosen. Counters
    of experts, too, grow only so often."""
    for name, value in {"$__rate_interval": "1m", "$job": ".+", "$model": ".+", "$instance": ".+",
                        "$layer": ".+", "$ttft_slo": "1", "$tpot_slo": "0.1"}.items():
        query = query.replace(name, value)
    assert "$" not in query, query
    return query


# Titles of panels that this load leaves empty.
EMPTY_ON_PURPOSE = set()
# Titles of panels that may be zero: moments that this load may not be in, and what goes wrong or
# waits for a minute only in a sick server.
ZERO_ON_PURPOSE = {
    "Drift", "Drift from the total", "KV cache in use", "Our errors", "Parked streams", "Preemptions",
    "Prompt tokens that wait", "Recomputed tokens", "Running and waiting", "Tenants' gap", "Unreachable",
    "Unused beyond chance", "Waiting by reason"}
# What promtool finds in names that are a contract.
NAMES_THAT_STAY = {'peerage_expert_count non-histogram and non-summary metrics should not have '
                   '"_count" suffix'}


@unittest.skipUnless(shutil.which("prometheus"), "needs Debian's prometheus")
class LiveTest(unittest.TestCase):

    def test_rules_are_right(self):
        subprocess.run(["promtool", "check", "rules", DEPLOY / "prometheus/rules.yml"], check=True,
                       capture_output=True)
        subprocess.run(["promtool", "test", "rules", "rules_test.yml"], check=True, capture_output=True,
                       cwd=DEPLOY / "prometheus")

    def start_unread(self, server, timeout=None, queue_nanos=0, max_tokens=900):
        """A stream of large messages that nobody reads. It ends when its client gives up, after its
        time in the queue, or when the server's patience does."""
        channel = grpc.insecure_channel(server.grpc, [("grpc.http2.bdp_probe", 0)])
        self.addCleanup(channel.close)
        request = inference.GenerateStreamRequest()
        request.request.prompt.text = "In the beginning"
        request.request.output.logprobs = 20
        request.request.stopping.max_tokens = max_tokens
        request.request.stopping.ignore_eos = True
        if queue_nanos:
            request.request.scheduling.queue_timeout.nanos = queue_nanos
        return inference_pb2_grpc.InferenceServiceStub(channel).GenerateStream(request, timeout=timeout)

    def load(self, servers, prometheus):
        """Calls of every kind, until every server was scraped often enough."""
        number = 0
        unread = [self.start_unread(server) for server in servers]
        self.addCleanup(lambda: [stream.cancel() for stream in unread])
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            while True:
                scraped = prometheus.query("count_over_time(up[1h])")
                if len(scraped) == len(servers) and min(v for _, v in scraped) >= SCRAPES:
                    return
                number += 1
                calls = []
                for server in servers:
                    unread.append(self.start_unread(server, timeout=0.3))
                    unread.append(self.start_unread(server, queue_nanos=1, max_tokens=9))
                    for arguments in (["generate", f"some text {number}", "--max-tokens", "9"],
                                      ["generate", "one more", "--max-tokens", "5", "--candidates", "2"],
                                      ["score", "one", "-c", " two"],
                                      ["score", "one " * 40, "-c", " two"],
                                      ["generate", "too much", "--max-tokens", "100000000"]):
                        calls.append(pool.submit(server.run, *arguments))
                    left = self.start_unread(server, max_tokens=200)
                    next(left)  # it runs
                    left.cancel()
                for call in calls:
                    call.result()

    def test_every_query_answers(self):
        with Server("--expert-metrics", "full", model=GOLDEN / "peer_small") as peer, \
                Server("--expert-metrics", "full", model=GOLDEN / "mixture_bam_layers") as mixture, \
                Server(model=MODEL) as dense, \
                Prometheus([peer, mixture, dense]) as prometheus:
            self.load([peer, mixture, dense], prometheus)
            for server in (peer, mixture, dense):
                check = subprocess.run(["promtool", "check", "metrics"], input=server.get("/metrics")[1],
                                       text=True, capture_output=True)
                said = set(check.stderr.splitlines() + check.stdout.splitlines())
                self.assertEqual(said - NAMES_THAT_STAY, set())
            empty, nonzero, shown = set(), set(), set()
            for board, panel in panels():
                for target in panel.get("targets", []):
                    with self.subTest(board=board, panel=panel["title"], query=target["expr"]):
                        samples = prometheus.query(substituted(target["expr"]))
                        if not samples:
                            empty.add(panel["title"])
                        shown.add(panel["title"])
                        for labels, value in samples:
                            self.assertTrue(math.isfinite(value), f"{labels}: {value}")
                            if value != 0:
                                nonzero.add(panel["title"])
            self.assertEqual(empty, EMPTY_ON_PURPOSE)
            self.assertEqual(shown - nonzero - ZERO_ON_PURPOSE, set())
            self.assertEqual(ZERO_ON_PURPOSE - shown, set())
            # The load was what it should be, on each server.
            for query in ('peerage_requests_total{code="DEADLINE_EXCEEDED"}', 'peerage_requests_total{code="OK"}',
                          'peerage_requests_total{code="CANCELLED"}', 'peerage_requests_total{code="OUT_OF_RANGE"}',
                          "peerage_scored_tokens_total"):
                met = {labels["instance"] for labels, value in prometheus.query(query) if value > 0}
                self.assertEqual(met, {server.admin for server in (peer, mixture, dense)}, query)
            # The others' contexts are too short for a stream that fills what nobody reads.
            parked = prometheus.query("max_over_time(peerage_streams_parked[1h]) > 0")
            self.assertIn(dense.admin, {labels["instance"] for labels, _ in parked})
            for expression in rule_expressions():
                prometheus.query(expression)
            firing = {labels["alertname"] for labels, _ in prometheus.query("ALERTS{alertstate='firing'}")}
            self.assertEqual(firing, set())


if __name__ == "__main__":
    unittest.main()
