#!/usr/bin/env python3
"""A tokenizer for new small models: byte-level BPE, every digit alone, learnt from text files.

Usage: make_tokenizer.py OUT VOCABULARY FILE ...
"""

import pathlib
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

END = "<|endoftext|>"  # id 0


def make(vocabulary, files):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    texts = (text for file in files for text in pathlib.Path(file).read_text().split(END))
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return tokenizer


def main():
    out, vocabulary, *files = sys.argv[1:]
    tokenizer = make(int(vocabulary), files)
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    tokenizer.save(f"{out}/tokenizer.json")


if __name__ == "__main__":
    main()
