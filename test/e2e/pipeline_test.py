# SPDX-License-Identifier: Apache-2.0
"""The whole pipeline on a small random model: what it writes, and that the same line again does nothing."""

import html
import pathlib
import re
import tempfile
import time

from small_model import LAYERS, make_inputs
from support import read_json, read_lines, run


def check_outputs(out):
    """The names that scripts rely on."""
    selection = read_json(out / "selection.json")
    assert {"version", "method", "layers", "budget", "kept", "scores", "drift", "cost", "seed"} <= set(selection)
    assert selection["layers"] == LAYERS and selection["budget"] == 1 and len(selection["kept"]) == 1
    assert len(selection["scores"]) == len(selection["drift"]) == LAYERS and "standard_errors" not in selection
    assert {"tokens", "flops", "seconds"} <= set(selection["cost"])
    rows = read_json(out / "evaluation.json")
    rows = rows["rows"] if isinstance(rows, dict) else rows
    keys = {"model", "after", "task", "length", "depth"}
    assert all(keys <= set(row) for row in rows), rows[0]
    for row in rows:
        if row["task"] == "text":
            assert {"samples", "cross_entropy", "cross_entropy_interval", "perplexity", "by_sample"} <= set(row), row
            continue
        assert row["shared"] == ["wording"], row
        for measure in ("teacher_forced", "generated"):
            part = row[measure]
            assert part["samples"] == len(part["by_sample"]) == 4, part
            assert part["interval"][0] <= part["answers"] <= part["interval"][1], part
    seen = {(row["model"], row["after"]) for row in rows}
    for after in ("selection", "distill", "finetune"):
        assert {("uniform", after), ("selected", after)} <= seen, seen
    assert any(model == "teacher" for model, _ in seen)
    # The part of the text that only the evaluation sees is shorter than a window: all of it is one window.
    assert all(1000 < row["length"] < 4096 and row["samples"] == 1 for row in rows if row["task"] == "text")
    for row in read_lines(out / "metrics.jsonl"):
        assert {"stage", "step", "loss", "tokens", "seconds"} <= set(row), row
    for phase in ("base", "paired", "relaxed", "hybrid"):
        run("morph-opt", out / f"ir/{phase}.mlir", "--verify-each", f"--morph-verify-phase=phase={phase}")
    config = read_json(out / "hybrid/config.json")
    full = [i for i, kind in enumerate(config["layer_types"]) if kind == "full_attention"]
    assert full == selection["kept"]
    assert read_json(out / "hybrid/conversion_manifest.json")["check"]["verdict"] == "agreement"


def words_of(page):
    """What a page shows, without its markup."""
    return " ".join(html.unescape(re.sub(r"<style.*?</style>|<[^>]*>", " ", page.read_text(), flags=re.S)).split())


def check_report(folder, spec):
    """Every run leaves its page; `morph report` writes it again, and one of several runs."""
    out, other = folder / "whole", folder / "other"
    page = out / "report.html"
    words = words_of(page)
    selection = read_json(out / "selection.json")
    assert f"in 1 of {LAYERS} layers: {selection['kept'][0]}, chosen by gates" in words, words[:1000]
    for row in read_json(out / "evaluation.json"):
        if row["task"] != "text":
            assert f"{row['generated']['answers']:.3f} [{row['generated']['interval'][0]:.3f}" in words, row
    for stage in ("align", "select", "distill/selected", "finetune/uniform", "hybrid"):
        assert f" {stage} " in words, stage
    for figure in ("Gates of full attention over the steps of the search, a line for each of 4 layers", "Finetune: loss over steps",
                   "Align: error of the linear branches over steps", "Cache of one sequence by context"):
        assert f'aria-label="{figure}' in page.read_text(), figure
    before = page.read_bytes()
    page.unlink()
    assert run("morph", "report", out).stdout.strip() == f"The report: {page}"
    assert page.read_bytes() == before

    run("morph", "run", spec, "--out", other, "--set", "seed=4", "--set", "select.lr=0.02", "--set", "distill.steps=0",
        "--set", "finetune.steps=0", "--set", "evaluate.baselines=[]")
    run("morph", "report", out, other, "--out", folder / "both.html")
    words = words_of(folder / "both.html")
    assert "Key whole other" in words and " seed 3 4 " in words and " distill.steps 8 0 " in words, words[:3000]
    assert "whole: gates" in words and "other: gates" in words
    assert (out / "report.html").read_bytes() == before
    (other / "summary.json").write_text((other / "summary.json").read_text()[:100])
    failed = run("morph", "report", out, other, "--out", folder / "none.html", expect=2)
    assert "other/summary.json: is no JSON" in failed.stderr, failed.stderr
    assert not list(folder.glob("none*"))


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)
        spec = folder / "small.toml"
        begin = time.time()
        whole = ("morph", "run", spec, "--out", folder / "whole", "--set", "export.check=true")
        run(*whole)
        duration = time.time() - begin
        print(f"a whole run takes {duration:.1f} s")
        check_outputs(folder / "whole")
        check_report(folder, spec)

        before = {path: path.stat().st_mtime_ns for path in (folder / "whole").rglob("*.safetensors")}
        begin = time.time()
        run(*whole)
        assert before == {path: path.stat().st_mtime_ns for path in (folder / "whole").rglob("*.safetensors")}
        print(f"the same line again does nothing ({time.time() - begin:.1f} s)")

        run("morph", "eval", folder / "whole/hybrid", "--tokens", folder / "whole/data/text.tokens", "--token-dtype", "u16",
            "--length", 64, "--json")
        text = run("morph", "generate", folder / "whole/hybrid", "--prompt", "The quick", "--max-tokens", 8).stdout
        again = run("morph", "generate", folder / "whole/hybrid", "--prompt", "The quick", "--max-tokens", 8).stdout
        assert text == again and text.strip(), text


main()
