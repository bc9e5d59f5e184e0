# SPDX-License-Identifier: Apache-2.0
"""Small audits whose answers are known by hand, as the files that tools/python/audit reads."""

import copy
import itertools
import json
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
SCRIPT = SOURCE / "tools" / "python" / "audit" / "audit.py"
sys.path[:0] = [str(SCRIPT.parent), str(SCRIPT.parents[1]), str(SCRIPT.parents[1] / "pages")]
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "report"))  # What reads pages.


def subsets(layers, kept):
    return list(itertools.combinations(range(layers), kept))


def choice_of(kept, layers):
    return ["full" if layer in kept else "lightning" for layer in range(layers)]


def judged(choice, kl):
    """An entry of measures.json; `kl` has the samples, or samples by task."""
    tasks = kl if isinstance(kl, dict) else {"recall": kl}
    return {
        "choice": list(choice),
        "kept": [i for i, name in enumerate(choice) if name == "full"],
        "scores": {task: {"kl": list(values), "correct": [0.5] * len(values)} for task, values in tasks.items()},
    }


class Synthetic:
    """An audit that grows a cell at a time; `files` are its JSON files by name."""

    def __init__(self, selectors, reference=None, **settings):
        self.root = {
            "version": 1,
            "name": "synthetic",
            "confidence": 0.95,
            "resamples": 400,
            "seed": 0,
            "reference": reference or selectors[0],
            "selectors": list(selectors),
            "cells": [],
        } | settings
        self.files = {"cells.json": self.root}

    def cell(
        self,
        landscape,
        picks,
        base="tiny",
        seed=0,
        budget=2,
        after="selection",
        complete=True,
        layers=4,
        tasks=("recall",),
        tokens=1000,
        teacher=None,
    ):
        """`landscape` has KLs by kept layers (or by choice), `picks` kept layers (or a choice) by selector, `teacher` the
        teacher's share of right tokens by task."""

        def names(key):
            return list(key) if key and isinstance(key[0], str) else choice_of(key, layers)

        place = f"runs/{base}-seed{seed}-{after}"
        measures = f"{place}/measure/{budget}/measures.json"
        self.files[measures] = {
            "version": 1,
            "layers": layers,
            "complete": complete,
            "tasks": list(tasks),
            "cost": {"tokens": 99000, "flops": 9.9e9, "seconds": 99.0},
            "choices": [judged(names(key), kl) for key, kl in landscape.items()],
        }
        scores = self.files[measures]["choices"][0]["scores"]
        if "text" in scores:
            self.files[measures]["text_cost"] = {"tokens": 5000, "flops": 5e9, "seconds": 5.0}
        if teacher:
            self.files[measures]["teacher"] = {
                task: {"correct": share, "samples": len(scores[task]["kl"])} for task, share in teacher.items()
            }
        selections = {}
        for i, (selector, key) in enumerate(picks.items()):
            selections[selector] = f"{place}/select/{i}-{budget}/selection.json"
            choice = names(key)
            self.files[selections[selector]] = {
                "version": 1,
                "choice": choice,
                "kept": [i for i, name in enumerate(choice) if name == "full"],
                "scores": [0.0] * layers,
                "cost": {"tokens": tokens, "flops": 1e6 * tokens, "seconds": tokens / 1e3},
                "seed": seed,
            }
        self.root["cells"].append(
            {
                "base": base,
                "seed": seed,
                "budget": budget,
                "after": after,
                "measures": measures,
                "selections": selections,
            }
        )
        return self

    def copy(self):
        result = copy.deepcopy(self)
        result.root = result.files["cells.json"]
        return result

    def write(self, folder):
        for name, content in self.files.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return pathlib.Path(folder)


def run_audit(folder):
    """The command, as `morph audit` calls it."""
    return subprocess.run([sys.executable, SCRIPT, "--dir", folder], capture_output=True, text=True, check=False)
