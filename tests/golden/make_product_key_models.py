#!/usr/bin/env python3
"""Small random models with product-key layers and their expected log-probabilities.

Writes product_keys/NAME.json: `config`, `tensors`, `sequences` and `picks`. The weights are not
stored but computed (hashed_weights.py), so that a layer of a million experts costs nothing here.
The models are a pairwise covering of FACTORS: every two values that may occur together do so in one
of them.

Expected values come from peerage_reference.py (numpy, float64). Tokens at which the sums around
rank k differ by less than MARGIN are exchanged for others, so that float32 picks the same experts.

Usage: make_product_key_models.py   (run by `make golden`)
"""

import copy
import itertools
import json
import math
import pathlib
import random
import shutil

import numpy as np

import hashed_weights
import peerage_reference

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = HERE / "product_keys"
VOCAB = 288  # of the tokenizer of models/peerage_sequential
LENGTHS = [2, 33, 70]
MARGIN = 1e-4
MOST_PICKS = 512  # picks are stored of models with at most so many a token

FACTORS = {
    "keys": ["shared", "per_head", "direct"],
    "query_norm": ["none", "batch", "layer"],
    "score": ["softmax", "sigmoid", "relu", "joint_softmax"],
    "experts": ["shared", "per_head"],
    "glu": [False, True],
    "n": [23, 31, 32, 1024],
    "top_k": [1, 8, 16, 128],
    "heads": [1, 3, 8, 32],
    "query_bias": [False, True],
    "pre_rmsnorm": [False, True],
    "parts": [("peer",), ("dense", "peer"), ("pkm",), ("peer", "pkm")],
    "parallel_block": [False, True],
    "norm_type": ["rmsnorm", "layernorm"],
    "activation": ["gelu", "gelu_tanh", "silu", "relu"],
    "dtype": ["F32", "BF16", "F16"],
}
# What may not occur together, though each alone may.
FORBIDDEN = [
    lambda c: c.get("keys") == "direct" and c.get("query_norm", "none") != "none",
    # Tables of over three million rows take too long.
    lambda c: c.get("n") == 1024 and c.get("experts") == "per_head" and c.get("heads", 1) > 3,
    # A product-key memory alone has none of these.
    lambda c: c.get("parts") == ("pkm",) and (
        c.get("glu", False) or c.get("pre_rmsnorm", False) or c.get("experts") == "per_head"
        or c.get("activation", "gelu") != "gelu"),
]
DEFAULTS = {"keys": "shared", "query_norm": "none", "score": "softmax", "experts": "shared",
            "glu": False, "query_bias": False, "pre_rmsnorm": False, "activation": "gelu"}
PEER_ONLY = ["experts", "glu", "pre_rmsnorm", "activation"]


def allowed(case):
    return not any(forbids(case) for forbids in FORBIDDEN)


def pairs_of(case):
    return set(itertools.combinations(sorted((f, FACTORS[f].index(v)) for f, v in case.items()), 2))


def covering(seed=10, attempts=60):
    """Cases in which every allowed pair of values occurs; greedy, the best of some at each step."""
    draw = random.Random(seed)
    missing = set()
    for f, g in itertools.combinations(FACTORS, 2):
        for v, w in itertools.product(FACTORS[f], FACTORS[g]):
            if allowed({f: v, g: w}):
                missing |= pairs_of({f: v, g: w})
    cases = []
    while missing:
        best = max((extend(missing, draw) for _ in range(attempts)),
                   key=lambda case: len(pairs_of(case) & missing))
        missing -= pairs_of(best)
        cases.append(best)
    return cases


def extend(missing, draw):
    """One case around a missing pair."""
    (f, v), (g, w) = draw.choice(sorted(missing))
    case = {f: FACTORS[f][v], g: FACTORS[g][w]}
    for factor in draw.sample(sorted(FACTORS), len(FACTORS)):
        if factor in case:
            continue
        choices = [{**case, factor: value} for value in FACTORS[factor]]
        choices = [c for c in choices if allowed(c)]
        draw.shuffle(choices)
        case = max(choices, key=lambda c: len(pairs_of(c) & missing))
    return case


