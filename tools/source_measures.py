"""What tools/size_report.py and tools/house_figures.py both measure of C++ sources."""

import re

HEADERS = {".h", ".cuh"}
SOURCES = {".cc", ".cu"}

OPENING = re.compile(r"^(?!.*\b(namespace|class|struct|enum|union)\b).*\)[^;=]*\{$")
STATEMENT = re.compile(r"\s*(\}|(if|for|while|switch|else|do|return)\b)")


def first_line(lines, last):
    """Where what ends in line `last` begins: its parameters and initialisers may take several."""
    at, depth = last, 0
    while True:
        depth += lines[at].count(")") - lines[at].count("(")
        more = lines[at].lstrip().startswith(":") or (at > 0 and lines[at - 1].endswith(","))
        if at == 0 or (depth <= 0 and not more):
            return at
        at -= 1


def functions(lines):
    """(first line, length) of every function body that has lines of its own.

    A function is counted from its brace at the end of a line to the closing brace of the indent
    that it begins with, so the figure is approximate.
    """
    for brace, line in enumerate(lines):
        if not OPENING.match(line):
            continue
        begin = lines[first_line(lines, brace)]
        if STATEMENT.match(begin):
            continue
        closing = begin[:len(begin) - len(begin.lstrip())] + "}"
        for end in range(brace + 1, len(lines)):
            if lines[end].startswith(closing):
                yield brace + 1, end - brace - 1
                break
