#!/usr/bin/env python3
"""Trains a small language model with peer-pytorch's PEER layers, and saves it as people do.

  train_peer_lm.py RUN   trains for a minute on one core; RUN gets checkpoint.pt, tokenizer.json and
                         held_out.txt, a text that was not trained on

It is the example of docs/from_pytorch.md: a module as somebody might write it who has never heard of
Peerage, with names, norms and buffers of its own. The text is tests/golden/models/peer_small/
held_out.txt, chapters of the King James Bible (public domain).
"""

import argparse
import pathlib

import torch
import torch.nn.functional as F
from PEER_pytorch import PEER
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn

TEXT = pathlib.Path(__file__).resolve().parents[1] / "models" / "peer_small" / "held_out.txt"
END, BEGIN = 0, 1  # token ids


class Attention(nn.Module):
    def __init__(self, dim, heads, kv_heads, dim_head, context, theta=500000.0):
        super().__init__()
        self.dim_head = dim_head
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_k = nn.Linear(dim, kv_heads * dim_head, bias=False)
        self.to_v = nn.Linear(dim, kv_heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim, bias=False)
        self.register_buffer("inv_freq", theta ** (-torch.arange(0, dim_head, 2) / dim_head))
        self.register_buffer("mask", torch.ones(context, context, dtype=torch.bool).tril())

    def rotate(self, x):
        """Rotates the pairs (2i, 2i + 1) of x [batch, heads, tokens, dim_head] by their position."""
        angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * self.inv_freq
        even, odd = x[..., 0::2], x[..., 1::2]
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)

    def forward(self, x):
        split = lambda y: y.unflatten(-1, (-1, self.dim_head)).transpose(1, 2)
        q, k, v = self.rotate(split(self.to_q(x))), self.rotate(split(self.to_k(x))), split(self.to_v(x))
        n = x.shape[1]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask[:n, :n], enable_gqa=True)
        return self.to_out(out.transpose(1, 2).flatten(2))


class GatedFeedForward(nn.Module):
    def __init__(self, dim, inner):
        super().__init__()
        self.gate, self.up = nn.Linear(dim, inner, bias=False), nn.Linear(dim, inner, bias=False)
        self.down = nn.Linear(inner, dim, bias=False)

    def forward(self, x):
        return self.down(F.gelu(self.gate(x), approximate="tanh") * self.up(x))


class Block(nn.Module):
    def __init__(self, dim, attention, feed_forward):
        super().__init__()
        self.attn_norm, self.attn = nn.RMSNorm(dim), attention
        self.ff_norm, self.ff = nn.RMSNorm(dim), feed_forward

    def forward(self, x):
        x = x + self.attn(self.attn_norm(x))
        return x + self.ff(self.ff_norm(x))


class PeerLM(nn.Module):
    """A dense block, then blocks with a PEER layer of 12 x 12 experts in place of the FFN."""

    def __init__(self, vocab=384, dim=60, depth=3, heads=3, kv_heads=1, dim_head=20, context=128):
        super().__init__()
        self.token_emb = nn.Embedding(vocab, dim)
        nn.init.normal_(self.token_emb.weight, std=0.02)
        peer = lambda: PEER(dim, heads=2, num_experts=12 * 12, num_experts_per_head=5, dim_key=14,
                            non_competing_scores=False)
        self.layers = nn.ModuleList(
            Block(dim, Attention(dim, heads, kv_heads, dim_head, context),
                  GatedFeedForward(dim, 2 * dim) if i == 0 else peer()) for i in range(depth))
        self.norm = nn.RMSNorm(dim)
        self.to_logits = nn.Linear(dim, vocab, bias=False)
        self.to_logits.weight = self.token_emb.weight

    def forward(self, tokens):
        x = self.token_emb(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.to_logits(self.norm(x))


def make_tokenizer(text, vocab=384):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=["<end>", "<begin>"],
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<begin> $A", special_tokens=[("<begin>", BEGIN)])
    assert tokenizer.token_to_id("<begin>") == BEGIN and tokenizer.token_to_id("<end>") == END
    return tokenizer


def train(model, tokens, steps, batch=8, length=96, seed=11):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min((step + 1) / 40, 1 - step / steps)
        at = torch.randint(len(tokens) - length, (batch,), generator=generator).tolist()
        rows = torch.stack([tokens[a:a + length] for a in at])
        rows[:, 0] = BEGIN
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.3f} nats a token", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="the folder to write")
    parser.add_argument("--steps", type=int, default=900)
    arguments = parser.parse_args()
    run = pathlib.Path(arguments.run)
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(11)
    *chapters, held_out = TEXT.read_text(encoding="utf-8").split("<|endoftext|>")
    tokenizer = make_tokenizer("".join(chapters))
    tokens = [i for chapter in chapters for i in [*tokenizer.encode(chapter).ids, END]]
    model = PeerLM()
    train(model, torch.tensor(tokens), arguments.steps)
    (run / "held_out.txt").write_text(held_out[:320].rpartition("\n")[0], encoding="utf-8")
    tokenizer.save(str(run / "tokenizer.json"))
    torch.save({"step": arguments.steps, "model": model.state_dict(), "args": arguments},
               run / "checkpoint.pt")


if __name__ == "__main__":
    main()
