#!/usr/bin/env python3
"""Unpacks chosen members of a wheel: unpack_wheel.py WHEEL FOLDER PREFIX PATTERN...

Members whose path under PREFIX matches a PATTERN (shell style, `*` crosses slashes) land in
FOLDER without the prefix. A pattern that matches nothing is an error.
"""

import fnmatch
import pathlib
import shutil
import sys
import zipfile


def main():
    wheel, folder, prefix, *patterns = sys.argv[1:]
    unused = set(patterns)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = member.filename.removeprefix(prefix)
            matches = [p for p in patterns if fnmatch.fnmatchcase(name, p)]
            if member.is_dir() or name == member.filename or not matches:
                continue
            unused.difference_update(matches)
            target = pathlib.Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
    if unused:
        sys.exit(f"{wheel} has no {', '.join(sorted(unused))} under {prefix}")


if __name__ == "__main__":
    main()
