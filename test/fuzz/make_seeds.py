# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpora of the fuzz targets: OUT/TARGET/*, and OUT/TARGET.list with the regressions added.

Usage: make_seeds.py OUT
Seeds are made by the programs in MORPH_BIN from small models, so that they follow every change of a format. Targets
whose programs are not built get none.
"""

import glob
import itertools
import json
import os
import random
import re
import struct
import subprocess
import sys

BIN, SOURCE, OUT = os.environ["MORPH_BIN"], os.environ["MORPH_SOURCE_DIR"], sys.argv[1]
PIPELINES = 45  # Of Pipelines.cpp; a number too many wraps around.

SPEC = """version = 1
name = "tiny"
[model]
precision = "fp32"
[linear]
backend = "%s"
[budget]
full_layers = 1
[data]
text = ["package:jargon-text"]
[[task]]
name = "recall"
kind = "mqar"
space = "tokens"
length = [48]
needles = 4
value_length = 2
background = "noise"
key_tokens = [8, 16]
value_tokens = [16, 24]
noise_tokens = [0, 8]
[pretrain]
tasks = ["recall"]
[pretrain.base]
layers = 2
hidden = 16
heads = 4
kv_heads = 2
head_dim = 4
ffn = 24
vocab = 32
max_positions = 64
[[pretrain.phase]]
steps_max = 10
batch = 4
length = 48
[align]
steps = 4
batch = 2
length = 16
[select]
method = "gates"
steps = 4
tasks = ["recall"]
[distill]
steps = 4
batch = 2
length = 16
"""

TASKS = [
    {"name": "recall", "kind": "mqar", "needles": 4, "value_length": 2, "background": "text"},
    {"name": "single", "kind": "niah_single", "background": "noise", "depth": [0.1, 0.9]},
    {"name": "several", "kind": "niah_multi_query", "needles": 4, "queries": 2, "background": "repeat"},
    {"name": "values", "kind": "niah_multi_value", "needles": 3, "background": "noise"},
    {"name": "chains", "kind": "variable_tracking", "needles": 2, "hops": 3, "background": "text"},
    {"name": "hops", "kind": "two_hop", "needles": 2, "hops": 2, "background": "noise"},
    {"name": "marks", "kind": "counting", "needles": 3, "background": "noise"},
    {"name": "alike", "kind": "near_keys", "needles": 2, "key_length": 2, "background": "noise"},
    {"name": "again", "kind": "induction", "needles": 2, "key_length": 3, "background": "noise"},
    {"name": "list", "kind": "common_words", "needles": 2, "repeats": [4, 2]},
    {"name": "coded", "kind": "frequent_words", "needles": 1, "alpha": 2.5},
]

WORDING = {
    "prefix": [{"tokens": [40]}], "needle": [{"slot": "key"}, {"tokens": [20]}, {"slot": "value"}],
    "link": [{"slot": "key"}, {"tokens": [27]}, {"slot": "source"}],
    "question": [{"tokens": [21]}, {"slot": "keys"}], "lead": [{"slot": "key"}],
}  # fmt: skip
LEXICON = {
    "format": "morph-lexicon", "version": 2, "vocabulary": 50, "keys": [[1], [2, 3], [4], [5]],
    "alphabets": [[[10, 11], [12]], [[13], [14]]], "value": [0, 1, 1, 0, 1],
    "wordings": {split: [WORDING] for split in ("training", "selection", "evaluation")},
    "key_join": [22], "answer_join": [23], "list_join": [24], "repeat": [25, 26], "break_after": [20, 49],
}  # fmt: skip


def write(target, name, content):
    folder = os.path.join(OUT, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def run(program, *arguments, text=""):
    """The program's output as bytes."""
    command = [os.path.join(BIN, program), *arguments]
    done = subprocess.run(command, input=text if isinstance(text, bytes) else text.encode(), capture_output=True)
    if done.returncode != 0:
        sys.exit(f"make_seeds: error: {' '.join(command)}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def safetensors(tensors, metadata=None):
    """A file of (name, dtype, shape, bytes an element), values zero."""
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, dtype, shape, width in tensors:
        end = offset + width
        for size in shape:
            end = offset + (end - offset) * size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(offset)


def make_weights():
    plain = safetensors([("a", "F32", [2, 3], 4), ("b", "BF16", [4], 2), ("empty", "F16", [0, 7], 2)])
    state = {"version": 1, "step": 3, "tokens": 9, "seconds": 0.5, "fingerprint": "fuzz", "state": {"ema": 0.25}}
    checkpoint = safetensors(
        [("master/a", "F32", [2], 4), ("optimizer/a.m", "F32", [2], 4), ("stage/order", "I64", [3], 8)],
        {"morph_checkpoint": json.dumps(state)},
    )
    for target in ("safetensors-header", "weights"):
        write(target, "plain", plain)
        write(target, "checkpoint", checkpoint)


def make_data():
    write("lexicon", "whole", json.dumps(LEXICON))
    write("lexicon", "list", json.dumps({**LEXICON, "alphabets": [[[10 + i] for i in range(8)]], "value": [0]}))
    for dtype, code in (("u16", "<H"), ("u32", "<I")):
        tokens = b"".join(struct.pack(code, i % 200) for i in range(60))
        head = {"dtype": dtype, "count": 60, "documents": 8, "holdout": 0.25}
        offsets = struct.pack("<8Q", 0, 10, 20, 21, 22, 40, 50, 55)
        write("text", dtype, json.dumps(head).encode() + b"\0" + offsets + tokens)


def make_selections():
    write("selection", "kept", '{"version": 1, "layers": 4, "kept": [0, 2], "budget": 2}')
    write("selection", "space", json.dumps({
        "version": 1, "values": [[1, 0.5], [1, 0], [0.5, 0.25], [1]], "space": {
            "layers": [[{"name": "full", "reference": "", "trained": False}, {"name": "kda", "reference": "kda(chunk = 16)", "trained": True}]] * 3
            + [[{"name": "full", "reference": "", "trained": False}]],
            "allowed": [{"source": {"text": "pin", "place": ""}, "layers": [0], "candidates": ["full"]}],
            "ties": [{"source": {"text": "tie", "place": "a:1:2"}, "layers": [1, 2]}],
            "counts": [{"source": {"text": "n", "place": ""}, "layers": [0, 1, 2, 3], "candidate": "full", "least": 2,
                        "most": 2}],
            "budgets": [{"source": {"text": "b", "place": ""}, "measure": "cache_bytes", "unit": "bytes", "context": 9,
                         "limit": 9, "costs": [[4, 1], [4, 1], [4, 1], [4]]}]}}))
    write("selection", "scores", '{"scores": [0.5, 1.5, -0.25, 2], "budget": 2, "choice": ["full", "a", "full", "b"]}')
    write("selection", "gates", '{"version": 1, "gates": [[0.5, 0.5], [1, 0], 0.25, [0]], "budget": null}')


def make_mixers():
    for path in glob.glob(os.path.join(SOURCE, "dialect", "mixers", "*.morph")) + glob.glob(os.path.join(SOURCE, "specs", "*.morph")):
        with open(path) as file:
            write("morph-language", os.path.basename(path), file.read())


# Expressions that declarations may have anywhere, right or wrong there.
EXPRESSIONS = ["0", "1", "-1", "0.5", "1e400", "1 / 0", "H / D - H", "H ^ M ^ M", "M * M * M * M * 65536", "G", "2 * H", "D / 2", "M",
               "H * D", "chunk", "i", "base.layer", "base.layers", "base.window", "not base.qk_norm", "base.qkv_bias", "log(0 - D)",
               "min(H, 3)", "max()", "inverse_softplus(0)", "x", "(" * 40 + "1" + ")" * 40]  # fmt: skip


def make_declared_mixers():
    """What exports declare, each by the name of MixersFuzzer.cpp; and each with some of its words exchanged, so that many
    inputs are modules."""
    numbers = random.Random(0)
    spec = os.path.join(OUT, "tiny.toml")
    with open(spec, "w") as file:
        file.write(SPEC % "gated_deltanet")
    base = run("morph-translate", "--import-spec", "--config-only", spec)
    declared = {}
    for path in sorted(glob.glob(os.path.join(SOURCE, "dialect", "mixers", "*.morph"))):
        name = os.path.basename(path).removesuffix(".morph")
        module = run("morph-opt", f"--morph-pair-branches=candidates={name}", "--morph-discretize=kept=1", text=base)
        text = json.loads(run("morph-translate", "--emit-pytorch", "-", text=module))["module"]
        declared[name] = text.replace(f"@{name}", "@declared")
    words = sorted({word for text in declared.values() for word in re.findall('"([^"]*)"', text)} | set(EXPRESSIONS))
    for name, text in declared.items():
        write("mixers", name, text)
        for variant in range(90):
            parts = re.split('"([^"]*)"', text)
            for _ in range(numbers.choice([1, 1, 2, 3])):
                parts[numbers.randrange(1, len(parts), 2)] = numbers.choice(words)
            write("mixers", f"{name}-{variant}", "".join(f'"{part}"' if i % 2 else part for i, part in enumerate(parts)))


def make_plan_ops():
    numbers = random.Random(0)
    for index in range(8):
        write("plan-ops", str(index), numbers.randbytes(400))


def make_specs():
    write("spec", "tiny", SPEC % "gated_deltanet" + "#--set align.steps=7\n#--set task.recall.needles=3\n")
    for path in glob.glob(os.path.join(SOURCE, "specs", "*.toml")):
        with open(path) as file:
            text = re.sub("^ *#.*\n", "", file.read(), flags=re.M)
        # A model's folder is looked for beside the spec, which is nowhere here.
        write("spec", os.path.basename(path), text.replace('"models/', f'"{SOURCE}/specs/models/'))
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 4, "vocab_size": 32, "max_position_embeddings": 64}  # fmt: skip
    scaled = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 32}  # fmt: skip
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    by_type = {"full_attention": yarn | {"rope_theta": 1e6}, "sliding_attention": {"rope_type": "default"}}
    longrope = {"type": "longrope", "short_factor": [1.0, 2.0], "long_factor": [1.0, 4.0]}
    extras = {
        "llama": {"rope_scaling": scaled, "rope_theta": 5e5, "tie_word_embeddings": True},
        "mistral": {"sliding_window": 8},
        "qwen2": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
        "qwen3": {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 8,
                  "use_sliding_window": True, "rope_scaling": yarn, "attention_bias": False},
        "smollm3": {"no_rope_layers": [1, 0], "rope_scaling": {"type": "dynamic", "factor": 2.0}},
        "olmo2": {"attention_bias": True},
        "olmo3": {"sliding_window": 8, "rope_parameters": by_type},
        "phi3": {"partial_rotary_factor": 1.0, "original_max_position_embeddings": 32, "rope_scaling": longrope},
        "gemma2": {"sliding_window": 8, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 50.0},
        "gemma3_text": {"sliding_window": 8, "sliding_window_pattern": 2, "rope_parameters": by_type},
        "cwm": {"sliding_window": 8, "rope_scaling": scaled},
        "morph_hybrid": {"base_model_type": "llama", "layer_types": ["full_attention", "linear_attention"],
                         "morph": {"kind": "gated_deltanet", "options": {"chunk": 16}, "norm_eps": 1e-5}},
    }  # fmt: skip
    for family, extra in extras.items():
        write("config", family, json.dumps({"model_type": family, **shape, **extra}))


