#!/usr/bin/env python3
"""The tables of docs/results.md, from docs/results/*.json, which run.py wrote.

Between the lines `<!-- table NAME -->` and `<!-- end -->` stands the table of docs/results/NAME.json.
Perplexities are means over seeds of the logarithm. Behind +- stands one standard error: over seeds
where there are some, of a difference pair by pair; else over windows of text, pair by pair, which
says nothing about other seeds.

Usage: tables.py [--check]     --check changes nothing and fails when the page has other tables
"""

import json
import math
import pathlib
import re
import statistics
import sys

from score import geometric_mean, perplexity

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/results.md"


def error_of(values):
    """Standard error of the mean; None of a single value."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


class Group:
    """The rows of one model, a seed each."""

    def __init__(self, rows):
        self.rows = {row["seed"]: row for row in rows}
        self.any = rows[0]

    def mean(self, field):
        values = [row[field] for row in self.rows.values() if row.get(field) is not None]
        return statistics.mean(values) if values else None

    def domain(self, name):
        logs = [math.log(perplexity(row["logprobs"][name])) for row in self.rows.values()]
        return math.exp(statistics.mean(logs))

    def nats(self):
        """By seed, over all domains."""
        return {seed: math.log(geometric_mean(row["logprobs"])) for seed, row in self.rows.items()}

    def against(self, other):
        """(mean, standard error) of the difference in nats, pair by pair."""
        seeds = sorted(self.rows.keys() & other.rows.keys(), key=str)
        if len(seeds) > 1:
            pairs = [self.nats()[seed] - other.nats()[seed] for seed in seeds]
            return statistics.mean(pairs), error_of(pairs)
        ours, theirs = (group.rows[seeds[0]]["logprobs"] for group in (self, other))
        pairs = {domain: [b - a for a, b in zip(ours[domain], theirs[domain])] for domain in ours}
        errors = [error_of(values) for values in pairs.values()]
        return (statistics.mean(statistics.mean(values) for values in pairs.values()),
                math.sqrt(sum(error ** 2 for error in errors)) / len(errors))

    def usage(self, field):
        """Of the expert layers, on held text; a mean over layers and seeds."""
        values = [layer[field] for row in self.rows.values() for layer in row["experts"]
                  if field in layer]
        return statistics.mean(values) if values else None


def with_error(value, error, form):
    text = form.format(value)
    return text if error is None else f"{text} ± {form.format(error).lstrip('+')}"


def count(number):
    return "" if number is None else f"{round(number):,}"


def millions(number):
    return f"{number / 1e6:.2f}M"


def cells_of(name, group, first, domains):
    nats = list(group.nats().values())
    mean = math.exp(statistics.mean(nats))
    error = error_of(nats)
    cells = [name, millions(group.any["parameters"]), millions(group.any["active_parameters"]),
             count(group.mean("tokens")), count(group.mean("processor_seconds"))]
    cells += [f"{group.domain(domain):.2f}" for domain in domains]
    cells.append(with_error(mean, error and error * mean, "{:.2f}"))
    if group is first:
        cells.append("")
    else:
        difference, error = group.against(first)
        percent = 100 * math.expm1(difference)
        cells.append(with_error(percent, error and 100 * error * math.exp(difference), "{:+.1f} %"))
    used, uneven = group.usage("used_ratio"), group.usage("unevenness_nats")
    cells.append("" if used is None else
                 f"{100 * used:.1f} % ({100 * group.usage('used_expected_ratio'):.1f})")
    cells.append("" if uneven is None else
                 f"{uneven:.2f} ({group.usage('unevenness_expected_nats'):.2f})")
    return cells


def table(results):
    groups = {}
    for row in results["rows"]:
        groups.setdefault(row["group"], []).append(row)
    groups = {name: Group(rows) for name, rows in groups.items()}
    name, first = next(iter(groups.items()))
    domains = list(first.any["logprobs"])
    heads = ["model", "parameters", "active", "tokens", "core seconds", *domains, "all",
             f"against {name}", "experts used (chance)", "unevenness (chance)"]
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1)]
    lines += [cells_of(name, group, first, domains) for name, group in groups.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def load(name):
    return json.loads((ROOT / f"docs/results/{name}.json").read_text())


def filled(text):
    return re.sub(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)",
                  lambda m: f"{m[1]}{table(load(m[2]))}\n{m[3]}", text, flags=re.DOTALL)


def main():
    text = PAGE.read_text()
    new = filled(text)
    if "--check" in sys.argv[1:]:
        sys.exit(f"{PAGE}: other tables than train/recipes/tables.py makes" if new != text else 0)
    PAGE.write_text(new)


if __name__ == "__main__":
    main()
