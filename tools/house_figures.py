#!/usr/bin/env python3
"""Prints the figures of the house: how large its rooms, files and functions are, and how far one
thing is spread over them. Signs to look at, never a failure.

Usage: house_figures.py [ROOT [OTHER]] [--list]. With two roots the table has both, before and
after. --list adds the files and places that were counted.

Product code is what lies in base/, client/, server/ and model/. Lines that every file must have
(preprocessor, namespace) are no duplicates. The last two rows are counted from documents, so they
are as true as those: "## The way of a tensor" in docs/architecture.md, and in
docs/life_of_a_request.md the section whose heading says "way" or "files", or else the document's
first numbered list. What counts there is each `path` in code quotes, or in a fenced block, that
exists under server/, model/ or base/; a header and its source are one.
"""

import argparse
import collections
import math
import pathlib
import re
import statistics

from source_measures import HEADERS, SOURCES, functions

PRODUCT = ("base", "client", "server", "model")
SMALL = 30
ALIKE = 6  # lines
NO_FIGURE = "-"

# Every file must have these lines.
FRAME = re.compile(r"\s*(#|namespace\b.*\{$|\}  // namespace\b)")

VARIANT = re.compile(r"\busing \w+ =\s*std::variant<([^;]*)>;")
# Where the variants of layers are declared.
LAYER_ROOMS = ("model/config/", "model/nn/")

WAY_ROOMS = ("server", "model", "base")
PATH = re.compile(r"[\w./-]*\w")


class House:
    """The product code of one checkout."""

    def __init__(self, root):
        self.root = root
        self.entries = [path for folder in PRODUCT for path in sorted((root / folder).rglob("*"))
                        if path.is_file() and "__pycache__" not in path.parts]
        self.lines = {self.name(path): path.read_text(encoding="utf-8").splitlines()
                      for path in self.entries if path.suffix in HEADERS | SOURCES}

    def name(self, path):
        return path.relative_to(self.root).as_posix()

    def files(self, suffixes):
        return [name for name in self.lines if pathlib.PurePath(name).suffix in suffixes]

    def document(self, name):
        path = self.root / "docs" / name
        return path.read_text(encoding="utf-8") if path.exists() else ""


def files_per_folder(house):
    return collections.Counter(house.name(path.parent) for path in house.entries)


def spread(values):
    """Median, 90th percentile (nearest rank) and maximum."""
    if not values:
        return NO_FIGURE
    ranked = sorted(values)
    return f"{statistics.median_low(ranked)} / {ranked[math.ceil(0.9 * len(ranked)) - 1]} / {ranked[-1]}"


def file_lengths(house, suffixes):
    return [len(house.lines[name]) for name in house.files(suffixes)]


def function_lengths(house):
    return [length for lines in house.lines.values() for _, length in functions(lines)]


def small_files(house):
    return [name for name, lines in house.lines.items() if len(lines) <= SMALL]


def layer_kinds(house):
    """The alternatives of the variants of layers, by their own names."""
    kinds = set()
    for name in house.files(HEADERS):
        if name.startswith(LAYER_ROOMS):
            for alternatives in VARIANT.findall("\n".join(house.lines[name])):
                kinds |= {kind.strip() for kind in alternatives.split(",")}
    return {kind for kind in kinds if re.fullmatch(r"[A-Z]\w*", kind)}


def files_that_tell_kinds_apart(house):
    """Those that name FfnKind, ask a variant for one kind of layer, or visit it kind by kind."""
    kind = rf"(const\s+)?([\w]+::)*({'|'.join(sorted(layer_kinds(house)) or ['(?!)'])})\b"
    asks = re.compile(rf"\bFfnKind\b|\b(get|get_if|holds_alternative)<\s*{kind}\s*>")
    handles = re.compile(rf"\[[^\]]*\]\s*\(\s*{kind}\s*[&)]")
    found = []
    for name, lines in house.lines.items():
        text = "\n".join(lines)
        if asks.search(text) or ("std::visit" in text and handles.search(text)):
            found.append(name)
    return found


def duplicates(house):
    """Pairs of places that share at least ALIKE lines, each with as many lines as they share."""
    texts = {name: [(number, line.strip()) for number, line in enumerate(lines, 1)
                    if line.strip() and not FRAME.match(line)]
             for name, lines in house.lines.items()}
    places = collections.defaultdict(list)
    for name, text in texts.items():
        for at in range(len(text) - ALIKE + 1):
            places[tuple(line for _, line in text[at:at + ALIKE])].append((name, at))

    def same(a, b, step):
        (file, i), (other, j) = a, b
        i, j = i + step, j + step
        return (0 <= i < len(texts[file]) and 0 <= j < len(texts[other])
                and texts[file][i][1] == texts[other][j][1])

    found = []
    for alike in places.values():
        for first, a in enumerate(alike):
            for b in alike[first + 1:]:
                if same(a, b, -1) or (a[0] == b[0] and b[1] < a[1] + ALIKE):
                    continue  # a part of a longer pair, or a place that overlaps itself
                length = ALIKE
                while same(a, b, length):
                    length += 1
                where = [f"{name}:{texts[name][at][0]}" for name, at in (a, b)]
                found.append(f"{where[0]} and {where[1]}, {length} lines")
    return sorted(found)