COSTS = {
    "version": 1, "contexts": [1, 4096], "fixed": {"head": 1e-5, "layer": 1e-6},
    "mixers": [{"mixer": "full", "seconds": [1e-5, 1e-3]}, {"mixer": "gla", "seconds": [2e-5, 2e-5]},
               {"mixer": "sliding_window(window = 8)", "seconds": [1e-5, 3e-5]}],
}  # fmt: skip
OWN_MIXER = """mixer mine(rank: 1..64 = 8) {
  weight w [rank, M] ~ normal(0.02)
  weight u [M, rank] = 0
  return base_o(merge(recurrence(base_q(x), base_k(x), base_v(x)))) + project(project(x, w), u)
}
"""
ARCHS = {
    "plain": ["layers all = full | gla", "budget full_layers = 2"],
    "ratio": ['doc "all of them"', "layers all = full | gla | kda | retnet", "budget ratio = 0.5"],
    "kinds": ["layers all = full | sliding_window(window = 8) | sliding_window(window = 16)",
              "layers 3..4 = full | gla | mine(rank = 4)", "layers 5 = full | gated_deltanet(conv = 2)", "tie 0, 2",
              "pin 1 = full | sliding_window", "pattern one full in every 2", "budget cache_bytes = 500e3 at 4096"],
    "own": ['layers all = full | mine | "arch.morph:mine(rank = 2)"', "layers 1..2 = full | mine", "tie 1..2",
            "pattern 2 mine in every 3", "budget full_layers = 2"],
    "costs": ["layers all = full | gla | sliding_window(window = 8)",
              'budget decode_seconds = 1.5e-3 at 2048 by "costs.json"', "budget cache_bytes = 1e6 at 512"],
    "conflict": ["layers all = full | gla", "pin 0..1 = full", "tie 0..1", "pin 2 = gla", "tie 1..2",
                 "budget cache_bytes = 3e3 at 4096"],
}  # fmt: skip

