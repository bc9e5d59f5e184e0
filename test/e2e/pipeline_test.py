# SPDX-License-Identifier: Apache-2.0
"""The whole pipeline on a small random model: what it writes, that the same line again does nothing, that the same seed
gives the same bits, and that a run killed with SIGKILL at many moments ends with the numbers of one never killed."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from small_model import LAYERS, make_inputs
from support import BIN, read_json, read_lines, run



def numbers(out):
    """Everything of a run that a kill must not change; times left out."""
    selection = read_json(out / "selection.json")
    selection["cost"].pop("seconds")
    metrics = [{k: v for k, v in row.items() if k in ("stage", "variant", "step", "loss")} for row in read_lines(out / "metrics.jsonl")]
    return dict(
        selection=selection,
        evaluation=read_json(out / "evaluation.json"),
        metrics=metrics,
        weights=(out / "hybrid/model.safetensors").read_bytes(),
    )


def check_outputs(out):
    """The names that scripts rely on."""
    selection = read_json(out / "selection.json")
    assert {"version", "method", "layers", "budget", "kept", "scores", "standard_errors", "cost", "seed"} <= set(selection)
    assert selection["layers"] == LAYERS and selection["budget"] == 1 and len(selection["kept"]) == 1
    assert len(selection["scores"]) == LAYERS and {"tokens", "flops", "seconds"} <= set(selection["cost"])
    rows = read_json(out / "evaluation.json")
    rows = rows["rows"] if isinstance(rows, dict) else rows
    keys = {"model", "after", "task", "length", "depth", "samples", "accuracy", "standard_error", "cross_entropy"}
    assert all(keys <= set(row) for row in rows), rows[0]
    seen = {(row["model"], row["after"]) for row in rows}
    for after in ("selection", "distill", "finetune"):
        assert {("uniform", after), ("selected", after)} <= seen, seen
    assert any(model == "teacher" for model, _ in seen)
    # The held-out text is shorter than a window: all of it is one window.
    assert all(2000 < row["length"] < 4096 and row["samples"] == 1 for row in rows if row["task"] == "text")
    for row in read_lines(out / "metrics.jsonl"):
        assert {"stage", "step", "loss", "tokens", "seconds"} <= set(row), row
    for phase in ("base", "paired", "relaxed", "hybrid"):
        run("morph-opt", out / f"ir/{phase}.mlir", "--verify-each", f"--morph-verify-phase=phase={phase}")
    config = read_json(out / "hybrid/config.json")
    full = [i for i, kind in enumerate(config["layer_types"]) if kind == "full_attention"]
    assert full == selection["kept"]
    assert read_json(out / "hybrid/conversion_manifest.json")


def killed_run(spec, out, after):
    """Starts the run and kills its whole process group after a time. True if it was still running."""
    with open(os.devnull, "w") as null:
        process = subprocess.Popen([BIN / "morph", "run", spec, "--out", out], stdout=null, stderr=null, start_new_session=True)
        try:
            process.wait(timeout=after)
            return False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)
        spec = folder / "small.toml"
        begin = time.time()
        run("morph", "run", spec, "--out", folder / "whole")
        duration = time.time() - begin
        print(f"a whole run takes {duration:.1f} s")
        check_outputs(folder / "whole")
        expected = numbers(folder / "whole")

        before = {path: path.stat().st_mtime_ns for path in (folder / "whole").rglob("*.safetensors")}
        begin = time.time()
        run("morph", "run", spec, "--out", folder / "whole")
        assert before == {path: path.stat().st_mtime_ns for path in (folder / "whole").rglob("*.safetensors")}
        print(f"the same line again does nothing ({time.time() - begin:.1f} s)")

        # Killed every `pause` seconds until it gets through: every stage is interrupted somewhere. The pause grows, so
        # that the run ends even where a stage starts over from its beginning.
        pause, kills = duration / 12, 0
        while killed_run(spec, folder / "killed", pause):
            kills += 1
            pause *= 1.1
            assert kills < 60, "the run does not get through"
        assert kills >= 3, f"only {kills} kills: the test did not test"
        actual = numbers(folder / "killed")
        for part in expected:
            assert actual[part] == expected[part], f"{part} differs after {kills} kills"
        print(f"killed {kills} times: the same numbers")

        run("morph", "eval", folder / "whole/hybrid", "--tokens", folder / "whole/data/text.tokens", "--token-dtype", "u16",
            "--length", 64, "--json")
        text = run("morph", "generate", folder / "whole/hybrid", "--prompt", "The quick", "--max-tokens", 8).stdout
        again = run("morph", "generate", folder / "whole/hybrid", "--prompt", "The quick", "--max-tokens", 8).stdout
        assert text == again and text.strip(), text
        shutil.rmtree(folder / "killed")
        print(json.dumps({"kept": expected["selection"]["kept"]}))


main()