def section(text, heading):
    """The text under the first heading that matches, up to the next of its level or a higher one."""
    match = re.search(rf"^(#+) [^\n]*{heading}[^\n]*\n", text, re.MULTILINE | re.IGNORECASE)
    if not match:
        return ""
    rest = text[match.end():]
    end = re.search(rf"^#{{1,{len(match.group(1))}}} ", rest, re.MULTILINE)
    return rest[:end.start()] if end else rest


def numbered_list(text):
    """The first numbered list: its items with what is indented under them."""
    match = re.search(r"^1\. .*\n(?:(?:\d+\. |[ \t]).*\n|\n(?=\d+\. |[ \t]))*", text + "\n",
                      re.MULTILINE)
    return match.group(0) if match else ""


def quoted_paths(text):
    """Whatever may be a path in code quotes and fenced blocks, in the text's order."""
    for fenced, quoted in re.findall(r"^```[^\n]*\n(.*?)^```|`([^`\n]+)`", text,
                                     re.MULTILINE | re.DOTALL):
        if fenced:
            yield from PATH.findall(fenced)
        elif PATH.fullmatch(quoted):
            yield quoted


def files_named(house, text):
    """The files of WAY_ROOMS that a text names by path, by the end of a path, or by name alone (the
    nearest one of that name to what was named before). A header and its source are one."""
    stems = {}
    for name in house.lines:
        if name.startswith(WAY_ROOMS):
            stems.setdefault(re.sub(r"\.\w+$", "", name), None)
    found = {}
    before = ""
    for quoted in quoted_paths(text):
        wanted = re.sub(r"\.(h|cc|cu|cuh)$", "", quoted)
        if wanted == quoted and "/" not in quoted:
            continue  # a word, not a file
        matches = [stem for stem in stems if f"/{stem}".endswith(f"/{wanted}")]
        if matches:
            before = min(matches, key=lambda stem: (-shared_folders(stem, before), stem))
            found[before] = None
    return list(found)


def shared_folders(a, b):
    count = 0
    for x, y in zip(a.split("/")[:-1], b.split("/")[:-1]):
        if x != y:
            break
        count += 1
    return count


def way_of_a_tensor(house):
    return files_named(house, section(house.document("architecture.md"), "The way of a tensor"))


def way_of_a_request(house):
    text = house.document("life_of_a_request.md")
    return files_named(house, section(text, r"\b(way|files)\b") or numbered_list(text))


LISTS = {
    f"files of at most {SMALL} lines": small_files,
    "files that tell kinds of layers apart": files_that_tell_kinds_apart,
    f"pairs of places that share {ALIKE} lines or more": duplicates,
    "rooms a tensor passes (docs/architecture.md)": way_of_a_tensor,
    "files a GenerateStream passes (docs/life_of_a_request.md)": way_of_a_request,
}
ABSENT_WHEN_EMPTY = (way_of_a_tensor, way_of_a_request)


def figures(house):
    """What is measured and its figure, in the table's order."""
    result = {
        "headers": str(len(house.files(HEADERS))),
        "header lines, median / p90 / max": spread(file_lengths(house, HEADERS)),
        "sources": str(len(house.files(SOURCES))),
        "source lines, median / p90 / max": spread(file_lengths(house, SOURCES)),
        "functions": str(len(function_lengths(house))),
        "function lines, median / p90 / max": spread(function_lengths(house)),
    }
    for title, find in LISTS.items():
        count = len(find(house))
        result[title] = NO_FIGURE if count == 0 and find in ABSENT_WHEN_EMPTY else str(count)
    return result


def table(houses):
    """Markdown: a column for each house."""
    columns = [{**figures(house), **{f"files in {folder}/": str(count) for folder, count
                                     in sorted(files_per_folder(house).items())}}
               for house in houses]
    measured = list(dict.fromkeys(title for column in columns for title in column))
    folders = sorted(title for title in measured if title.startswith("files in "))
    measured = [title for title in measured if title not in folders] + folders
    heads = ["before", "after"] if len(houses) == 2 else ["figure"]
    rows = [["", *heads], ["---", *["---:"] * len(heads)]]
    rows += [[title, *(column.get(title, NO_FIGURE) for column in columns)] for title in measured]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def lists(house):
    return "".join(f"\n{title}:\n" + "".join(f"  {item}\n" for item in find(house))
                   for title, find in LISTS.items())


def main():
    parser = argparse.ArgumentParser(description="Prints the figures of the house.")
    parser.add_argument("roots", nargs="*", type=pathlib.Path, metavar="ROOT")
    parser.add_argument("--list", action="store_true", help="add what was counted")
    arguments = parser.parse_args()
    roots = arguments.roots or [pathlib.Path(__file__).resolve().parent.parent]
    if len(roots) > 2:
        parser.error("one checkout, or two to compare")
    houses = [House(root) for root in roots]
    print(table(houses), end="")
    if arguments.list:
        for house in houses:
            print(f"\n{house.root}", lists(house), sep="\n", end="")


if __name__ == "__main__":
    main()
