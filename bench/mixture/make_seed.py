#!/usr/bin/env python3
"""SmolLM2's GGUF as a Hugging Face directory in bfloat16: the seed that every model starts from.

Usage: make_seed.py MODEL.gguf OUT
"""

import pathlib
import sys

import gguf
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/golden"))
from make_smollm2_golden import load_model, load_tokenizer  # noqa: E402 (after the path)


def main():
    source, out = sys.argv[1:]
    reader = gguf.GGUFReader(source)
    model = load_model(reader).to(torch.bfloat16)
    model.config.bos_token_id = reader.fields["tokenizer.ggml.bos_token_id"].contents()
    model.config.eos_token_id = reader.fields["tokenizer.ggml.eos_token_id"].contents()
    model.save_pretrained(out)
    load_tokenizer(reader).save(str(pathlib.Path(out) / "tokenizer.json"))


if __name__ == "__main__":
    main()
