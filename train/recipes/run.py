#!/usr/bin/env python3
"""Runs a recipe from text to scores: prepares text, makes and trains models, and has peerage-server
score them. What is there already is kept, so a run goes on where the last one stopped.

Usage: run.py                  lists the recipes
       run.py RECIPE [--only NAME ...] [--steps N] [--threads 2] [--score-threads 2]
              [--work build/train] [--programs build/release/bin] [--trainer FILE]

Models, configs and results.json, with a row for each model, are in WORK/RECIPE; text in WORK/text.
tables.py and pictures.py make docs/results.md of such files.
"""

import argparse
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import recipe as recipes
import score

ROOT = recipes.HERE.parents[1]
BASE = ROOT / "build/deps/models/SmolLM2-135M-Instruct.Q4_1.gguf"
CURVE_POINTS = 60  # kept of a training curve


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def list_recipes():
    rows = [(name, recipes.Recipe(name)) for name in recipes.names()]
    width = max(len(name) for name, _ in rows)
    for name, found in rows:
        print(f"{name:{width}}  {found['minutes']:4} min  {found['title']}")
        print(f"{'':{width}}            ({found['minutes_from']})")
    print("make recipe RECIPE=NAME runs one, and leaves models and results.json in build/train/NAME")


def run(command, log=None, spent=None):
    """Runs a program; returns seconds by the clock and of the processor: with `spent`, a file that keeps
    them, of all attempts together."""
    begin = time.monotonic()
    with (open(log, "a") if log else open(os.devnull, "w")) as output:
        process = subprocess.Popen([str(word) for word in command], cwd=ROOT, stdout=output,
                                   stderr=subprocess.STDOUT)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()  # the trainer saves its state
            _, status, usage = os.wait4(process.pid, 0)
            raise
        finally:
            before = json.loads(spent.read_text()) if spent and spent.exists() else [0, 0]
            seconds = [before[0] + time.monotonic() - begin,
                       before[1] + usage.ru_utime + usage.ru_stime]
            if spent:
                spent.write_text(json.dumps(seconds))
    if status != 0:
        last = pathlib.Path(log).read_text().splitlines()[-1:] if log else []
        raise SystemExit(f"{' '.join(map(str, command))}\nfailed: {' '.join(last)} ({log})")
    return seconds


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = next(line.split(": ")[1] for line in text.splitlines() if line.startswith("model name"))
    return {"cpu": model, "cores": os.cpu_count(), "date": datetime.date.today().isoformat(),
            "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True,
                                     capture_output=True).stdout.strip()}


