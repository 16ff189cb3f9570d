"""The pages of the admin port in Debian's Chromium, as people meet them: light, dark, on a phone, by
keyboard, under load.

PEERAGE_PICTURES=docs/images makes the pictures of the documents anew.
"""

import base64
import http.client
import io
import json
import os
import pathlib
import re
import threading
import unittest
import urllib.error
import urllib.request

import grpc
import numpy

import stubs
from browser import Browser
from server_process import LIMIT_SECONDS as TIMEOUT
from server_process import MODEL as DENSE
from server_process import Server

stubs.load_stubs()
from peerage.v1 import experts_pb2 as experts  # noqa: E402
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import inference_pb2_grpc  # noqa: E402

MODELS = pathlib.Path(__file__).parents[1] / "golden" / "models"
AXE = pathlib.Path("build/deps/axe/axe.min.js").read_text()
PICTURES = os.environ.get("PEERAGE_PICTURES")
LOOKS = {"light": {}, "dark": {"scheme": "dark"},
         "phone": {"width": 390, "height": 844, "mobile": True}}
PROMPT = "And it came to pass"
SHOWN = "!document.querySelector('#content').hidden && document.querySelector('#state').innerText.includes('tokens in')"
READY = "document.querySelector('#state').innerText.includes('Type a prompt')"
ENDED = "/ended by|Stopped/.test(document.querySelector('#state').innerText)"


class Load:
    """Requests, one after the other, for as long as the `with` block takes."""

    def __init__(self, server):
        self.server = server
        self.over = threading.Event()
        self.codes = set()
        self.thread = threading.Thread(target=self.send)

    def send(self):
        seed = 0
        while not self.over.is_set():
            seed += 1
            done = self.server.run("generate", PROMPT, "--max-tokens", "100", "--seed", str(seed))
            self.codes.add(done.returncode)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        assert self.codes == {0}, self.codes


class PagesTest(unittest.TestCase):
    """With a PEER model whose requests may be traced."""

    model = MODELS / "peer_small"
    options = ("--expert-trace", "full")

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server(*cls.options, model=cls.model))
        cls.site = f"http://{cls.server.admin}"

    def setUp(self):
        self.browser = self.enterContext(Browser())
        self.browser.show()

    # Whatever a test does, no page may complain or ask anybody else.
    def tearDown(self):
        self.assertEqual(self.browser.complaints(), [])
        for url in self.browser.requested():
            self.assertTrue(url.startswith(self.site + "/") or url == "about:blank", url)

    def open(self, path, condition):
        self.browser.open(self.site + path)
        self.browser.wait(condition)

    def keep(self, name):
        if PICTURES:
            self.browser.save_picture(pathlib.Path(PICTURES) / f"{name}.png")

    def generate(self, *options):
        done = self.server.run("generate", PROMPT, "--max-tokens", "40", *options)
        self.assertEqual(done.returncode, 0, done.stderr)

    def json(self, path):
        status, body = self.server.get(path)
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def check_accessible(self):
        found = self.browser.evaluate(f"""(() => {{ {AXE}
            return axe.run().then(({{violations}}) => violations.map(({{id, nodes}}) =>
                id + ': ' + nodes.map(({{target, failureSummary}}) => target + ' ' + failureSummary).join('; ')));
        }})()""")
        self.assertEqual(found, [])

    def check_look(self, look):
        """The page fits the window and has the colours that were asked for."""
        wide, window = self.browser.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        self.assertLessEqual(wide, window, look)
        back = self.browser.evaluate("getComputedStyle(document.body).backgroundColor")
        self.assertEqual(back, "rgb(20, 20, 24)" if look == "dark" else "rgb(255, 255, 255)")

    def pixels(self, selector):
        """Those of a canvas: [height, width, red, green, blue and alpha]."""
        width, height, data = self.browser.evaluate(f"""(() => {{
            const {{width, height}} = document.querySelector({json.dumps(selector)});
            const copy = new OffscreenCanvas(width, height).getContext("2d");
            copy.drawImage(document.querySelector({json.dumps(selector)}), 0, 0);
            const {{data}} = copy.getImageData(0, 0, width, height);
            return [width, height, new Uint8Array(data.buffer).toBase64()];
        }})()""")
        return numpy.frombuffer(base64.b64decode(data), numpy.uint8).reshape(height, width, 4)

    def colours(self, selector):
        """How many pixels of a canvas have each colour."""
        found, counts = numpy.unique(self.pixels(selector).reshape(-1, 4), axis=0, return_counts=True)
        return {tuple(colour): count for colour, count in zip(found.tolist(), counts.tolist())}

    def focused(self):
        return self.browser.evaluate("document.activeElement.id || document.activeElement.className")

    def tab_to(self, wanted):
        """Goes there with the Tab key; what has the focus must show it."""
        for _ in range(60):
            self.browser.press("Tab")
            outline = self.browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            self.assertNotEqual(outline, "none", self.focused())
            if self.browser.evaluate(f"document.activeElement.matches({json.dumps(wanted)})"):
                return
        self.fail(f"no Tab leads to {wanted}")

    def ask(self, prompt, tokens, seed=""):
        self.browser.evaluate(f"""(() => {{
            document.querySelector("#max-tokens").value = "{tokens}";
            document.querySelector("#seed").value = "{seed}";
            document.querySelector("#prompt").value = "";
        }})()""")
        self.browser.click("#prompt")
        self.browser.type(prompt)
        self.browser.click("#run")


