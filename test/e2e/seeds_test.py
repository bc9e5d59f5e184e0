# SPDX-License-Identifier: Apache-2.0
"""morph run --seeds: each seed is a run of its own, and what they say together are means over seeds with intervals that are no
narrower than the seeds' spread, and than that of all samples."""

import json
import math
import pathlib
import statistics
import tempfile

from small_model import make_inputs
from support import read_json, run

SEEDS = [0, 1, 4]
STUDENT = 4.302652730  # Its quantile of 97.5 % for three values.


def student(values):
    """Mean of the seeds' values and half of its 95 % interval."""
    return statistics.mean(values), STUDENT * statistics.stdev(values) / math.sqrt(len(values))


def row_of(rows, **wanted):
    found = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    assert len(found) == 1, (wanted, len(found))
    return found[0]


QUESTIONS = """
[[task]]
name = "asked"
kind = "jsonl"
path = "questions.jsonl"
length = [48]
"""


def check_questions(pooled, runs):
    """Questions of a file are the same for all seeds: each counts once, not once a seed."""
    rows = [row for row in pooled["evaluation"] if row["task"] == "asked"]
    assert rows
    for row in rows:
        for measure in ("generated", "teacher_forced"):
            answers = {}
            for one in runs:
                part = row_of(one, **{name: row[name] for name in ("model", "after", "task", "length")})[measure]
                assert len(set(part["questions"])) == len(part["questions"]) == part["samples"] == 6, part
                for question, value in zip(part["questions"], part["by_sample"], strict=True):
                    answers.setdefault(question, []).append(value)
            part, count = row[measure], len(answers)
            assert 6 < count < 18, "seeds that ask all of them, or none twice, show nothing"
            assert part["questions"] == sorted(answers) and part["samples"] == count, (part, answers)
            assert part["by_sample"] == [statistics.mean(answers[question]) for question in sorted(answers)]
            # A random model knows none: what is left is Wilson's interval of so many.
            assert part["answers"] == 0 and math.isclose(part["interval"][1], 3.8414588 / (count + 3.8414588), rel_tol=1e-6), part


def check_answers(pooled, runs):
    for row in pooled["evaluation"]:
        if row["task"] in ("text", "asked"):
            continue
        key = {name: row[name] for name in ("model", "after", "task", "length")}
        for measure in ("generated", "teacher_forced"):
            parts = [row_of(one, **key)[measure] for one in runs]
            shares = [part["answers"] for part in parts]
            mean, half = student(shares)
            assert row[measure]["by_seed"] == shares
            assert math.isclose(row[measure]["answers"], mean, abs_tol=1e-12)
            low, high = row[measure]["interval"]
            assert low <= max(0, mean - half) + 1e-9 and high >= min(1, mean + half) - 1e-9 and 0 <= low <= high <= 1, row
            assert high - low > 0.02, "no interval of so few answers has no width"
            assert row[measure]["by_sample"] == [value for part in parts for value in part["by_sample"]]


def check_text(pooled, runs):
    rows = [row for row in pooled["evaluation"] if row["task"] == "text"]
    assert rows
    for row in rows:
        losses = [row_of(one, model=row["model"], after=row["after"], task="text") for one in runs]
        mean, seeds = student([loss["cross_entropy"] for loss in losses])
        windows = [statistics.mean(values) for values in zip(*(loss["by_sample"] for loss in losses))]
        # A run's own interval over its windows says how wide one is for so many.
        low, high = losses[0]["cross_entropy_interval"]
        width = (high - low) / 2 / statistics.stdev(losses[0]["by_sample"])
        half = math.hypot(seeds, width * statistics.stdev(windows))
        assert math.isclose(row["cross_entropy"], mean, rel_tol=1e-12)
        for part, parts in zip(row["by_position"], zip(*(loss["by_position"] for loss in losses)), strict=True):
            assert math.isclose(part["cross_entropy"], statistics.mean(one["cross_entropy"] for one in parts), rel_tol=1e-12)
        assert math.isclose(row["perplexity"], math.exp(mean), rel_tol=1e-12)
        assert all(math.isclose(limit, mean + side * half, rel_tol=1e-6)
                   for limit, side in zip(row["cross_entropy_interval"], (-1, 1))), row


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)
        (folder / "small.toml").write_text((folder / "small.toml").read_text().replace('tasks = ["recall"]\nsamples',
                                           'tasks = ["recall", "asked"]\nsamples') + QUESTIONS)
        (folder / "questions.jsonl").write_text("".join(
            json.dumps({"prompt": f"What is number {i}?", "answer": f" It is {3 * i} of them."}) + "\n" for i in range(60)))
        settings = ["--set", "finetune.steps=0", "--set", "evaluate.samples=6", "--set", "evaluate.perplexity_length=16"]
        command = ["morph", "run", folder / "small.toml", "--out", folder / "out", *settings, "--seeds"]
        said = run(*command, "0..1,4").stdout
        pooled = read_json(folder / "out/seeds.json")
        assert pooled["seeds"] == SEEDS and len(pooled["runs"]) == 3
        runs = [read_json(folder / f"out/seed-{seed}/evaluation.json") for seed in SEEDS]
        assert pooled["kept"]["selected"] == [read_json(folder / f"out/seed-{seed}/selection.json")["kept"] for seed in SEEDS]
        assert len(pooled["evaluation"]) == len(runs[0])
        check_answers(pooled, runs)
        check_questions(pooled, runs)
        check_text(pooled, runs)
        assert pooled["differences"]
        for difference in pooled["differences"]:
            assert math.isclose(difference["difference"], statistics.mean(difference["by_seed"]), abs_tol=1e-12)
            assert difference["interval"][0] <= difference["difference"] <= difference["interval"][1], difference
        assert "seeds 0 1 4: means over them" in said and "Layers with softmax attention by seed" in said, said

        assert all(f"seed-{seed}" in (folder / "out/report.html").read_text() for seed in SEEDS)

        # A seed is the run that it would be alone, and again nothing is done.
        alone = run("morph", "run", folder / "small.toml", "--out", folder / "out/seed-4", *settings, "--set", "seed=4").stderr
        assert "align: step" not in alone, alone
        again = run(*command, "0..1,4", "--json")
        assert "align: step" not in again.stderr and read_json(folder / "out/seeds.json") == pooled

        for wrong, words in (("3", "two seeds or more"), ("0,0", "0 is there twice"), ("4..1", "'4..1' falls"),
                             ("0..x", "'x' is no seed"), ("", "--seeds"), ("0,-1", "'-1' is no seed"),
                             ("0..998,1000..1998", "there are more than 1000"), ("0..999,x", "'x' is no seed"),
                             ("9223372036854775807,9223372036854775807", "9223372036854775807 is there twice")):
            refused = run("morph", "run", folder / "small.toml", "--out", folder / "wrong", "--seeds", wrong, expect=2).stderr
            assert words in refused, (wrong, refused)
        assert not (folder / "wrong").exists()


if __name__ == "__main__":
    main()
