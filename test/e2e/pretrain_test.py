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


def check_rates(out, rates):
    lines = [json.loads(line) for line in (out / "pretrain/metrics.jsonl").read_text().splitlines()]
    assert [round(1000 * line["lr"], 6) for line in lines] == rates, lines


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

        # What has no room is refused by the key that would help, which is the larger phase's.
        for phase in (0, 1):
            small = run("morph", "run", folder / "spec.toml", "--out", folder / "small", "--memory-limit", 0.0001, "--set",
                        f"pretrain.phase.{phase}.batch=12", expect=2)
            assert f"hint: lower pretrain.phase.{phase}.batch or the lengths" in small.stderr, small.stderr
            assert not (folder / "small").exists()

        # A first phase on other tasks makes another base: it is those that it trains on.
        (folder / "other.toml").write_text(SPEC.replace('tasks = ["marks"]', 'tasks = ["hops"]'))
        # The rate rises, whichever phase that ends in, stays, and falls in the last phase, of six steps.
        settings = ["pretrain.lr=0.006", "pretrain.lr_end=0", "pretrain.warmup=6", 'pretrain.schedule="linear"']
        rates = [1, 2, 3, 4, 5, 6, 6, 4, 2, 0]
        run("morph", "run", folder / "other.toml", "--out", folder / "three", *(word for one in settings for word in ("--set", one)))
        assert (folder / "three/pretrain/model.safetensors").read_bytes() != made[0]
        check_rates(folder / "three", rates)
        settings[-1] = 'pretrain.schedule="warm_flat_cooldown"'
        run("morph", "run", folder / "other.toml", "--out", folder / "four", *(word for one in settings for word in ("--set", one)))
        check_rates(folder / "four", [3, 6, 6, 6, 6, 6, 6, 6, 6, 0])


main()
