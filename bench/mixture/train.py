#!/usr/bin/env python3
"""Trains a model directory on texts and writes another; dense models and mixtures alike.

Every step takes --batch windows of --length tokens at random places, from each text in turn. Adam
works on float32 copies of the bfloat16 weights; the rate rises over the first twentieth and then
falls to zero linearly. The run's length is given in tokens, so that it does not depend on what
else the machine does; seconds by the clock and of the processor are recorded beside them in
OUT/training.json. Losses of a mixture: next token + 0.01 load balance (Switch Transformer)
+ 0.001 z (ST-MoE), of its FFN routers.

Usage: train.py MODEL OUT --text FILE [--text FILE ...] --tokens N [--only router] [--soft-ffn]
"""

import argparse
import json
import pathlib
import time

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F

import checkpoint
import mixture

BALANCE_LOSS, Z_LOSS = 0.01, 0.001
LOG_EVERY = 10


def read_tokens(model, path):
    tokenizer = tokenizers.Tokenizer.from_file(f"{model}/tokenizer.json")
    ids = tokenizer.encode(pathlib.Path(path).read_text(), add_special_tokens=False).ids
    return torch.from_numpy(np.array(ids, dtype=np.int64))


class Windows:
    def __init__(self, args):
        self.texts = [read_tokens(args.model, path) for path in args.text]
        self.batch, self.length = args.batch, args.length
        self.random = torch.Generator().manual_seed(args.seed)
        self.taken = 0

    def next(self):
        """[batch, length + 1] token ids"""
        rows = []
        for _ in range(self.batch):
            text = self.texts[self.taken % len(self.texts)]
            start = torch.randint(len(text) - self.length, (), generator=self.random)
            rows.append(text[start:start + self.length + 1])
            self.taken += 1
        return torch.stack(rows)


class MasterAdam:
    """Adam over float32 copies of the parameters, which are refreshed after every step."""

    def __init__(self, parameters, rate):
        self.parameters, self.rate = parameters, rate
        self.masters = [p.detach().to(torch.float32, copy=True) for p in parameters]
        for master in self.masters:
            master.grad = torch.zeros_like(master)
        self.adam = torch.optim.AdamW(self.masters, lr=rate, betas=(0.9, 0.95), weight_decay=0.0,
                                      fused=True)

    @torch.no_grad()
    def step(self, factor):
        for master, parameter in zip(self.masters, self.parameters):
            master.grad.copy_(parameter.grad)
            parameter.grad.zero_()  # kept: memory given back is memory to be cleared again
        torch.nn.utils.clip_grad_norm_(self.masters, 1.0)
        self.adam.param_groups[0]["lr"] = self.rate * factor
        self.adam.step()
        for master, parameter in zip(self.masters, self.parameters):
            parameter.copy_(master)


def schedule(done):
    return min(1.0, done / 0.05) * min(1.0, (1.0 - done) / 0.95)


def step_losses(model, window):
    logits = model(window[:, :-1])
    text = F.cross_entropy(logits.flatten(0, 1).float(), window[:, 1:].flatten())
    parts = [ffn.losses() for ffn in model.mixture_ffns()] or [(torch.zeros(()), torch.zeros(()))]
    balance, z = (sum(part) / len(parts) for part in zip(*parts))
    return text, balance, z


def train(model, windows, args):
    chosen = [p for name, p in model.named_parameters() if args.only in name]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in chosen:
        parameter.requires_grad_(True)
    optimizer = MasterAdam(chosen, args.rate)
    tokens_a_step = args.batch * args.length
    steps = -(-args.tokens // tokens_a_step)
    clock, processor, history = time.monotonic(), time.process_time(), []
    for step in range(steps):
        text, balance, z = step_losses(model, windows.next())
        (text + BALANCE_LOSS * balance + Z_LOSS * z).backward()
        optimizer.step(schedule((step + 0.5) / steps))
        history.append(text.item())
        if (step + 1) % LOG_EVERY == 0 or step + 1 == steps:
            recent = history[-LOG_EVERY:]
            print(f"step {step + 1}/{steps} tokens {(step + 1) * tokens_a_step} loss "
                  f"{sum(recent) / len(recent):.4f} balance {balance:.3f} z {z:.3f} "
                  f"seconds {time.monotonic() - clock:.0f} processor "
                  f"{time.process_time() - processor:.0f}", flush=True)
    return {"steps": steps, "tokens": steps * tokens_a_step,
            "seconds": round(time.monotonic() - clock, 1),
            "processor_seconds": round(time.process_time() - processor, 1),
            "trained_parameters": sum(p.numel() for p in chosen),
            "loss_first": history[0], "loss_last": sum(history[-LOG_EVERY:]) / LOG_EVERY}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--text", action="append", required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--only", default="", help="train parameters with this in their name")
    parser.add_argument("--soft-ffn", action="store_true",
                        help="weigh all FFN experts while training, whatever top_k is served")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = mixture.load(args.model)
    if args.soft_ffn:
        for ffn in model.mixture_ffns():
            ffn.weighed = ffn.router.weight.shape[0]
    record = train(model, Windows(args), args)
    checkpoint.write(args.out, model.state_dict(), like=args.model)
    options = {name: str(value) for name, value in vars(args).items()}
    (args.out / "training.json").write_text(json.dumps(options | record, indent=1) + "\n")


if __name__ == "__main__":
    main()
