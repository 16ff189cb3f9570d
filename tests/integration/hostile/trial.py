"""One hostile case against one fresh server, with an honest client beside it."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

import attack
from server_process import LIMIT_SECONDS, Server

LONGEST_SECONDS = 1.0  # an honest call in the attack (99 %) and the next one after it, and on a busy
LONGEST_ALONE = 5  # machine so many times what it takes without an attack
MOST_MIB_LEFT = 32
WARM_UP_SECONDS = 0.5
LOOK_SECONDS = 0.25
BY_CONNECTION = 3  # descriptors: the client's, and the two of a relay to gRPC
SHORTEST_SECONDS = 0.5  # of an attack, for the honest client to notice it
BUSY_SHARE = 0.3  # of one processor: a server that is still busy with the attack
MOST_LOG_LINES = 400  # a second: 100 of a kind, as documented
HONEST = pathlib.Path(__file__).with_name("honest.py")


# gRPC's own pools, by what /proc calls their threads: they grow to a bound by the number of processors
# as soon as there is much to do, and stay.
POOLS = {"default-executo", "resolver-execut", "event_engine", "grpc_global_tim", "grpcpp_sync_ser"}
MOST_POOLED = 4 * os.cpu_count() + 8


@dataclasses.dataclass
class State:
    """Of a server's process."""

    mib: float
    descriptors: int
    threads: int  # without those of gRPC's pools
    pooled: int

    @staticmethod
    def of(pid):
        process = pathlib.Path(f"/proc/{pid}")
        names = [name_of(thread) for thread in (process / "task").iterdir()]
        pooled = sum(name in POOLS for name in names)
        return State(mib_of(pid, "VmRSS"), len(list((process / "fd").iterdir())),
                     len(names) - pooled, pooled)


def name_of(thread):
    try:
        return (thread / "comm").read_text().strip()
    except OSError:  # it has ended meanwhile
        return ""


