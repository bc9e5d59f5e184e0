# SPDX-License-Identifier: Apache-2.0
"""A planted control of the embedded base: transformers loads it, it recalls nearly as well, and the doubled layer hides
from whoever drops one layer at a time. Samples are made here, independently of runtime/data."""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BASE = SOURCE / "specs/models/tiny-recall"
CRITICAL = 0  # Without its attention tiny-recall recalls nothing.
sys.path.insert(0, str(SOURCE / "tools/python"))
import plant_control  # noqa: E402  pylint: disable=wrong-import-position

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


def check_norms(folder):
    """A norm behind attention would undo that its output is halved: Gemma's and OLMo's folders are told by their weights."""
    parts = ("self_attn.o_proj", "mlp.down_proj", "post_attention_layernorm")
    gemma = ("input_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
    for name, norms in (("llama", ("input_layernorm",)), ("gemma", gemma), ("olmo", ("post_feedforward_layernorm",))):
        base, out = folder / name, folder / f"planted {name}"
        base.mkdir()
        (base / "config.json").write_text(json.dumps({"num_hidden_layers": 1}))
        save_file({f"model.layers.0.{part}.weight": torch.ones(1) for part in (*parts, *norms)}, base / "model.safetensors")
        try:
            plant_control.plant(base, 0, out)
            refusal = None
        except plant_control.InputError as error:
            refusal = error
        assert (refusal is None) == out.exists() == (name == "llama"), (name, refusal)
        assert refusal is None or "has a norm behind attention, 'model.layers.0.post_attention_layernorm.weight'" in str(refusal)
        assert refusal is None or "Llama's" in refusal.hint


def check_other_files(folder):
    """What lies beside the base's weights, by their names or by others, is none of them."""
    base = folder / "crowded"
    shutil.copytree(BASE, base)
    weights = load_file(base / "model.safetensors")
    save_file({name: torch.zeros_like(weight) for name, weight in weights.items()}, base / "zzz.safetensors")
    save_file({"layers.0.attention.wq.weight": torch.zeros(1)}, base / "consolidated.safetensors")
    plant_control.plant(base, CRITICAL, folder / "from crowded")
    expected, found = (load_file(folder / name / "model.safetensors") for name in ("planted", "from crowded"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def folder_without_o_proj(folder):
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
        check_norms(folder)
        check_other_files(folder)


main()