def config_of(case, index):
    big = case["n"] == 1024
    entries = []
    for kind in case["parts"]:
        entry = {"kind": kind}
        if kind != "dense":
            entry |= {"num_experts": case["n"] ** 2, "heads": case["heads"],
                      "top_k": case["top_k"]}
            if case["keys"] != "direct":
                entry["key_dim"] = 8 if big else [16, 12, 24][index % 3]
            entry |= {f: case[f] for f in DEFAULTS if kind == "peer" or f not in PEER_ONLY}
            if case["query_norm"] != "none" and index % 2:
                entry["query_norm_eps"] = 0.01
            if index % 2:  # every other model leaves its defaults out
                entry = {k: v for k, v in entry.items() if k not in DEFAULTS or v != DEFAULTS[k]}
        entries.append(entry)
    return {
        "architectures": ["PeerageForCausalLM"], "model_type": "peerage", "format_version": 1,
        "vocab_size": VOCAB, "hidden_size": 8 if big else [32, 40, 44, 36][index % 4],
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "intermediate_size": 48, "hidden_act": "silu", "norm_type": case["norm_type"],
        "norm_eps": 1e-5, "rope_theta": 10000.0, "rope_interleaved": False,
        "max_position_embeddings": 128, "tie_word_embeddings": True,
        "parallel_block": case["parallel_block"], "bos_token_id": 1, "eos_token_id": 2,
        "attention": {"kind": "dense"}, "ffn": [{"kind": "dense"}],
        "layers": {"1": {"ffn": entries}},
    }


