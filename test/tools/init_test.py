# SPDX-License-Identifier: Apache-2.0
"""`morph init`: the spec that it writes is one that `morph plan` takes as it is, for shapes of every architecture."""

import json
import os
import pathlib
import shlex
import subprocess
import tempfile
import tomllib
import unittest

BIN = pathlib.Path(os.environ["MORPH_BIN"])
SOURCE = pathlib.Path(os.environ["MORPH_SOURCE_DIR"])
BASE = SOURCE / "specs/models/tiny-recall"


class InitTest(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.holder.name)

    def tearDown(self):
        self.holder.cleanup()

    def morph(self, *arguments, expect=0):
        done = subprocess.run([BIN / "morph", *map(str, arguments)], capture_output=True, text=True, cwd=self.root, check=False)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done

    def make_model(self, **changes):
        """A folder with the embedded base's config, changed, and its tokenizer."""
        folder = self.root / "model"
        folder.mkdir()
        config = json.loads((BASE / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "tokenizer.json").write_bytes((BASE / "tokenizer.json").read_bytes())
        return folder

    def test_a_model(self):
        done = self.morph("init", BASE, "-o", "spec.toml")
        self.assertIn("spec.toml: llama of 10 layers, 1 keep full attention", done.stdout)
        self.assertIn("morph plan spec.toml", done.stdout)
        self.assertEqual(done.stderr, "")
        text = (self.root / "spec.toml").read_text()
        self.assertNotIn("@", text)
        self.assertLessEqual(max(map(len, text.splitlines())), 125)
        spec = tomllib.loads(text)
        self.assertEqual(spec["model"]["path"], str(BASE))
        self.assertIn("llama, 10 layers, 1 keep softmax attention", self.morph("plan", "spec.toml").stdout)
        # Whole: weights and texts are read, too.
        self.morph("plan", "spec.toml", "--json")

    def test_named_by_the_folder_and_relative_to_it(self):
        self.make_model(num_hidden_layers=30)
        self.morph("init", "model/")
        spec = tomllib.loads((self.root / "model.toml").read_text())
        self.assertEqual((spec["model"]["path"], spec["budget"]["full_layers"]), ("model", 4))
        self.morph("plan", "model.toml")

    def test_a_short_context(self):
        self.make_model(max_position_embeddings=512)
        self.morph("init", "model")
        self.morph("plan", "model.toml")
        self.assertEqual(tomllib.loads((self.root / "model.toml").read_text())["align"]["length"], 512)

    def test_layers_that_keep_their_windows_do_not_count(self):
        self.make_model(model_type="olmo3", architectures=["Olmo3ForCausalLM"], num_hidden_layers=16, sliding_window=64)
        done = self.morph("init", "model")
        self.assertIn("model.toml: olmo3 of 16 layers, 1 of the 4 without a window keep full attention\n", done.stdout)
        text = (self.root / "model.toml").read_text()
        self.assertIn("# of 4 layers without a window those that keep full attention; or ratio = 0.25\n", text)
        self.assertEqual(tomllib.loads(text)["budget"]["full_layers"], 1)
        resolved = subprocess.run([BIN / "morph-translate", "--spec-to-json", "--config-only", self.root / "model.toml"],
                                  capture_output=True, text=True, check=True)
        space = json.loads(resolved.stdout)["space"]
        self.assertEqual(sum(len(candidates) > 1 for candidates in space["layers"]), 4)
        self.assertEqual(space["counts"][0]["least"], 12 + 1)

    def test_the_next_lines_can_be_pasted(self):
        self.make_model().rename(self.root / "it's mine")
        done = self.morph("init", "it's mine")
        plan, run = map(shlex.split, done.stdout.splitlines()[-2:])
        self.assertEqual(plan, ["morph", "plan", "it's mine.toml"])
        self.assertEqual(run, ["morph", "run", "it's mine.toml", "--out", "it's mine.run"])
        lines = (self.root / "it's mine.toml").read_text().splitlines()
        self.assertEqual(shlex.split(lines[1].strip("# "))[:3], plan)
        self.assertEqual(shlex.split(lines[2].strip("# "))[:3], run[:3])

    def test_without_a_tokenizer(self):
        (self.make_model() / "tokenizer.json").unlink()
        done = self.morph("init", "model")
        self.assertIn("note:", done.stderr)
        self.assertIn('# tokenizer = "FOLDER"', (self.root / "model.toml").read_text())
        self.morph("plan", "model.toml")

    def test_overwrites_nothing(self):
        (self.root / "spec.toml").write_text("mine")
        done = self.morph("init", BASE, "-o", "spec.toml", expect=2)
        self.assertIn("spec.toml exists already", done.stderr)
        self.assertEqual((self.root / "spec.toml").read_text(), "mine")

    def test_what_is_no_model(self):
        self.make_model(model_type="mamba", architectures=["MambaForCausalLM"])
        done = self.morph("init", "model", expect=2)
        imported = subprocess.run([BIN / "morph-translate", "--import-hf", "--config-only", self.root / "model"],
                                  capture_output=True, text=True, check=False)
        self.assertEqual(imported.returncode, 2)
        self.assertEqual(done.stderr, imported.stderr)
        self.morph("init", self.root / "nothing", expect=2)
        self.assertIn("there is no folder", self.morph("init", BASE, "-o", "far/spec.toml", expect=2).stderr)
        self.morph("init", expect=2)
        self.assertEqual([path.name for path in self.root.iterdir()], ["model"], "nothing is written")


unittest.main()
