#!/usr/bin/env python3
"""A small real PEER language model, trained, and what it must say.

The model has peer-pytorch's own layer (PEER_pytorch.PEER, release 0.2.2) in two of its four blocks
and is trained for some minutes on the King James Bible (public domain; Debian's bible-kjv). It
writes verses: that is the demo. It is stored in layout `lucidrains`, in f16.

  make_peer_model.py           expected.json from the stored model (run by `make golden`)
  make_peer_model.py --train   trains it anew first: another model, so review the demo's text too

models/peer_small/expected.json has
  sequences  beginnings of chapters that were held out: tokens and log-probabilities
  greedy     prompts, their greedy continuation, and at every step the gap between the best and the
             second-best log-probability
  picks      by expert layer and token of the first sequence: every head's experts in order of their
             ids; null where the last that is picked and the next differ by less than MARGIN
  held_out   the tokens of held_out.txt, chapter by chapter, and their mean negative
             log-probability
All of it is peer-pytorch's forward pass in float64 on the stored, f16-rounded weights.
"""

import argparse
import json
import math
import pathlib
import random
import re
import subprocess
import tempfile
import time

import torch
import torch.nn.functional as F
from PEER_pytorch import PEER
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from torch_backbone import Backbone

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE / "models" / "peer_small"
END = "<|endoftext|>"
VOCAB = 2048
PEER_ENTRY = {"kind": "peer", "num_experts": 48 * 48, "heads": 2, "top_k": 16, "key_dim": 64,
              "keys": "per_head", "score": "softmax", "pre_rmsnorm": True, "layout": "lucidrains"}
CONFIG = {
    "architectures": ["PeerageForCausalLM"], "model_type": "peerage", "format_version": 1,
    "vocab_size": VOCAB, "hidden_size": 128, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
    "intermediate_size": 384, "hidden_act": "silu", "norm_type": "rmsnorm", "norm_eps": 1e-5,
    "rope_theta": 10000.0, "rope_interleaved": False, "max_position_embeddings": 1024,
    "tie_word_embeddings": True, "parallel_block": False,
    "bos_token_id": None, "eos_token_id": 0,
    "attention": {"kind": "dense"}, "ffn": [{"kind": "dense"}],
    "layers": {"1": {"ffn": [PEER_ENTRY]}, "2": {"ffn": [PEER_ENTRY]}},
}
HELD_OUT_EVERY = 20  # chapters; of these every KEPT_EVERY-th is committed
KEPT_EVERY = 6
STEPS, BATCH, LENGTH = 1000, 8, 256
PROMPTS = ["In the beginning", "Psalms 151\n\n1 ", "And the LORD said unto Moses,",
           "Proverbs 32\n\n1 A wise son", "And Jesus answered and said unto them,"]
GREEDY_TOKENS = 48
SEQUENCES, SEQUENCE_TOKENS = 4, 200
TRACED_TOKENS = 24
MARGIN = 1e-4


