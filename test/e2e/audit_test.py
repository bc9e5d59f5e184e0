# SPDX-License-Identifier: Apache-2.0
"""morph audit on a small model: what is judged, what is compared, and that it can be stopped and changed."""

import itertools
import json
import pathlib
import signal
import subprocess
import tempfile
import time

from small_model import LAYERS, make_inputs
from support import BIN, SOURCE, read_json, run

AUDIT = """
[audit]
selectors = ["drop+refine", "uniform:*", "random:1", "gates"]
seeds = [3, 4]
budgets = [1, 2]
samples = 4
text_samples = 2
resamples = 200

[[audit.variant]]
name = "gates:final"
settings = ["select.method=gates", "select.loss=final_hidden"]
"""
LABELS = {"drop+refine", "uniform:0", "uniform:1", "uniform:2", "uniform:3", "uniform:middle", "random:1", "gates", "gates:final"}


def mean(values):
    return sum(values) / len(values)


def check_rows(out):
    """Every row agrees with the files that it is made from."""
    audit = read_json(out / "audit.json")
    for row in audit["rows"]:
        folder = out / f"runs/model-seed{row['seed']}"
        stage = f"{row['budget']}/judged.json" if row["after"] == "selection" else None
        judged = read_json(folder / "judge" / stage if stage else folder / f"judged-{row['budget']}-distill.json")
        objectives = {tuple(choice["kept"]): mean(choice["scores"]["recall"]["kl"]) for choice in judged["choices"]}
        assert abs(row["objective"] - objectives[tuple(row["kept"])]) < 1e-12, row
        assert judged["complete"] or row["after"] == "distill"
        if judged["complete"]:
            assert len(objectives) == len(list(itertools.combinations(range(LAYERS), row["budget"])))
            assert abs(row["regret"] - (row["objective"] - min(objectives.values()))) < 1e-12, row
            assert row["rank"] == 1 + sum(other < row["objective"] for other in objectives.values()), row
            assert all(len(choice["scores"]["text"]["kl"]) == 2 for choice in judged["choices"])
        else:
            assert row["regret"] is None and row["rank"] is None, row
        if row["selector"] != "exhaustive":
            name = row["selector"].replace(":", "-")
            selection = read_json(folder / f"select/{name}-{row['budget']}/selection.json")
            assert selection["kept"] == row["kept"] and selection["cost"]["tokens"] == row["tokens"], row
        else:
            # What judging on text took is no part of it.
            assert row["tokens"] == judged["cost"]["tokens"] and row["flops"] == judged["cost"]["flops"], row
        teacher = judged["teacher"]
        assert set(teacher) == {"recall", "text"} and teacher["recall"]["samples"] == 4 and teacher["text"]["samples"] == 2
        assert all(0 <= answers["correct"] <= 1 for answers in teacher.values()), teacher
        assert set(audit["teacher"]["model"]) == {"recall"}, audit["teacher"]
    return audit


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)
        (folder / "small.toml").write_text((folder / "small.toml").read_text() + AUDIT)
        command = ["morph", "audit", folder / "small.toml"]

        # What it will take is said before: every choice on all samples and windows of text, and the teacher once a budget.
        plan = json.loads(run("morph", "plan", folder / "small.toml", "--json").stdout)
        judge = next(stage for stage in plan["stages"] if stage["stage"] == "judge")
        choices = sum(len(list(itertools.combinations(range(LAYERS), budget))) for budget in (1, 2))
        assert plan["full_layers"] == [1, 2], plan
        assert plan["audit_runs"] == 2 and judge["tokens"] == (2 + choices) * (4 + 2) * 48, plan
        assert [stage["stage"] for stage in plan["stages"]] == ["align", "select", "judge"], plan
        # Batches are computed whole.
        plan = json.loads(run("morph", "plan", folder / "small.toml", "--json", "--set", "evaluate.batch=3").stdout)
        assert plan["stages"][-1]["tokens"] == (2 + choices) * (6 + 3) * 48, plan
        # A limit that binds nothing costs nothing.
        plan = json.loads(run("morph", "plan", folder / "small.toml", "--json", "--memory-limit", 1).stdout)
        assert all(stage["extra_flops"] == 0 for stage in plan["stages"]), plan
        plan = json.loads(run("morph", "plan", folder / "small.toml", "--json", "--set", 'audit.distill="every"').stdout)
        distill, twice = (next(stage for stage in plan["stages"] if stage["stage"] == name) for name in ("distill", "judge"))
        # Each hybrid is judged by itself, with the teacher.
        again = 2 * choices * (4 + 2) * 48
        assert distill["models"] == choices and twice["tokens"] == judge["tokens"] + again, plan

        # Each selector is counted with its own budget and settings.
        def selecting(*settings):
            changes = [word for setting in settings for word in ("--set", setting)]
            stages = json.loads(run("morph", "plan", folder / "small.toml", "--json", *changes).stdout)["stages"]
            return next(stage["tokens"] for stage in stages if stage["stage"] == "select")

        greedy = ['audit.selectors=["greedy"]', "audit.variant=[]"]
        one, two = (selecting(*greedy, f"audit.budgets=[{budget}]") for budget in (1, 2))
        assert two > one > 0 and selecting(*greedy) == one + two, (one, two)
        variant = 'audit.variant=[{name = "more", settings = ["select.method=greedy", "select.samples=%d"]}]'
        few, many = (selecting('audit.selectors=["random:1"]', "audit.budgets=[1]", variant % samples) for samples in (8, 16))
        assert many == 2 * few, (few, many)
        # What selectors distil is counted, whatever the audit itself distils.
        assert selecting('audit.selectors=["kl:trained"]', "audit.variant=[]") > 0

        first = run(*command, "--out", folder / "out")
        audit = check_rows(folder / "out")
        judged = [read_json(folder / f"out/runs/model-seed3/judge/{budget}/judged.json") for budget in (1, 2)]
        assert sum(one[part]["tokens"] for one in judged for part in ("cost", "text_cost")) == judge["tokens"], judge
        # On tasks four samples for each choice and for the teacher, on text two windows.
        for one in judged:
            assert one["teacher_cost"]["tokens"] == 4 * 48 and one["teacher_cost"]["flops"] > 0, one["teacher_cost"]
            assert one["cost"]["tokens"] == (1 + len(one["choices"])) * 4 * 48, one["cost"]
            assert one["text_cost"]["tokens"] == (1 + len(one["choices"])) * 2 * 48, one["text_cost"]
        # Both budgets are judged on the same samples.
        assert judged[0]["teacher"] == judged[1]["teacher"], judged
        cells = {(row["seed"], row["budget"]) for row in audit["rows"]}
        assert cells == {(3, 1), (3, 2), (4, 1), (4, 2)}, cells
        for seed, budget in cells:
            names = {row["selector"] for row in audit["rows"] if (row["seed"], row["budget"]) == (seed, budget)}
            # Of two kept layers each stands for two at most.
            expected = LABELS if budget == 1 else LABELS - {"uniform:2", "uniform:3"}
            assert names == expected | {"exhaustive"}, (names, budget)
        assert "drop+refine" in first.stdout and (folder / "out/audit.html").exists(), first.stdout

        # Again it does nothing, and says the same.
        text = (folder / "out/audit.json").read_bytes()
        again = run(*command, "--out", folder / "out")
        assert again.stdout == first.stdout and (folder / "out/audit.json").read_bytes() == text
        stages = sum(line.startswith("[") for line in first.stderr.splitlines())
        assert stages == 40 == again.stderr.count("done before"), again.stderr

        # Another selector is one more stage: what was judged stays. A changed choice of samples judges again.
        more = run(*command, "--out", folder / "out", "--set", 'audit.selectors=["uniform:1", "greedy"]')
        assert "judge: 4 choices of 1 layers: done before" in more.stderr, more.stderr
        assert {row["selector"] for row in check_rows(folder / "out")["rows"]} == {"uniform:1", "greedy", "gates:final", "exhaustive"}

        # Stopped while it judges, it goes on with the same numbers; two processes judge the same.
        process = subprocess.Popen([BIN / "morph", *map(str, command[1:]), "--out", folder / "stopped"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 240
        while not (folder / "stopped/runs/model-seed3/judge/1.partial").exists():
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        words = process.communicate(timeout=60)[1]
        assert process.returncode == 128 + signal.SIGINT and "the same command continues" in words, words
        assert not (folder / "stopped/audit.json").exists()
        run(*command, "--out", folder / "stopped", "--processes", 2)
        ours, theirs = json.loads(text)["rows"], check_rows(folder / "stopped")["rows"]
        for a, b in zip(theirs, ours, strict=True):
            assert a["kept"] == b["kept"] and abs(a["objective"] - b["objective"]) < 1e-6, (a, b)

        # A deeper base has more patterns of uniform; each base has runs of its own.
        planted = folder / "deeper"
        subprocess.run([SOURCE / "tools/plant-control", folder / "model", "1", planted], check=True)
        bases = json.dumps([str(folder / "model"), str(planted)])
        run(*command, "--out", folder / "bases", "--set", f"audit.bases={bases}", "--set", 'audit.selectors=["uniform:*"]', "--set",
            "audit.seeds=[3]", "--set", "audit.budgets=[1]")
        rows = read_json(folder / "bases/audit.json")["rows"]
        patterns = {base: {row["selector"] for row in rows if row["base"] == base} for base in ("model", "deeper")}
        assert patterns["deeper"] - patterns["model"] == {"uniform:4"}, patterns

        # After distillation the chosen ones are judged again; here that helps on the task.
        run(*command, "--out", folder / "out", "--update", "--set", 'audit.distill="chosen"', "--set", "audit.seeds=[3]", "--set",
            "audit.budgets=[2]", "--set", "distill.steps=40", "--set", "distill.lr=0.003", "--set", 'audit.selectors=["uniform:1", "drop"]')
        rows = check_rows(folder / "out")["rows"]
        before, after = ({row["selector"]: row["objective"] for row in rows if row["after"] == when} for when in ("selection", "distill"))
        assert set(after) == {"uniform:1", "drop", "gates:final"}, after
        assert all(after[name] < before[name] for name in after), (before, after)

        # Or all of them: the best one is known then, too.
        done = run(*command, "--out", folder / "every", "--set", 'audit.distill="every"', "--set", "audit.seeds=[3]", "--set",
                   "audit.budgets=[1]", "--set", "distill.steps=2", "--set", 'audit.selectors=["uniform:1"]')
        assert f"[{4 + 1 + 2 * LAYERS}/{4 + 1 + 2 * LAYERS}] judge" in done.stderr, done.stderr
        rows = [row for row in check_rows(folder / "every")["rows"] if row["after"] == "distill"]
        assert {row["selector"] for row in rows} == {"uniform:1", "gates:final", "exhaustive"}, rows
        assert [row["rank"] for row in rows if row["selector"] == "exhaustive"] == [1] and all(row["choices"] == LAYERS for row in rows)
        # To know it all are distilled, and judged on the task, for which the teacher runs once.
        stages = folder / "every/runs/model-seed3"
        distilled = [read_json(stages / f"distill/{layer}/distill.json") for layer in range(LAYERS)]
        alone = [read_json(stages / f"judge/1-distill/{layer}/judged.json") for layer in range(LAYERS)]
        exhaustive = next(row for row in rows if row["selector"] == "exhaustive")
        tokens = sum(one["tokens"] + one["held_out_tokens"] for one in distilled) + (1 + LAYERS) * 4 * 48
        assert exhaustive["tokens"] == tokens, (exhaustive, tokens)
        flops = sum(one["flops"] + one["held_out_flops"] for one in distilled) + sum(one["cost"]["flops"] for one in alone)
        flops -= sum(one["teacher_cost"]["flops"] for one in alone[1:])
        assert abs(exhaustive["flops"] / flops - 1) < 1e-9 and exhaustive["seconds"] >= sum(one["seconds"] for one in distilled)

        # What has no room is refused before the first stage, by the stage that needs most.
        small = run(*command, "--out", folder / "small-memory", "--memory-limit", 0.002, expect=2)
        assert "stage 'select' needs at least" in small.stderr and "lower select.batch" in small.stderr, small.stderr
        large = run(*command, "--out", folder / "small-memory", "--set", "audit.samples=100000000", expect=2)
        assert "audit.samples" in large.stderr, large.stderr
        judge = run(*command, "--out", folder / "small-memory", "--memory-limit", 0.05, "--set", "evaluate.batch=512", expect=2)
        assert "stage 'judge' needs at least" in judge.stderr and "lower evaluate.batch" in judge.stderr, judge.stderr
        assert not (folder / "small-memory/runs/model-seed3/align").exists()

        # What cannot be is said before the first stage.
        for settings, message in (
            (["audit.budgets=[5]"], "audit.budgets 5"),
            (['audit.selectors=["gatez"]'], "there is no selector 'gatez'"),
            (['audit.selectors=["exhaustive"]', "audit.variant=[]"], "names no selector"),
            (["audit.seeds=[1, 1]"], "audit.seeds"),
            (['audit.variant.0.settings=["align.steps=2"]'], "does not set a key of [select] [S27]"),
            (['audit.bases=["nowhere"]'], "there is no folder"),
        ):
            failed = run(*command, "--out", folder / "bad", *(word for setting in settings for word in ("--set", setting)), expect=2)
            assert message in failed.stderr, failed.stderr
            assert not (folder / "bad/runs").exists()
        other = folder / "plain.toml"
        other.write_text((folder / "small.toml").read_text().replace(AUDIT, ""))
        assert "has no [audit]" in run("morph", "audit", other, expect=2).stderr


main()
