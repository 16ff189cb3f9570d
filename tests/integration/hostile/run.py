#!/usr/bin/env python3
"""Plays hostile cases, each against a fresh server, and prints what they did.

  PEERAGE_BIN=build/release/bin build/deps/venv/bin/python tests/integration/hostile/run.py [NAME...]

Exit code 1 when a case did harm that it must not do."""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import attack  # noqa: E402
from server_process import run_server_to_its_end  # noqa: E402
import trial  # noqa: E402
import header_cases  # noqa: E402, F401
import frame_cases  # noqa: E402, F401
import call_cases  # noqa: E402, F401
import answer_cases  # noqa: E402, F401
import connection_cases  # noqa: E402, F401
import admin_cases  # noqa: E402, F401


def chosen(names, quick):
    if unknown := set(names) - {case.name for case in attack.CASES}:
        sys.exit(f"no such case: {', '.join(sorted(unknown))}")
    return [case for case in attack.CASES if (case.name in names or not names)
            and (case.quick or not quick)]


def has_door():
    help_text = run_server_to_its_end("--help").stdout
    return "--door" in help_text


def row(result):
    verdict = "; ".join(result.faults) or "unharmed"
    return (f"{result.name:34} {result.seconds:6.1f} s {result.sent_mib:7.1f} MiB "
            f"{result.calls:5} calls {1000 * result.p99:7.0f} ms {result.peak_mib:+6.0f} "
            f"{result.left_mib:+5.0f} MiB {result.recovery_seconds:5.1f} s  {verdict}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="of cases; all when there is none")
    parser.add_argument("--quick", action="store_true", help="those of `make check`")
    parser.add_argument("--door", choices=("on", "off"), help="given to the server")
    parser.add_argument("--recovery", type=float, default=30, help="seconds that the server has to be as before")
    parser.add_argument("--verbose", action="store_true", help="say what honest calls failed of")
    parser.add_argument("--list", action="store_true", help="only say what the cases are")
    arguments = parser.parse_args()
    cases = chosen(arguments.names, arguments.quick)
    if arguments.list:
        for case in cases:
            print(f"{case.name:34} {case.what}")
        return
    guarded = has_door() and arguments.door != "off"
    if not guarded and not arguments.names and arguments.door is None:
        cases = [case for case in cases if case.without_door]
    harmed = []
    with trial.HonestProcess(arguments.verbose) as honest:
        for case in cases:
            result = trial.Trial(case, honest, arguments.door, arguments.recovery).run()
            print(row(result), flush=True)
            if result.faults:
                harmed.append(case)
    print(f"{len(harmed)} of {len(cases)} cases did harm")
    sys.exit(any(guarded or case.without_door for case in harmed))


if __name__ == "__main__":
    main()
