"""Weights that are computed, not stored: the twin of tests/golden/hashed_weights.h.

Element i of a tensor is byte i, as a signed integer, of the sequence of 64-bit little-endian words
mix(fnv1a(name) + (w + 1) * GAMMA), w = 0, 1, ... (mix is splitmix64's), times a power of two: exact
in f32, bf16 and f16 alike. A tensor around one is 1 + floor(byte / 4) / 64 instead.
"""

import math

import numpy as np

GAMMA = 0x9E3779B97F4A7C15
DEVIATION = 128 / math.sqrt(3)  # of a byte


def fnv1a(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def mix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hashed_bytes(name, count):
    words = np.arange(1, (count + 7) // 8 + 1, dtype=np.uint64)
    return mix(np.uint64(fnv1a(name)) + words * np.uint64(GAMMA)).view(np.int8)[:count]


def exponent_for(deviation):
    """The power of two that brings a tensor nearest to this standard deviation."""
    return round(math.log2(deviation / DEVIATION))


def around_zero(name, shape, exponent):
    return np.ldexp(hashed_bytes(name, math.prod(shape)).astype(np.float32),
                    exponent).reshape(shape)


def around_one(name, shape):
    return (1 + (hashed_bytes(name, math.prod(shape)) >> 2) / np.float32(64)).reshape(shape)
