#!/usr/bin/env python3
"""Makes docs/configuration.md of what `peerage-server --help` says.

  tools/make_configuration.py build/release/bin/peerage-server           writes the page
  tools/make_configuration.py build/release/bin/peerage-server --check   exit code 1 when it says something else

Every option has a flag, a variable of the environment and a key of the configuration file; the page
gives all three, what values it takes, and its default, so that nobody has to guess one from the other."""

import argparse
import pathlib
import re
import subprocess
import sys

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs/configuration.md"
OPTION = re.compile(r"^  --([a-z][a-z0-9-]*)(?: ([A-Z\[]\S*|\S+\|\S+))?(?: +(\S.*))?$")
DEFAULT = re.compile(r"^(.*?) ?\(default: (.*)\)$", re.DOTALL)
# Of the program, not of its configuration.
NOT_KEYS = {"help", "version", "config", "print-config", "check-config"}

HEAD = """# Configuration of the server

All options of `peerage-server`, made by `tools/make_configuration.py` of what `--help` says. [serve.md](serve.md#options) tells what
they are for, [operate.md](operate.md) which ones to set in production.

Each can be given in three ways; a flag beats the environment, which beats the file:

- as a flag: `--max-sequences 32`
- as a variable of the environment: `PEERAGE_MAX_SEQUENCES=32`
- as a line of a TOML file that `--config FILE` names: `max-sequences = 32`

An unknown option, one that is given twice, and a value out of its range end the program with exit code 2 and a line that
names the option. `--print-config` prints what all of them resolve to, in the form of the file, and exits.

| flag | environment | default | |
| --- | --- | --- | --- |
"""


def options(text):
    """(name, value, description) of each option of a help text."""
    found = []
    for line in text.partition("Options:\n")[2].splitlines():
        if not line.strip():
            break
        if match := OPTION.match(line):
            found.append([match[1], match[2] or "", match[3] or ""])
        elif found and line.startswith(" " * 8):
            found[-1][2] = (found[-1][2] + " " + line.strip()).strip()
    return found


def row(name, value, description):
    match = DEFAULT.match(description)
    text, default = (match[1], match[2]) if match else (description, "")
    # A default that is a sentence is no value to be typed.
    default = f"`{default}`" if default and " " not in default else default
    flag = f"--{name} {value}".strip().replace("|", "\\|")
    variable = "PEERAGE_" + name.upper().replace("-", "_")
    return f"| `{flag}` | `{variable}` | {default} | {text.replace('|', chr(92) + '|')} |\n"


def page(program):
    text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout
    rows = [row(*option) for option in options(text) if option[0] not in NOT_KEYS]
    if len(rows) < 20:
        sys.exit(f"only {len(rows)} options were found in the help text of {program}")
    return HEAD + "".join(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    made = page(arguments.program)
    if not arguments.check:
        PAGE.write_text(made, encoding="utf-8")
    elif made != PAGE.read_text(encoding="utf-8"):
        sys.exit(f"{PAGE} is not what {arguments.program} --help says: tools/make_configuration.py makes it anew")


if __name__ == "__main__":
    main()