RECIPE = re.sub(r"(?s)\[model\].*?(?=\[data\])|\[pretrain.*?(?=\[align\])", "", SPEC).replace(
    'name = "tiny"\n', 'name = "tiny"\narch = "arch.morph"\n')  # fmt: skip


def make_archs():
    for name, lines in ARCHS.items():
        text = OWN_MIXER + f"arch {name} {{\n" + "".join(f"  {line}\n" for line in ['model "."', *lines]) + "}\n"
        write("morph-language", f"arch-{name}", text)
        text += "//--- costs\n" + json.dumps(COSTS)
        write("arch", name, text)
        write("arch", name + "-spec", text + "\n//--- spec\n" + RECIPE)


def make_resolved_specs():
    path = os.path.join(OUT, "tiny.toml")
    with open(path, "w") as file:
        file.write(SPEC % "gated_deltanet")
    resolved = json.loads(run("morph-translate", "--spec-to-json", "--config-only", path))
    for task in TASKS:
        task = {**resolved["tasks"][0], **task, "length": [64, 128], "key_tokens": [8, 64], "value_tokens": [64, 96]}
        write("resolved-spec", task["name"], json.dumps(resolved | {"tasks": [task]}))


def make_modules():
    """IR of every phase for every pipeline, and the plans of all programs."""
    spec = os.path.join(OUT, "tiny.toml")
    modules = {}
    for backend in ("gated_deltanet", "lightning", "retnet"):
        with open(spec, "w") as file:
            file.write(SPEC % backend)
        base = run("morph-translate", "--import-spec", "--config-only", spec)
        paired = run("morph-opt", f"--morph-pair-branches=candidates={backend}", text=base)
        relaxed = run("morph-opt", "--morph-relax-gates", text=paired)
        hybrid = run("morph-opt", "--morph-discretize=kept=1", text=relaxed)
        for phase, module in (("base", base), ("paired", paired), ("relaxed", relaxed), ("hybrid", hybrid)):
            modules[f"{phase}-{backend}"] = module
    programs = {
        "base": ["pretrain", "finetune", "score:kl=true", "logits", "decode"],
        "paired": ["calibrate", "align", "score", "logits", "decode"],
        "relaxed": ["gates", "gates:loss=ce", "gates:loss=layers", "gates:loss=layers,target=local", "score"],
        "hybrid": ["distill", "distill:train=all", "finetune:train=linear", "score", "logits", "decode"],
    }
    for name, module in modules.items():
        phase = name.split("-")[0]
        for number in range(PIPELINES) if name.endswith("deltanet") else [0, 22, 27]:
            route = b"bytecode, pipeline" if number % 2 else b"pipeline"
            write("ir", f"{name}-{number}", b"// %s %d\n" % (route, number) + module)
        for program in programs[phase]:
            kind, _, options = program.partition(":")
            path = os.path.join(OUT, "module.mlir")
            with open(path, "wb") as file:
                file.write(module)
            emit = ("morph-translate", "--emit-plan", path, f"--program={kind}", f"--program-options={options}")
            plan = run(*emit)
            if plan == b"null\n":  # No mixer of it calibrates weights.
                continue
            # Lists of seeds have commas between them.
            write("plan", f"{name}-{program.replace(':', '-').replace(',', '+')}", plan)
            if (name, program) == ("hybrid-gated_deltanet", "score"):  # The same with code for GPUs.
                device = os.path.join(OUT, "device.json")
                run(*emit, "--device=sm_90", "-o", device)
                with open(device, "rb") as file:
                    write("plan", f"{name}-{program}-device", file.read())
    # Single ops and passes, as the tests write them.
    files = sorted(glob.glob(os.path.join(SOURCE, "test", "dialect", "*.mlir")))
    files += sorted(glob.glob(os.path.join(SOURCE, "test", "passes", "*.mlir")))
    numbers = itertools.count()
    for path in files:
        with open(path) as file:
            parts = file.read().split("// -----")
        for index, part in enumerate(parts):
            text = re.sub("^ *//.*\n", "", part, flags=re.M)
            write("ir", f"{os.path.basename(path)}-{index}", f"// pipeline {next(numbers) % PIPELINES}\n" + text)


def main():
    os.makedirs(OUT, exist_ok=True)
    make_weights()
    make_data()
    make_selections()
    make_mixers()
    make_archs()
    make_plan_ops()
    if os.path.exists(os.path.join(BIN, "morph-translate")):
        make_specs()
        make_declared_mixers()
        make_resolved_specs()
        make_modules()
    for target in sorted(os.listdir(OUT)):
        if os.path.isdir(os.path.join(OUT, target)):
            inputs = glob.glob(os.path.join(OUT, target, "*"))
            inputs += glob.glob(os.path.join(SOURCE, "test", "fuzz", "regressions", target, "*"))
            with open(os.path.join(OUT, target + ".list"), "w") as file:
                file.write(",".join(sorted(inputs)))


main()
