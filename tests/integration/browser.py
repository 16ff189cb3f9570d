"""Debian's Chromium without a window, driven over its DevTools protocol through a pipe: no port and
no library. For tests of pages as their users meet them."""

import base64
import fcntl
import json
import os
import pathlib
import selectors
import shutil
import subprocess
import tempfile
import time

LIMIT_SECONDS = 30  # for anything that a page is to do
CHROMIUM = shutil.which("chromium")

# Nothing of a browser that tests do not look at; as root there is no sandbox.
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
           "--disable-extensions", "--disable-background-networking", "--disable-sync", "--mute-audio",
           "--disable-component-update", "--hide-scrollbars", "--force-color-profile=srgb",
           "--remote-debugging-pipe", "about:blank")

KEYS = {"Tab": (9, "Tab"), "Enter": (13, "Enter"), "ArrowLeft": (37, "ArrowLeft"), "ArrowUp": (38, "ArrowUp"),
        "ArrowRight": (39, "ArrowRight"), "ArrowDown": (40, "ArrowDown"), "Home": (36, "Home"), "End": (35, "End")}


class Browser:
    """One browser with one page. Leaving the `with` block ends it however it is."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        read, self.to_browser = os.pipe()
        self.from_browser, write = os.pipe()
        # The browser reads from 3 and writes to 4, wherever the pipes are here.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (read, write)]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [CHROMIUM, *OPTIONS, f"--user-data-dir={self.profile.name}"], close_fds=False,
            preexec_fn=lambda: [os.dup2(end, 3 + i) for i, end in enumerate(ends)],
            env={"HOME": self.profile.name, "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        for end in (read, write, *ends):
            os.close(end)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.from_browser, selectors.EVENT_READ)
        self.received = b""
        self.calls = 0
        self.events = []  # (method, parameters) of all that the page did, in order
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.to_browser)
        os.close(self.from_browser)
        self.selector.close()
        self.log.close()
        self.profile.cleanup()

    def call(self, method, **parameters):
        """A command's result, when it has come."""
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + LIMIT_SECONDS + 10
        while True:
            answer = self.receive(end)
            if answer.get("id") == message["id"]:
                break
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def receive(self, end):
        """The next message; what is no answer is kept as an event."""
        while b"\0" not in self.received:
            if not self.selector.select(end - time.monotonic()):
                raise AssertionError("the browser says nothing")
            some = os.read(self.from_browser, 1 << 16)
            if not some:
                self.log.seek(0)
                raise AssertionError(f"the browser is gone: {self.log.read()[-2000:].decode()}")
            self.received += some
        text, _, self.received = self.received.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message

    # What users do.

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def show(self, width=1100, height=900, scheme="light", mobile=False):
        """A window of this size, for somebody who likes pages light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=mobile,
                  deviceScaleFactor=1)
        self.call("Emulation.setTouchEmulationEnabled", enabled=mobile)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": scheme}])

    def press(self, key, times=1):
        code, name = KEYS[key]
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                extra = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
                self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name,
                          windowsVirtualKeyCode=code, **extra)

    def point(self, x, y, click=False):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        if click:
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def tap(self, x, y):
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def click(self, selector):
        self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        self.point(*self.middle(selector), click=True)

    def type(self, text):
        self.call("Input.insertText", text=text)

    # What users see.

    def evaluate(self, expression):
        """The value of JavaScript in the page, of a promise when it is kept."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True,
                           returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    def wait(self, condition):
        """Until JavaScript is true in the page, which may be going to another one."""
        end = time.monotonic() + LIMIT_SECONDS
        while True:
            try:
                return self.evaluate(f"""new Promise((kept, broken) => {{
                    const end = performance.now() + {1000 * LIMIT_SECONDS};
                    const look = () => ({condition}) ? kept(true)
                        : performance.now() > end ? broken(new Error('never came: ' + {json.dumps(condition)}
                            + '; the page: ' + document.body.innerText.slice(0, 800)))
                        : setTimeout(look, 20);
                    look();
                }})""")
            except AssertionError as error:
                gone = "navigated or closed" in str(error) or "context was destroyed" in str(error)
                if not gone or time.monotonic() > end:
                    raise

    def text(self, selector):
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def middle(self, selector):
        return self.evaluate(f"""(() => {{
            const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();
            return [box.left + box.width / 2, box.top + box.height / 2];
        }})()""")

    def picture(self, whole=True):
        """A PNG of the page, of all of it or of what the window shows."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole,
                         **({"clip": self.extent()} if whole else {}))
        return base64.b64decode(shot["data"])

    def save_picture(self, path, whole=True):
        pathlib.Path(path).write_bytes(self.picture(whole))

    def extent(self):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}

    def complaints(self):
        """Errors and warnings that the page or the browser reported."""
        found = []
        for method, event in self.events:
            if method == "Runtime.exceptionThrown":
                found.append(event["exceptionDetails"].get("exception", {}).get("description", "?"))
            elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
                found.append(str([argument.get("value") for argument in event["args"]]))
            elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
                found.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")
        return found

    def requested(self):
        """Addresses of everything that the page asked for."""
        return [event["request"]["url"] for method, event in self.events
                if method == "Network.requestWillBeSent"]
