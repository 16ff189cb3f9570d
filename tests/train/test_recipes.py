#!/usr/bin/env python3
"""The recipes of train/recipes before anything is trained: what they refer to is there, peerage-train
takes their configs, and tables say what results hold.

PEERAGE_TRAIN names the trainer; run from the root of the tree.
"""

import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
import unittest

sys.path.insert(0, "train/recipes")
import average  # noqa: E402 (after the path)
import recipe as recipes  # noqa: E402
import run  # noqa: E402
import tables  # noqa: E402


def all_steps():
    return [(recipe, step) for recipe in map(recipes.Recipe, recipes.names())
            for step in recipe.steps()]


class RecipesTest(unittest.TestCase):
    def test_are_those_that_results_need(self):
        self.assertEqual(recipes.names(),
                         ["bam", "figure3", "isoflop", "peer_memory", "table1", "table2"])

    def test_steps_refer_to_earlier_ones(self):
        for name in recipes.names():
            known = {"base"}
            for step in recipes.Recipe(name)["step"]:
                used = set(re.findall(r"{(\w+)}", step.get("tool", ""))) | set(step.get("average", []))
                used |= {step[key] for key in ("from", "as_long_as", "speed_of") if key in step}
                self.assertLessEqual(used, known, f"{name}: {step['name']}")
                known.add(step["name"])

    def test_every_seed_is_another_model_of_another_order_of_text(self):
        steps = [step for recipe, step in all_steps() if recipe.name == "table1"]
        self.assertEqual(len({step.name for step in steps}), len(steps))
        seeds = {recipes.run_config(step, model={}, out="o", files={})["data"]["seed"]
                 for step in steps if step.group == "peer"}
        self.assertEqual(seeds, {1, 2, 3})

    def test_groups_of_a_kind_are_for_its_layers_alone(self):
        config = {step.group: recipes.run_config(step, model={}, out="o", files={})["optimizer"]
                  for recipe, step in all_steps() if recipe.name == "table1"}
        self.assertNotIn("group", config["dense"])
        for kind in ("pkm", "peer"):
            groups = config[kind]["group"]
            self.assertEqual([group["learning_rate"] for group in groups], [1e-3, 3e-2])
            self.assertTrue(all(f".{kind}." in name for group in groups for name in group["tensors"]))
            self.assertNotIn("kind", groups[0])

    def test_fewer_steps_have_a_schedule_that_fits(self):
        expert = {"kind": "trapezoid", "steps": 112, "warmup_steps": 6, "decay_steps": 106}
        self.assertEqual(recipes.schedule_of(expert, 8),
                         {"steps": 8, "warmup_steps": 2, "decay_steps": 6})
        self.assertEqual(recipes.schedule_of({"steps": 1000, "warmup_steps": 50}, 300),
                         {"steps": 300, "warmup_steps": 50})

    def test_the_trainer_takes_every_config(self):
        with tempfile.TemporaryDirectory() as folder:
            configs = {}  # by their texts: those of a recipe are often alike
            for recipe, step in all_steps():
                if step.kind == "train":
                    config = recipes.run_config(
                        step, model={"from": f"{folder}/none"}, out=f"{folder}/out",
                        files={domain: ["train", "held"] for domain in recipe["domains"]})
                    config["data"].pop("seed", None)
                    configs[recipes.to_toml(config)] = config
            for text, config in configs.items():
                self.assertEqual(tomllib.loads(text), config)
                path = pathlib.Path(folder) / "run.toml"
                path.write_text(text)
                ended = subprocess.run([os.environ["PEERAGE_TRAIN"], "--config", path],
                                       capture_output=True, text=True)
                self.assertEqual(ended.stderr,
                                 f"peerage-train: {folder}/none: no such file or directory\n", text)

    def test_a_terminated_run_ends_its_trainer_which_saves(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "text").mkdir()
            for domain in recipes.Recipe("isoflop")["domains"]:
                (folder / f"text/{domain}.held.jsonl").touch()
            (folder / "isoflop/tokenizer").mkdir(parents=True)
            for pipe in ("told", "never"):
                os.mkfifo(folder / pipe)
            trainer = folder / "trainer"
            trainer.write_text(f"#!/bin/bash\nexec >{folder}/told\ntrap 'echo saved; exit 0' TERM\n"
                               f"echo $$\nread <>{folder}/never\n")
            trainer.chmod(0o755)
            process = subprocess.Popen(
                [sys.executable, "train/recipes/run.py", "isoflop", "--work", folder, "--trainer",
                 trainer], stderr=subprocess.DEVNULL)
            with open(folder / "told", encoding="utf-8") as told:
                trainer_id = int(told.readline())
                process.send_signal(signal.SIGTERM)
                code = process.wait()
                if code != 128 + signal.SIGTERM:  # else nobody ends it, and nothing would be read
                    os.kill(trainer_id, signal.SIGKILL)
                self.assertEqual((code, told.readline()), (128 + signal.SIGTERM, "saved\n"))

    def test_the_server_takes_every_new_model(self):
        for recipe, step in all_steps():
            if step.get("ffn"):
                config = json.loads(recipes.new_model_config(step, recipe["vocabulary"]))
                self.assertEqual(config["layers"], {"2": {"ffn": step.get("ffn")}})
                self.assertEqual(config["vocab_size"], 2048)


