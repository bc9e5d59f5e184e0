# SPDX-License-Identifier: Apache-2.0
"""A planted control: a base in which one layer is there twice with halved outputs, so that either copy looks superfluous
and both together are what the layer was.

    plant_control.py BASE LAYER OUT

Layer l of the base, y = x + A(x), z = y + F(y) with attention A and feed-forward network F, becomes two:

    l      x' = x + A(x) / 2
    l + 1  y' = x' + A(x') / 2,  z' = y' + F(y')

Both have l's weights but for o_proj, which is halved, and the first's down_proj, which is zero. The halves differ from
A(x) only by (A(x') - A(x)) / 2: the second copy reads what the first has added. F is kept whole in the second because half
of it in each would be read, and changed, by the second copy as well: of tiny-recall with layer 0 doubled, which recalls
nothing without that layer, .99 of 336 answer tokens are right (largest change of a logit 17.5, mean 1.1), .97 without
either copy and none without both; with halves of F .49 (21.6, 3.4), with F in the first .66 (20.8, 2.8). Of its layers 4
and 7, which add less, all three keep everything (logits within 1.8). Layers behind are numbered one higher. Halving is
exact in every floating-point type (but for the smallest numbers), so an o_proj of the base is twice a copy's.
"""

import argparse
import json
import pathlib
import re
import shutil
import sys

import torch
from data.files import weight_files
from end_process import run_and_end
from morph_data import InputError, exit_status
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

LAYER = re.compile(r"^model\.layers\.(\d+)\.(.*)$")


def read_config(base):
    try:
        config = json.loads((base / "config.json").read_text())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"'{base}' has no config.json that can be read: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("num_hidden_layers"), int):
        raise InputError(f"'{base / 'config.json'}' has no 'num_hidden_layers'")
    return config


def read_weights(base):
    weights = {}
    for file in weight_files(base):
        try:
            weights.update(load_file(file))
        except (OSError, SafetensorError) as error:
            raise InputError(f"'{file}' cannot be read: {error}") from error
    return weights


def double(weights, layer):
    """The weights with `layer` twice."""
    planted = {}
    for name, weight in weights.items():
        match = LAYER.match(name)
        if not match or int(match[1]) < layer:
            planted[name] = weight
            continue
        number, part = int(match[1]), match[2]
        if number > layer:
            planted[f"model.layers.{number + 1}.{part}"] = weight
            continue
        if part.startswith("self_attn.o_proj."):
            weight = weight / 2
        planted[f"model.layers.{layer + 1}.{part}"] = weight
        empty = part.startswith("mlp.down_proj.")
        planted[f"model.layers.{layer}.{part}"] = torch.zeros_like(weight) if empty else weight.clone()
    return planted


def check_layer(base, layer, weights):
    """Refuses a layer whose parts are not as `double` takes them to be."""
    prefix = f"model.layers.{layer}."
    for part in ("self_attn.o_proj", "mlp.down_proj"):
        if f"{prefix}{part}.weight" not in weights:
            raise InputError(f"'{base}' has no '{prefix}{part}.weight': its layers are not Llama's")
    # Llama's norm of this name is the one before the feed-forward network. Gemma 2 and 3 have another one there, and OLMo 2 has
    # none before attention: theirs is behind attention.
    norms = {part for part in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm")
             if f"{prefix}{part}.weight" in weights}
    if "post_attention_layernorm" in norms and ("pre_feedforward_layernorm" in norms or "input_layernorm" not in norms):
        raise InputError(f"'{base}' has a norm behind attention, '{prefix}post_attention_layernorm.weight': it undoes that o_proj is "
                         "halved",
                         "give a base whose layers add what attention gives as it is, such as Llama's, Qwen's or Mistral's")


def plant(base, layer, out):
    """Writes the folder `out`: the base with its layer `layer` doubled."""
    config, weights = read_config(base), read_weights(base)
    layers = config["num_hidden_layers"]
    if not 0 <= layer < layers:
        raise InputError(f"there is no layer {layer}: '{base}' has {layers}, from 0")
    check_layer(base, layer, weights)
    if out.exists():
        raise InputError(f"'{out}' exists already")
    config["num_hidden_layers"] = layers + 1
    if isinstance(config.get("layer_types"), list):
        config["layer_types"].insert(layer, config["layer_types"][layer])
    # Under another name until it is whole.
    partial = out.with_name(out.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    # What else there is, the tokenizer and its texts, stays as it is.
    for file in base.iterdir():
        if file.is_file() and file.suffix != ".safetensors" and file.name != "model.safetensors.index.json":
            shutil.copyfile(file, partial / file.name)
    (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(double(weights, layer), partial / "model.safetensors", metadata={"format": "pt"})
    partial.rename(out)


def main():
    parser = argparse.ArgumentParser(prog="plant-control", description="Doubles a layer of a base, with halved outputs.")
    parser.add_argument("base", type=pathlib.Path)
    parser.add_argument("layer", type=int)
    parser.add_argument("out", type=pathlib.Path)
    options = parser.parse_args()
    return exit_status("plant-control", lambda: plant(options.base, options.layer, options.out))


if __name__ == "__main__":
    run_and_end(main)
