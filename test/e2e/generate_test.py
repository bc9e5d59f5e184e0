# SPDX-License-Identifier: Apache-2.0
"""morph generate: prompts that no argument holds, that look like flags, that are no text."""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from support import BIN, SOURCE, run

TOKENS = 100_000


def main():
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=256, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
            num_key_value_heads=1, max_position_embeddings=2 * TOKENS,
        )
        model = folder / "model"
        transformers.LlamaForCausalLM(config).save_pretrained(model)
        subprocess.run([sys.executable, SOURCE / "tools/python/morph_data.py", "make-tiny-tokenizer", model], check=True)

        # The tokenizer gives a token a character.
        (folder / "long.txt").write_text("word " * (TOKENS // 5))
        told = json.loads(run("morph", "generate", model, "--prompt-file", folder / "long.txt", "--max-tokens", 2,
                              "--json").stdout)
        assert len(told["prompt"]) == TOKENS and len(told["tokens"]) == 2, told["tokens"]
        piped = run("morph", "generate", model, "--prompt-file", "-", "--max-tokens", 2, "--json",
                    input="-x", timeout=300)
        dashed = run("morph", "generate", model, "--prompt=-x", "--max-tokens", 2, "--json")
        assert json.loads(piped.stdout) == json.loads(dashed.stdout), (piped.stdout, dashed.stdout)
        assert json.loads(dashed.stdout)["prompt"] == "-x", dashed.stdout

        (folder / "bytes").write_bytes(b"ab\xff")
        for arguments, message in ((["--prompt-file", folder / "bytes"], "not UTF-8 text: byte 2 is 0xff"),
                                   (["--prompt-file", folder / "none"], "none"),
                                   (["--prompt", "a", "--prompt-file", "b"], "--prompt"),
                                   ([], "--prompt"),
                                   (["--prompt="], "--prompt: 1 required TEXT missing")):
            said = run("morph", "generate", model, *arguments, expect=2).stderr
            assert message in said and len(said) < 1000, said


if __name__ == "__main__":
    main()