def row(group, seed, nats, **fields):
    return {"name": f"{group}.{seed}", "group": group, "seed": seed, "parameters": 1_500_000,
            "active_parameters": 1_000_000, "experts": [],
            "logprobs": {"law": [-nats, -nats - 0.2], "maths": [-nats, -nats - 0.2]}} | fields


class TablesTest(unittest.TestCase):
    def test_the_page_has_the_tables_of_the_results(self):
        page = tables.PAGE.read_text()
        self.assertEqual(tables.filled(page), page)
        for path in (tables.ROOT / "docs/results").glob("*.json"):
            self.assertIn(f"<!-- table {path.stem} -->", page)

    def test_differences_are_taken_seed_by_seed(self):
        results = {"rows": [row("dense", 1, 2.0), row("dense", 2, 3.0),
                            row("peer", 1, 1.9), row("peer", 2, 2.9)]}
        dense, peer = tables.table(results).splitlines()[2:]
        mean = math.exp(2.6)  # of windows 0.1 apart
        self.assertIn(f"| {mean:.2f} | {mean:.2f} | {mean:.2f} ± {mean * 0.5:.2f} |", dense)
        self.assertIn("| -9.5 % ± 0.0 % |", peer)

    def test_one_seed_is_compared_window_by_window(self):
        rows = [row("seed", None, 2.0), row("memory", None, 1.9)]
        rows[1]["logprobs"]["law"] = [-1.8, -2.2]
        _, memory = tables.table({"rows": rows}).splitlines()[2:]
        # law: -0.2 and 0; maths: -0.1 twice. The error of the mean of the first is 0.1, half of it counts.
        self.assertIn("| -9.5 % ± 4.5 % |", memory)

    def test_usage_stands_beside_chance(self):
        layer = {"layer": 2, "kind": "peer", "used_ratio": 0.75, "used_expected_ratio": 1.0,
                 "unevenness_nats": 1.5, "unevenness_expected_nats": 0.02}
        text = tables.table({"rows": [row("peer", 1, 2.0, experts=[layer], tokens=2048)]})
        self.assertIn("| 75.0 % (100.0) | 1.50 (0.02) |", text)
        self.assertIn("| 1.50M | 1.00M | 2,048 |", text)


class AverageTest(unittest.TestCase):
    def test_reads_both_dtypes_and_names(self):
        import numpy as np
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / name for name in ("llama", "ours", "mean")]
            values = np.array([[1.0, -2.5]], dtype=np.float32)
            for path, name in zip(paths, ("model.layers.0.self_attn.q_proj.weight",
                                          "model.layers.0.attention.q_proj.weight")):
                path.mkdir()
                (path / "config.json").write_text(f'"{path.name}"')
                average.write(path / "model.safetensors", {name: values})
            halves = (3 * values).view(np.uint32) >> 16  # exact in bfloat16
            self.write_bf16(paths[1] / "model.safetensors", halves.astype(np.uint16))
            sys.argv = ["average.py", str(paths[2]), str(paths[0]), str(paths[1])]
            average.main()
            mean = dict(average.read(paths[2]))
            self.assertEqual(list(mean), ["model.layers.0.attention.q_proj.weight"])
            np.testing.assert_array_equal(*mean.values(), 2 * values)
            self.assertEqual((paths[2] / "config.json").read_text(), '"ours"')

    def write_bf16(self, path, values):
        header = json.dumps({"model.layers.0.attention.q_proj.weight": {
            "dtype": "BF16", "shape": [1, 2], "data_offsets": [0, values.nbytes]}}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())


class CurveTest(unittest.TestCase):
    def test_keeps_the_last_point_and_few_others(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "training.jsonl"
            lines = [{"step": step, "loss": 1 / step} for step in range(1, 151)]
            path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"held_out": []}]))
            kept = run.curve_of(path)["curve"]
        self.assertEqual(kept[-1], [150, round(1 / 150, 4)])
        self.assertEqual(len(kept), 50)
        self.assertEqual({b[0] - a[0] for a, b in zip(kept, kept[1:])}, {3})


if __name__ == "__main__":
    unittest.main()
