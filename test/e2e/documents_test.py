# SPDX-License-Identifier: Apache-2.0
"""A corpus of short documents and a long one, with data.separate_documents and without: what is read, what sees what, and that
perplexity is that of each document alone, as transformers computes it."""

import pathlib
import tempfile

import numpy
import torch
import transformers
from small_model import make_inputs
from support import compare_export, read_json, read_lines, run

LENGTH = 48
SHORT = ["align.steps=3", "select.steps=3", "distill.steps=3", "distill.task_fraction=0.0", "align.task_fraction=0.0",
         "finetune.steps=0", "evaluate.tasks=[]", "evaluate.baselines=[]", f"evaluate.perplexity_length={LENGTH}"]


def make_corpus(folder, *longer):
    """300 documents of 20 to 70 letters, tokens of the tiny tokenizer."""
    documents = [f"Document {i} " + "abcdefghij"[i % 10] * (10 + 50 * (i % 7) // 7) for i in range(300)]
    (folder / "text.txt").write_text("\f".join([*documents, *longer]))


def convert(folder, out, *settings, expect=0):
    words = [word for setting in (*SHORT, *settings) for word in ("--set", setting)]
    return run("morph", "run", folder / "small.toml", "--out", folder / out, *words, expect=expect)


def losses(out):
    return [line["loss"] for line in read_lines(out / "metrics.jsonl") if line["stage"] == "distill" and "loss" in line]


def perplexity_alone(model, run_folder):
    """The mean cross-entropy of the held-out windows, each document of which the model reads alone, and their number."""
    tokens = numpy.fromfile(run_folder / "data/text.tokens", dtype="<u2").astype(numpy.int64)
    begins = [*numpy.fromfile(run_folder / "data/text.documents", dtype="<u8").astype(int), len(tokens)]
    parts, short = [], 0
    for begin, end in zip(begins, begins[1:]):
        held = int(0.1 * (end - begin))
        evaluated = end - (held + 1) // 2
        if held < 4:  # A tail too short to predict anything in: one of ten such documents is held out, every second one of them here.
            short += 1
            evaluated = begin if short % 20 == 10 else end
        parts.append(tokens[evaluated:end])
    joined = numpy.concatenate(parts)
    places = numpy.concatenate([numpy.full(len(part), i) for i, part in enumerate(parts)])
    entropies = []
    for window in range(len(joined) // LENGTH):
        found = []
        of_window = slice(window * LENGTH, (window + 1) * LENGTH)
        for place in sorted(set(places[of_window])):
            ids = torch.tensor(joined[of_window][places[of_window] == place])[None]
            if ids.shape[1] > 1:
                with torch.no_grad():
                    logits = model(ids).logits[0, :-1].double()
                found += torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").tolist()
        entropies.append(sum(found) / len(found))
    return sum(entropies) / len(entropies), len(entropies)


def main():
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        make_inputs(folder)
        spec = (folder / "small.toml").read_text().replace("checkpoint_every", "# checkpoint_every")
        (folder / "small.toml").write_text(spec)
        make_corpus(folder)
        separate = "data.separate_documents=true"
        convert(folder, "joined")
        convert(folder, "apart", separate)
        plan = read_json(folder / "apart/plans/distill-selected.json")
        assert "begins" in str(plan["inputs"]), plan["inputs"]
        assert losses(folder / "joined") != losses(folder / "apart")
        assert compare_export(folder / "apart")[0]["verdict"] in ("agreement", "rounding")

        # Two processes that divide the sequences of a batch have the same losses.
        words = [word for setting in (*SHORT, separate) for word in ("--set", setting)]
        run("morph", "run", folder / "small.toml", "--out", folder / "two", "--processes", 2, *words)
        for one, two in zip(losses(folder / "apart"), losses(folder / "two"), strict=True):
            assert abs(one - two) < 1e-4 * abs(one), (one, two)

        # Perplexity, of the base and of the hybrid.
        rows = {row["model"]: row for row in read_json(folder / "apart/evaluation.json") if "perplexity" in row}
        for name, model in (("teacher", folder / "model"), ("selected", folder / "apart/hybrid")):
            own = transformers.AutoModelForCausalLM.from_pretrained(model, trust_remote_code=True, dtype=torch.float32).eval()
            expected, count = perplexity_alone(own, folder / "apart")
            assert rows[name]["samples"] == count > 2, (rows[name]["samples"], count)
            assert abs(rows[name]["cross_entropy"] - expected) < 1e-4, (name, rows[name]["cross_entropy"], expected)

        # Where one document is long enough, the others are not read, and that is said; or they are.
        make_corpus(folder, "a long document about nothing in particular. " * 8)
        said = convert(folder, "long").stderr
        stages = {stage["stage"]: stage.get("unread_share", 0) for stage in read_json(folder / "long/summary.json")["stages"]}
        assert stages["align"] > 0.1 and stages["distill/selected"] > 0.1, stages
        assert "of the text's tokens are in documents of less than 48, and not read" in said, said
        assert "not read" not in convert(folder, "long-apart", separate).stderr


if __name__ == "__main__":
    main()
