"""The expert series of real models: counted again from the traces of requests, and made ill."""

import array
import collections
import json
import math
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import unittest

import grpc
import numpy

import stubs
from server_process import LIMIT_SECONDS as TIMEOUT
from server_process import Server

stubs.load_stubs()
from peerage.v1 import experts_pb2 as experts  # noqa: E402
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests/golden/models/peer_small"
ENGLISH = (MODEL / "held_out.txt").read_text()
OTHER_LANGUAGES = [path.read_text() for path in sorted((ROOT / "tests/golden/texts").glob("languages_*.txt"))]
EXPERTS, SUB_KEYS, HEADS, TOP_K = 2304, 48, 2, 16  # of each PEER layer, as its config.json says
LAYERS = (1, 2)
RECORD_BYTES = 2 * 128 * 4  # down and up in f32, which the test asks for


def value(values, name, **labels):
    labels = {"kind": "peer"} | {k: str(v) for k, v in labels.items()}
    return values[name, tuple(sorted(labels.items()))]


def scrape_of(server, tokens):
    """A scrape whose figures were computed after so many tokens: they are 15 seconds old at most."""
    while True:
        values = server.series()
        if value(values, "peerage_expert_selections_total", layer=1) == tokens * HEADS * TOP_K:
            return values


def generate(server, prompts):
    """The picks [tokens, heads, top_k] and weights of each step, by layer, of requests one after the
    other: each has a step for its prompt, then one for each token but the last. And how many
    different experts each request used."""
    steps, distinct = {layer: [] for layer in LAYERS}, []
    with grpc.insecure_channel(server.grpc) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        for number, prompt in enumerate(prompts):
            request = inference.GenerateRequest()
            request.prompt.text = prompt
            request.sampling.seed = number
            request.stopping.max_tokens = 9
            request.output.expert_trace = experts.EXPERT_TRACE_LEVEL_FULL
            answer = stub.Generate(request, timeout=TIMEOUT)
            distinct.append(0)
            for part in answer.expert_trace.layers:
                shape = (part.tokens, HEADS, TOP_K)
                ids = numpy.frombuffer(part.expert_ids, "<u4").reshape(shape)
                weights = numpy.frombuffer(part.scores, "<f4").reshape(shape)
                distinct[-1] += len(numpy.unique(ids))
                first = answer.usage.prompt_tokens
                bounds = [0, first, *range(first + 1, part.tokens + 1)]
                steps[part.layer] += [(ids[a:b], weights[a:b]) for a, b in zip(bounds, bounds[1:])]
    return steps, distinct


def pages(text, count, length=400):
    return [text[length * i:length * (i + 1)] for i in range(count)]


def expected_unevenness(selections):
    """Of an even router, counts being about Poisson."""
    mean = selections / EXPERTS
    moment = sum(c * math.log(c) * math.exp(c * math.log(mean) - mean - math.lgamma(c + 1))
                 for c in range(2, int(mean + 20 * math.sqrt(mean) + 50)))
    return math.log(EXPERTS) - math.log(selections) + moment / mean


def unevenness(shares):
    shares = shares[shares > 0] / shares.sum()
    return math.log(EXPERTS) + float((shares * numpy.log(shares)).sum())


