#!/usr/bin/env python3
"""What PyTorch says about the model of docs/from_pytorch.md: from_pytorch/expected.json.

`tokens` are those of held_out.txt, the begin token first; log_probabilities[i] belongs to
tokens[i + 1]. All of it is the run's own module, in float64 on its float32 weights, and twice a
variant of it:

  only_norm          PEER layers that have no norm but their own, whose gamma is GAMMA
  product_key_topk   PEER layers that look at KEYS keys of a half for the experts that they pick
"""

import json
import pathlib
import sys

import torch
from PEER_pytorch import PEER
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent / "from_pytorch"
sys.path.insert(0, str(HERE))
from train_peer_lm import PeerLM  # noqa: E402  the run's module

GAMMA = [(i % 7 - 3) / 10 for i in range(60)]
KEYS = 3


def load():
    model = PeerLM().eval()
    checkpoint = torch.load(HERE / "checkpoint.pt", weights_only=False)  # our own file
    model.load_state_dict(checkpoint["model"])
    for module in model.modules():
        if isinstance(module, torch.nn.RMSNorm):  # its default is that of the dtype it computes in
            module.eps = torch.finfo(torch.float32).eps
    return model


def scores(model, tokens):
    with torch.no_grad():
        table = model.double()(torch.tensor([tokens]))[0].log_softmax(-1)
    values = table[torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])]
    return [round(v, 7) for v in values.tolist()]


def peer_blocks(model):
    return [block for block in model.layers if isinstance(block.ff, PEER)]


def with_only_norm(model):
    for block in peer_blocks(model):
        block.ff.norm = PEER(len(GAMMA), num_experts=4, pre_rmsnorm=True).norm
        block.ff.norm.gamma.data = torch.tensor(GAMMA)
        block.ff_norm = torch.nn.Identity()
    return model


def with_fewer_keys(model):
    for block in peer_blocks(model):
        block.ff.product_key_topk = KEYS
    return model


def main():
    text = (HERE / "held_out.txt").read_text(encoding="utf-8")
    tokens = Tokenizer.from_file(str(HERE / "tokenizer.json")).encode(text).ids
    expected = {
        "made_by": f"PyTorch {torch.__version__.partition('+')[0]}, peer-pytorch 0.2.2, float64",
        "tokens": tokens,
        "log_probabilities": scores(load(), tokens),
        "only_norm": {"gamma": GAMMA, "log_probabilities": scores(with_only_norm(load()), tokens)},
        "product_key_topk": {"keys": KEYS,
                             "log_probabilities": scores(with_fewer_keys(load()), tokens)},
    }
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in expected.items())
    (HERE / "expected.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
