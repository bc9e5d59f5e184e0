# SPDX-License-Identifier: Apache-2.0
"""The small random model and spec that the end-to-end checks run."""

import subprocess
import sys

import torch
import transformers
from support import SOURCE

SPEC = """
version = 1
name = "small"
seed = 3

[model]
path = "model"
threads = 1

[linear]
backend = "gated_deltanet(chunk = 16)"

[budget]
full_layers = 1

[data]
text = ["text.txt"]

[[task]]
name = "recall"
kind = "mqar"
space = "tokens"
length = [48]
needles = 3
queries = 3
key_tokens = [128, 192]
value_tokens = [192, 256]
value_length = 2
background = "text"

[align]
steps = 12
batch = 2
length = 48
tasks = ["recall"]
checkpoint_every = 3
log_every = 1

[select]
method = "gates"
steps = 10
batch = 2
tasks = ["recall"]
checkpoint_every = 3
log_every = 1

[distill]
steps = 8
batch = 2
length = 48
tasks = ["recall"]
checkpoint_every = 2
log_every = 1

[finetune]
steps = 4
batch = 1
length = 64
checkpoint_every = 2
log_every = 1

[evaluate]
tasks = ["recall"]
samples = 4
perplexity_tokens = 4096
perplexity_length = 4096
baselines = ["uniform"]

# pipeline_test.py has the stage that compares; other checks have support.compare_export, which starts nothing anew.
[export]
check = false
"""
LAYERS = 4


def make_inputs(folder):
    """A random Llama with the tiny tokenizer, a text, and the spec."""
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=32, intermediate_size=64, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder / "model")
    subprocess.run([sys.executable, SOURCE / "tools/python/morph_data.py", "make-tiny-tokenizer", folder / "model"], check=True)
    sentence = "The quick brown fox number %d jumps over the lazy dog.\n"
    (folder / "text.txt").write_text("".join(sentence % i for i in range(400)))
    (folder / "small.toml").write_text(SPEC)
