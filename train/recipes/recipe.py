"""The recipes of this folder: which models are made, from what, and how they are scored.

A recipe is a .toml file:

  title, minutes, minutes_from   what `make recipes` lists, and where the minutes come from
  domains, windows, window       on which held text models are scored (prepare_text.py, score.py)
  vocabulary                     of a tokenizer made for its new models; absent: they have SmolLM2's
  seeds                          every training step is done with each of them; absent: once

and its [[step]] tables in the order in which they are done. Each makes a model directory `name`
(`name.SEED` with seeds) by one of:

  tool     the options of a `peerage-model` command but --out; {base} is SmolLM2, {NAME} the model of
           another step
  average  names of models whose weights are averaged
  train    a config of `peerage-train` in runs/, with `from` (the model of another step) or, of a new
           model, `ffn` (of layer `layer`, which is compared) in `model` (a config.json in models/, in
           which `shape` replaces keys); tables
           `optimizer`, `schedule` and `run` count before the config's, of whose optimizer's groups
           those with a `kind` are for steps whose `ffn` is of it; `sources` are the domains
           that are trained on (all). `routers_only` is the option. `as_long_as` (the name of a
           step) chooses the steps so that the processor's time is that step's, `speed_of` the
           step with the same model that says how fast it is.

  score = false leaves a model out of the results.
"""

import copy
import dataclasses
import json
import pathlib
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
KINDS = ("tool", "average", "train")


@dataclasses.dataclass(frozen=True)
class Step:
    """One model; `seed` is None where the recipe has no seeds, or nothing is drawn."""
    group: str
    seed: int | None
    fields: dict

    @property
    def name(self):
        return self.group if self.seed is None else f"{self.group}.{self.seed}"

    @property
    def kind(self):
        return next(kind for kind in KINDS if kind in self.fields)

    def get(self, field, default=None):
        return self.fields.get(field, default)


class Recipe:
    def __init__(self, name):
        path = HERE / f"{name}.toml"
        if not path.exists():
            raise SystemExit(f"{name} is no recipe; there are {', '.join(names())}")
        self.name, self.fields = name, tomllib.loads(path.read_text())
        for key in ("title", "minutes", "minutes_from", "domains", "windows", "window", "step"):
            if key not in self.fields:
                raise SystemExit(f"{path}: {key} is missing")
        for step in self.fields["step"]:
            if sum(kind in step for kind in KINDS) != 1:
                raise SystemExit(f"{path}: step {step.get('name')} needs one of {', '.join(KINDS)}")

    def __getitem__(self, key):
        return self.fields[key]

    def get(self, key, default=None):
        return self.fields.get(key, default)

    def steps(self):
        """All of one seed before any of the next, so that a run cut short is whole for some."""
        for seed in self.get("seeds", [None]):
            for fields in self["step"]:
                yield Step(fields["name"], seed if "train" in fields else None, fields)


def names():
    return sorted(path.stem for path in HERE.glob("*.toml"))


def run_config(step, *, model, out, files, steps=None):
    """The tables of `peerage-train`'s config for a step; `model` is its [model] table, `files` of
    each domain the text to train on and the one held back."""
    tables = tomllib.loads((HERE / step.get("train")).read_text())
    for section in ("optimizer", "schedule", "run"):
        tables[section] = tables.get(section, {}) | copy.deepcopy(step.get(section, {}))
    kinds = {None} | {layer["kind"] for layer in step.get("ffn", [])}
    groups = [group for group in tables["optimizer"].pop("group", [])
              if group.pop("kind", None) in kinds]
    tables["optimizer"] |= {"group": groups} if groups else {}
    tables["model"] = {k: v for k, v in tables.get("model", {}).items() if k in ("train", "freeze")}
    tables["model"] |= model
    tables["data"]["source"] = [{"files": files[domain][0], "weight": 1}
                                for domain in step.get("sources", files)]
    tables["data"]["held_out"] = [held for _, held in files.values()]
    if step.seed is not None:
        tables["data"]["seed"] = step.seed
    if steps is not None:
        tables["schedule"] |= schedule_of(tables["schedule"], steps)
    tables["run"]["out"] = str(out)
    return tables


def schedule_of(schedule, steps):
    """What changes with another number of steps: a short run warms up for a quarter of it at most."""
    warmup = min(schedule.get("warmup_steps", 0), steps // 4)
    changed = {"steps": steps, "warmup_steps": warmup}
    if "decay_steps" in schedule:
        changed["decay_steps"] = min(schedule["decay_steps"], steps - warmup)
    return changed


def to_toml(tables):
    """Text of tables of values and lists of tables, as `peerage-train` reads it."""
    lines = []
    for section, table in tables.items():
        lines.append(f"[{section}]")
        lists = {k: v for k, v in table.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items() if key not in lists]
        for key, rows in lists.items():
            for row in rows:
                lines.append(f"[[{section}.{key}]]")
                lines += [f"{k} = {json.dumps(v)}" for k, v in row.items()]
    return "\n".join(lines) + "\n"


def new_model_config(step, vocabulary):
    """config.json of a new model: that of models/, with the step's `ffn` in one layer."""
    config = json.loads((HERE / step.get("model")).read_text())
    config |= step.get("shape", {}) | {"vocab_size": vocabulary}
    config["layers"] = {str(step.get("layer")): {"ffn": step.get("ffn")}}
    return json.dumps(config, indent=1) + "\n"
