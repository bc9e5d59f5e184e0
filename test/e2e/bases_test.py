# SPDX-License-Identifier: Apache-2.0
"""Whole pipelines on bases that are no plain llama: Gemma-3 with its windows, which are left alone, Phi-3 with fused
projections, and `model.context`, whose RoPE parameters stock transformers computes the same from. Each export agrees with the
runtime, or the run fails."""

import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from small_model import SPEC
from support import SOURCE, compare_export, read_json, run

SHAPE = dict(vocab_size=256, hidden_size=32, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=256, tie_word_embeddings=True, pad_token_id=0)
WINDOW, FULL = "sliding_attention", "full_attention"
SHORT = ["--set", "align.steps=3", "--set", "select.steps=3", "--set", "distill.steps=2", "--set", "finetune.steps=0",
         "--set", "evaluate.baselines=[]", "--set", "evaluate.perplexity_tokens=256", "--set",
         "evaluate.perplexity_length=64"]


def make_base(folder, name, **changes):
    """A random model with the tiny tokenizer, a text, and the spec."""
    torch.manual_seed(1)
    config = getattr(transformers, f"{name}Config")(**SHAPE | changes)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.uniform_(parameter, -0.2, 1.2)
    model.save_pretrained(folder / "model")
    subprocess.run([sys.executable, SOURCE / "tools/python/morph_data.py", "make-tiny-tokenizer", folder / "model"],
                   check=True)
    sentence = "The quick brown fox number %d jumps over the lazy dog.\n"
    (folder / "text.txt").write_text("".join(sentence % i for i in range(400)))
    (folder / "small.toml").write_text(SPEC)


def convert(folder, *settings):
    """Runs all stages; the hybrid's config.json and what was selected."""
    run("morph", "run", folder / "small.toml", "--out", folder / "out", *SHORT, *settings)
    check, _ = compare_export(folder / "out")
    assert check["verdict"] in ("agreement", "rounding"), check
    return read_json(folder / "out/hybrid/config.json"), read_json(folder / "out/selection.json")


def check_gemma3(folder):
    """Of two layers without a window one keeps full attention, and the windows are what they were."""
    types = [WINDOW, FULL, WINDOW, FULL]
    make_base(folder, "Gemma3Text", num_hidden_layers=4, head_dim=8, sliding_window=16, layer_types=types,
              query_pre_attn_scalar=8)
    # Exchanges score choices on the stream, behind a norm here.
    config, selection = convert(folder, "--set", 'select.method="gates+refine"', "--set", "select.samples=4")
    assert selection["details"]["refine"]["evaluations"] >= 1, selection
    assert len(selection["kept"]) == 3 and {0, 2} < set(selection["kept"]), selection
    windows = [mixer.get("window") for mixer in config["morph"]["mixers"]]
    assert windows[0] == windows[2] == 16 and windows[1] is windows[3] is None, windows
    linear = ({1, 3} - set(selection["kept"])).pop()
    assert [kind for layer, kind in enumerate(config["layer_types"]) if layer != linear] == [WINDOW, FULL, WINDOW] or \
        [kind for layer, kind in enumerate(config["layer_types"]) if layer != linear] == [WINDOW, WINDOW, FULL], config
    assert config["layer_types"][linear] == "linear_attention"


def check_phi3(folder):
    """All stages read the fused projections; what is exported has each for itself."""
    make_base(folder, "Phi3", num_hidden_layers=3)
    convert(folder)
    names = set(read_names(folder / "out/hybrid/model.safetensors"))
    assert "model.layers.0.mlp.gate_proj.weight" in names and not any("gate_up" in name or "qkv" in name for name in names)
    # The whole program in the other precision, with everything trained: the teacher's are the base's.
    run("morph", "eval", folder / "out/hybrid", "--tokens", make_tokens(folder), "--token-dtype", "u16", "--documents", 1,
        "--begin", 1, "--length", 32, "--json")