def tensor_list(config):
    """[name, shape, deviation], deviation None for a tensor around one."""
    d, dim = config["hidden_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * dim, config["num_key_value_heads"] * dim
    tensors = [["model.embed_tokens.weight", (VOCAB, d), 2 * d ** -0.5],
               ["model.norm.weight", (d,), None]]
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        tensors.append([layer + "input_norm.weight", (d,), None])
        if not config["parallel_block"]:
            tensors.append([layer + "post_attention_norm.weight", (d,), None])
        for name, shape, gain in [("q", (q, d), 1.4), ("k", (kv, d), 1.4), ("v", (kv, d), 1),
                                  ("o", (d, q), 1)]:
            tensors.append([f"{layer}attention.{name}_proj.weight", shape, gain * shape[1] ** -0.5])
        for entry in config["layers"].get(str(i), {}).get("ffn", config["ffn"]):
            tensors += part_tensors(f"{layer}ffn.{entry['kind']}.", entry, config)
    return tensors


def part_tensors(prefix, entry, config):
    d, f = config["hidden_size"], config["intermediate_size"]
    if entry["kind"] == "dense":
        return [[f"{prefix}{name}_proj.weight", shape, shape[1] ** -0.5]
                for name, shape in {"gate": (f, d), "up": (f, d), "down": (d, f)}.items()]
    tensors, heads, n = [], entry["heads"], math.isqrt(entry["num_experts"])
    if entry.get("pre_rmsnorm"):
        tensors.append(["norm.weight", (d,), None])
    if entry.get("keys") == "direct":
        tensors.append(["router.weight", (heads, 2, n, d), 1.5 * d ** -0.5])
        if entry.get("query_bias"):
            tensors.append(["router.bias", (heads, 2, n), 0.5])
    else:
        width, half = heads * entry["key_dim"], entry["key_dim"] // 2
        tensors.append(["query.weight", (width, d), d ** -0.5])
        if entry.get("query_bias"):
            tensors.append(["query.bias", (width,), 0.5])
        kind = entry.get("query_norm", "none")
        if kind != "none":
            size = width if kind == "batch" else entry["key_dim"]
            tensors += [["query_norm.weight", (size,), None], ["query_norm.bias", (size,), 0.3]]
        if kind == "batch":
            tensors += [["query_norm.running_mean", (width,), 0.3],
                        ["query_norm.running_var", (width,), None]]
        shape = (2, n, half) if entry.get("keys", "shared") == "shared" else (heads, 2, n, half)
        tensors.append(["sub_keys", shape, 1.5 * half ** -0.5])
    rows = entry["num_experts"] * (heads if entry.get("experts") == "per_head" else 1)
    if entry["kind"] == "pkm":
        tensors.append(["values.weight", (rows, d), 1.0])
    else:
        tensors += [[f"{t}.weight", (rows, d), 1.5 * d ** -0.5]
                    for t in (["down", "gate"] if entry.get("glu") else ["down"])]
        tensors.append(["up.weight", (rows, d), 1.0])
    return [[prefix + name, shape, deviation] for name, shape, deviation in tensors]


class Model:
    def __init__(self, name, config):
        self.config = config
        self.tensors = [[tensor, list(shape), deviation and hashed_weights.exponent_for(deviation)]
                        for tensor, shape, deviation in tensor_list(config)]
        self.weights = {}
        for tensor, shape, exponent in self.tensors:
            seed = f"{name}/{tensor}"
            value = (hashed_weights.around_one(seed, shape) if exponent is None
                     else hashed_weights.around_zero(seed, shape, exponent))
            table = value.size > 1 << 20
            self.weights[tensor] = value if table else value.astype(np.float64)

    def log_probabilities(self, tokens, watch=None):
        return peerage_reference.log_softmax(
            peerage_reference.logits(tokens, self.weights, self.config, watch))

    def calibrate(self, tokens):
        """Scales the experts' outputs so that the layer's result is as large as its input."""
        scale = {}

        def watch(entry, scores, ids, share):
            scale[entry["kind"]] = -math.log2(np.sqrt((share**2).sum((1, 2)).mean()))
        self.log_probabilities(tokens, watch)
        for tensor in self.tensors:
            for kind, shift in scale.items():
                if tensor[0].endswith((f"{kind}.up.weight", f"{kind}.values.weight")):
                    tensor[2] += round(shift)
                    self.weights[tensor[0]] = np.ldexp(self.weights[tensor[0]], round(shift))

    def margins(self, tokens):
        """The least gap around rank k over the heads and parts, by token."""
        gaps = np.full(len(tokens), np.inf)
        wanted = []  # top_k by part

        def watch(entry, scores, ids, share):
            k = wanted.pop(0)
            halves = -np.sort(-scores, axis=-1)[..., :k + 1]
            # Of pair (a, b), (a + 1) (b + 1) - 1 others are at least as good.
            rank = np.arange(1, halves.shape[-1] + 1)
            a, b = np.nonzero(np.outer(rank, rank) <= k + 1)
            sums = -np.sort(-(halves[:, :, 0, a] + halves[:, :, 1, b]), axis=-1)
            if sums.shape[-1] > k:
                np.minimum(gaps, (sums[..., k - 1] - sums[..., k]).min(axis=1), out=gaps)
        # Only the last layer retrieves, so its scores do not depend on how much it retrieves.
        config = copy.deepcopy(self.config)
        for entry in config["layers"]["1"]["ffn"]:
            if entry["kind"] != "dense":
                wanted.append(entry["top_k"])
                entry["top_k"] = 1
        peerage_reference.logits(tokens, self.weights, config, watch)
        return gaps

    def clear_sequence(self, length, generator):
        """Random tokens, none of which is near a tie, and how many were exchanged for that."""
        tokens, exchanged = generator.integers(0, VOCAB, length), 0
        while True:
            near = np.nonzero(self.margins(tokens) < MARGIN)[0]
            if len(near) == 0:
                return tokens.tolist(), exchanged
            tokens[near[0]:] = generator.integers(0, VOCAB, length - near[0])
            exchanged += 1


def fixture(name, case, index):
    config = config_of(case, index)
    model = Model(name, config)
    generator = np.random.default_rng(index)
    model.calibrate(generator.integers(0, VOCAB, 40))
    sequences, exchanged = [], 0
    for length in LENGTHS:
        tokens, count = model.clear_sequence(length, generator)
        exchanged += count
        table = model.log_probabilities(tokens)
        values = [round(float(table[i, t]), 6) for i, t in enumerate(tokens[1:])]
        sequences.append({"tokens": tokens, "log_probabilities": values})
    print(f"{name}: mean NLL {-np.mean(values):6.3f}, deviation {np.std(values):.3f}, "
          f"{exchanged} near ties exchanged; {case}", flush=True)
    return {"made_by": "peerage_reference.py", "dtype": case["dtype"], "near_ties": exchanged,
            "config": config, "tensors": model.tensors, "sequences": sequences,
            "picks": picks(model, sequences[0]["tokens"])}


def picks(model, tokens):
    """By product-key part: the experts of the first token, heads one after the other."""
    parts = []

    def watch(entry, scores, ids, share):
        if ids[0].size <= MOST_PICKS:
            parts.append({"kind": entry["kind"], "ids": ids[0].ravel().tolist(),
                          "weights": [round(float(w), 6) for w in share[0].ravel()]})
    model.log_probabilities(tokens, watch)
    return parts


def write(path, value):
    """One line a key."""
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}"
                       for k, v in value.items())
    path.write_text(f"{{\n{lines}\n}}\n")


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for index, case in enumerate(covering()):
        name = "_".join(["pk%02d" % index, *case["parts"], case["keys"], case["score"],
                         "n%d" % case["n"], "k%d" % case["top_k"], "h%d" % case["heads"]])
        write(FOLDER / f"{name}.json", fixture(name, case, index))


if __name__ == "__main__":
    main()
