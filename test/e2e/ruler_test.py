# SPDX-License-Identifier: Apache-2.0
"""RULER's kinds that fill their context, common_words and frequent_words in both spaces and qa, from the spec to the table
of the evaluation."""

import json
import pathlib
import tempfile

from small_model import make_inputs
from support import read_json, run

SPEC = """
version = 1
name = "ruler"
seed = 3

[model]
path = "model"
threads = 1

[linear]
backend = "gated_deltanet(chunk = 16)"

[budget]
full_layers = 1

[[task]]
name = "common"
kind = "common_words"
length = [512, 700]
needles = 2
repeats = [6, 2]

[[task]]
name = "frequent"
kind = "frequent_words"
length = [1024]
needles = 2
alpha = 2.5

[[task]]
name = "common-ids"
kind = "common_words"
space = "tokens"
length = [96]
needles = 3
repeats = [6, 2]
key_tokens = [128, 192]
value_tokens = [192, 194]

[[task]]
name = "frequent-ids"
kind = "frequent_words"
space = "tokens"
length = [96]
needles = 3
key_tokens = [128, 192]
value_tokens = [192, 194]

[[task]]
name = "squad"
kind = "qa"
path = "squad.json"
length = [512]

[align]
steps = 1
batch = 2
length = 1024
task_fraction = 1.0
tasks = ["common", "frequent", "squad"]

[select]
method = "uniform"

[distill]
steps = 0

[evaluate]
tasks = ["common", "frequent", "common-ids", "frequent-ids", "squad"]
samples = 4
generate_samples = 2
baselines = []

[export]
check = false
"""
NEEDLES = """
[[task]]
name = "needles"
kind = "mqar"
space = "tokens"
length = [128]
needles = 2
key_tokens = [128, 192]
value_tokens = [192, 256]
background = "noise"
noise_tokens = [0, 128]
"""


def squad():
    paragraph = lambda a, p: {"context": f"Mill {a}-{p} stood for {7 * a + p} years. " + "It was of wood. " * (a % 3), "qas": [
        {"question": f"How long stood mill {a}-{p}?", "answers": [{"text": f"{7 * a + p} years", "answer_start": 0}]}]}
    return {"version": "1.1", "data": [{"title": f"M{a}", "paragraphs": [paragraph(a, p) for p in range(6)]} for a in range(20)]}


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)
        (folder / "squad.json").write_text(json.dumps(squad()))
        spec = folder / "ruler.toml"
        spec.write_text(SPEC)
        # Teacher and hybrid on four samples of each task at its own lengths, of needles alone at each depth, too.
        (folder / "depths.toml").write_text(SPEC + NEEDLES)
        tasks = '["common", "frequent", "common-ids", "frequent-ids", "squad", "needles"]'
        planned = json.loads(run("morph", "plan", folder / "depths.toml", "--json", f"--set=evaluate.tasks={tasks}",
                                 "--set=evaluate.depths=[0.1, 0.5, 0.9]", "--set=evaluate.generate_samples=0").stdout)
        evaluation = next(stage for stage in planned["stages"] if stage["stage"] == "evaluate")
        assert evaluation["tokens"] == 2 * 4 * (512 + 700 + 1024 + 96 + 96 + 512 + 3 * 128), evaluation
        out = folder / "out"
        run("morph", "run", spec, "--out", out)
        rows = [row for row in read_json(out / "evaluation.json") if row["task"] != "text"]
        answers = {"common": 2, "frequent": 2, "common-ids": 3, "frequent-ids": 3, "squad": 1}
        for model in ("teacher", "selected"):
            seen = {(row["task"], row["length"]): row for row in rows if row["model"] == model}
            assert set(seen) == {("common", 512), ("common", 700), ("frequent", 1024), ("common-ids", 96), ("frequent-ids", 96),
                                 ("squad", 512)}, seen.keys()
            for (task, _), row in seen.items():
                assert row["answers_per_sample"] == answers[task] and row["depth"] is None, row
                assert row["teacher_forced"]["samples"] == 4 and row["teacher_forced"]["cross_entropy"] > 0, row
                assert row["generated"]["samples"] == 2 and len(row["generated"]["written"][0]) >= answers[task], row
            # What the splits share, said of each row: 64 ids are too few words for three splits.
            assert seen["common-ids", 96]["shared"] == ["keys", "wording"], seen["common-ids", 96]["shared"]
            assert seen["frequent", 1024]["shared"] == [], seen["frequent", 1024]["shared"]
            assert seen["squad", 512]["shared"] == ["wording"], seen["squad", 512]["shared"]

        # Before any step: lengths that are not in the lexicon, those that nothing fits into, those that nothing fills.
        for setting, message in (
                ("evaluate.lengths=[1024,4096]", "4096 tokens hold longer ones"),
                ("task.squad.length=[64]", "of its 120 questions 0 fit into 64 tokens"),
                ("task.squad.length=[65536]", "too few to fill samples of 65536"),
                ("task.frequent.length=[400]", "task 'frequent': 400 tokens have no room")):
            refused = run("morph", "run", spec, "--out", folder / "none", "--set", setting, expect=2).stderr
            assert message in refused and "hint" in refused and "step 1" not in refused, refused
        (folder / "squad.json").write_text(json.dumps({"data": [{"paragraphs": [{"context": "A."}]}]}))
        refused = run("morph", "run", spec, "--out", folder / "broken", expect=2).stderr
        assert "squad.json: data[0].paragraphs[0]: 'qas' is missing" in refused, refused
        assert not (folder / "broken/data").exists() and not (folder / "broken/align").exists()


main()
