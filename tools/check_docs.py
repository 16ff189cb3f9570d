#!/usr/bin/env python3
"""Keeps README.md, docs/ and the READMEs of folders true: links, paths, commands and options that they name exist.

  * a relative link leads to a file;
  * `a/path` in code quotes whose first part is a folder of ours exists (build/ is not checked, nor
    a file called x, which stands for any);
  * in ```sh blocks: `make VERB` is a verb of the Makefile, a script exists, and every --option of
    one of our programs is in its --help, when the program is built (--bin FOLDER).

Prints one line per finding; exit code 1 when there is one.
"""

import argparse
import functools
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = {"peerage-server", "peerage", "peerage-model", "peerage-train", "model_bench"}
FOLDERS = {p.name for p in ROOT.iterdir() if p.is_dir() and p.name not in ("build", ".git")}


def documents():
    yield ROOT / "README.md"
    yield ROOT / "SECURITY.md"
    yield ROOT / "deploy" / "README.md"
    yield ROOT / "client" / "python" / "README.md"
    yield ROOT / "train" / "python" / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def check_links(path, text):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            if not (path.parent / target).exists():
                yield f"link to {target}, which does not exist"


def check_paths(text):
    for quoted in re.findall(r"`([\w.-]+/[\w./-]*)`", text):
        if re.search(r"/[xX]([._][\w.]*)?$", quoted):
            continue
        if quoted.split("/")[0] in FOLDERS and not (ROOT / quoted).exists():
            if not list(ROOT.glob(quoted + ".*")):  # `model/kernels/linear` for its .h and .cc
                yield f"path {quoted}, which does not exist"


def shell_commands(text):
    """The commands of ```sh blocks, continuation lines joined, comments and here-documents gone."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        block = re.sub(r"<<'(\w+)'\n.*?^\1\n", "\n", block, flags=re.MULTILINE | re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.split(r"\s*(?:&&|\|\||[|;&])\s*", line.split(" #")[0].strip()):
                words = shlex.split(command.removeprefix("$ "), comments=True)
                while words and re.fullmatch(r"(sudo|\w+=.*)", words[0]):
                    words = words[1:]
                if words:
                    yield words


@functools.cache
def make_verbs():
    return set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


@functools.cache
def help_text(program, *subcommand):
    run = subprocess.run([program, *subcommand, "--help"], capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


def check_command(words, bin_folder):
    name = pathlib.PurePath(words[0]).name
    if name == "make":
        for verb in (w for w in words[1:] if "=" not in w and not w.startswith("-")):
            if verb not in make_verbs():
                yield f"make {verb}, which is no verb of the Makefile"
    elif name in PROGRAMS:
        program = bin_folder / name if bin_folder else None
        if program and program.exists():
            subcommand = [w for w in words[1:2] if re.fullmatch(r"[a-z]+", w)]
            known = help_text(str(program), *subcommand) + help_text(str(program))
            for option in (w.split("=")[0] for w in words[1:] if re.match(r"--[a-z]", w)):
                if not re.search(re.escape(option) + r"(?![\w-])", known):
                    yield f"{' '.join([name, *subcommand])} {option}, which its help does not name"
    elif "/" in words[0] and words[0].split("/")[0] in FOLDERS and not (ROOT / words[0]).exists():
        yield f"command {words[0]}, which does not exist"


def findings(bin_folder):
    for path in documents():
        if not path.exists():
            yield f"{path.relative_to(ROOT)}: missing"
            continue
        text = path.read_text(encoding="utf-8")
        found = [*check_links(path, text), *check_paths(text)]
        for words in shell_commands(text):
            found += check_command(words, bin_folder)
        yield from (f"{path.relative_to(ROOT)}: {what}" for what in found)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, help="folder of built programs")
    found = list(findings(parser.parse_args().bin))
    for line in found:
        print(line)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
