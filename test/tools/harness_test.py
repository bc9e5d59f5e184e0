# SPDX-License-Identifier: Apache-2.0
"""tools/lm-eval with something in the place of lm-evaluation-harness: which tasks it is asked for, how columns are called, what
becomes of its errors and of the figures where they cannot be written. (With the harness: lm_eval_test.py.)"""

import contextlib
import fnmatch
import io
import json
import os
import pathlib
import sys
import tempfile
import types
import unittest
from unittest import mock

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tools/python/harness"))
import harness  # noqa: E402  pylint: disable=wrong-import-position

TASKS = ["mine_b", "mine_a", "other"]


class TaskManager:
    def __init__(self, include_path):
        self.all_tasks = TASKS

    def match_tasks(self, names):
        return sorted({task for name in names for task in fnmatch.filter(TASKS, name)})


class HarnessTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.root = pathlib.Path(place.name)
        self.asked = []

    def model(self, path):
        folder = self.root / path
        folder.mkdir(parents=True)
        for name in ("config.json", "tokenizer.json"):
            (folder / name).write_text("{}")
        return folder

    def evaluate(self, folder, manager, tasks, arguments):
        """In the harness's place."""
        self.asked.append(tasks)
        return {"results": {task: {"acc,none": 0.5, "acc_stderr,none": 0.25} for task in tasks}}

    def lm_eval(self, *arguments, expect=0, evaluate=None):
        stdout, stderr = io.StringIO(), io.StringIO()
        modules = {"lm_eval": types.ModuleType("lm_eval"), "lm_eval.tasks": types.SimpleNamespace(TaskManager=TaskManager)}
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), mock.patch.dict(sys.modules, modules), \
             mock.patch.object(harness, "evaluate", evaluate or self.evaluate), mock.patch.object(harness.logging, "disable"), \
             mock.patch.object(harness, "without_bars"), mock.patch.dict(os.environ), \
             mock.patch.object(sys, "argv", ["harness.py", *map(str, arguments)]):
            code = harness.main()
        self.assertEqual(code, expect, stderr.getvalue())
        return types.SimpleNamespace(stdout=stdout.getvalue(), stderr=stderr.getvalue())

    def test_patterns_are_names(self):
        model = self.model("run/hybrid")
        for given, tasks in (("other,mine_*", ["other", "mine_a", "mine_b"]), ("mine_b,mine_*", ["mine_b", "mine_a"]), ("*_a", ["mine_a"])):
            self.asked.clear()
            done = self.lm_eval(model, "--tasks", given)
            self.assertEqual(self.asked, [tasks])
            self.assertEqual([line.split()[0] for line in done.stdout.splitlines()[2:]], tasks)
        self.assertIn("there is no task 'yours_*'", self.lm_eval(model, "--tasks", "mine_*,yours_*", expect=2).stderr)

    def test_columns_tell_folders_apart(self):
        for one, other, columns in (("x/seed-0/hybrid", "y/seed-0/hybrid", ["x/seed-0/hybrid", "y/seed-0/hybrid"]),
                                    ("run/hybrid", "base", ["run/hybrid", f"{self.root.name}/base"])):
            done = self.lm_eval(self.model(one), "--tasks", "other", "--against", self.model(other))
            self.assertEqual(done.stdout.split()[2:5], [*columns, "difference"])
        done = self.lm_eval(self.root / "base", "--tasks", "other", "--against", self.root / "run/../base", expect=2)
        self.assertIn("is the model itself\nlm-eval: hint: give another folder", done.stderr)

    def test_errors_of_the_harness(self):
        model = self.model("run/hybrid")

        def fails(error):
            def evaluate(*arguments):
                raise error
            return evaluate

        done = self.lm_eval(model, "--tasks", "other", expect=2, evaluate=fails(ConnectionError("no\n network")))
        self.assertIn(f"lm-eval: error: the harness cannot evaluate '{model}': no network\n", done.stderr)
        self.assertIn("lm-eval: hint: a task that is not local needs a network", done.stderr)
        # These have other reasons, and are not of what was given.
        for error in (RuntimeError("out of memory"), ValueError("no such field"), KeyError("question")):
            done = self.lm_eval(model, "--tasks", "other", expect=1, evaluate=fails(error))
            self.assertIn(f"lm-eval: error: the harness cannot evaluate '{model}': {error}\n", done.stderr)
            self.assertNotIn("hint", done.stderr)

    def test_where_figures_go_is_looked_at_first(self):
        model, out = self.model("run/hybrid"), self.root / "results.json"
        done = self.lm_eval(model, "--tasks", "other", "--out", model / "config.json/results.json", expect=2)
        self.assertIn(f"lm-eval: error: --out: '{model}/config.json/results.json' cannot be written: ", done.stderr)
        self.assertEqual((self.asked, done.stdout), ([], ""))
        self.lm_eval(model, "--tasks", "other", "--out", out)
        self.assertEqual(json.loads(out.read_text())[str(model)]["results"]["other"]["acc,none"], 0.5)

        # A disk that is full by then does not take the table with it.
        def evaluate(*arguments):
            out.unlink()
            out.mkdir()
            return self.evaluate(*arguments)

        done = self.lm_eval(model, "--tasks", "other", "--out", out, expect=1, evaluate=evaluate)
        self.assertIn("0.5000 +- 0.2500", done.stdout)
        self.assertIn("lm-eval: error: ", done.stderr)


if __name__ == "__main__":
    unittest.main()