class UsagePageTest(PagesTest):

    def test_shows_usage_in_every_look_under_load(self):
        with Load(self.server):
            self.open("/experts", SHOWN)
            for look, options in LOOKS.items():
                with self.subTest(look):
                    self.browser.show(**options)
                    self.open("/experts", SHOWN)
                    self.browser.evaluate("document.querySelector('#hottest button').click()")
                    self.check_look(look)
                    self.check_accessible()
                    self.assertGreater(len(self.colours("#map")), 20)
                    for chart in ("#rows", "#columns", "#lorenz", "#legend"):
                        self.assertGreater(len(self.colours(chart)), 1, chart)
                    self.keep({"light": "experts_page"}.get(look, f"experts_page_{look}"))

    def test_follows_the_server_by_itself(self):
        self.generate()
        self.open("/experts", SHOWN)
        self.browser.evaluate("document.querySelector('#window').value = 'total'")
        before = self.json("/experts/usage.json?window=total")
        self.generate()
        after = self.json("/experts/usage.json?window=total")
        self.assertGreater(after["tokens"], before["tokens"])
        self.browser.wait(f"document.querySelector('#state').innerText.startsWith('{after['tokens']:,} tokens')")
        row = self.browser.text("#layers tbody tr").split()
        self.assertEqual(row[3], f"{after['selections']:,}")
        self.assertEqual(row[-1], f"{after['drift_nats']:.3f}")
        top = [expert["id"] for expert in after["hottest"]]
        self.assertEqual([int(line.split()[0]) for line in
                          self.browser.text("#hottest tbody").splitlines()], top)

    def test_tells_of_an_expert_what_was_counted(self):
        self.generate()
        self.open("/experts", SHOWN)
        hot = self.json("/experts/usage.json?layer=1")["hottest"][0]
        text = (f"expert {hot['id']}, sub-keys {hot['id'] // 48} and {hot['id'] % 48}: "
                f"{hot['selections']:,} selections, {100 * hot['share']:.1f} %")
        self.browser.point(*self.place_of(hot["id"]))
        self.browser.wait(f"document.querySelector('#expert').innerText === {json.dumps(text)}")
        self.browser.show(**LOOKS["phone"])
        self.browser.tap(*self.place_of(0))
        self.browser.wait("document.querySelector('#expert').innerText.startsWith('expert 0, ')")
        self.browser.tap(*self.place_of(hot["id"]))
        self.browser.wait(f"document.querySelector('#expert').innerText === {json.dumps(text)}")

        # The scale changes the picture, not what is told.
        logarithmic = self.colours("#map")
        self.browser.evaluate("""(() => {
            document.querySelector("#scale").value = "linear";
            document.querySelector("#scale").dispatchEvent(new Event("change"));
        })()""")
        self.assertNotEqual(self.colours("#map"), logarithmic)
        self.assertEqual(self.browser.text("#expert"), text)

    def test_tells_of_a_sub_key_what_was_counted(self):
        self.generate()
        self.open("/experts", SHOWN)
        usage = self.json("/experts/usage.json?layer=1")
        for axis in ("rows", "columns"):
            self.browser.evaluate(f"document.querySelector('#{axis}').scrollIntoView()")
            self.browser.point(*self.browser.middle(f"#{axis}"))
            most, unused = max(usage[axis]), usage[axis].count(0)
            self.assertEqual(self.browser.text(f"#{axis}-note").split("; "),
                             [f"selections by {'first' if axis == 'rows' else 'second'} sub-key, at most {most:,}",
                              f"{unused or 'none'} of 48 unused", f"sub-key 24: {usage[axis][24]:,}"])

    def place_of(self, expert):
        """Where it is seen on the map, which is scrolled to."""
        left, top, width = self.browser.evaluate("""(() => {
            document.querySelector("#map").scrollIntoView();
            const box = document.querySelector("#map").getBoundingClientRect();
            return [box.left, box.top, box.width];
        })()""")
        return left + (expert % 48 + 0.5) * width / 48, top + (expert // 48 + 0.5) * width / 48

    def test_goes_by_keyboard(self):
        self.generate()
        self.open("/experts", SHOWN)
        self.browser.press("Tab")
        self.assertEqual(self.focused(), "skip")
        self.browser.press("Enter")
        self.assertEqual(self.focused(), "map-title")

        self.tab_to("#map")
        counts = numpy.load(io.BytesIO(self.get_bytes("/experts/usage.npy?layer=1")))[0]
        at = None
        for key, expert in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowDown", 49), ("ArrowLeft", 48),
                            ("ArrowUp", 0), ("End", 2303), ("ArrowDown", 2303), ("Home", 0)):
            self.browser.press(key)
            text = self.browser.text("#expert")
            self.assertTrue(text.startswith(f"expert {expert}, "), (at, key, text))
            self.assertIn(f": {int(counts[expert]):,} selections", text)
            at = expert

        self.open("/experts", SHOWN)
        self.tab_to("#layers tr:nth-child(2) button")
        self.browser.press("Enter")
        self.browser.wait("document.querySelector('#map-title').innerText === 'Usage map of layer 2 (peer)'")
        self.assertEqual(self.browser.evaluate("document.activeElement.ariaPressed"), "true")
        self.tab_to("#hottest button")
        self.browser.press("Enter")
        hottest = self.browser.text("#hottest button")
        self.assertTrue(self.browser.text("#expert").startswith(f"expert {hottest}, "))

    def get_bytes(self, path):
        with urllib.request.urlopen(self.site + path, timeout=TIMEOUT) as answer:
            return answer.read()

    def test_keeps_the_theme_that_was_chosen(self):
        self.generate()
        self.open("/experts", SHOWN)
        self.browser.evaluate("""(() => {
            document.querySelector("#theme").value = "dark";
            document.querySelector("#theme").dispatchEvent(new Event("change"));
        })()""")
        self.check_look("dark")
        self.open("/playground", READY)
        self.check_look("dark")


