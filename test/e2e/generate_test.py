# SPDX-License-Identifier: Apache-2.0
"""morph generate: prompts that no argument holds, that look like flags, that are no text; folders whose tokenizer or chat
template is broken."""

import json
import pathlib
import shutil
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
                                   (["--prompt="], "the prompt is empty"),
                                   (["--prompt=", "--max-tokens", 2], "the prompt is empty")):
            said = run("morph", "generate", model, *arguments, expect=2).stderr
            assert message in said and len(said) < 1000, said

        # Whoever stops reading ends it, without a word.
        command = [BIN / "morph", "generate", model, "--prompt", "word", "--max-tokens", "1000"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(), said) == (0, b""), said

        (model / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
        told = run("morph", "generate", model, "--prompt", "word", "--chat", "--max-tokens", 1)
        assert not told.stderr, told.stderr
        edit = lambda **keys: lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
        write = lambda text: lambda path: path.write_text(text)
        for name, change, message in (
            ("tokenizer.json", write("{"), "tokenizer.json' is no tokenizer"),
            ("tokenizer.json", edit(model={"type": "None"}), "tokenizer.json' is no tokenizer"),
            ("tokenizer_config.json", write('{"a": '), "tokenizer_config.json' is no JSON"),
            ("tokenizer_config.json", write("[]"), "tokenizer_config.json' holds no JSON object"),
            ("generation_config.json", write("[" * 100_000), "generation_config.json' is no JSON"),
            ("generation_config.json", write('{"eos_token_id": "end"}'), "'eos_token_id' must be an id"),
            ("chat_template.jinja", write("{% for %}"), "chat_template.jinja' fails: "),
            ("chat_template.jinja", write("{{ range(10**9) | list }}"), "fails: Range too big"),
            ("chat_template.jinja", write("{{ 1 / 0 }}"), "fails: division by zero"),
            ("chat_template.jinja", write("{{ raise_exception('no\nuser') }}"), "the chat template says: no user"),
            ("chat_template.jinja", lambda path: path.write_bytes(b"\xff"), "chat_template.jinja' fails: "),
        ):
            broken = folder / "broken"
            shutil.copytree(model, broken)
            change(broken / name)
            said = run("morph", "generate", broken, "--prompt", "word", "--chat", expect=2).stderr
            assert message in said and len(said.splitlines()) <= 2, said
            shutil.rmtree(broken)

        # A prompt longer than the positions that a model was made for is its user's business.
        edit(max_position_embeddings=3)(model / "config.json")
        said = run("morph", "generate", model, "--prompt", "word", "--max-tokens", 1).stderr
        assert said == ("morph: note: the prompt has 4 tokens and 1 may follow, the model was made for 3 (max_position_embeddings)\n"), said


if __name__ == "__main__":
    main()
