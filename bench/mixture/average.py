#!/usr/bin/env python3
"""The plain average of models of one shape, weight by weight: what a mixture has to beat.

Usage: average.py OUT MODEL MODEL...
"""

import sys

import checkpoint


def main():
    out, *models = sys.argv[1:]
    parts = [checkpoint.read_tensors(model) for model in models]
    checkpoint.write(out, {name: sum(part[name].float() for part in parts) / len(parts)
                           for name in parts[0]}, like=models[0])


if __name__ == "__main__":
    main()
