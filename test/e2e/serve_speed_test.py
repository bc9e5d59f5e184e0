# SPDX-License-Identifier: Apache-2.0
"""tools/bench --serve on a small random hybrid: every side answers every prompt, the tokens are transformers', wrong ones
and what is left out are said. Nothing here is about how long anything takes."""

import itertools
import os
import pathlib
import subprocess
import sys
import tempfile

import tokenizers
from small_model import make_inputs
from support import BIN, SOURCE, read_json, run

sys.path.insert(0, str(SOURCE / "tools/python/bench"))
from serve_speed import SIDES, compare  # noqa: E402

CONTEXTS, CLIENTS, TOKENS, TURNS = (32, 80), 2, 6, 2


def bench(folder, *arguments, expect=0):
    command = [sys.executable, SOURCE / "tools/python/bench/bench.py", "--serve", "--base", folder / "model", "--clients",
               CLIENTS, "--tokens", TOKENS, "--threads", 1, *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False,
                          env=os.environ | {"MORPH_PROGRAM": str(BIN / "morph")})
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def check_compare(tokenizer):
    """Texts of tokens against candidates: the same, apart by a little, apart by much, by a token that is no candidate."""
    text = lambda token: tokenizer.decode([token], skip_special_tokens=False)
    theirs = [[[65, -1.0], [66, -1.5]], [[67, -0.5], [68, -0.75]]]
    same = compare([(text(65), -1.25), (text(67), -0.5)], theirs, tokenizer)
    assert same == {"same": 2, "difference": 0.25, "behind": None}, same
    second = compare([(text(65), -1.0), (text(68), -0.5)], theirs, tokenizer)
    assert second == {"same": 1, "difference": 0.0, "behind": 0.25}, second
    none = compare([(text(70), -1.0), (text(67), -0.5)], theirs, tokenizer)
    assert none == {"same": 0, "difference": 0.0, "behind": -1}, none


def check_results(folder, hybrid):
    file = folder / "speed.json"
    done = bench(folder, "--hybrid", hybrid, "--contexts", ",".join(map(str, CONTEXTS)), "--turns", TURNS, "--json", file)
    result = read_json(file)
    assert (result["threads"], result["precision"], result["tokens"]) == (1, "fp32", TOKENS) and result["cpu"], result
    assert result["torch"] and result["transformers"] and result["left_out"] == [], result
    cells = {(cell["context"], cell["clients"], cell["side"]): cell["turns"] for cell in result["samples"]}
    assert set(cells) == set(itertools.product(CONTEXTS, (1, CLIENTS), SIDES)), cells
    for (_, clients, _), turns in cells.items():
        assert len(turns) == TURNS, turns
        for turn in turns:
            assert 0 < turn["first"] <= turn["all"] <= turn["seconds"] and 0 <= turn["others"] <= 1, turn
            assert ("token" in turn) == (clients == 1), turn
    assert len(result["answers"]) == len(CONTEXTS) * 2 * 2, result["answers"]
    for cell in result["answers"]:
        assert len(cell["prompts"]) == cell["clients"] * TURNS, cell
        for prompt in cell["prompts"]:
            # Random weights: where two tokens are all but equally likely, rounding may choose.
            assert prompt["difference"] < 1e-3 and (prompt["behind"] is None or 0 <= prompt["behind"] < 1e-3), cell
    for words in (result["cpu"], "transformers full / morph hybrid", "all of 2, s", "same answers", "the cores' time"):
        assert words in done.stdout, done.stdout
    assert "Wrong" not in done.stdout and "Left out" not in done.stdout, done.stdout


def check_wrong(folder, hybrid):
    """A fault in the exported code is seen in the tokens; a limit that nothing keeps leaves what follows out."""
    broken = folder / "broken"
    broken.mkdir()
    for path in hybrid.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    code = (broken / "modeling_morph.py").read_text()
    wrong = code.replace("OutputWithPast(loss=loss, logits=logits,", "OutputWithPast(loss=loss, logits=-logits,")
    assert wrong != code
    (broken / "modeling_morph.py").write_text(wrong)
    file = folder / "wrong.json"
    done = bench(folder, "--hybrid", broken, "--contexts", 32, "--turns", 1, "--json", file, "--limit-seconds", 1e-6,
                 "--passive", expect=1)
    assert "Wrong: 1 answers leave transformers' tokens by more than 0.01" in done.stdout, done.stdout
    # Of one client there is nothing to expect by; that of several is expected to be as long.
    assert done.stdout.count("Left out: ") == len(SIDES), done.stdout
    assert {(cell["clients"], cell["turns"]) for cell in read_json(file)["left_out"]} == {(CLIENTS, 0)}


def check_errors(folder):
    for arguments, words in ((("--contexts", "8"), "--contexts are 32 or more"), (("--tokens", "1"), "--tokens 2 or more"),
                             (("--turns", "0"), "1 or more")):
        assert words in bench(folder, "--hybrid", folder, *arguments, expect=2).stderr, arguments
    said = bench(folder, "--hybrid", folder / "none", expect=2).stderr
    assert "bench: error: " in said and "is no model folder" in said and "Traceback" not in said, said


def main():
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        make_inputs(folder)
        check_errors(folder)
        check_compare(tokenizers.Tokenizer.from_file(str(folder / "model/tokenizer.json")))
        changes = ["align.steps=1", 'align.tasks=[]', "distill.steps=0", "finetune.steps=0", 'select.method="uniform"',
                   "evaluate.tasks=[]", "evaluate.baselines=[]", "evaluate.perplexity_tokens=256",
                   "evaluate.perplexity_length=64"]
        run("morph", "run", folder / "small.toml", "--out", folder / "run",
            *(word for change in changes for word in ("--set", change)))
        check_results(folder, folder / "run/hybrid")
        check_wrong(folder, folder / "run/hybrid")


main()
