# SPDX-License-Identifier: Apache-2.0
"""Wrong inputs end with exit code 2 (1 for a failing machine), say what and where, and leave nothing behind."""

import json
import os
import pathlib
import re
import shutil
import struct
import tempfile

import torch
from small_model import LAYERS, SPEC, make_inputs
from safetensors.torch import load_file, save_file
from support import run


WORDS = """name = "recall"
kind = "niah_single"
length = 200"""


def fails(folder, name, spec, *patterns, expect=2, args=()):
    """`morph run` on the spec's text fails with the exit code, every pattern in its message, and no output folder."""
    path = folder / f"{name}.toml"
    path.write_text(spec)
    out = folder / f"{name}-out"
    message = run("morph", "run", path, "--out", out, *args, expect=expect).stderr
    print(f"--- {name}\n{message.strip()}")
    for pattern in patterns:
        assert re.search(pattern, message), f"{name}: no {pattern!r} in\n{message}"
    assert "Traceback" not in message and "terminate called" not in message, message
    assert not out.exists(), f"{name}: {out} was left behind: {list(out.rglob('*'))}"


def model_variant(folder, name, change):
    """A copy of the model folder, changed by `change(folder)`; returns the spec that uses it."""
    shutil.copytree(folder / "model", folder / name)
    change(folder / name)
    return SPEC.replace('path = "model"', f'path = "{name}"')


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_tensors(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)
        line = lambda text: SPEC[: SPEC.index(text)].count("\n") + 1

        fails(folder, "unknown-key", SPEC.replace("full_layers = 1", "ful_layers = 1"), rf"unknown-key\.toml:{line('full_layers = 1')}:1: error", "ful_layers", "full_layers", r"\^")
        fails(folder, "unknown-option", SPEC.replace("chunk = 16", "chnk = 16"), rf"unknown-option\.toml:{line('chunk = 16')}:11: error", "chnk", "it has: chunk, conv", r"\^")
        fails(folder, "wrong-type", SPEC.replace("steps = 12", 'steps = "many"'), rf"wrong-type\.toml:{line('steps = 12')}:9: error", "integer", r"\^")
        fails(folder, "missing-file", SPEC.replace('"text.txt"', '"nowhere.txt"'), rf":{line('text = [')}:\d+: error", "nowhere.txt")
        fails(folder, "missing-model", SPEC.replace('path = "model"', 'path = "no-model"'), r"error", "no-model")
        fails(folder, "budget", SPEC.replace("full_layers = 1", "full_layers = 9"), rf":{line('full_layers')}:\d+: error", "9", str(LAYERS))
        fails(folder, "backend", SPEC.replace('"gated_deltanet(', '"gated_deltanets('), "gated_deltanets", "gated_deltanet", r"\^")
        fails(folder, "malformed", SPEC.replace("[budget]", "[budget"), rf"malformed\.toml:{line('[budget]')}:\d+: error")
        fails(folder, "set-argument", SPEC, "algn.steps", "did you mean .align.", r"\^", args=("--set", "algn.steps=3"))

        fails(folder, "no-steps", SPEC.replace("steps = 10", "steps = 0"), rf":{line('steps = 10')}:\d+: error", "gates")
        fails(folder, "short-task", SPEC, r"--set:1:18: error", r"evaluate\.lengths", "recall", "at least 18 tokens", args=("--set", "evaluate.lengths=[10]"))
        fails(folder, "short-text", SPEC, r"align\.length", "tokens", args=("--set", "align.length=200000"))
        fails(folder, "threads", SPEC, r"model\.threads", "9999", args=("--set", "model.threads=9999"))

        spec = model_variant(folder, "gpt", lambda m: edit_json(m / "config.json", model_type="gpt_neox", architectures=["GPTNeoXForCausalLM"]))
        fails(folder, "architecture", spec, "gpt_neox", "llama")
        spec = model_variant(folder, "proportional", lambda m: edit_json(m / "config.json", rope_parameters={"rope_type": "proportional", "rope_theta": 1e4, "factor": 2.0}))
        fails(folder, "rope", spec, "proportional")

        weights = lambda m: m / "model.safetensors"
        spec = model_variant(folder, "truncated", lambda m: weights(m).write_bytes(weights(m).read_bytes()[:-1000]))
        fails(folder, "truncated-weights", spec, r"truncated/model\.safetensors")

        def corrupt(m):
            data = bytearray(weights(m).read_bytes())
            data[:8] = struct.pack("<Q", 1 << 40)
            weights(m).write_bytes(data)

        spec = model_variant(folder, "corrupt", corrupt)
        fails(folder, "corrupt-weights", spec, r"corrupt/model\.safetensors", "header")
        nan = "model.layers.1.mlp.up_proj.weight"
        spec = model_variant(folder, "nan", lambda m: edit_tensors(weights(m), lambda t: t[nan].view(-1)[5:6].fill_(float("nan"))))
        fails(folder, "nan-weights", spec, re.escape(nan), "(?i)nan")
        spec = model_variant(folder, "lacking", lambda m: edit_tensors(weights(m), lambda t: t.pop(nan)))
        fails(folder, "lacking-tensor", spec, re.escape(nan))
        spec = model_variant(folder, "extra", lambda m: edit_tensors(weights(m), lambda t: t.update({"model.extra": torch.zeros(3)})))
        fails(folder, "extra-tensor", spec, "model.extra")
        spec = model_variant(folder, "shape", lambda m: edit_json(m / "config.json", intermediate_size=60))
        fails(folder, "wrong-shape", spec, "mlp", "60", "64")

        # A configuration that would exhaust a reader's stack, and a pipe, which would keep it waiting, say so in a few lines.
        spec = model_variant(folder, "deep", lambda m: (m / "config.json").write_text('{"a":' + "[" * 200_000 + "]" * 200_000 + "}"))
        fails(folder, "deep-config", spec, r"deep/config\.json:1:69: error: .* nested more than 64 deep")
        fails(folder, "deep-header", "[" + "a." * 300_000 + "a]", r"deep-header\.toml:1:33: error: .* more than 16 parts")
        pipe = model_variant(folder, "pipe", lambda m: ((m / "config.json").unlink(), os.mkfifo(m / "config.json")))
        fails(folder, "pipe-config", pipe, r"pipe/config\.json': it is a pipe")
        (folder / "deep.toml").write_text(spec)
        short = SPEC.replace("length = [48]", "length = [48, 17]")
        (folder / "short.toml").write_text(short)
        for name, pattern in (("deep", r"config\.json:1:69: error"), ("short", rf"short\.toml:{line('length = [48')}:15: error: 'task\[0\]\.length\[1\]' is 17")):
            message = run("morph", "plan", folder / f"{name}.toml", expect=2).stderr
            print(f"--- plan of {name}\n{message.strip()}")
            assert re.search(pattern, message) and len(message.splitlines()) < 6, message

        # Tasks in words: with the tokenizer `morph plan` knows what they take, without it that each piece is a token.
        (folder / "words.toml").write_text(re.sub(r'name = "recall".*?background = "text"', WORDS, SPEC, flags=re.DOTALL))
        message = run("morph", "plan", folder / "words.toml", expect=2).stderr
        print(f"--- plan of words\n{message.strip()}")
        assert re.search("task 'recall': 200 tokens have no room .*, which take up to [0-9]{3}", message), message
        assert len(message.splitlines()) <= 2, message
        enough = ("--set", "task.recall.length=400")
        done = run("morph", "plan", folder / "words.toml", *enough, "--set", "align.tasks=[]", "--set", "distill.tasks=[]")
        assert "align" in done.stdout and not done.stderr, done.stderr
        message = run("morph", "plan", folder / "words.toml", *enough, expect=2).stderr
        assert "align: task 'recall': 48 tokens" in message, message
        (folder / "model/tokenizer.json").rename(folder / "tokenizer.json")
        run("morph", "plan", folder / "words.toml")
        (folder / "tokenizer.json").rename(folder / "model/tokenizer.json")

        # A plan of a newer version, and one that is no plan.
        base = folder / "base.mlir"
        run("morph-translate", "--import-hf", folder / "model", "-o", base)
        run("morph-translate", "--emit-plan", base, "--program=read", "-o", folder / "read.json")
        plan = json.loads((folder / "read.json").read_text())
        for name, text, pattern in (
            ("newer", json.dumps({**plan, "version": plan["version"] + 1}), rf"version {plan['version'] + 1}"),
            ("no-plan", "{]", "newer|no-plan"),
            ("empty", "", "empty"),
        ):
            (folder / f"{name}.json").write_text(text)
            message = run("morph-run", "eval", "--plan", f"read={folder / name}.json", "--weights", folder / "model",
                          "--tokens", folder / "text.txt", "--token-dtype", "u16", "--length", 16, expect=2).stderr
            print(f"--- plan {name}\n{message.strip()}")
            assert re.search(pattern, message), message

        # The folder of another spec.
        spec = folder / "first.toml"
        spec.write_text(SPEC)
        short = ("--set", "align.steps=1", "--set", "select.steps=1", "--set", "distill.steps=1", "--set", "finetune.steps=0")
        run("morph", "run", spec, "--out", folder / "run", *short)
        files = {p: p.read_bytes() for p in (folder / "run").rglob("*") if p.is_file()}
        message = run("morph", "run", spec, "--out", folder / "run", *short, "--set", "linear.backend=gated_deltanet(chunk = 8)", expect=2).stderr
        print(f"--- another spec\n{message.strip()}")
        assert "[linear] or the arch's layers" in message
        message = run("morph", "run", spec, "--out", folder / "run", *short, "--set", "budget.full_layers=2", expect=2).stderr
        assert "these keys differ: budget.full_layers\n" in message, message
        assert files == {p: p.read_bytes() for p in (folder / "run").rglob("*") if p.is_file()}


main()
