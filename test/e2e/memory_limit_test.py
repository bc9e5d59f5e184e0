# SPDX-License-Identifier: Apache-2.0
"""Runs within a memory limit end with the bits of runs without one, hold what `morph plan` says, and go on after a kill
with the same numbers: values are computed twice, align goes in waves of layers."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile

from small_model import LAYERS, make_inputs
from support import BIN, read_json, read_lines, run

# Batches that make values weigh more than weights; evaluation, which has no gradients to do without, stays small.
SETTINGS = ["align.length=256", "align.batch=4", "select.batch=8", "distill.length=96", "distill.batch=4",
            "finetune.length=192", "evaluate.perplexity_length=64", "evaluate.samples=2", "evaluate.generate_samples=0",
            "evaluate.baselines=[]", "export.check=false", "budget.keep=[3]"]
STAGES = {"align": "align", "select": "select", "distill": "distill/selected", "finetune": "finetune/selected"}


def arguments(limit):
    """What `morph plan` and `morph run` have in common."""
    return [f"--set={setting}" for setting in SETTINGS] + ([f"--memory-limit={limit / 1e9}"] if limit else [])


def plan(spec, limit=0, *more):
    """The stages of `morph plan` by name."""
    report = json.loads(run("morph", "plan", spec, "--json", *arguments(limit), *more).stdout)
    return {stage["stage"]: stage for stage in report["stages"]}


def weights(out):
    """All that the run's stages have trained or chosen."""
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.safetensors"))}
    selection = read_json(out / "selection.json")
    selection.pop("cost")  # What is computed twice counts twice.
    return files | {"selection": json.dumps(selection).encode()}


def compare(expected, actual):
    """The same files with the same bits."""
    assert sorted(expected) == sorted(actual), sorted(set(expected) ^ set(actual))
    for part in expected:
        assert actual[part] == expected[part], f"{part} differs"


def check_metrics(free, waves, count):
    """The lines of waves are those of one: each layer has its losses, and they add up to the mean."""
    def losses(lines):
        return {line["step"]: line for line in lines if line["stage"] == "align"}
    assert len(waves) == count * len(free), "a line a step and wave"
    for step, line in losses(free).items():
        parts = [part for part in waves if part["step"] == step]
        assert [part["variant"] for part in parts] == [f"wave {i + 1} of {count}" for i in range(count)]
        assert [loss for part in parts for loss in part["layer_loss"]] == line["layer_loss"]
        assert abs(sum(part["loss"] for part in parts) - line["loss"]) < 1e-5 * line["loss"]


def kill_in_second_wave(command):
    """Starts the run and kills it with all that it started within the second wave of align."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stderr:
        if "wave 2 of" in line and "step 5/" in line:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before its second wave"


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)
        spec = folder / "small.toml"
        free = plan(spec)
        # All stages fit, if barely; none does by itself.
        least = plan(spec, 1)
        limit = max(least[stage]["memory_bytes"] for stage in STAGES) * 1.03
        fitted = plan(spec, limit)
        for name in STAGES:
            stage = fitted[name]
            print(f"{name}: {free[name]['memory_bytes'] / 1e6:.3f} MB, limit {limit / 1e6:.3f} MB, "
                  f"{stage['memory_bytes'] / 1e6:.3f} MB, {stage['waves']} waves, {100 * stage['extra_flops']:+.1f} % FLOPs")
            assert free[name]["memory_bytes"] > limit >= stage["memory_bytes"], name
            # A wave begins where the one before it ends: waves cost nothing, what is computed twice does.
            assert stage["extra_flops"] > (-1e-6 if name == "align" else 0) and not stage["excess"], name
        # What is measured beside the gates costs the same within a limit.
        refined = [plan(spec, limit, '--set=select.method="gates+refine"')["select"]["extra_flops"] for limit in (limit, 1e9)]
        assert 0 < refined[0] < fitted["select"]["extra_flops"] and refined[1] == 0, refined
        waves = fitted["align"]["waves"]
        assert 1 < waves <= LAYERS and free["align"]["waves"] == 1
        assert fitted["align"]["kept_bytes"] > 0 and free["align"]["kept_bytes"] == 0

        run("morph", "run", spec, "--out", folder / "free", *arguments(0))
        run("morph", "run", spec, "--out", folder / "limited", *arguments(limit))
        compare(weights(folder / "free"), weights(folder / "limited"))
        check_metrics(read_lines(folder / "free/align/metrics.jsonl"), read_lines(folder / "limited/align/metrics.jsonl"), waves)
        for name, part in STAGES.items():
            held = read_json(folder / "limited" / part / "stage.json")["memory_bytes"]
            print(f"{name}: held {held / 1e6:.3f} MB")
            assert held <= limit * 1.02, name

        command = [str(BIN / "morph"), "run", str(spec), "--out", str(folder / "killed"), *arguments(limit)]
        kill_in_second_wave(command)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "align wave 1 of" not in done.stderr, "the first wave was run again"
        assert "align wave 2 of" in done.stderr and "continuing after step" in done.stderr, done.stderr
        compare(weights(folder / "limited"), weights(folder / "killed"))

        # Nothing makes weights less: what is missing is said before the first step, with what it is made of.
        wrong = run("morph", "run", spec, "--out", folder / "wrong", *arguments(1e5), expect=2)
        assert "stage 'align' needs at least" in wrong.stderr and "and the limit is 100 kB: weights are" in wrong.stderr, wrong.stderr
        assert not (folder / "wrong").exists()
        told = run("morph", "plan", spec, *arguments(1e5)).stdout
        assert "stage 'align' needs at least" in told and "hint: lower align.batch or the lengths, set model.precision" in told, told
        # Of what can be lowered no more.
        told = run("morph", "plan", spec, *arguments(1e5), "--set=align.batch=1", '--set=model.precision="bf16"').stdout
        assert "stage 'align' needs at least" in told and "hint: lower the lengths, or raise model.memory_limit" in told, told


if __name__ == "__main__":
    main()
