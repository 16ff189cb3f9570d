"""Starts peerage-server and the peerage command for tests: free ports, no inherited environment."""

import os
import pathlib
import re
import selectors
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT_OF_TESTS = pathlib.Path(__file__).resolve().parents[1]
BIN = pathlib.Path(os.environ.get("PEERAGE_BIN", "build/release/bin"))
MODEL = os.environ.get(
    "PEERAGE_TEST_MODEL", "build/deps/models/SmolLM2-135M-Instruct.Q4_1.gguf")
LIMIT_SECONDS = 60  # nothing here takes long unless it hangs
SAMPLE = re.compile(r"(\w+)\{(.*)\} (\S+)")
READY = re.compile(r"peerage-server ready grpc=(\S+) admin=(\S+) model=(\S+)\n")


def server_command(*options, model=MODEL, bin=BIN, wrapper=()):
    listen = () if "--listen" in options else ("--listen", "127.0.0.1:0")
    return [*map(str, wrapper), str(bin / "peerage-server"), "--model", str(model), *listen,
            "--admin-listen", "127.0.0.1:0", *options]


def run_server_to_its_end(*options, environment=None, wrapper=()):
    """For start-ups that are refused, and options that only print."""
    return subprocess.run([*map(str, wrapper), str(BIN / "peerage-server"), *options], env=environment or {},
                          capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)


def read_line(stream):
    """One line of a pipe, or what came until the limit."""
    selector = selectors.DefaultSelector()
    selector.register(stream, selectors.EVENT_READ)
    if not selector.select(LIMIT_SECONDS):
        return ""
    return stream.readline()


def wait_until(condition, what):
    """Looks again and again: what is waited for has no other way to be heard of."""
    end = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")


class Server:
    """A running server. Leaving the `with` block ends it however it is. A wrapper is a command that
    runs the server in its own process."""

    def __init__(self, *options, model=MODEL, environment=None, bin=BIN, wrapper=()):
        self.bin = bin
        self.log = tempfile.NamedTemporaryFile("r")
        # Opened anew: a descriptor that both share would have one place where it reads and writes.
        with open(self.log.name, "a", encoding="utf-8") as stderr:
            self.process = subprocess.Popen(server_command(*options, model=model, bin=bin, wrapper=wrapper),
                                            env=environment or {},
                                            stdout=subprocess.PIPE, stderr=stderr, text=True)
        self.ready_line = read_line(self.process.stdout)
        match = READY.fullmatch(self.ready_line)
        if match is None:
            self.process.kill()
            raise AssertionError(f"no ready line but {self.ready_line!r}; log:\n{self.read_log()}")
        self.grpc, self.admin, self.model = match.groups()

    def __enter__(self):
        return self

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system

    def wake_ups(self):
        """How often the threads that it has now went to sleep and were woken; no machine's load adds to it."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", (task / "status").read_text(),
                                 re.MULTILINE).group(1)) for task in tasks)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT_SECONDS)
        self.process.stdout.close()
        self.log.close()

    def read_log(self):
        self.log.seek(0)
        return self.log.read()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        return self.process.wait(LIMIT_SECONDS)

    def get(self, path):
        """Status and body of an HTTP GET on the admin port."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=LIMIT_SECONDS) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def series(self):
        """What /metrics says: values by name and labels, sorted pairs without the model's name, which
        all series have."""
        status, text = self.get("/metrics")
        assert status == 200, status
        values = {}
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            name, labels, value = SAMPLE.fullmatch(line).groups()
            named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            assert named.pop("model_name") == self.model, line
            values[name, tuple(sorted(named.items()))] = float(value)
        return values

    def command(self, name, *arguments):
        return [str(self.bin / "peerage"), name, "--server", self.grpc, *arguments]

    def run(self, name, *arguments, text_in=None):
        """A finished `peerage NAME ...` with this server."""
        return subprocess.run(self.command(name, *arguments), env={}, input=text_in,
                              stdin=None if text_in is not None else subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)

    def start(self, name, *arguments):
        """A `peerage NAME ...` that goes on while the test looks."""
        return subprocess.Popen(self.command(name, *arguments), env={}, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
