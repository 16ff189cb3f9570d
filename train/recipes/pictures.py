#!/usr/bin/env python3
"""The pictures of docs/results.md, from docs/results/*.json, which run.py wrote.

  results_NAME_loss.png     training losses by tokens, a mean over seeds, smoothed
  results_NAME_points.png   perplexity of held text by the processor's time of training (of isoflop: by
                            active parameters), a point for each model

Usage: pictures.py [NAME ...]     (matplotlib: tools/setup.sh pictures)
"""

import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (after the choice)
import numpy as np  # noqa: E402

from score import geometric_mean  # noqa: E402
from tables import ROOT, load  # noqa: E402

IMAGES = ROOT / "docs/images"
FROM_NOTHING = ("table1", "table2", "figure3")  # elsewhere what a model goes on from took time, too
SMOOTHED = 5  # points of a curve whose mean is drawn
LEFT_OUT = 0.25  # of a curve: the steep beginning, beside which nothing differs


def groups_of(results):
    groups = {}
    for row in results["rows"]:
        groups.setdefault(row["group"], []).append(row)
    return groups


def curve(rows):
    """(millions of tokens, nats), means over the seeds at the same share of their steps, of which
    one may have more than another."""
    shares = [step / rows[0]["steps"] for step, _ in rows[0]["curve"]]
    losses = np.mean([np.interp(shares, [step / row["steps"] for step, _ in row["curve"]],
                                [loss for _, loss in row["curve"]]) for row in rows], axis=0)
    tokens = statistics.mean(row["tokens"] for row in rows)
    first = max(SMOOTHED - 1, round(LEFT_OUT * len(shares)))
    smooth = np.convolve(losses, np.ones(SMOOTHED) / SMOOTHED, mode="valid")
    return [share * tokens / 1e6 for share in shares][first:], smooth[first - SMOOTHED + 1:]


def draw_losses(results):
    figure, axes = plt.subplots(figsize=(6.4, 4), dpi=110)
    for name, rows in groups_of(results).items():
        if "curve" in rows[0]:
            axes.plot(*curve(rows), label=name, linewidth=1.4)
    axes.set(xlabel="million tokens", ylabel="training loss (nats)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def draw_isoflop(results):
    """Of models named KIND_WIDTH."""
    figure, axes = plt.subplots(figsize=(6.4, 4), dpi=110)
    for kind in ("dense", "peer"):
        rows = [row for row in results["rows"] if row["group"].startswith(kind)]
        axes.plot([row["active_parameters"] for row in rows],
                  [geometric_mean(row["logprobs"]) for row in rows], marker="o", label=kind)
    axes.set(xscale="log", xlabel="active parameters", ylabel="perplexity of held text")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    return figure


def draw_points(results):
    figure, axes = plt.subplots(figsize=(6.4, 4), dpi=110)
    for name, rows in groups_of(results).items():
        timed = [row for row in rows if row.get("processor_seconds")]
        if not timed:
            continue
        axes.scatter([row["processor_seconds"] for row in timed],
                     [geometric_mean(row["logprobs"]) for row in timed], label=name, s=24)
    axes.set(xlabel="seconds of one core, training", ylabel="perplexity of held text")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def pictures_of(name, results):
    """The functions that draw what there is to be seen, by the end of the picture's name."""
    pictures = {"loss": draw_losses}
    if name == "isoflop":
        pictures["points"] = draw_isoflop
    elif name in FROM_NOTHING:
        pictures["points"] = draw_points
    return pictures


def main():
    names = sys.argv[1:] or [path.stem for path in sorted((ROOT / "docs/results").glob("*.json"))]
    for name in names:
        results = load(name)
        for kind, draw in pictures_of(name, results).items():
            figure = draw(results)
            # No date and no version: the same results are the same bytes.
            figure.savefig(IMAGES / f"results_{name}_{kind}.png", metadata={"Software": None},
                           bbox_inches="tight")
            plt.close(figure)


if __name__ == "__main__":
    main()
