# SPDX-License-Identifier: Apache-2.0
"""export.format through the whole pipeline: classes of stock transformers that agree with the runtime, what `morph plan`
says beforehand, what is refused before any training, and `morph push`."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from small_model import LAYERS
from support import SOURCE, read_json, run

SPEC = """
version = 1
name = "small"
[model]
path = "model"
threads = 1
[linear]
backend = "{backend}"
[budget]
full_layers = 1
[data]
text = ["text.txt"]
[align]
steps = 3
batch = 1
length = 48
[select]
method = "uniform"
[distill]
steps = 2
batch = 1
length = 48
warmup = 0
[evaluate]
tasks = []
baselines = []
perplexity_tokens = 512
perplexity_length = 64
[export]
tolerance = 1e-4
"""
CARD = """---
license: apache-2.0
language:
- en
---
# A base
"""


EXPERTS = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, norm_topk_prob=True)


def make_inputs(folder, cls, backend, **sizes):
    """A random base with the tiny tokenizer and a card, a text, and a spec."""
    folder.mkdir()
    torch.manual_seed(1)
    config = cls.config_class(
        vocab_size=256, hidden_size=32, intermediate_size=64, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, tie_word_embeddings=True, **sizes)
    model = cls(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.copy_(torch.rand_like(parameter) + 0.5)
    model.save_pretrained(folder / "model")
    subprocess.run([sys.executable, SOURCE / "tools/python/morph_data.py", "make-tiny-tokenizer", folder / "model"], check=True)
    (folder / "model/README.md").write_text(CARD)
    (folder / "text.txt").write_text("".join(f"The quick brown fox number {i} jumps.\n" for i in range(400)))
    (folder / "spec.toml").write_text(SPEC.format(backend=backend))
    return folder / "spec.toml"


def engines(spec, *arguments):
    """What `morph plan` says of each program, by its name, and its text."""
    serving = read_plan(spec, "--json", *arguments)["serving"]
    return serving, {engine["engine"]: engine for engine in serving["engines"]}


def read_plan(spec, *arguments):
    return json.loads(run("morph", "plan", spec, *arguments).stdout)


def check_native(folder, cls, backend, architecture, **sizes):
    """A run whose export is of a stock class; its folder."""
    spec = make_inputs(folder, cls, backend, **sizes)
    native = ["--set", 'export.format="native"']
    # transformers gives this class a tokenizer of its own, to which the tiny one's spaces are lost.
    is_divided_otherwise = architecture == "Qwen3_5MoeForCausalLM"
    if is_divided_otherwise:
        serving, found = engines(spec)
        assert serving["format"] == "remote" and "Qwen3_5Tokenizer" in found["transformers"]["prevented"], serving
    serving, found = engines(spec, *(native if is_divided_otherwise else ()))
    assert (serving["format"], serving["class"]) == ("native", architecture), serving
    assert found["transformers"]["class"] == architecture and found["transformers"]["prevented"] is None, found
    out = folder / "run"
    done = run("morph", "run", spec, "--out", out, *native)
    assert ("export: note: transformers gives a qwen3_5_moe_text its Qwen3_5Tokenizer" in done.stderr) == is_divided_otherwise
    assert f"export: {architecture} of stock transformers" in done.stderr, done.stderr
    # Code World Model is a base that Morph reads.
    is_read = architecture == "CwmForCausalLM"
    assert ("`morph generate`, `serve`, `chat` and `eval` do not read it" in done.stderr) != is_read, done.stderr
    if is_read:
        run("morph", "generate", out / "hybrid", "--prompt", "The quick", "--max-tokens", 3)
    manifest = read_json(out / "hybrid/conversion_manifest.json")
    assert (manifest["export"]["format"], manifest["export"]["class"]) == ("native", architecture), manifest
    assert ("tokenizer" in manifest["export"]) == is_divided_otherwise, manifest
    run("morph", "push", out, "--to", folder / "published")
    loads = "PreTrainedTokenizerFast" if is_divided_otherwise else "AutoTokenizer"
    assert f"tokenizer = {loads}.from_pretrained(folder)" in (folder / "published/README.md").read_text()
    if is_divided_otherwise:  # As the card says, the tokens are the base's.
        text = "The quick  brown fox.\n"
        expected = transformers.AutoTokenizer.from_pretrained(folder / "model").encode(text)
        assert transformers.PreTrainedTokenizerFast.from_pretrained(folder / "published").encode(text) == expected
        assert transformers.AutoTokenizer.from_pretrained(folder / "published").encode(text) != expected
    # Of the layers that were kept: some servers take every n-th for full attention.
    kept = read_json(out / "selection.json")["kept"]
    told = {entry["engine"]: entry["warnings"] for entry in manifest["export"]["engines"]}["llama.cpp"]
    assert any("irregular" in warning for warning in told) == (
        architecture.startswith("Qwen3_5") and kept != list(range(kept[0], 4, kept[0] + 1))), (kept, told)
    assert all(f"export: note: llama.cpp: {warning}" in done.stderr for warning in told), done.stderr
    assert manifest["check"]["verdict"] == "agreement" and max(manifest["check"]["fp32"].values()) <= 1e-4, manifest
    return out


def main():
    with tempfile.TemporaryDirectory() as holder:
        root = pathlib.Path(holder)
        gdn = check_native(root / "qwen3", transformers.Qwen3ForCausalLM,
                           "gated_deltanet(base_norm = false, conv = 4, chunk = 16)", "Qwen3_5ForCausalLM")
        experts = "gated_deltanet(base_norm = false, chunk = 16)"
        check_native(root / "experts", transformers.Qwen3MoeForCausalLM, experts, "Qwen3_5MoeForCausalLM", **EXPERTS)
        # Whose files have the experts one by one.
        check_native(root / "mellum", transformers.Qwen3MoeForCausalLM, "sliding_window(window = 24)", "MellumForCausalLM",
                     **EXPERTS)
        check_native(root / "llama", transformers.LlamaForCausalLM, "mamba2(per_head = true, chunk = 16)",
                     "GraniteMoeHybridForCausalLM")
        check_native(root / "windows", transformers.LlamaForCausalLM, "sliding_window(window = 24)", "CwmForCausalLM")

        # What the plan says of servers, in JSON and in words.
        _, found = engines(root / "qwen3/spec.toml")
        assert found["vLLM"]["class"] == found["TensorRT-LLM"]["class"] == "Qwen3_5ForCausalLM", found
        assert found["llama.cpp"]["class"] == "qwen35" and "irregular" in found["llama.cpp"]["warnings"][0], found
        assert "Qwen3_5ForConditionalGeneration" in found["SGLang"]["prevented"], found
        _, found = engines(root / "experts/spec.toml", "--set", 'export.format="native"')
        assert found["llama.cpp"]["class"] == "qwen35moe", found
        assert any("tokenizer" in warning for warning in found["vLLM"]["warnings"]), found
        assert found["vLLM"]["class"] == found["TensorRT-LLM"]["class"] == "Qwen3_5MoeForCausalLM", found
        assert "Qwen3_5MoeForConditionalGeneration" in found["SGLang"]["prevented"], found
        _, found = engines(root / "experts/spec.toml", "--set", 'linear.backend="sliding_window(window = 24)"')
        assert found["vLLM"]["class"] == found["SGLang"]["class"] == "MellumForCausalLM", found
        assert "head of its own" in found["llama.cpp"]["prevented"], found
        text = run("morph", "plan", root / "qwen3/spec.toml").stdout
        assert "vLLM: give --dtype bfloat16" in text and "The export is native: Qwen3_5ForCausalLM" in text, text
        # The export's config has the scaling of a longer context, and so has what servers are asked about.
        _, found = engines(root / "llama/spec.toml", "--set", "model.context=1024")
        assert "rotary scaling would be lost" in found["SGLang"]["prevented"], found
        # The same with the norms of the base before the recurrence.
        serving, found = engines(root / "qwen3/spec.toml", "--set", 'linear.backend="gated_deltanet"')
        assert serving["format"] == "remote" and found["transformers, remote code"]["class"] == "MorphForCausalLM", serving
        assert "base_norm = false" in found["transformers"]["prevented"], found
        assert all(found[name]["prevented"] for name in ("vLLM", "SGLang", "llama.cpp", "TensorRT-LLM")), found
        serving, found = engines(root / "qwen3/spec.toml", "--set", 'export.format="remote"')
        assert serving["format"] == "remote" and found["transformers"]["prevented"] == "export.format is remote", serving
        assert found["vLLM"]["class"] is None, found

        # What cannot be is said before any training, and leaves nothing.
        native = ["--set", 'export.format="native"', "--set", 'linear.backend="gated_deltanet"']
        for command in (["plan", root / "qwen3/spec.toml"],
                        ["run", root / "qwen3/spec.toml", "--out", root / "refused"]):
            said = run("morph", *command, *native, expect=2).stderr
            assert "export.format is native" in said and "base_norm = false" in said and "hint:" in said, said
        assert not (root / "refused").exists()

        # A folder to publish.
        for name in ("model.safetensors", "README.md"):
            assert (gdn / "hybrid" / name).exists() == (name != "README.md")
        (root / "taken").mkdir()
        (root / "taken/file").write_text("mine")
        said = run("morph", "push", gdn, "--to", root / "taken", expect=2).stderr
        assert "exists already" in said, said
        run("morph", "push", gdn, "--to", root / "published")
        assert not (root / "published/stage.json").exists()
        card = (root / "published/README.md").read_text()
        front = card.split("---\n")[1]
        for line in ("license: apache-2.0", "library_name: transformers", "- linear-attention"):
            assert line in front, front
        # Nothing tells what the base is called on the Hub.
        assert "base_model" not in front and "made of `model`" in card, card
        for words in ("Qwen3_5ForCausalLM", "Full attention stays in 1 of 4 layers", "perplexity", "align", "FLOPs"):
            assert words in card, card
        assert "trust_remote_code" not in card, card
        # Where it was made is nobody's business.
        assert str(root) not in card and "The hybrid:" not in card and "The report:" not in card, card
        transformers.AutoModelForCausalLM.from_pretrained(root / "published", trust_remote_code=False)
        # A finished run's, whatever it was made with: of other programs the stages' keys are others.
        for record in gdn.glob("**/stage.json"):
            record.write_text(json.dumps(read_json(record) | {"key": "0" * 64}))
        run("morph", "push", gdn, "--to", root / "again")
        assert (root / "again/model.safetensors").read_bytes() == (root / "published/model.safetensors").read_bytes()
        assert (root / "again/README.md").read_text() == card
        # A part of one is not pushed, nor what is of no finished run.
        weights = (gdn / "hybrid/model.safetensors").read_bytes()
        (gdn / "hybrid/model.safetensors").write_bytes(weights[:-1])
        said = run("morph", "push", gdn, "--to", root / "part", expect=2).stderr
        assert "parts of them: model.safetensors" in said and "hint: 'morph run" in said, said
        (gdn / "hybrid/model.safetensors").write_bytes(weights)
        (gdn / "summary.json").rename(gdn / "summary.aside")
        said = run("morph", "push", gdn, "--to", root / "part", expect=2).stderr
        assert "is not finished" in said and "hint: 'morph run" in said, said
        (gdn / "summary.aside").rename(gdn / "summary.json")
        assert not (root / "part").exists()
        # Without the scripts that write the card nothing is left.
        run("morph", "push", gdn, "--to", root / "none", expect=1, env={**os.environ, "MORPH_SOURCE_DIR": str(root)})
        assert not (root / "none").exists() and not list(root.glob("none*"))


if __name__ == "__main__":
    main()
