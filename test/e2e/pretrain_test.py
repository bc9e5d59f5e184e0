# SPDX-License-Identifier: Apache-2.0
"""A base that is made in two phases with tasks of their own: what each phase trained on, and what is said of the base."""

import json
import os
import pathlib
import tempfile

from support import SOURCE, read_json, run

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
TASK = """[[task]]
name = "{name}"
kind = "{kind}"
space = "tokens"
background = "noise"
needles = {needles}
queries = {queries}
length = [24]
key_tokens = [0, 32]
value_tokens = [32, 64]
noise_tokens = [64, 96]
"""
SPEC = f"""version = 1
[data]
tokenizer = "{SOURCE}/specs/models/tiny-recall"
[model]
threads = 1
{TASK.format(name="recall", kind="mqar", needles=4, queries=1)}
{TASK.format(name="hops", kind="two_hop", needles=2, queries=2)}
{TASK.format(name="marks", kind="counting", needles=6, queries=2)}
[evaluate]
tasks = ["marks"]
samples = 4
[pretrain]
tasks = ["recall", "hops"]
log_every = 1
warmup = 2
[pretrain.base]
layers = 2
hidden = 32
heads = 2
ffn = 32
vocab = 96
[[pretrain.phase]]
steps_max = 4
batch = 6
length = 24
tasks = ["marks"]
advance_at = 1.0
[[pretrain.phase]]
steps_max = 6
batch = 6
length = 24
advance_at = 1.0
"""


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "spec.toml").write_text(SPEC)
        made = []
        for out in (folder / "one", folder / "two"):
            done = run("morph", "run", folder / "spec.toml", "--out", out)
            stats = read_json(out / "pretrain/stats.json")
            made.append((out / "pretrain/model.safetensors").read_bytes())
        assert made[0] == made[1], "the same spec, another base"
        assert [phase["steps"] for phase in stats["phases"]] == [4, 6], stats
        # The base is judged on the tasks of the last phase, each by itself.
        assert sorted(stats["held_out_accuracy"]) == ["hops", "recall"], stats
        assert all(0 <= share <= 1 for share in stats["held_out_accuracy"].values()), stats
        for task in ("hops", "recall"):
            assert f"pretrain: {task}: " in done.stderr, done.stderr[-2000:]
        assert "pretrain: marks: " not in done.stderr
        # While it trains, a line says how well each of its phase's tasks was solved when that was last measured.
        lines = [json.loads(line) for line in (folder / "one/pretrain/metrics.jsonl").read_text().splitlines()]
        assert [line["phase"] for line in lines] == [0] * 4 + [1] * 6, lines
        assert [sorted(line["accuracy"]) for line in lines] == [[]] * 3 + [["marks"]] + [[]] * 5 + [["hops", "recall"]]
        assert min(lines[3]["accuracy"].values()) == stats["phases"][0]["accuracy"], (lines[3], stats)

        # A first phase on other tasks makes another base: it is those that it trains on.
        (folder / "other.toml").write_text(SPEC.replace('tasks = ["marks"]', 'tasks = ["hops"]'))
        run("morph", "run", folder / "other.toml", "--out", folder / "three")
        assert (folder / "three/pretrain/model.safetensors").read_bytes() != made[0]


main()