def read_names(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return list(file.keys())


def make_tokens(folder):
    import numpy

    numpy.array([1, *range(3, 40)], dtype=numpy.uint16).tofile(folder / "tokens.u16")
    return folder / "tokens.u16"


def frequencies_of(config):
    """Inverse frequencies and attention factor of transformers' own class for a config.json at any length."""
    fields = {key: value for key, value in config.items() if key != "model_type"}
    made = transformers.AutoConfig.for_model(config["model_type"], **fields)
    with torch.device("meta"):
        model = type(transformers.AutoModelForCausalLM.from_config(made))
    rotary = model(made).model.rotary_emb
    suffix = "full_attention_" if hasattr(rotary, "full_attention_inv_freq") else ""
    # Longer than what the base was made for, and within the context: whatever depends on a length does so here.
    positions = torch.arange(config["max_position_embeddings"])[None]
    rotary(torch.zeros(1), positions, *(["full_attention"] if suffix else []))
    return getattr(rotary, suffix + "inv_freq").double(), getattr(rotary, suffix + "attention_scaling")


LONG = dict(rope_type="longrope", rope_theta=1e4, short_factor=[1.0, 1.2, 1.5, 2.0], long_factor=[1.0, 2.0, 5.0, 9.0])
CONTEXTS = {
    "default": ("Llama", {}, 1024, "yarn"),
    "default of all positions alone": ("Gemma3Text", dict(head_dim=8, layer_types=[WINDOW, FULL]), 1024, "yarn"),
    "yarn": ("Qwen2", dict(rope_parameters=dict(rope_type="yarn", rope_theta=1e4, factor=4.0,
                                                original_max_position_embeddings=64)), 1024, "yarn"),
    "linear": ("Llama", dict(rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=2.0)), 512, "linear"),
    "llama3": ("Llama", dict(rope_parameters=dict(
        rope_type="llama3", rope_theta=1e4, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64)), 512, "llama3"),
    "dynamic": ("Llama", dict(rope_parameters=dict(rope_type="dynamic", rope_theta=1e4, factor=4.0)), 1024, "default"),
    "longrope": ("Phi3", dict(max_position_embeddings=4096, original_max_position_embeddings=256, rope_parameters=LONG),
                 4096, "longrope"),
    "longrope, within": ("Phi3", dict(max_position_embeddings=4096, original_max_position_embeddings=256,
                                      rope_parameters=LONG), None, "longrope"),
}


def check_contexts(folder):
    """The base's config.json for a context gives transformers' class the table that the compiler has."""
    (folder / "text.txt").write_text("text\n")
    for name, (family, changes, context, kind) in CONTEXTS.items():
        config = getattr(transformers, f"{family}Config")(**SHAPE | dict(num_hidden_layers=2) | changes)
        config.architectures = [f"{family}ForCausalLM"]
        config.save_pretrained(folder / "base")
        (folder / "spec.toml").write_text('version = 1\nmodel.path = "base"\nbudget.full_layers = 1\n'
                                          'select.method = "uniform"\n')
        settings = ["--config-only", f"--set=model.context={context}"] if context else ["--config-only"]
        run("morph-translate", "--base-config", folder / "spec.toml", *settings, "-o", folder / "config.json")
        run("morph-translate", "--import-spec", folder / "spec.toml", *settings, "-o", folder / "base.mlir")
        fixed = read_json(folder / "config.json")
        run("morph-translate", "--base-config", folder / "base", "--config-only",
            *([f"--positions={context}"] if context else []), "-o", folder / "again.json")
        assert read_json(folder / "again.json") == fixed, name
        line = next(line for line in (folder / "base.mlir").read_text().splitlines() if "rope_table @rope [" in line)
        table, _, factor = line.partition("[")[2].partition("] attention_factor ")
        ours = torch.tensor([float(x) for x in table.split(",")], dtype=torch.float64)
        theirs, scaling = frequencies_of(fixed)
        error = (ours / theirs - 1).abs().max().item()
        parameters = fixed["rope_parameters"].get("full_attention", fixed["rope_parameters"])
        assert parameters["rope_type"] == kind, (name, parameters)
        assert fixed["max_position_embeddings"] == (context or 256), (name, fixed)
        assert error < 1e-6 and abs(float(factor) - scaling) < 1e-6, (name, error, factor, scaling)
        print(f"{name:32} frequencies agree to {error:.1e}")


def check_context(folder):
    """A whole run with a context: the hybrid is longer than its base, in transformers as in the runtime."""
    make_base(folder, "SmolLM3", num_hidden_layers=4, no_rope_layer_interval=2)
    config, _ = convert(folder, "--set", "model.context=1024")
    assert config["max_position_embeddings"] == 1024, config
    assert config["rope_parameters"]["rope_type"] == "yarn" and config["rope_parameters"]["factor"] == 4, config
    assert [mixer["rope"] for mixer in config["morph"]["mixers"]] == ["rope", None, "rope", None], config["morph"]
    assert abs(config["morph"]["ropes"]["rope"]["attention_factor"] - 1.1386294) < 1e-6, config["morph"]


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for check in (check_contexts, check_gemma3, check_phi3, check_context):
        with tempfile.TemporaryDirectory() as folder:
            check(pathlib.Path(folder))
            print(f"{check.__name__}: ok")


main()
