# SPDX-License-Identifier: Apache-2.0
"""The evaluation on the embedded base, which recalls: what the model writes itself agrees with what is predicted after
the true tokens, whatever the batch; and the weights that are measured are the weights that are exported, bit for bit."""

import json
import pathlib
import tempfile

import numpy
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
backend = "gated_deltanet(conv = 4)"

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

[[task]]
name = "cities"
kind = "niah_single"
length = [420]
values = "number"
value_length = 3
background = "repeat"

# Values of different lengths at the end of samples of one length: prompts of one batch are not equally long.
[[task]]
name = "things"
kind = "niah_single"
length = [480]
values = "words"
value_length = 8
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
tasks = ["recall", "cities", "things"]
samples = 7
generate_samples = 5
batch = 4
baselines = []
perplexity_tokens = 2048
perplexity_length = 256
"""


def rows_by(rows, **wanted):
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def split_of(tokens):
    """The quarter that a value belongs to, of which the last is the evaluation's (runtime/data/Split.h)."""
    word = (1 << 64) - 1

    def mix(x):
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 & word
        x = (x ^ x >> 27) * 0x94d049bb133111eb & word
        return x ^ x >> 31

    def stream_seed(seed, name):
        digest = 0xcbf29ce484222325
        for byte in name.encode():
            digest = (digest ^ byte) * 0x100000001b3 & word
        return mix(mix(seed + 0x9e3779b97f4a7c15 & word) ^ digest)

    digest = stream_seed(len(tokens), "tokens")
    for token in tokens:
        digest = stream_seed(digest ^ token, "token")
    return digest % 4


def check_teacher(rows):
    """The base finds what is hidden, by both measures, on samples that nothing else has seen."""
    recall, = rows_by(rows, model="teacher", task="recall")
    assert recall["teacher_forced"]["answers"] > 0.9, recall
    assert recall["generated"]["answers"] > 0.9, recall
    assert 0.9 < recall["teacher_forced"]["tokens"] <= 1, recall
    assert recall["shared"] == ["wording"] and recall["answers_per_sample"] == 4, recall
    assert recall["teacher_forced"]["by_sample"][:5] == recall["generated"]["by_sample"], recall
    assert all(len(written) == 8 for written in recall["generated"]["written"]), recall
    for written, right in zip(recall["generated"]["written"], recall["generated"]["by_sample"]):
        if right == 1:
            assert all(split_of(written[i:i + 2]) == 3 for i in range(0, 8, 2)), written
    assert len(recall["teacher_forced"]["by_sample"]) == 7, recall
    cities, = rows_by(rows, model="teacher", task="cities")
    assert cities["shared"] == [] and cities["answers_per_sample"] == 1, cities
    # One answer a sample: greedy tokens are right exactly where each is right after the true ones.
    for row in rows_by(rows, task="cities"):
        assert row["teacher_forced"]["by_sample"][:5] == row["generated"]["by_sample"], row
    # The hybrids, hardly trained, are wrong at times: what they wrote is theirs.
    for row in rows_by(rows, model="selected", task="recall"):
        assert row["generated"]["written"] != recall["generated"]["written"], row
        assert any(0 < share < 1 for share in row["teacher_forced"]["by_sample"]), row


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
    for task in ("recall", "cities", "things"):
        written = [rows_by(some, model="teacher", task=task)[0]["generated"]["written"] for some in (rows, alone)]
        assert written[0] == written[1], (task, written)
    assert len({len(tokens) for tokens in written[0]}) > 1, "all prompts are as long: the test does not test"


def check_text(folder, rows):
    """The text's cross-entropy is that of the last quarter, which no other stage reads."""
    data = folder / "run/data"
    description = read_json(data / "text.json")
    assert description["dtype"] == "u16" and description["documents"] == 1, description
    tokens = numpy.fromfile(data / "text.tokens", dtype="<u2")
    evaluated = tokens[tokens.size - (tokens.size // 2 + 1) // 2:]
    available = evaluated.size // 256
    wanted = min(available, 8)
    windows = [evaluated[256 * (i * available // wanted):][:256] for i in range(wanted)]
    numpy.concatenate(windows).tofile(folder / "windows.tokens")
    run("morph-translate", "--emit-plan", folder / "run/ir/base.mlir", "--program=read", "-o", folder / "read-teacher.json")
    measured = run("morph-run", "eval", "--plan", f"read={folder}/read-teacher.json", "--weights",
                   SOURCE / "specs/models/tiny-recall", "--tokens", folder / "windows.tokens", "--length", 256,
                   "--json", "--per-token", folder / "tokens.safetensors")
    row, = rows_by(rows, model="teacher", task="text")
    assert row["samples"] == wanted, row
    assert abs(json.loads(measured.stdout)["cross_entropy"] - row["cross_entropy"]) < 1e-4, (measured.stdout, row)
    # Eight parts of the 255 targets of a window.
    nats = -load_file(folder / "tokens.safetensors")["logprob"].double().view(wanted, 255)
    begin = 0
    for number, part in enumerate(row["by_position"], 1):
        assert part["end"] == number * 255 // 8, row["by_position"]
        assert abs(nats[:, begin:part["end"]].mean().item() - part["cross_entropy"]) < 1e-4, (number, row["by_position"])
        begin = part["end"]
    assert begin == 255


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
        plan = folder / f"read-{precision}.json"
        run("morph-translate", "--emit-plan", out / "ir/hybrid.mlir", "--program=read",
            f"--program-options=precision={precision}", "-o", plan)
        for name, weights in {"run": [base, *trained], "folder": [out / "hybrid"]}.items():
            arguments = [part for path in weights for part in ("--weights", path)]
            run("morph-run", "eval", "--plan", f"read={plan}", *arguments, "--tokens",
                out / "data/text.tokens", "--length", 64, "--documents", 4, "--per-token", folder / f"{name}.safetensors")
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
        check_text(folder, rows)
        check_shipped(folder)


main()
