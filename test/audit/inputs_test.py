# SPDX-License-Identifier: Apache-2.0
"""What tools/python/audit refuses: malformed and inconsistent files, each with the file's name and a reason."""

import json
import pathlib
import tempfile
import unittest

from synthetic import Synthetic, run_audit, subsets

import cells
from morph_data import InputError

LANDSCAPE = {kept: [0.5 + i, 1.5 + i, 2.5] for i, kept in enumerate(subsets(4, 2))}
MEASURES = "runs/tiny-seed0-selection/measure/2/measures.json"
SELECTION = "runs/tiny-seed0-selection/select/1-2/selection.json"


def good():
    synthetic = Synthetic(["gates", "drop"])
    synthetic.cell(LANDSCAPE, {"gates": (0, 1), "drop": (2, 3)})
    return synthetic.cell(LANDSCAPE, {"gates": (0, 2)}, budget=3)


def set_at(*path, to):
    """Changes a value of a file; the first part of the path is the file's name."""

    def change(files):
        place = files
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = to

    return change


def drop_at(*path):
    def change(files):
        place = files
        for part in path[:-1]:
            place = place[part]
        del place[path[-1]]

    return change


FIRST = (MEASURES, "choices", 0)
KL = (*FIRST, "scores", "recall", "kl")
CELL = ("cells.json", "cells", 0)
# A change and what the error says.
REFUSED = {
    "no JSON": (set_at("cells.json", to="{"), "cells.json: is no JSON"),
    "deep JSON": (set_at("cells.json", to="[" * 100000), "cells.json: is no JSON"),
    "no UTF-8": (set_at(MEASURES, to='{"version": "\udcff"}'), f"{MEASURES}: is no JSON"),
    "a list": (set_at("cells.json", to="[]"), "cells.json: is not an object"),
    "another version of cells": (set_at("cells.json", "version", to=2), "cells.json: has version 2, expected 1"),
    "another version of measures": (set_at(MEASURES, "version", to=0), f"{MEASURES}: has version 0"),
    "another version of a selection": (set_at(SELECTION, "version", to="1"), f'{SELECTION}: has version "1"'),
    "a key is missing": (drop_at("cells.json", "confidence"), "cells.json: has no 'confidence'"),
    "confidence": (set_at("cells.json", "confidence", to=1), "confidence is not between 0 and 1"),
    "resamples": (set_at("cells.json", "resamples", to=10), "resamples is not an integer from 100"),
    "a seed below 0": (set_at("cells.json", "seed", to=-1), "seed is not an integer from 0"),
    "a name that breaks lines": (set_at("cells.json", "name", to="a\nb"), "name is not a text of 1 to 200 printable"),
    "half a character": (set_at("cells.json", "name", to="a\ud800"), "name is not a text of 1 to 200 printable"),
    "no cells": (set_at("cells.json", "cells", to=[]), "cells is not a list with something in it"),
    "a selector twice": (
        set_at("cells.json", "selectors", to=["gates", "drop", "gates"]),
        "selectors names 'gates' twice",
    ),
    "the audit's own selector": (
        set_at("cells.json", "selectors", to=["gates", "drop", "exhaustive"]),
        "the audit adds that row itself",
    ),
    "an unknown reference": (
        set_at("cells.json", "reference", to="halo"),
        "reference is 'halo', which is not among the selectors",
    ),
    "an unknown selector": (
        set_at(*CELL, "selections", "ha\nlo", to=SELECTION),
        r"has 'ha\nlo', which is not among the selectors",
    ),
    "an unknown after": (set_at(*CELL, "after", to="finetune"), "is 'finetune', expected one of selection, distill"),
    "a cell twice": (
        set_at("cells.json", "cells", 1, "budget", to=2),
        "cells[1] is base 'tiny', seed 0, budget 2, after selection",
    ),
    "a budget that is no number": (set_at(*CELL, "budget", to=True), "cells[0].budget is not an integer"),
    "a file that is missing": (
        set_at(*CELL, "measures", to="runs/none.json"),
        "runs/none.json: cannot be read: No such file",
    ),
    "a folder": (set_at(*CELL, "measures", to="runs"), "runs: cannot be read: Is a directory"),
    "a path outside": (
        set_at(*CELL, "measures", to="../measures.json"),
        "../measures.json: lies outside the audit's folder",
    ),
    "an absolute path": (
        set_at(*CELL, "selections", "drop", to="/etc/passwd"),
        "/etc/passwd: lies outside the audit's folder",
    ),
    "no choices": (set_at(MEASURES, "choices", to=[]), f"{MEASURES}: choices is not a list with something in it"),
    "complete is a word": (set_at(MEASURES, "complete", to="yes"), "complete is not true or false"),
    "a choice of other layers": (
        set_at(MEASURES, "layers", to=5),
        "choices[0].choice names 4 candidates, but there are 5 layers",
    ),
    "a choice twice": (
        lambda files: files[MEASURES]["choices"].append(files[MEASURES]["choices"][0]),
        "choices holds a choice twice",
    ),
    "kept of another choice": (
        set_at(*FIRST, "kept", to=[0, 2]),
        "choices[0].kept is [0, 2], but the layers that are 'full'",
    ),
    "a task that nobody scored": (set_at(MEASURES, "tasks", to=["recall", "hop"]), "choices[0].scores has no 'hop'"),
    "a task twice": (set_at(MEASURES, "tasks", to=["recall", "recall"]), "tasks names 'recall' twice"),
    "other scores": (set_at(MEASURES, "choices", 1, "scores", "text", to={}), "choices[1].scores has other names"),
    "NaN": (
        set_at(*KL, 1, to=float("nan")),
        "choices[0].scores.recall.kl has nan as value 1, which is not a finite number",
    ),
    "null": (set_at(*KL, 1, to=None), "kl has None as value 1"),
    "infinity": (set_at(*KL, 0, to=float("inf")), "kl has inf as value 0"),
    "a number beyond float": (set_at(*KL, 0, to=10**400), "as value 0, which is not a finite number"),
    "a word": (set_at(*KL, 0, to="1.0"), "kl has 1.0 as value 0"),
    "true": (set_at(*KL, 0, to=True), "kl has True as value 0"),
    "no samples": (set_at(*KL, to=[]), "kl is not a list with something in it"),
    "samples of another number": (
        set_at(MEASURES, "choices", 1, "scores", "recall", "kl", to=[1.0]),
        "kl has 1 samples, where there were 3",
    ),
    "right tokens of another number": (
        set_at(*FIRST, "scores", "recall", "correct", to=[0.5] * 2),
        "correct has 2 samples",
    ),
    "right tokens beyond all": (
        set_at(*FIRST, "scores", "recall", "correct", 0, to=1.5),
        "correct has values that are no shares",
    ),
    "a cost below 0": (
        set_at(SELECTION, "cost", "seconds", to=-1),
        f"{SELECTION}: cost.seconds is not a finite number of 0 or more",
    ),
    "tokens in part": (set_at(SELECTION, "cost", "tokens", to=1.5), "cost.tokens is not an integer"),
    "a cost that may be of text, too": (
        lambda files: [
            choice["scores"].update(text={"kl": [1.0], "correct": [0.5]}) for choice in files[MEASURES]["choices"]
        ],
        f"{MEASURES}: has no 'text_cost'; let this version of Morph write it again",
    ),
    "a teacher of other tasks": (
        set_at(MEASURES, "teacher", to={"hop": {"correct": 1, "samples": 3}}),
        f"{MEASURES}: teacher has no 'recall'",
    ),
    "a teacher without samples": (
        set_at(MEASURES, "teacher", to={"recall": {"correct": 1, "samples": 0}}),
        "teacher.recall.samples is not an integer from 1",
    ),
    "a teacher that is right beyond all": (
        set_at(MEASURES, "teacher", to={"recall": {"correct": 1.5, "samples": 3}}),
        "teacher.recall.correct is no share, 0 to 1",
    ),
    "a choice that nobody judged": (set_at(SELECTION, "choice", 2, to="mamba2"), "kept is [2, 3], but"),
    "a choice of another budget": (
        lambda files: files[SELECTION].update(choice=["full"] * 4, kept=[0, 1, 2, 3]),
        f"{SELECTION}: choice is not among the 6 that {MEASURES} judges",
    ),
}