class FiguresTest(unittest.TestCase):
    """Equal to brute force from FULL traces."""

    def setUp(self):
        self.server = self.enterContext(Server(
            "--expert-trace", "full", "--expert-metrics", "full", "--expert-dtype", "f32", model=MODEL))

    def test_are_what_traces_say(self):
        steps, distinct = generate(self.server, pages(ENGLISH, 12))
        tokens = sum(len(ids) for ids, _ in steps[1])
        values = scrape_of(self.server, tokens)
        for layer in LAYERS:
            with self.subTest(layer=layer):
                self.check_layer(values, layer, steps[layer])
        for name in ("router_topk_mass_ratio", "router_entropy_ratio"):
            for layer in LAYERS:
                self.assertEqual(value(values, f"peerage_{name}_count", layer=layer),
                                 math.ceil(tokens / 16))

        def of_requests(suffix, **labels):
            return values[f"peerage_request_distinct_experts_{suffix}", tuple(labels.items())]
        self.assertEqual(of_requests("count"), len(distinct))
        self.assertEqual(of_requests("sum"), sum(distinct))
        for bound in (256, 1024, 4096):
            self.assertEqual(of_requests("bucket", le=str(bound)), sum(d <= bound for d in distinct))

    def check_layer(self, values, layer, steps):
        def of(name, **labels):
            return value(values, f"peerage_expert{name}", layer=layer, **labels)

        ids = numpy.concatenate([ids for ids, _ in steps])
        weights = numpy.concatenate([weights for _, weights in steps]).astype(float)
        counts = numpy.bincount(ids.ravel(), minlength=EXPERTS)
        scores = numpy.bincount(ids.ravel(), weights.ravel(), minlength=EXPERTS)
        tokens, selections = len(ids), ids.size
        distinct = sum(len(numpy.unique(picked)) for picked, _ in steps)
        self.assertEqual(of("_step_distinct_total"), distinct)
        self.assertEqual(of("_bytes_read_total"), distinct * RECORD_BYTES)
        used = numpy.count_nonzero(counts) / EXPERTS
        by_chance = 1 - (1 - TOP_K / EXPERTS) ** (tokens * HEADS)
        effective = float(weights.sum() ** 2 / (weights ** 2).sum())
        for window in ("recent", "total"):
            self.assertAlmostEqual(of("_used_ratio", window=window), used, 12)
            self.assertAlmostEqual(of("_used_expected_ratio", window=window), by_chance, 9)
            for weighting, shares, size in (("count", counts, selections), ("score", scores, effective)):
                self.assertAlmostEqual(of("_unevenness_nats", window=window, weighting=weighting),
                                       unevenness(shares), 5)
                self.assertAlmostEqual(
                    of("_unevenness_expected_nats", window=window, weighting=weighting),
                    expected_unevenness(size), 4)
            self.assertAlmostEqual(of("_effective", window=window, weighting="score"),
                                   EXPERTS * math.exp(-unevenness(scores)), 1)
            ordered = numpy.sort(counts)
            ranks = numpy.arange(1, EXPERTS + 1)
            gini = float(((2 * ranks - EXPERTS - 1) * ordered).sum() / (EXPERTS * selections))
            self.assertAlmostEqual(of("_gini", window=window), gini, 9)
            for top in (0.001, 0.01, 0.1):
                most = ordered[-math.ceil(EXPERTS * top):].sum() / selections
                self.assertAlmostEqual(of("_top_share_ratio", window=window, top=f"{top:g}"), most, 9)
        self.assertEqual(of("_drift_nats", against="total"), 0)
        self.assertEqual(of("_unused"), EXPERTS - numpy.count_nonzero(counts))
        hottest = sorted(range(EXPERTS), key=lambda i: (-counts[i], -scores[i], i))[:10]
        self.assertEqual([of("_hot_index", rank=rank) for rank in range(1, 11)], hottest)
        for rank, expert in enumerate(hottest, 1):
            self.assertAlmostEqual(of("_hot_share_ratio", rank=rank), counts[expert] / selections, 9)
        by_use = collections.Counter(int(count).bit_length() for count in counts)
        self.assertEqual(of("s_by_usage", bucket="0"), by_use[0])
        self.assertEqual(of("s_by_usage", bucket="4-7"), by_use[3])
        grid = counts.reshape(SUB_KEYS, SUB_KEYS)
        for axis, sums in (("row", grid.sum(1)), ("column", grid.sum(0))):
            for block in range(16):
                last = (block + 1) * SUB_KEYS // 16 - 1
                self.assertEqual(of(f"_{axis}_selections_bucket", le=last), sums[:last + 1].sum())
        sampled = ids[::16]
        for head in range(HEADS):
            for axis, keys in (("row", sampled[:, head] // SUB_KEYS), ("column", sampled[:, head] % SUB_KEYS)):
                picked = numpy.bincount(keys.ravel(), minlength=SUB_KEYS)
                shares = picked[picked > 0] / picked.sum()
                entropy = -float((shares * numpy.log(shares)).sum()) / math.log(SUB_KEYS)
                labels = {"layer": layer, "head": head, "axis": axis}
                self.assertAlmostEqual(value(values, "peerage_subkey_used_ratio", **labels),
                                       numpy.count_nonzero(picked) / SUB_KEYS, 9)
                self.assertAlmostEqual(value(values, "peerage_subkey_entropy_ratio", **labels), entropy, 9)


def with_changed_keys(folder, change):
    """A copy of the model whose product keys [heads, sub-keys, halves, width] of layer 1 are changed."""
    model = pathlib.Path(folder) / "peer_small"
    shutil.copytree(MODEL, model)
    path = model / "model.safetensors"
    content = bytearray(path.read_bytes())
    header_size = struct.unpack_from("<Q", content)[0]
    tensor = json.loads(content[8:8 + header_size])["model.layers.1.ffn.peer.keys"]
    begin, end = (8 + header_size + offset for offset in tensor["data_offsets"])
    keys = numpy.frombuffer(bytes(content[begin:end]), "<f2").reshape(tensor["shape"]).copy()
    change(keys)
    content[begin:end] = keys.tobytes()
    path.write_bytes(content)
    return model


class IllModelsTest(unittest.TestCase):
    """Alerts fire on what a model with a fault really exports, and on nothing of a healthy one."""

    RULES = ROOT / "deploy/prometheus/rules.yml"
    PROMPTS = pages(ENGLISH, 7, 1000)  # enough to judge: some 2,000 tokens

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def firing(self, values):
        """Alerts on experts that fire when this is what every scrape shows; counters go on growing."""
        series = []
        for (name, labels), number in values.items():
            if not name.startswith(("peerage_expert", "peerage_subkey", "peerage_router")):
                continue
            named = ",".join(f'{k}="{v}"' for k, v in labels)
            grows = name.endswith(("_total", "_count", "_bucket", "_sum")) and name != "peerage_expert_count"
            series.append((f'{name}{{job="peerage",instance="a",model_name="m",{named}}}',
                           f"{number:g}+{number:g}x60" if grows else f"{number:g}x60"))
        alerts = re.findall(r"alert: (PeerageExpert\w+|PeerageSubKey\w+|PeerageHot\w+)", self.RULES.read_text())
        # Their age is that of the clock, which a test of rules has not.
        alerts.remove("PeerageExpertStatsStale")
        test = {"rule_files": [str(self.RULES)], "evaluation_interval": "1m", "tests": [{
            "interval": "1m",
            "input_series": [{"series": name, "values": numbers} for name, numbers in series],
            "promql_expr_test": [
                {"expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing",layer="1"}}) or vector(0)',
                 "eval_time": "40m", "exp_samples": [{"labels": "{}", "value": 0}]} for alert in alerts]}]}
        path = pathlib.Path(self.folder) / "test.yml"
        path.write_text(json.dumps(test))
        said = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)
        self.assertNotIn("error", said.stderr.lower())
        return {alert for alert in alerts if alert in said.stdout + said.stderr}

    def values_of(self, model, *options, prompts=PROMPTS):
        with Server("--expert-trace", "full", "--expert-metrics", "full", *options, model=model) as server:
            steps, _ = generate(server, prompts)
            values = scrape_of(server, sum(len(ids) for ids, _ in steps[1]))
            baseline = pathlib.Path(self.folder) / "baseline.npy"
            written = server.run("experts", "--window", "total", "--npy", str(baseline))
            self.assertEqual(written.returncode, 0, written.stderr)
            return values, str(baseline)

    def test_a_healthy_model_fires_nothing_and_drifts_with_its_traffic(self):
        values, baseline = self.values_of(MODEL)
        self.assertEqual(self.firing(values), set())
        baseline = shutil.copy(baseline, baseline + ".kept")
        same, _ = self.values_of(MODEL, "--expert-baseline", baseline)
        other, _ = self.values_of(MODEL, "--expert-baseline", baseline,
                                  prompts=3 * OTHER_LANGUAGES)
        for layer in LAYERS:
            drift = [value(v, "peerage_expert_drift_nats", layer=layer, against="baseline")
                     for v in (same, other)]
            self.assertAlmostEqual(drift[0], 0, 9)
            self.assertGreater(drift[1], 0.2)
        self.assertEqual(self.firing(same), set())
        self.assertEqual(self.firing(other), {"PeerageExpertDrift"})

    def test_a_collapsed_router_is_told(self):
        def collapse(keys):
            keys[:] = 0  # every score is the same: the lowest ids win
        values, _ = self.values_of(with_changed_keys(self.folder, collapse))
        self.assertLessEqual({"PeerageExpertUsageCollapsed"}, self.firing(values))

    def test_a_dead_head_and_the_experts_that_it_makes_hot_are_told(self):
        def kill(keys):
            keys[1] = 0
        values, _ = self.values_of(with_changed_keys(self.folder, kill))
        self.assertEqual(self.firing(values), {"PeerageSubKeyHeadDead", "PeerageHotExpertShareHigh"})


if __name__ == "__main__":
    unittest.main()