def chapters():
    """Every chapter: its heading, an empty line, a verse a line. From Debian's bible-kjv 4.38."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", "-q", "bible-kjv", "bible-kjv-text"], cwd=folder,
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for package in pathlib.Path(folder).glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
        text = subprocess.run([f"{folder}/usr/bin/bible", "-p", f"{folder}/usr/lib/", "-l100000",
                               "Gen1:1-Rev22:21"], check=True, capture_output=True, text=True).stdout
    text = re.sub(r"(?m)^ +", "", text.strip())
    return [c.strip() + "\n" for c in re.split(r"\n\n(?=[1-3A-Z][A-Za-z ]* \d+\n\n)", text)]


def make_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=[END], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    return tokenizer


def make_peer(config, entry):
    return PEER(config["hidden_size"], heads=entry["heads"], num_experts=entry["num_experts"],
                num_experts_per_head=entry["top_k"], dim_key=entry["key_dim"] // 2,
                pre_rmsnorm=entry["pre_rmsnorm"], non_competing_scores=False)


def initialise(model):
    """Outputs of attention and FFN start small, so that the residual stream starts calm."""
    d = CONFIG["hidden_size"]
    for name, weight in model.named_parameters():
        if name.endswith("keys"):
            torch.nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
        elif name.endswith(("o_proj.weight", "down_proj.weight")):
            torch.nn.init.normal_(weight, std=0.3 * weight.shape[1] ** -0.5)
        elif name.endswith("weight_up_embed.weight"):
            torch.nn.init.normal_(weight, std=0.1)
        elif "embed_tokens" in name:
            torch.nn.init.normal_(weight, std=0.05)
        elif weight.dim() == 2:
            torch.nn.init.normal_(weight, std=d ** -0.5)


def train(stream):
    """`stream`: all training tokens, one after the other."""
    torch.manual_seed(4)
    draw = random.Random(4)
    model = Backbone(CONFIG, make_peer)
    initialise(model)
    router = [w for n, w in model.named_parameters() if "to_queries" in n or n.endswith("keys")]
    slow = {id(w) for w in router}
    rest = [w for w in model.parameters() if id(w) not in slow]
    optimizer = torch.optim.AdamW([{"params": rest, "lr": 3e-3}, {"params": router, "lr": 1e-3}],
                                  betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 60, 0.02 + 0.98 * (1 - step / STEPS)))
    start, mean = time.monotonic(), math.log(VOCAB)
    for step in range(STEPS):
        at = [draw.randrange(len(stream) - LENGTH - 1) for _ in range(BATCH)]
        batch = torch.stack([stream[a:a + LENGTH + 1] for a in at])
        logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean += 0.02 * (loss.item() - mean)
        if step % 50 == 49:
            print(f"step {step + 1}: loss {mean:.3f}, {time.monotonic() - start:.0f} s", flush=True)
    return model


def make_model():
    everything = chapters()
    held_out = everything[7::HELD_OUT_EVERY]
    kept = [c for i, c in enumerate(everything) if i % HELD_OUT_EVERY != 7]
    assert len(everything) == 1189, len(everything)
    tokenizer = make_tokenizer(kept)
    end = tokenizer.token_to_id(END)
    stream = torch.tensor([t for c in kept for t in tokenizer.encode(c).ids + [end]])
    print(f"{len(kept)} chapters, {len(stream)} tokens to train on", flush=True)
    model = train(stream)

    MODEL.mkdir(parents=True, exist_ok=True)
    (MODEL / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    state = json.loads(tokenizer.to_str())
    (MODEL / "tokenizer.json").write_text(
        json.dumps(state, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")
    save_file({n: w.detach().half().contiguous() for n, w in model.state_dict().items()},
              MODEL / "model.safetensors", metadata={"format": "pt"})
    (MODEL / "held_out.txt").write_text(END.join(held_out[::KEPT_EVERY]))


def log_probabilities(model, tokens):
    """[tokens, vocab]"""
    return model(torch.tensor([tokens]))[0].log_softmax(-1)


def scored(model, tokens):
    table = log_probabilities(model, tokens)
    values = table[torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])].tolist()
    return {"tokens": tokens, "log_probabilities": [round(v, 6) for v in values]}


def greedy(model, tokenizer, prompt):
    tokens = tokenizer.encode(prompt).ids
    chosen, gaps = [], []
    for _ in range(GREEDY_TOKENS):
        best = log_probabilities(model, tokens + chosen)[-1].topk(2)
        chosen.append(int(best.indices[0]))
        gaps.append(round(float(best.values[0] - best.values[1]), 5))
    text = tokenizer.decode(chosen, skip_special_tokens=False)
    print(f"{prompt!r} -> {text!r} (smallest gap {min(gaps)})")
    return {"prompt": prompt, "tokens": tokens, "continuation": chosen, "text": text,
            "top_two_gaps": gaps}


def picks(model, tokens):
    """What the layers look up, watched from outside; with one expert more, to see the margin."""
    layers = []
    for index, block in enumerate(model.model.layers):
        if "peer" not in block.ffn:
            continue
        peer, seen = block.ffn["peer"], {}
        hooks = [
            peer.weight_down_embed.register_forward_pre_hook(
                lambda _, ids, seen=seen: seen.update(ids=ids[0][0])),
            peer.score_activation.register_forward_pre_hook(
                lambda _, sums, seen=seen: seen.update(sums=sums[0][0]))]
        k = peer.num_experts_per_head_topk
        peer.product_key_topk, peer.num_experts_per_head_topk = k + 1, k + 1
        model(torch.tensor([tokens]))
        peer.product_key_topk, peer.num_experts_per_head_topk = k, k
        for hook in hooks:
            hook.remove()
        gap = (seen["sums"][..., k - 1] - seen["sums"][..., k]).amin(-1)
        ids = seen["ids"][..., :k].sort(-1).values.tolist()
        layers.append({"layer": index, "ids": [i if g > MARGIN else None
                                               for i, g in zip(ids, gap.tolist())]})
    return layers


def make_expected():
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    model = Backbone(CONFIG, make_peer).eval().double()
    model.load_state_dict(load_file(MODEL / "model.safetensors"))
    texts = (MODEL / "held_out.txt").read_text().split(END)
    held_out = [tokenizer.encode(t).ids[:CONFIG["max_position_embeddings"]] for t in texts]
    assert tokenizer.decode(tokenizer.encode(texts[0]).ids) == texts[0]
    all_scores = [v for tokens in held_out for v in scored(model, tokens)["log_probabilities"]]
    nll = -sum(all_scores) / len(all_scores)
    print(f"{len(all_scores)} held-out tokens: perplexity {math.exp(nll):.3f}")
    write(MODEL / "expected.json", {
        "made_by": "PEER-pytorch 0.2.2, float64",
        "sequences": [scored(model, tokens[:SEQUENCE_TOKENS]) for tokens in held_out[:SEQUENCES]],
        "greedy": [greedy(model, tokenizer, prompt) for prompt in PROMPTS],
        "picks": picks(model, held_out[0][:TRACED_TOKENS]),
        "held_out": {"tokens": held_out, "mean_nll": round(nll, 6)},
    })


def write(path, value):
    """One line a key."""
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}"
                       for k, v in value.items())
    path.write_text(f"{{\n{lines}\n}}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true", help="train the model first")
    if parser.parse_args().train:
        make_model()
    torch.set_grad_enabled(False)
    make_expected()


if __name__ == "__main__":
    main()
