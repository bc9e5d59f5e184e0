# SPDX-License-Identifier: Apache-2.0
"""A task of the user's own questions through selection, distillation and evaluation, beside text in weighted rows."""

import json
import pathlib
import tempfile

import numpy
from small_model import make_inputs
from support import read_json, run

SPEC = """
version = 1
name = "questions"
seed = 3

[model]
path = "model"
threads = 1

[linear]
backend = "gated_deltanet(chunk = 16)"

[budget]
full_layers = 1

[data]
text = ["text.txt", "rows/*.jsonl"]
weights = [1, 2]

[[task]]
name = "mine"
kind = "jsonl"
path = "questions.jsonl"
length = [48]

[align]
steps = 2
batch = 2
length = 48
tasks = ["mine"]

[select]
method = "gates"
steps = 3
batch = 2
tasks = ["mine"]

[distill]
steps = 2
batch = 2
length = 48
tasks = ["mine"]

[evaluate]
tasks = ["mine"]
samples = 64
generate_samples = 8
perplexity_tokens = 256
perplexity_length = 128
baselines = []

[export]
check = false
"""
QUESTIONS = 120


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)
        (folder / "rows").mkdir()
        (folder / "rows/a.jsonl").write_text("".join(json.dumps({"text": f"Row {i} of many. " * 20}) + "\n" for i in range(20)))
        questions = [{"prompt": f"What comes after {i}? ", "answer": f"{i + 1}."} for i in range(QUESTIONS)]
        (folder / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
        (folder / "questions.toml").write_text(SPEC)
        out = folder / "out"
        run("morph", "run", folder / "questions.toml", "--out", out)
        sources = read_json(out / "data/text.json")["sources"]
        assert [(source["weight"], source["documents"]) for source in sources] == [(1, 1), (2, 20)], sources
        assert len(numpy.fromfile(out / "data/task-mine.documents", dtype="<u8")) == 2 * QUESTIONS
        rows = [row for row in read_json(out / "evaluation.json") if row["task"] == "mine"]
        seen = {(row["model"], row["after"]) for row in rows}
        assert {"selected"} <= {model for model, _ in seen} and ("selected", "distill") in seen, seen
        for row in rows:
            part = row["teacher_forced"]
            # A quarter of the questions: no question comes twice.
            assert QUESTIONS / 8 < part["samples"] < 3 * QUESTIONS / 8 and part["samples"] == len(part["by_sample"]), part
            assert row["generated"]["samples"] == 8 and row["shared"] == [] and row["depth"] is None, row
            assert part["cross_entropy"] > 0, part
        assert len({row["teacher_forced"]["samples"] for row in rows}) == 1

        # The same line again runs nothing: what a stage of one hybrid kept of its teacher is no part of the stage.
        again = run("morph", "run", folder / "questions.toml", "--out", out).stderr
        assert again.count("done before") == 8 and "loss" not in again, again

        # A question more or less finds its way into the stage's key.
        (folder / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions[:20]))
        done = run("morph", "run", folder / "questions.toml", "--out", folder / "few", expect=2).stderr
        assert "of its 20 questions" in done and "each needs 8" in done, done


main()
