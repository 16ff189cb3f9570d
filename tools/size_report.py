#!/usr/bin/env python3
"""Reports what is longer than the guide sizes: a smell to look at, never a failure.

Guides: header 120 lines, source 250, function 25 (as tools/source_measures.py counts them).
"""

import pathlib

from source_measures import functions

FOLDERS = ("base", "client", "server", "model", "train", "bench")
GUIDES = {".h": 120, ".cuh": 120, ".cc": 250, ".cu": 250}
FUNCTION_GUIDE = 25
SHOWN = 12


def main():
    files, bodies = [], []
    for folder in FOLDERS:
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.suffix in GUIDES:
                lines = path.read_text(encoding="utf-8").splitlines()
                if len(lines) > GUIDES[path.suffix]:
                    files.append((len(lines), f"{path} (guide {GUIDES[path.suffix]})"))
                bodies += [(length, f"{path}:{first}") for first, length in functions(lines)
                           if length > FUNCTION_GUIDE]
    for title, found in (("files over the guide size", files),
                         (f"functions over {FUNCTION_GUIDE} lines", bodies)):
        print(f"{len(found)} {title}")
        for length, what in sorted(found, reverse=True)[:SHOWN]:
            print(f"  {length:5d}  {what}")


if __name__ == "__main__":
    main()
