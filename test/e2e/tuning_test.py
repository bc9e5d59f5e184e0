# SPDX-License-Identifier: Apache-2.0
"""Distillation and finetuning with rates of their own, adapters, growing lengths, reverse KL and the teacher's likeliest tokens."""

import pathlib
import tempfile

import torch
from safetensors.torch import load_file
from small_model import make_inputs
from support import compare_export, read_json, read_lines, run

ADAPTERS = ["--set", 'distill.adapters=["mlp", "q_proj"]', "--set", "distill.adapter_rank=4"]


def main():
    with tempfile.TemporaryDirectory() as holder:
        root = pathlib.Path(holder)
        make_inputs(root)
        spec = root / "small.toml"
        common = ["--set", "evaluate.baselines=[]", "--set", "finetune.steps=0"]

        # Adapters: the matrices themselves change, and the folder has nothing but them.
        out = root / "adapters"
        run("morph", "run", spec, "--out", out, *common, *ADAPTERS, "--set", 'distill.rates=["lora_ = 5", "norm=0.5"]',
            "--set", "distill.lengths=[24, 32, 48]", "--set", "distill.task_fraction=0.0", "--set", "distill.steps=9",
            "--set", 'distill.keep="last"')
        kept = read_json(out / "selection.json")["kept"][0]
        trained, base = load_file(out / "distill/selected/weights.safetensors"), load_file(root / "model/model.safetensors")
        assert not [name for name in trained if "lora" in name], sorted(trained)
        assert f"model.layers.{kept}.self_attn.q_proj.weight" in trained, sorted(trained)
        changed = [name for name in trained if name in base]
        assert len(changed) == 4 * 3 + 1, sorted(changed)
        for name in changed:
            assert not trained[name].equal(base[name].float()) and trained[name].shape == base[name].shape, name
            # What was added has the adapters' rank.
            sizes = torch.linalg.svdvals(trained[name].double() - base[name].double())
            assert sizes[3] > 0 and sizes[4] < 1e-4 * sizes[0], (name, sizes[:6])
        hybrid = load_file(out / "hybrid/model.safetensors")
        assert not [name for name in hybrid if "lora" in name]
        assert compare_export(out)[0]["verdict"] == "agreement"
        tokens = [line["tokens"] for line in read_lines(out / "metrics.jsonl") if line["stage"] == "distill"]
        steps = [b - a for a, b in zip([0, *tokens], tokens)]
        assert steps == [2 * 24] * 3 + [2 * 32] * 3 + [2 * 48] * 3, steps

        # What the loss is of, and the same numbers after an interruption: kill_test.py has that with adapters.
        results = {}
        for loss in ("distill.steps=8", 'distill.loss="reverse_kl"', "distill.top_tokens=8", "distill.streams=1",
                     "distill.text_weight=1"):
            done = root / loss.replace("=", "-").replace('"', "")
            run("morph", "run", spec, "--out", done, *common, "--set", 'distill.keep="last"', "--set", loss)
            results[loss] = result = read_json(done / "distill/selected/distill.json")
            assert result["held_out_after"]["recall"]["kl"] < result["held_out_before"]["recall"]["kl"], result
        plain = results["distill.steps=8"]
        first = {loss: result["first_loss"] for loss, result in results.items()}
        assert len(set(first.values())) == len(results) and first["distill.streams=1"] > first["distill.steps=8"], first
        # What is trained on beside it is no part of what is measured.
        for loss in ("distill.streams=1", "distill.text_weight=1"):
            assert results[loss]["held_out_before"] == plain["held_out_before"], (loss, results[loss], plain)
            assert results[loss]["held_out_after"] != plain["held_out_after"], loss

        # What no weight is called is said before a step is made, and so is an adapter that is too large.
        for wrong, words in ((['distill.adapters=["nothing"]'], "no matrix of the checkpoint with 'nothing' in its name"),
                             (['distill.rates=["nothing=2"]'], "trains no weight with 'nothing' in its name"),
                             (['distill.adapters=["mlp"]', "distill.adapter_rank=64"], "smaller than the adapters' rank 64")):
            settings = [word for setting in wrong for word in ("--set", setting)]
            said = run("morph", "plan", spec, *common, *settings, expect=2).stderr
            # Of the spec's key, not of a line of IR that nobody has written.
            assert words in said and "morph: error: " in said and ".mlir" not in said, said


if __name__ == "__main__":
    main()
