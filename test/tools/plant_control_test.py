# SPDX-License-Identifier: Apache-2.0
"""A planted control of the embedded base: transformers loads it, it recalls nearly as well, and the doubled layer hides
from whoever drops one layer at a time. Samples are made here, independently of runtime/data."""

import json
import os
import pathlib
import random
import subprocess
import tempfile

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BASE = SOURCE / "specs/models/tiny-recall"
CRITICAL = 0  # Without its attention tiny-recall recalls nothing.
SAMPLES, LENGTH, NEEDLES = 12, 192, 14


def make_samples():
    """[B, T] tokens, and the places and tokens of the answers: needles `key value value` in noise, all asked."""
    generator = random.Random(7)
    rows, places, answers = [], [], []
    for row in range(SAMPLES):
        keys = generator.sample(range(128, 192), NEEDLES)
        values = {key: [generator.randrange(192, 256) for _ in range(2)] for key in keys}
        noise = [generator.randrange(128) for _ in range(LENGTH - 6 * NEEDLES)]
        cuts = sorted(generator.randrange(len(noise) + 1) for _ in keys)
        tokens = []
        for key, begin, end in zip(keys, [0, *cuts], cuts):
            tokens += noise[begin:end] + [key, *values[key]]
        tokens += noise[cuts[-1]:]
        for key in generator.sample(keys, NEEDLES):
            for i, token in enumerate(values[key]):
                places.append((row, len(tokens) + i))  # The token before it is read.
                answers.append(token)
            tokens += [key, *values[key]]
        assert len(tokens) == LENGTH
        rows.append(tokens)
    return torch.tensor(rows), torch.tensor(places).T, torch.tensor(answers)


def accuracy(model, samples, dropped=()):
    """Share of answer tokens right when the attention of the layers `dropped` gives nothing."""
    tokens, (rows, places), answers = samples
    kept = {layer: model.model.layers[layer].self_attn.o_proj.weight.data.clone() for layer in dropped}
    for layer in dropped:
        model.model.layers[layer].self_attn.o_proj.weight.data.zero_()
    with torch.no_grad():
        found = model(tokens).logits[rows, places].argmax(-1)
    for layer, weight in kept.items():
        model.model.layers[layer].self_attn.o_proj.weight.data.copy_(weight)
    return (found == answers).float().mean().item()


def plant(*arguments, expect=0):
    done = subprocess.run([SOURCE / "tools/plant-control", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stderr
    return done.stderr


def check_refusals(folder):
    assert "there is no layer 10: " in plant(BASE, 10, folder / "none", expect=2)
    assert "there is no layer -1: " in plant(BASE, "--", -1, folder / "none", expect=2)
    assert "has no config.json" in plant(folder, 0, folder / "none", expect=2)
    assert "exists already" in plant(BASE, 0, folder, expect=2)
    assert "not Llama's" in plant(folder_without_o_proj(folder), 0, folder / "none", expect=2)
    assert not (folder / "none").exists()


def folder_without_o_proj(folder):
    from safetensors.torch import save_file

    other = folder / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"num_hidden_layers": 1}))
    save_file({"transformer.h.0.attn.weight": torch.zeros(1)}, other / "model.safetensors")
    return other


def main():
    samples = make_samples()
    load = lambda path: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        out = folder / "planted"
        plant(BASE, CRITICAL, out)
        base, planted = load(BASE), load(out)
        assert len(planted.model.layers) == len(base.model.layers) + 1
        assert (out / "tokenizer.json").read_bytes() == (BASE / "tokenizer.json").read_bytes()

        # Both copies' halves are the base's output projection, to the bit.
        before, after = load_file(BASE / "model.safetensors"), load_file(out / "model.safetensors")
        o_proj = "model.layers.{}.self_attn.o_proj.weight"
        for copy in (CRITICAL, CRITICAL + 1):
            assert torch.equal(after[o_proj.format(copy)] * 2, before[o_proj.format(CRITICAL)])

        whole, without = accuracy(base, samples), accuracy(base, samples, [CRITICAL])
        doubled = accuracy(planted, samples)
        first, second = (accuracy(planted, samples, [layer]) for layer in (CRITICAL, CRITICAL + 1))
        both = accuracy(planted, samples, [CRITICAL, CRITICAL + 1])
        print(f"base {whole:.3f}, without layer {CRITICAL} {without:.3f}; planted {doubled:.3f}, without the first copy "
              f"{first:.3f}, the second {second:.3f}, both {both:.3f}")
        assert whole > 0.99 and without < 0.05, "the test wants a layer that the task needs"
        assert doubled >= 0.95 * whole
        assert min(first, second) >= 0.95 * doubled, "either copy must look harmless"
        assert both <= without + 0.02, "both together are what the layer was"
        check_refusals(folder)


main()