def mib_of(pid, what):
    """VmRSS is what there is now, VmHWM the most that there was; 0 of a process that has ended."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines).get(what, "0 kB").split()[0]) / 1024


class HonestProcess:
    """honest.py, asked line by line."""

    def __init__(self, verbose=False):
        self.process = subprocess.Popen([sys.executable, str(HONEST)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        stderr=None if verbose else subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(LIMIT_SECONDS)
        self.process.stdin.close()
        self.process.stdout.close()

    def ask(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def at_99(latencies):
    """The latency that 99 % keep; a failed call took for ever."""
    values = sorted(float("inf") if value is None else value for value in latencies)
    return values[min(len(values) - 1, int(0.99 * len(values)))]


@dataclasses.dataclass
class Result:
    """`faults` is empty where the case passed."""

    name: str
    seconds: float = 0
    sent_mib: float = 0
    p99: float = 0
    calls: int = 0
    peak_mib: float = 0
    left_mib: float = 0
    recovery_seconds: float = 0
    faults: list = dataclasses.field(default_factory=list)

    def check(self, holds, fault):
        if not holds:
            self.faults.append(fault)


class Trial:

    def __init__(self, case, honest, door, recovery_seconds):
        self.case, self.honest, self.door = case, honest, door
        self.recovery_seconds = recovery_seconds
        self.result = Result(case.name)

    def run(self):
        self.begin = time.monotonic()
        options = ["--log-format", "json", *self.case.options]
        if self.door is not None:
            options += ["--door", self.door]
        if self.door != "off":
            # The honest client that connects anew for each call does so more often than a peer may.
            options += ["--max-new-connections", "2000"]
        limit = self.case.descriptors
        wrapper = () if limit is None else ("prlimit", f"--nofile={limit}:{limit}")
        with Server(*options, model=self.case.model, wrapper=wrapper) as server:
            self.server = server
            self.warm_up()
            with attack.Attacker(server, self.case.name) as attacker:
                self.attack(attacker)
                if self.case.stays:
                    self.look_after(attacker)
            if not self.case.stays:
                self.look_after()
            self.end()
        return self.result

    def warm_up(self):
        """What idle means: after some honest calls."""
        self.honest.ask("meet", self.server.grpc, self.server.admin)
        self.honest.ask("start")
        time.sleep(WARM_UP_SECONDS)
        alone = self.honest.ask("finish")
        self.longest = max(LONGEST_SECONDS, LONGEST_ALONE * max(map(at_99, alone.values())))
        self.idle = State.of(self.server.process.pid)
        pathlib.Path(f"/proc/{self.server.process.pid}/clear_refs").write_text("5")  # VmHWM anew

    def attack(self, attacker):
        self.honest.ask("start")
        begin = time.monotonic()
        try:
            self.case.attack(attacker)
        except AssertionError as error:
            self.result.faults.append(str(error))
        attacker.hold(SHORTEST_SECONDS - (time.monotonic() - begin))
        self.result.seconds = time.monotonic() - begin
        self.result.sent_mib = attacker.sent_bytes / 2**20
        latencies = self.honest.ask("finish")
        self.result.calls = sum(map(len, latencies.values()))
        for kind, values in latencies.items():
            p99 = at_99(values)
            self.result.p99 = max(self.result.p99, p99)
            self.result.check(p99 < self.longest,
                              f"{kind}: 99 % of {len(values)} calls took {p99:.1f} s")

    def look_after(self, attacker=None):
        if self.server.process.poll() is not None:
            return
        for kind, seconds in self.honest.ask("once").items():
            self.result.check(seconds is not None and seconds < self.longest,
                              f"{kind}: the next call took {seconds} s")
        self.result.peak_mib = mib_of(self.server.process.pid, "VmHWM") - self.idle.mib
        begin = time.monotonic()
        lacks = self.lacks(attacker)
        while lacks and time.monotonic() - begin < self.recovery_seconds and self.server.process.poll() is None:
            lacks = self.lacks(attacker)
        self.result.recovery_seconds = time.monotonic() - begin
        self.result.faults += lacks

    def lacks(self, attacker):
        """What keeps the server from being as it was."""
        before, begin = self.server.cpu_seconds(), time.monotonic()
        if attacker is None:
            time.sleep(LOOK_SECONDS)
        else:
            attacker.stay(LOOK_SECONDS)
        busy = (self.server.cpu_seconds() - before) / (time.monotonic() - begin)
        held = 0 if attacker is None or self.case.ended else BY_CONNECTION * len(attacker.connections)
        now = State.of(self.server.process.pid)
        self.result.left_mib = now.mib - self.idle.mib
        lacks = []
        if self.result.left_mib > MOST_MIB_LEFT:
            lacks.append(f"{self.result.left_mib:.0f} MiB are left")
        if now.descriptors > self.idle.descriptors + held:
            lacks.append(f"{now.descriptors - self.idle.descriptors} descriptors are left")
        if now.threads > self.idle.threads:
            lacks.append(f"{now.threads - self.idle.threads} threads are left")
        if now.pooled > MOST_POOLED:
            lacks.append(f"{now.pooled} threads in gRPC's pools")
        if busy > BUSY_SHARE:
            lacks.append(f"it is busy ({busy:.1f} processors)")
        return lacks

    def end(self):
        self.honest.ask("close")
        code = self.server.process.poll()
        if code is None:
            self.server.terminate()
            code = self.server.wait()
            self.result.check(code == 0, f"SIGTERM ends it with {code}")
        else:
            self.result.check(False, f"it ended by itself with {code}")
        self.read_log()

    def read_log(self):
        lines = self.server.read_log().splitlines()
        most = MOST_LOG_LINES * (1 + time.monotonic() - self.begin)
        self.result.check(len(lines) < most, f"{len(lines)} lines of log")
        for line in lines:
            try:
                honest = set(json.loads(line)) >= {"time", "level", "message"} and line.isprintable()
            except ValueError:
                honest = False
            if not honest:
                self.result.faults.append(f"forged log: {line[:200]!r}")
                break