class PlaygroundTest(PagesTest):

    def trace(self, tokens, seed):
        """The same request by the rpc: its answer, and the picks of layer 1 by position."""
        request = inference.GenerateRequest()
        request.prompt.text = PROMPT
        request.sampling.seed = seed
        request.sampling.temperature = 0.7
        request.stopping.max_tokens = tokens
        request.output.expert_trace = experts.EXPERT_TRACE_LEVEL_FULL
        with grpc.insecure_channel(self.server.grpc) as channel:
            answer = inference_pb2_grpc.InferenceServiceStub(channel).Generate(request, timeout=TIMEOUT)
        layer = answer.expert_trace.layers[0]
        each = layer.heads * layer.top_k
        return answer, (numpy.frombuffer(layer.expert_ids, "<u4").reshape(-1, each),
                        numpy.frombuffer(layer.scores, "<f4").reshape(-1, each))

    def shown_picks(self):
        """Experts and weights of the table, in order."""
        rows = [line.split() for line in self.browser.text("#picks tbody").splitlines()]
        return [int(row[0]) for row in rows], [float(row[2]) for row in rows]

    def test_streams_tokens_and_lights_their_experts(self):
        self.open("/playground", READY)
        self.ask(PROMPT, 24, seed=7)
        self.browser.wait(ENDED)
        answer, (ids, weights) = self.trace(24, 7)
        text = self.browser.text("#tokens").replace("↵", "").replace("·", "")
        self.assertEqual(text.split(), (PROMPT + answer.candidates[0].text).split())
        spans = self.browser.evaluate("document.querySelectorAll('#tokens [role=option]').length")
        self.assertEqual(spans, answer.usage.prompt_tokens + 24)
        self.assertEqual(len(ids), spans - 1)  # the last token is not computed

        # By mouse, then by keyboard: the experts of exactly that token, on the map and in figures.
        for position, go in ((spans - 4, lambda: self.browser.click(f"#token-{spans - 4}")),
                             (spans - 3, lambda: self.browser.press("ArrowRight")),
                             (0, lambda: self.browser.press("Home")),
                             (1, lambda: self.browser.press("ArrowRight"))):
            if position != spans - 4:
                self.browser.evaluate("document.querySelector('#tokens').focus()")
            go()
            self.assertEqual(self.browser.evaluate("document.querySelector('[aria-selected=true]').id"),
                             f"token-{position}")
            shown_ids, shown_weights = self.shown_picks()
            self.assertEqual(sorted(shown_ids), sorted(ids[position].tolist()))
            numpy.testing.assert_allclose(shown_weights, sorted(weights[position], reverse=True), rtol=0.01)
            lit = self.lit_cells()
            self.assertEqual(lit, set(ids[position].tolist()))
        self.browser.press("End")
        self.assertIn("not computed any more", self.browser.text("#token"))
        self.assertEqual(self.lit_cells(), set())

        self.browser.click(f"#token-{spans - 4}")
        for look, options in LOOKS.items():
            self.browser.show(**options)
            self.check_look(look)
            self.check_accessible()
            self.keep({"light": "playground"}.get(look, f"playground_{look}"))

    def lit_cells(self):
        """Experts whose square on the map has the colour of light: cyan."""
        pixels = self.pixels("#map").astype(int)
        cell = pixels.shape[0] // 48
        red, green, blue, _ = pixels[cell // 2::cell, cell // 2::cell].reshape(48 * 48, 4).T
        return set(numpy.flatnonzero((green > 90) & (blue > 100) & (2 * green > 3 * red)).tolist())

    def test_shows_another_layer_of_the_same_request(self):
        self.open("/playground", READY)
        self.ask(PROMPT, 8, seed=3)
        self.browser.wait(ENDED)
        before = self.shown_picks()
        self.browser.evaluate("""(() => {
            document.querySelector("#layer").selectedIndex = 1;
            document.querySelector("#layer").dispatchEvent(new Event("change"));
        })()""")
        self.browser.wait("document.querySelector('#token').innerText.includes('in layer 2')")
        self.assertNotEqual(self.shown_picks(), before)
        self.assertEqual(self.lit_cells(), set(self.shown_picks()[0]))

    def test_says_what_is_wrong_as_the_rpc_does(self):
        self.open("/playground", READY)
        self.ask("word " * 2000, 8)
        self.browser.wait("document.querySelector('#wrong').innerText !== ''")
        self.assertRegex(self.browser.text("#wrong"), "^prompt has more than 1024 tokens, the context of the model 1024$")
        self.browser.events.clear()  # the browser reports every answer of 400
        self.ask(PROMPT, 8)
        self.browser.wait(ENDED)
        self.assertEqual(self.browser.text("#wrong"), "")


class UntracedPlaygroundTest(PagesTest):
    """With the server's defaults, which allow no full trace."""

    options = ()

    def test_says_so_and_streams_tokens(self):
        self.open("/playground", READY)
        self.assertIn("allows no full traces (it runs with --expert-trace=summary", self.browser.text("#untraced"))
        self.ask(PROMPT, 24, seed=5)  # a drawn one may end the text sooner
        self.browser.wait(ENDED)
        spans = self.browser.evaluate("document.querySelectorAll('#tokens [role=option]:not(.prompt)').length")
        self.assertEqual(spans, 24)
        self.check_accessible()


class MixturePageTest(PagesTest):

    model = MODELS / "mixture_bam_layers"

    def test_shows_shares_by_name_over_time(self):
        self.generate()
        self.open("/experts", SHOWN)
        self.assertEqual(self.browser.text("#map-title"), "Mixture of layer 0 (mixture_attention)")
        self.generate()
        self.browser.click("#live")  # off and on again: a look at once
        self.browser.click("#live")
        self.browser.wait("document.querySelector('#history-note').innerText.startsWith('2 points')")
        usage = self.json("/experts/usage.json?layer=0&kind=mixture_attention")
        names = self.browser.evaluate("[...document.querySelectorAll('#shares dt')].map((name) => name.innerText)")
        self.assertEqual(names, [f"expert {name}" for name in usage["names"]])
        shares = [float(share) for share in re.findall(r"([\d.]+) %", self.browser.text("#shares"))]
        numpy.testing.assert_allclose(shares, [100 * share for share in usage["shares"]], atol=0.051)
        self.assertGreater(len(self.colours("#history")), 4)
        self.check_accessible()
        self.browser.show(**LOOKS["dark"])
        self.check_look("dark")
        self.check_accessible()
        self.keep("mixture_page")

    def test_lights_a_mixtures_experts(self):
        self.open("/playground", READY)
        self.browser.click("#prompt")
        self.browser.type(PROMPT)
        self.browser.click("#run")
        self.browser.wait(ENDED)
        lit = [float(part) for part in re.findall(r"([\d.]+) %", self.browser.text("#shares"))]
        self.assertEqual(len(lit), 4)
        self.assertEqual(sum(part > 0 for part in lit), 2)  # top_k


class DensePlaygroundTest(PagesTest):
    """With a model that takes its time, and has no experts."""

    model = DENSE
    options = ()

    def counter(self, name, labels):
        _, body = self.server.get("/metrics")
        match = re.search(rf"^{name}{{[^}}]*{labels}[^}}]*}} (\S+)$", body, re.MULTILINE)
        return float(match[1])

    def test_stops_when_it_is_told_and_answers_probes_meanwhile(self):
        cancelled = ("peerage_requests_cancelled_total", 'stage="decode"')
        before = self.counter(*cancelled)
        self.open("/playground", READY)
        self.assertIn("has no experts", self.browser.text("#untraced"))
        self.ask("Once upon a time", 2000, seed=1)
        self.browser.wait("document.querySelectorAll('#tokens [role=option]:not(.prompt)').length >= 3")
        self.assertEqual(self.server.get("/healthz"), (200, "ok\n"))
        self.assertEqual(self.server.get("/readyz")[0], 200)
        self.browser.click("#stop")
        self.browser.wait(ENDED)
        self.assertRegex(self.browser.text("#state"), r"^Stopped after \d+ tokens$")
        while self.counter(*cancelled) == before:  # within a step, which takes as long as it takes
            pass
        self.assertEqual(self.counter(*cancelled), before + 1)

    def test_ends_whole_when_the_server_is_told_to_stop(self):
        with Server("--drain-timeout", "0", model=DENSE) as server:
            host, _, port = server.admin.rpartition(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)
            connection.request("POST", "/playground/generate", headers={"Content-Type": "application/json"},
                               body=json.dumps({"prompt": {"text": "Once upon a time"},
                                                "stopping": {"max_tokens": 2000, "ignore_eos": True}}))
            answer = connection.getresponse()
            self.assertEqual(answer.status, 200)
            self.assertIn("prompt", json.loads(answer.readline()))
            self.assertIn("delta", json.loads(answer.readline()))
            server.terminate()
            events = [json.loads(line) for line in answer.read().splitlines()]
            connection.close()
            self.assertEqual(events[-1]["error"]["code"], "UNAVAILABLE")
            self.assertEqual(server.wait(), 0)

    def test_has_no_page_of_usage_to_show(self):
        self.open("/experts", "document.querySelector('#state').innerText === 'This model has no experts.'")
        self.check_accessible()


class PlaygroundLogTest(unittest.TestCase):

    def post(self, server, body):
        request = urllib.request.Request(f"http://{server.admin}/playground/generate", data=body.encode(),
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def test_each_request_has_a_line_that_holds_nothing_of_it(self):
        canary = "xylophonequetzal"
        with Server("--log-level", "debug", "--log-format", "json", "--log-content",
                    model=MODELS / "peer_small") as server:
            asked = json.dumps({"prompt": {"text": canary}, "stopping": {"max_tokens": 3}})
            status, answer = self.post(server, asked)
            self.assertEqual(status, 200)
            prompt = json.loads(answer.splitlines()[0])["prompt"]
            self.assertEqual("".join(token["text"] for token in prompt), canary)
            for body in (asked[:-1], f'{{"{canary}": 1}}', asked.replace("3", "0"), asked.replace("3", f'"{canary}"')):
                status, error = self.post(server, body)
                self.assertEqual(status, 400, error)
                self.assertNotIn(canary, error)
            server.terminate()
            self.assertEqual(server.wait(), 0)
            log = server.read_log()
        self.assertNotIn(canary, log)
        lines = [json.loads(line) for line in log.splitlines()]
        codes = [line["code"] for line in lines if line.get("method") == "playground"]
        self.assertEqual(sorted(codes), 4 * ["INVALID_ARGUMENT"] + ["OK"])


del PagesTest  # what the others have in common is no test

if __name__ == "__main__":
    unittest.main()
