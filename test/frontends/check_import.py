# SPDX-License-Identifier: Apache-2.0
"""Random small models made by transformers import with the same weights, windows and rotary frequencies.

Run by ctest with MORPH_BIN. Exit code 0 when every model agrees.
"""

import os
import re
import subprocess
import sys
import tempfile

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

TRANSLATE = os.path.join(os.environ["MORPH_BIN"], "morph-translate")
SMALL = dict(
    hidden_size=48,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=96,
    max_position_embeddings=256,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=5e5,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
YARN = dict(rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=64)

# Name, configuration, options of save_pretrained.
CASES = [
    ("llama-tied", LlamaConfig(**SMALL, tie_word_embeddings=True), {}),
    ("llama-bias", LlamaConfig(**SMALL, attention_bias=True, head_dim=16), {}),
    ("llama-sharded", LlamaConfig(**SMALL, rope_parameters=LLAMA3, head_dim=32), {"max_shard_size": "40KB"}),
    ("llama-linear", LlamaConfig(**SMALL, rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=3.0)), {}),
    ("mistral", MistralConfig(**SMALL, sliding_window=20), {}),
    ("mistral-full", MistralConfig(**SMALL, sliding_window=None, head_dim=8), {}),
    ("qwen2", Qwen2Config(**SMALL, tie_word_embeddings=True), {}),
    (
        "qwen2-window",
        Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=12, max_window_layers=1),
        {},
    ),
    ("qwen3", Qwen3Config(**SMALL, head_dim=24, rope_parameters=YARN), {}),
    ("qwen3-bias", Qwen3Config(**SMALL, head_dim=16, attention_bias=True, tie_word_embeddings=True), {}),
]


def import_model(folder):
    result = subprocess.run([TRANSLATE, "--import-hf", folder], capture_output=True, text=True)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return result.stdout


def check(name, config, options, folder):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder, **options)
    text = import_model(folder)

    weights = {}
    for match in re.finditer(r'morph\.weight @"?([^" ]+)"? : tensor<([0-9x]+)xf32>', text):
        weights[match[1]] = tuple(int(size) for size in match[2].split("x"))
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        del expected["lm_head.weight"]
    assert weights == expected, f"weights differ: {set(weights.items()) ^ set(expected.items())}"

    table = re.search(r"morph\.rope_table @rope \[([^\]]*)\] attention_factor (\S+)", text)
    frequencies = torch.tensor([float(value) for value in table[1].split(",")], dtype=torch.float64)
    rotary = model.model.rotary_emb
    error = (frequencies / rotary.inv_freq.double() - 1).abs().max().item()
    assert error < 1e-5, f"rotary frequencies differ by {error}"
    assert abs(float(table[2]) - rotary.attention_scaling) < 1e-6, "attention factors differ"

    windows = [int(value) if value else None for value in re.findall(r"softmax_mixer .*?(?: window (\d+))? :", text)]
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    wanted = [window if kinds is None or kinds[i] == "sliding_attention" else None for i in range(3)]
    assert windows == wanted, f"windows are {windows}, expected {wanted}"


def main():
    failed = 0
    for name, config, options in CASES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(name, config, options, os.path.join(folder, name))
                print(f"ok {name}")
            except AssertionError as error:
                failed += 1
                print(f"FAILED {name}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
