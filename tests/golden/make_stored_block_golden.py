#!/usr/bin/env python3
"""Writes stored_block.json: rows of every stored tensor type and what they mean.

The independent source is the Python package gguf (gguf.quants) and, for single f16 values, numpy.
Byte strings are hexadecimal, little endian; numbers are the bytes of f32 arrays.

    pip install gguf==0.19.0 && python3 tests/golden/make_stored_block_golden.py
"""

import json
import pathlib

import numpy as np
from gguf import GGMLQuantizationType, quants

ELEMENTS = 512
# Where the f16 scales of a block lie, in bytes; everything else may be any bits.
SCALES = {"Q4_0": (18, [0]), "Q4_1": (20, [0, 2]), "Q5_0": (22, [0]), "Q5_1": (24, [0, 2]),
          "Q8_0": (34, [0]), "Q6_K": (210, [208])}
PLAIN_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def stored_row(name, random):
    if name in PLAIN_BYTES:
        # Every class of value: subnormal, normal, both signs; no NaN, whose bits carry no meaning.
        row = random.integers(0, 256, ELEMENTS * PLAIN_BYTES[name], dtype=np.uint8)
        values = row.reshape(ELEMENTS, -1)
        values[:, -1] &= 0xBF  # magnitude below 2
        return row
    block_bytes, scales = SCALES[name]
    elements = 256 if name == "Q6_K" else 32
    blocks = random.integers(0, 256, (ELEMENTS // elements, block_bytes), dtype=np.uint8)
    for at in scales:
        blocks[:, at + 1] &= 0xBF
        blocks[0, at + 1] &= 0x80  # a subnormal scale
    return blocks.reshape(-1)


def values_to_quantise(random):
    x = random.standard_normal(ELEMENTS).astype(np.float32).reshape(-1, 32)
    x[1] = 0
    x[2] = 0.75  # no range
    x[3] *= 1e-7  # a subnormal scale
    x[4] *= 1e4
    x[5] = np.arange(32, dtype=np.float32) - 16
    x[6, 0] = 127  # ties of q8_0 (d = 1)
    x[6, 1:] = np.arange(31, dtype=np.float32) - 15.5
    x[7, 0], x[7, 1] = 0, 15  # ties of q4_1 (d = 1)
    x[7, 2:] = np.arange(30, dtype=np.float32) / 2
    return x.reshape(-1)


def f16_cases(random):
    ties = np.array([1 + 2**-11, 1 + 3 * 2**-11, 2**-25, 3 * 2**-25, 2**-24, 65504, 65519.996, 65520,
                     1e6, 6.1e-5, 6.097e-5, 0, np.inf], dtype=np.float32)
    scales = np.exp2(random.uniform(-30, 17, 400)).astype(np.float32)
    return np.concatenate([ties, -ties, scales * random.choice([-1, 1], 400).astype(np.float32)])


def main():
    random = np.random.default_rng(20240706)
    golden = {"dequantize": {}, "quantize": {}}
    for name in [*PLAIN_BYTES, *SCALES]:
        row = stored_row(name, random)
        kind = GGMLQuantizationType[name]
        values = quants.dequantize(row.view({"F32": np.float32, "F16": np.float16}.get(name, np.uint8)),
                                   kind)
        golden["dequantize"][name.lower()] = {
            "row": row.tobytes().hex(), "values": values.astype(np.float32).tobytes().hex()}
    x = values_to_quantise(random)
    golden["quantize"]["values"] = x.tobytes().hex()
    for name in ["BF16", "Q8_0", "Q4_1"]:
        golden["quantize"][name.lower()] = (
            quants.quantize(x, GGMLQuantizationType[name]).tobytes().hex())
    halves = f16_cases(random)
    with np.errstate(over="ignore"):
        golden["f16"] = {"values": halves.tobytes().hex(),
                         "halves": halves.astype(np.float16).tobytes().hex()}
    path = pathlib.Path(__file__).with_name("stored_block.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
