#!/usr/bin/env python3
"""Plays hostile cases, each against a fresh server, and prints what they did.

  PEERAGE_BIN=build/release/bin build/deps/venv/bin/python tests/integration/hostile/run.py [NAME...]

Exit code 1 when a case did harm that it must not do."""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import attack  # noqa: E402
import cases  # noqa: E402, F401
import known_harm  # noqa: E402
import trial  # noqa: E402


def chosen(arguments):
    """Without names those that must do no harm, or with --door off all."""
    if unknown := {*arguments.names, *known_harm.KNOWN} - {case.name for case in attack.CASES}:
        sys.exit(f"no such case: {', '.join(sorted(unknown))}")
    if arguments.names:
        return [case for case in attack.CASES if case.name in arguments.names]
    return [case for case in attack.CASES if (case.quick or not arguments.quick)
            and (arguments.door == "off" or arguments.known or case.name not in known_harm.KNOWN)]


def row(result):
    verdict = "; ".join(result.faults) or "unharmed"
    return (f"{result.name:34} {result.seconds:6.1f} s {result.sent_mib:7.1f} MiB "
            f"{result.calls:5} calls {1000 * result.p99:7.0f} ms {result.peak_mib:+6.0f} "
            f"{result.left_mib:+5.0f} MiB {result.recovery_seconds:5.1f} s  {verdict}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="of cases; all when there is none")
    parser.add_argument("--quick", action="store_true", help="those of `make check`")
    parser.add_argument("--known", action="store_true", help="those of known_harm.py, too")
    parser.add_argument("--door", choices=("on", "off"), help="given to the server")
    parser.add_argument("--recovery", type=float, default=30, help="seconds that the server has to be as before")
    parser.add_argument("--verbose", action="store_true", help="say what honest calls failed of")
    parser.add_argument("--list", action="store_true", help="only say what the cases are")
    arguments = parser.parse_args()
    played = chosen(arguments)
    if arguments.list:
        for case in played:
            print(f"{case.name:34} {case.what}")
        return
    failed = []
    with trial.HonestProcess(arguments.verbose) as honest:
        for case in played:
            result = trial.Trial(case, honest, arguments.door, arguments.recovery).run()
            known = case.name in known_harm.KNOWN or (arguments.door == "off" and not case.without_door)
            print(row(result), "(known)" if known and result.faults else "", flush=True)
            if result.faults and not known:
                failed.append(case.name)
    print(f"{len(played)} of {len(attack.CASES)} attacks; harm that must not be: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
