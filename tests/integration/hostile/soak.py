#!/usr/bin/env python3
"""Serves clients of all sorts and attackers for long, and finds out whether anything stays behind.

  PEERAGE_BIN=build/release/bin build/deps/venv/bin/python tests/integration/hostile/soak.py --minutes 120

Exit code 1 when resident memory grows in the second half of the time, when the server is not as it was
in the end, or when a call ended as it must not. With --leak the server loses memory on purpose, and
exit code 0 says that this was found, and nothing else."""

import argparse
import contextlib
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import attack  # noqa: E402
import growth  # noqa: E402
import known_harm  # noqa: E402
import cases  # noqa: E402, F401
import trial  # noqa: E402
from server_process import LIMIT_SECONDS, Server  # noqa: E402

HERE = pathlib.Path(__file__).parent
MODEL = attack.MODELS / "peer_small"
SEED = 15
CYCLE_SECONDS = 12  # of load, with an attack at its beginning
LONGEST_ATTACK_SECONDS = 3
RECOVERY_SECONDS = 30
IDLE = ("peerage_requests_running", "peerage_requests_waiting")
LEAK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
enum { kBytes = 65536 };
static double Now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}
ssize_t recvmsg(int socket, struct msghdr* message, int flags) {
  static ssize_t (*real)(int, struct msghdr*, int);
  static double next;
  if (!real) real = dlsym(RTLD_NEXT, "recvmsg");
  if (next == 0) next = Now();
  for (; next < Now(); next += kBytes / 1048576.0 * 3600 / MIB_AN_HOUR) memset(malloc(kBytes), 1, kBytes);
  return real(socket, message, flags);
}
"""


def leaking(mib_an_hour, folder):
    """The environment of a server that loses so much when it receives messages."""
    if mib_an_hour == 0:
        return {}
    library = pathlib.Path(folder) / "leak.so"
    subprocess.run(["cc", "-shared", "-fPIC", f"-DMIB_AN_HOUR={mib_an_hour}", "-x", "c", "-", "-o", library],
                   input=LEAK, text=True, check=True)
    return {"LD_PRELOAD": str(library)}


def fitting(case):
    """Those that any server can be soaked with, and that leave when they are done."""
    return case.descriptors is None and not case.options and not case.stays and case.model != MODEL


class Soak:

    def __init__(self, server, minutes, cases):
        self.server, self.minutes = server, minutes
        # What an attack makes a heap grow by the first time is no leak: each comes in the first half, and
        # again in the second.
        cycles = int(60 * minutes / CYCLE_SECONDS)
        self.cases = random.Random(SEED).sample(cases, max(1, min(len(cases), cycles // 2 - 1)))
        self.samples = []
        self.faults = []
        self.grows = False
        self.attacks = []  # their names, and how much more memory there was after each than before

    def play(self):
        load = subprocess.Popen([sys.executable, str(HERE / "load.py"), self.server.grpc, str(SEED)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        begin = time.monotonic()
        self.sample(begin, CYCLE_SECONDS)
        while (since := time.monotonic() - begin) < 60 * self.minutes:
            name = self.attack()
            before = self.least
            self.sample(begin, since + CYCLE_SECONDS)
            self.attacks.append((self.least - before, name))
        codes = json.loads(load.communicate(timeout=LIMIT_SECONDS)[0])
        self.check(load.returncode == 0, "a client got what it must not get (above)")
        return codes

    def attack(self):
        case = self.cases[len(self.attacks) % len(self.cases)]
        with attack.Attacker(self.server, f"{case.name} {len(self.attacks)}",
                             LONGEST_ATTACK_SECONDS) as attacker:
            case.attack(attacker)
        return case.name

    def sample(self, begin, end):
        """Resident memory until the cycle ends."""
        self.least = math.inf
        while (now := time.monotonic() - begin) < end:
            mib = trial.mib_of(self.server.process.pid, "VmRSS")
            self.least = min(self.least, mib)
            self.samples.append((now, mib))
            time.sleep(0.2)

    def check(self, holds, fault):
        if not holds:
            self.faults.append(fault)

    def judge(self, idle):
        slope, most = growth.in_second_half(self.samples, CYCLE_SECONDS)
        print(f"memory: {self.samples[0][1]:.1f} MiB at first, {self.samples[-1][1]:.1f} at last, "
              f"{slope:+.2f} MiB/h in the second half (at most {most:.2f} in this time)")
        self.grows = slope > most
        if self.grows:
            print("most of it after", ", ".join(f"{name} ({mib:+.1f} MiB)"
                                                for mib, name in sorted(self.attacks, reverse=True)[:5]))
        end = time.monotonic() + RECOVERY_SECONDS
        while (left := self.left(idle)) and time.monotonic() < end:
            time.sleep(0.2)
        self.faults += left

    def left(self, idle):
        """What is not as it was before anybody called."""
        now = trial.State.of(self.server.process.pid)
        series = self.server.series()
        used = series["peerage_kv_cache_blocks", (("state", "used"),)]
        left = [f"{name} is {value:.0f}" for (name, _), value in series.items() if name in IDLE and value]
        left += [f"{used:.0f} blocks of the KV cache are used"] if used else []
        for what in ("descriptors", "threads"):
            if (more := getattr(now, what) - getattr(idle, what)) > 0:
                left.append(f"{more} {what} are left")
        return left


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--leak", type=int, default=0, help="MiB an hour that are lost on purpose")
    arguments = parser.parse_args()
    played = [case for case in attack.CASES if fitting(case) and case.name not in known_harm.KNOWN]
    with contextlib.ExitStack() as stack:
        environment = leaking(arguments.leak, stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(Server("--log-level", "error", model=MODEL, environment=environment))
        honest = stack.enter_context(trial.HonestProcess())
        honest.ask("meet", server.grpc, server.admin)
        honest.ask("close")
        idle = trial.State.of(server.process.pid)
        soak = Soak(server, arguments.minutes, played)
        codes = soak.play()
        print(f"{sum(codes.values())} calls, {codes}; {len(soak.attacks)} attacks of {len(soak.cases)} kinds")
        soak.judge(idle)
        server.terminate()
        soak.check(server.wait() == 0, "SIGTERM does not end it with 0")
    for fault in soak.faults:
        print(f"FAULT: {fault}")
    if soak.grows:
        print("memory grows")
    sys.exit(bool(soak.faults) or soak.grows != bool(arguments.leak))


if __name__ == "__main__":
    main()