class Inputs(unittest.TestCase):
    def test_refused(self):
        for name, (change, expected) in REFUSED.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                synthetic = good()
                change(synthetic.files)
                for file, content in synthetic.files.items():
                    path = pathlib.Path(folder, file)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    text = content if isinstance(content, str) else json.dumps(content)
                    path.write_bytes(text.encode(errors="surrogateescape"))
                with self.assertRaises(InputError) as caught:
                    cells.read_audit(pathlib.Path(folder))
                self.assertIn(expected, str(caught.exception) + "; " + caught.exception.hint)
                self.assertNotIn("\n", str(caught.exception))

    def test_budgets_are_judged_on_the_same_samples(self):
        synthetic = good().cell({kept: [1.0] * 5 for kept in LANDSCAPE}, {"gates": (0, 1)}, budget=1)
        self.refused(
            synthetic,
            f"measure/1/measures.json: judges {{'recall': 5}} samples, {MEASURES} {{'recall': 3}}",
        )
        # Another seed may have others.
        with tempfile.TemporaryDirectory() as folder:
            other = good().cell({kept: [1.0] * 5 for kept in LANDSCAPE}, {"gates": (0, 1)}, seed=1)
            self.assertEqual(len(cells.read_audit(other.write(folder)).cells), 3)

    def test_a_base_has_one_objective(self):
        synthetic = good().cell(
            {kept: {"hop": [1.0] * 3} for kept in LANDSCAPE}, {"gates": (0, 1)}, seed=1, tasks=("hop",)
        )
        self.refused(synthetic, "other tasks or layers than in")

    def test_a_link_to_elsewhere(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            good().write(folder / "audit")
            (folder / "audit" / MEASURES).rename(folder / "measures.json")
            (folder / "audit" / MEASURES).symlink_to(folder / "measures.json")
            with self.assertRaisesRegex(InputError, "lies outside"):
                cells.read_audit(folder / "audit")

    def refused(self, synthetic, expected):
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(InputError) as caught:
            cells.read_audit(synthetic.write(folder))
        self.assertIn(expected, str(caught.exception))

    def test_the_command_writes_nothing_of_a_wrong_audit(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            self.assertEqual(run_audit(good().write(folder)).returncode, 0)
            before = (folder / "audit.json").read_bytes(), (folder / "audit.html").read_bytes()
            wrong = good()
            set_at(SELECTION, "choice", to=["full", "x", "x", "x"])(wrong.files)
            set_at(SELECTION, "kept", to=[0])(wrong.files)
            done = run_audit(wrong.write(folder))
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertEqual(
                done.stderr,
                f"audit: error: {SELECTION}: choice is not among the 6 that {MEASURES} judges\n"
                "audit: hint: the selection is of another model, space or budget\n",
            )
            self.assertEqual(before, ((folder / "audit.json").read_bytes(), (folder / "audit.html").read_bytes()))
            self.assertEqual(
                sorted(path.name for path in folder.iterdir()), ["audit.html", "audit.json", "cells.json", "regret.svg", "runs"]
            )

    def test_a_folder_that_is_not_there(self):
        done = run_audit("/nowhere")
        self.assertEqual(
            (done.returncode, done.stderr),
            (2, "audit: error: cells.json: cannot be read: No such file or directory\naudit: hint: morph audit writes it\n"),
        )


if __name__ == "__main__":
    unittest.main()
