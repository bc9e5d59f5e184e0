# SPDX-License-Identifier: Apache-2.0
"""The evaluation on the embedded base, which recalls: what the model writes itself agrees with what is predicted after
the true tokens, whatever the batch; and the weights that are measured are the weights that are exported, bit for bit."""

import json
import pathlib
import tempfile

import torch
from safetensors.torch import load_file
from support import SOURCE, read_json, run

SPEC = f"""
version = 1
name = "evaluated"

[model]
path = "{SOURCE}/specs/models/tiny-recall"
threads = 1

[linear]
backend = "gated_deltanet"
conv = 4

[budget]
full_layers = 5

[data]
text = ["text.txt"]
holdout = 0.5

[[task]]
name = "recall"
kind = "mqar"
space = "tokens"
length = [96]
needles = 4
value_length = 2
key_tokens = [128, 192]
value_tokens = [192, 256]

# Cities of different lengths: prompts of one batch are not equally long.
[[task]]
name = "cities"
kind = "niah_single"
length = [420]
values = "number"
value_length = 3
background = "repeat"

[align]
steps = 2
batch = 2
length = 64

[select]
method = "uniform"

[distill]
steps = 2
batch = 2
length = 64
train = "all"

[evaluate]
tasks = ["recall", "cities"]
samples = 7
generate_samples = 5
batch = 4
baselines = []
perplexity_tokens = 2048
perplexity_length = 256
"""


def rows_by(rows, **wanted):
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def check_teacher(rows):
    """The base finds what is hidden, by both measures, on samples that nothing else has seen."""
    recall, = rows_by(rows, model="teacher", task="recall")
    assert recall["teacher_forced"]["answers"] > 0.9, recall
    assert recall["generated"]["answers"] > 0.9, recall
    assert recall["shared"] == ["wording"] and recall["answers_per_sample"] == 4, recall
    assert recall["teacher_forced"]["by_sample"][:5] == recall["generated"]["by_sample"], recall
    assert all(len(written) == 8 for written in recall["generated"]["written"]), recall
    assert len(recall["teacher_forced"]["by_sample"]) == 7, recall
    cities, = rows_by(rows, model="teacher", task="cities")
    assert cities["shared"] == [] and cities["answers_per_sample"] == 1, cities
    # One answer a sample: greedy tokens are right exactly where each is right after the true ones.
    assert cities["teacher_forced"]["by_sample"][:5] == cities["generated"]["by_sample"], cities


def check_batches(folder, rows):
    """A batch of prompts of different lengths gives what each gives alone."""
    spec = read_json(folder / "run/resolved.json")
    spec["evaluate"]["batch"] = 1
    (folder / "alone.json").write_text(json.dumps(spec))
    run("morph-run", "evaluate", "--spec", folder / "alone.json", "--run", folder / "run", "--out", folder / "alone",
        "--key", "alone", "--plan", f"score={folder}/run/plans/score-teacher.json", "--plan",
        f"decode={folder}/run/plans/decode-teacher.json", "--weights", spec["model"]["path"], "--model-name", "teacher",
        "--after", "selection")
    alone = read_json(folder / "alone/rows.json")
    for task in ("recall", "cities"):
        written = [rows_by(some, model="teacher", task=task)[0]["generated"]["written"] for some in (rows, alone)]
        assert written[0] == written[1], (task, written)


def check_shipped(folder):
    """The hybrid's exported tensors have the bits of those that the evaluation reads."""
    out = folder / "run"
    base = SOURCE / "specs/models/tiny-recall"
    trained = [out / "align/branches.safetensors", out / "distill/selected/weights.safetensors"]
    exported = load_file(out / "hybrid/model.safetensors")
    stored = load_file(trained[1])
    assert all(tensor.dtype == torch.float32 for tensor in stored.values())
    rounded = [name for name in stored if exported[name].dtype == torch.bfloat16]
    kept = [name for name in stored if exported[name].dtype == torch.float32]
    assert any("linear_attn.q_proj" in name for name in rounded) and any("mlp" in name for name in rounded), rounded
    assert any("A_log" in name for name in kept) and all(exported[name].dim() == 1 for name in kept), kept
    for name in stored:
        assert torch.equal(stored[name].to(exported[name].dtype), exported[name]), name
    changed = sum((stored[name].to(torch.bfloat16).float() != stored[name]).any().item() for name in rounded)
    assert changed > 20, "nothing was rounded: the test does not test"
    for precision in ("fp32", "bf16"):
        results = []
        for name, weights in {"run": [base, *trained], "folder": [out / "hybrid"]}.items():
            arguments = [part for path in weights for part in ("--weights", path)]
            run("morph-run", "eval", "--plan", f"score={out}/plans/score-selected.json", *arguments, "--tokens",
                out / "data/text.tokens", "--length", 64, "--documents", 4, "--precision", precision, "--per-token",
                folder / f"{name}.safetensors")
            results.append(load_file(folder / f"{name}.safetensors")["logprob"])
        assert torch.equal(*results), f"{precision}: up to {(results[0] - results[1]).abs().max():.2e} apart"


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        sentence = "The quick brown fox number %d jumps over the lazy dog.\n"
        (folder / "text.txt").write_text("".join(sentence % i for i in range(200)))
        (folder / "spec.toml").write_text(SPEC)
        run("morph", "run", folder / "spec.toml", "--out", folder / "run")
        rows = read_json(folder / "run/evaluation.json")
        check_teacher(rows)
        check_batches(folder, rows)
        check_shipped(folder)


main()
