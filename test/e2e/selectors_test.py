# SPDX-License-Identifier: Apache-2.0
"""Every selector by its name on a small model, held against every choice measured."""

import json
import pathlib
import shutil
import tempfile

from small_model import LAYERS, make_inputs
from support import read_json, run

MEASURED = ["gates", "drop", "add", "greedy", "greedy:backward", "beam:2", "random_search", "evolution", "layer_mse", "halo", "kl",
            "kl:trained"]
UNMEASURED = ["uniform", "uniform:1", "uniform:middle", "random:1"]
LONGER = """
[[task]]
name = "longer"
kind = "mqar"
space = "tokens"
length = [64, 96]
needles = 2
key_tokens = [128, 192]
value_tokens = [192, 256]
"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)

        def select(method, out, *settings):
            command = ["morph", "select", folder / "small.toml", "--out", folder / out, "--update", "--set",
                       f'select.method="{method}"', "--set", "select.samples=6", "--set", "budget.full_layers=2"]
            run(*command, *(part for setting in settings for part in ("--set", setting)))
            return read_json(folder / out / "selection.json")

        # Alignment is the same for all, and is done once.
        whole = select("exhaustive", "out")
        truth = {tuple(entry["choice"]): entry["kl"] for entry in whole["details"]["choices"]}
        assert len(truth) == 6, truth

        def regret(selection):
            choice = tuple(0 if name == "full" else 1 for name in selection["choice"])
            assert sum(candidate == 0 for candidate in choice) == 2, selection
            return truth[choice] - min(truth.values())

        assert regret(whole) == 0
        found, tokens = {}, {"exhaustive": whole["cost"]["tokens"]}
        for method in MEASURED + UNMEASURED:
            selection = select(method, "out")
            assert selection["method"] == method
            found[method], tokens[method] = regret(selection), selection["cost"]["tokens"]
            assert (selection["cost"]["tokens"] > 0) == (method in MEASURED), selection
            if method == "gates":
                gap = selection["details"]["gap"]
        # Each layer's model is distilled once, whatever the budget.
        alone = [read_json(folder / f"out/distill/alone-{layer}/distill.json") for layer in range(LAYERS)]
        trained = select("kl:trained", "out", "budget.full_layers=1")
        least = min(range(LAYERS), key=lambda layer: alone[layer]["held_out_after"]["text"]["kl"])
        losses = [one["held_out_after"]["text"]["kl"] for one in alone]
        assert trained["kept"] == [least] and trained["scores"] == [max(losses) - loss for loss in losses], trained
        assert all(one["held_out_tokens"] > 0 for one in alone), alone
        for cost in ("tokens", "flops"):
            whole_cost = sum(one[cost] + one[f"held_out_{cost}"] for one in alone)
            assert abs(trained["cost"][cost] / whole_cost - 1) < 1e-9, (cost, trained, whole_cost)
        assert not (folder / "out/distill/teacher").exists(), "what the distillations kept of the teacher is nobody's now"
        assert alone == [read_json(folder / f"out/distill/alone-{layer}/distill.json") for layer in range(LAYERS)]

        # A search that looked at all six choices found the best.
        assert found["random_search"] == found["evolution"] == 0, found
        assert found["beam:2"] <= found["greedy"], found

        # Exchanges end any selector, and never make its choice worse than noise.
        refined = select("uniform:1+refine", "out", "select.refine_errors=0")
        assert regret(refined) <= found["uniform:1"], (refined, found)
        assert refined["details"]["refine"]["evaluations"] >= 2, refined

        # What one run chose, another takes.
        kept = whole["kept"]
        shutil.copy(folder / "out/selection.json", folder / "other.json")
        assert select("fixed", "out", f"select.layers={kept}")["kept"] == kept
        assert select("fixed", "out", 'select.from="%s"' % (folder / "other.json"))["kept"] == refined["kept"]

        # Baselines are selectors, each with the same distillation; names of files have no colon.
        run("morph", "run", folder / "small.toml", "--out", folder / "run", "--set",
            'evaluate.baselines=["uniform:middle", "drop+refine"]', "--set", "select.samples=4", "--set", "finetune.steps=0")
        models = {row["model"] for row in read_json(folder / "run/evaluation.json")}
        assert models == {"teacher", "uniform-middle", "drop+refine", "selected"}, models
        assert read_json(folder / "run/baselines/uniform-middle/selection.json")["method"] == "uniform:middle"
        assert "refine" in read_json(folder / "run/baselines/drop+refine/selection.json")["details"]

        # The command lists them, and what may stand beside their names.
        words = run("morph", "selectors").stdout
        listed = {line.split()[0] for line in words.partition("---\n")[2].partition("\n\n")[0].splitlines()}
        assert listed == {name.partition(":")[0] for name in [*MEASURED, *UNMEASURED, "fixed", "exhaustive"]}, listed
        assert "greedy" in words and "+refine" in words and "uniform:*" in words, words

        # A plan counts what a selector measures, in whole batches and with the teacher's run.
        def planned(method, samples=6, stage="select", spec="small.toml", settings=()):
            changes = [f'select.method="{method}"', f"select.samples={samples}", "budget.full_layers=2", *settings]
            report = run("morph", "plan", folder / spec, "--json", *(f"--set={change}" for change in changes)).stdout
            stages = {line["stage"]: line for line in json.loads(report)["stages"]}
            return stages.get(stage, {"tokens": 0, "flops": 0})

        plans = {}
        # What the choice costs for the gates, by both on each of the unit's sequences, is no part of what it took.
        tokens["gates"] += 2 * gap["samples"] * 48
        for method in ("uniform", "gates", "layer_mse", "drop", "add", "halo", "kl", "kl:trained", "greedy", "greedy:backward",
                       "exhaustive"):
            plans[method] = planned(method)
            assert plans[method]["tokens"] == tokens[method], (method, plans[method], tokens)
        assert plans["uniform"]["flops"] == 0 < plans["drop"]["flops"] < plans["halo"]["flops"], plans
        # What goes into the teacher's head, in 32 numbers a row, for the training and for held-out data, once for all layers.
        held_out_bytes = 4 * 32 * 16 * (2 * 3 + 47)
        kept_bytes = 4 * 32 * 8 * 2 * 47 + held_out_bytes
        assert plans["kl:trained"]["kept_bytes"] == kept_bytes and plans["kl"]["kept_bytes"] == 0, plans["kl:trained"]
        assert planned("drop", samples=5)["tokens"] == tokens["drop"], "5 samples are 3 batches of 2"

        # So it is with stage distill; what one of its models takes is told as it is counted.
        distilled = [read_json(folder / f"run/distill/{name}/distill.json") for name in ("uniform-middle", "drop+refine", "selected")]
        baselines = 'evaluate.baselines=["uniform:middle", "drop+refine"]'
        plan = planned("gates", stage="distill", settings=[baselines, "budget.full_layers=1"])
        assert plan["tokens"] == sum(one["tokens"] + one["held_out_tokens"] for one in distilled), (plan, distilled)
        assert plan["kept_bytes"] == kept_bytes, plan
        plan = planned("gates", stage="distill", settings=["evaluate.baselines=[]", "budget.full_layers=1"])
        assert plan["tokens"] == distilled[0]["tokens"] + distilled[0]["held_out_tokens"], (plan, distilled[0])
        share = plan["flops"] / (distilled[0]["flops"] + distilled[0]["held_out_flops"])
        assert 0.9 < share < 1.1, (share, plan, distilled[0])
        assert plan["kept_bytes"] == held_out_bytes, plan
        # A limit that binds nothing costs nothing, whatever else runs the program.
        assert planned("kl:trained", stage="distill", settings=["model.memory_limit=1"])["extra_flops"] == 0

        # A batch has one length: those of the first task that is named, whatever others there are.
        (folder / "two.toml").write_text((folder / "small.toml").read_text() + LONGER)
        two = 'select.tasks=["recall", "longer"]'
        run("morph", "select", folder / "two.toml", "--out", folder / "two", "--set", 'select.method="drop"', "--set", two, "--set",
            "select.samples=6", "--set", "budget.full_layers=2", "--set", "align.steps=2")
        measured = read_json(folder / "two/selection.json")["cost"]["tokens"]
        assert planned("drop", spec="two.toml", settings=[two])["tokens"] == measured == tokens["drop"], measured
        # What a search comes upon nobody knows before; how many choices there can be is known.
        choice = 6 * 48
        for method, most in (("beam:2", 4 + 2 * 3), ("random_search", 6), ("evolution", 6)):
            assert planned(method)["tokens"] == (1 + most) * choice >= tokens[method], (method, tokens)
        # A selector and its exchanges share one run of the teacher.
        assert planned("drop+refine")["tokens"] == tokens["drop"] + choice, tokens


main()