class Kitchen:
    """One run of a recipe."""

    def __init__(self, recipe, args):
        self.recipe, self.args = recipe, args
        self.work, self.text = args.work / recipe.name, args.work / "text"
        self.work.mkdir(parents=True, exist_ok=True)
        self.file = self.work / "results.json"
        self.results = (json.loads(self.file.read_text()) if self.file.exists() else
                        {"recipe": recipe.name, "rows": []})

    def rows(self):
        return {row["name"]: row for row in self.results["rows"]}

    def prepare(self):
        missing = [domain for domain in self.recipe["domains"]
                   if not (self.text / f"{domain}.held.jsonl").exists()]
        if missing:
            say("text of", *missing)
            self.text.mkdir(exist_ok=True)
            run([sys.executable, recipes.HERE / "prepare_text.py", self.text, *missing],
                self.text / "prepare.log")
        tokenizer = self.work / "tokenizer"
        if self.recipe.get("vocabulary") and not tokenizer.exists():
            say("a tokenizer of", self.recipe["vocabulary"], "tokens")
            run([sys.executable, recipes.HERE / "make_tokenizer.py", tokenizer,
                 self.recipe["vocabulary"],
                 *(self.text / f"{domain}.train.txt" for domain in self.recipe["domains"])],
                self.work / "tokenizer.log")

    def make(self, step):
        """Makes the model of a step unless it is there; returns what is known of the making."""
        out, log = self.work / step.name, self.work / f"{step.name}.log"
        if (out / "config.json").exists():
            return {}
        say(step.name, "…")
        if step.kind == "tool":
            places = {other.group: self.work / other.name for other in self.recipe.steps()}
            words = [word.format(base=BASE, **places) for word in step.get("tool").split()]
            run([self.args.programs / "peerage-model", *words, "--out", out], log)
            return {}
        if step.kind == "average":
            run([sys.executable, recipes.HERE / "average.py", out,
                 *(self.work / name for name in step.get("average"))], log)
            return {}
        return self.train(step, out, log)

    def train(self, step, out, log):
        config = self.work / f"{step.name}.toml"
        resumes = any((out / "checkpoints").glob("step-*.safetensors"))
        files = {domain: [f"{self.text}/{domain}.{part}.jsonl" for part in ("train", "held")]
                 for domain in self.recipe["domains"]}
        tables = recipes.run_config(step, model=self.model_of(step), out=out, files=files,
                                    steps=self.steps_of(step))
        tables["run"]["threads"] = self.args.threads
        config.write_text(recipes.to_toml(tables))
        load = os.getloadavg()[0]
        seconds, processor = run(
            [self.args.trainer, "--config", config, *(["--routers-only"] * bool(
                step.get("routers_only"))), *(["--resume"] * resumes)], log,
            self.work / f"{step.name}.spent.json")
        tokens = (tables["schedule"]["steps"] * tables["data"].get("sequence_length", 256)
                  * tables["optimizer"].get("batch_sequences", 8)
                  * tables["optimizer"].get("accumulate", 1))
        made = {"steps": tables["schedule"]["steps"], "tokens": tokens,
                "threads": self.args.threads, "load": [load, os.getloadavg()[0]],
                "seconds": round(seconds, 1), "processor_seconds": round(processor, 1)}
        return made | curve_of(out / "training.jsonl")

    def model_of(self, step):
        if step.get("from"):
            return {"from": str(self.work / step.get("from"))}
        config = self.work / f"{step.name}.config.json"
        config.write_text(recipes.new_model_config(step, self.recipe["vocabulary"]))
        return {"config": str(config), "tokenizer": str(self.work / "tokenizer"),
                "seed": step.seed or 1}

    def steps_of(self, step):
        """None: as the config says."""
        if not step.get("as_long_as"):
            return self.args.steps
        rows = self.rows()
        ending = "" if step.seed is None else f".{step.seed}"
        whole, speed = (rows[step.get(key) + ending] for key in ("as_long_as", "speed_of"))
        return round(whole["processor_seconds"] / speed["processor_seconds"] * speed["steps"])

    def score(self, step, made):
        out = self.work / step.name
        report = json.loads(subprocess.run(
            [self.args.programs / "peerage-model", "inspect", out, "--json"], check=True,
            capture_output=True, text=True).stdout)
        found = score.score(self.args.programs, out, self.text, self.recipe["domains"],
                            windows=self.recipe["windows"], window=self.recipe["window"],
                            threads=self.args.score_threads, picture=self.work / f"{step.name}.png")
        found["logprobs"] = {domain: [round(mean, 5) for mean in means]
                             for domain, means in found["logprobs"].items()}
        row = {"name": step.name, "group": step.group, "seed": step.seed,
               "parameters": sum(report["parameters_by_part"].values()),
               "active_parameters": report["active_parameters"], "machine": machine(),
               **made, **found}
        self.results["rows"] = [other for other in self.results["rows"]
                                if other["name"] != step.name] + [row]
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(self.results) + "\n")
        partial.replace(self.file)
        say(f"{step.name}: perplexity {score.geometric_mean(found['logprobs']):.2f}")

    def cook(self):
        self.prepare()
        for step in self.recipe.steps():
            if self.args.only and step.group not in self.args.only:
                continue
            made_file = self.work / f"{step.name}.made.json"
            made = self.make(step)
            if made:
                made_file.write_text(json.dumps(made))
            if step.get("score", True) and step.name not in self.rows():
                self.score(step, json.loads(made_file.read_text()) if made_file.exists() else {})


def curve_of(path):
    """The losses of training as [step, loss], evenly thinned, and the last usage of experts."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [line for line in lines if "loss" in line]
    points = [[line["step"], round(line["loss"], 4)] for line in lines]
    every = -(-len(points) // CURVE_POINTS)
    return {"curve": points[::-1][::every][::-1], "trained_experts": lines[-1].get("experts", [])}


def main():
    if len(sys.argv) == 1:
        return list_recipes()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe", help=", ".join(recipes.names()))
    parser.add_argument("--only", nargs="*", help="steps to do")
    parser.add_argument("--steps", type=int, help="in place of the config's")
    parser.add_argument("--threads", type=int, default=2, help="of training")
    parser.add_argument("--score-threads", type=int, default=2, help="of the server")
    for option, default in {"work": "build/train", "programs": "build/release/bin",
                            "trainer": "build/oracle/bin/peerage-train"}.items():
        parser.add_argument(f"--{option}", default=ROOT / default,
                            type=lambda path: pathlib.Path(path).resolve())
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # run() passes it on
    Kitchen(recipes.Recipe(args.recipe), args).cook()


if __name__ == "__main__":
    main()
