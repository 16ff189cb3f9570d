#!/usr/bin/env python3
"""Expected hidden states of small models, from Hugging Face transformers in float64.

Writes hidden_states.json: for each of some models/NAME, which other scripts made, random tokens and
the rows of the residual stream at a few positions: by layer, what enters the first layer, what each
layer leaves (the last one before the final norm), and that after the final norm.

Usage: make_hidden_golden.py   (run by `make golden`)
"""

import json
import pathlib

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
MODELS = ["llama_sharded", "llama_untied", "mixtral"]
TOKENS = 70
POSITIONS = [0, 1, 31, 32, 68]  # around a block of 32


def hidden_states(model, tokens):
    """[layers][tokens][hidden]. In transformers the last of output_hidden_states is normed, so what
    enters the final norm is taken at its door."""
    entering = []
    hook = model.model.norm.register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    with torch.no_grad():
        states = model(torch.tensor([tokens]), output_hidden_states=True).hidden_states
    hook.remove()
    return [state[0].numpy() for state in (*states[:-1], entering[0], states[-1])]


def main():
    models = []
    for seed, name in enumerate(MODELS):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            HERE / "models" / name, dtype=torch.float64, attn_implementation="eager").eval()
        tokens = np.random.default_rng(seed).integers(0, model.config.vocab_size, TOKENS).tolist()
        layers = [[[round(float(v), 6) for v in state[p]] for p in POSITIONS]
                  for state in hidden_states(model, tokens)]
        assert len(layers) == model.config.num_hidden_layers + 2
        models.append({"name": name, "tokens": tokens, "positions": POSITIONS, "layers": layers})
    golden = {"made_by": f"transformers {transformers.__version__}", "models": models}
    (HERE / "hidden_states.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
