# SPDX-License-Identifier: Apache-2.0
"""The model card of a published hybrid: what it says that the base is, by all that a folder tells of it."""

import json
import pathlib
import tempfile
import unittest

import hybrids  # noqa: F401 (finds tools/python)
from export.model_card import hub_id, make_card

LICENCE = "---\nlicense: other\nlicense_link: https://huggingface.co/{}/blob/main/LICENSE\nbase_model: Org/Parent\n---\n# A base\n"
GDN = {"gated_deltanet": ""}
MANIFEST = {"selection": {"kept": [1], "layers": 4}, "declarations": GDN, "check": None,
            "export": {"format": "native", "class": "Qwen3_5ForCausalLM", "engines": [
                {"engine": "vLLM", "class": "Qwen3_5ForCausalLM", "prevented": None, "warnings": ["mind this"]}]}}


class CardTest(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.holder.name)

    def tearDown(self):
        self.holder.cleanup()

    def make(self, path, card=None, **config):
        """A base's folder at a path below the test's."""
        base = self.root / path
        base.mkdir(parents=True)
        (base / "config.json").write_text(json.dumps(config))
        if card:
            (base / "README.md").write_text(card)
        return base

    def test_hub_id(self):
        cases = [
            ("org/name", self.make("models--org--name/snapshots/0123abc", _name_or_path="Org/Other")),
            ("gpt2", self.make("models--gpt2/snapshots/0123abc")),
            ("Qwen/Qwen3-8B", self.make("a/Qwen3-8B", LICENCE.format("Qwen/Qwen3-8B"), _name_or_path="Org/Other")),
            ("Qwen/Qwen3-8B", self.make("b/mine", _name_or_path="Qwen/Qwen3-8B")),
            # Another model's licence; the base's base; paths.
            (None, self.make("c/mine", LICENCE.format("Qwen/Qwen3-8B"))),
            (None, self.make("d/mine")),
            (None, self.make("e/mine", _name_or_path="/data/models/mine")),
            (None, self.make("f/mine", _name_or_path="../models/mine")),
            (None, self.make("models/mine", _name_or_path="models/mine")),
            (None, self.make("g/mine", "---\n: [\n---\n", _name_or_path=3)),
        ]
        for expected, base in cases:
            with self.subTest(base=base):
                self.assertEqual(hub_id(base), expected)

    def card(self, base, **changes):
        """The front matter and the rest, of a manifest that is changed so."""
        folder = self.root / "hybrid"
        folder.mkdir(exist_ok=True)
        (folder / "conversion_manifest.json").write_text(json.dumps(MANIFEST | changes))
        (folder / "config.json").write_text("{}")
        return make_card(folder, base, "the tables").split("---\n", 2)[1:]

    def test_card(self):
        front, text = self.card(self.make("Qwen3-8B", LICENCE.format("Qwen/Qwen3-8B")))
        for line in ("base_model: Qwen/Qwen3-8B\n", "base_model_relation: finetune\n", "license: other\n"):
            self.assertIn(line, front)
        for words in ("# Qwen/Qwen3-8B, with", "made of [Qwen/Qwen3-8B](https://huggingface.co/Qwen/Qwen3-8B)",
                      "1 of 4 layers", "mind this", "the tables"):
            self.assertIn(words, text)
        front, text = self.card(self.make("mine"))
        self.assertNotIn("base_model", front)
        self.assertNotIn("huggingface.co", text)
        self.assertIn("made of `mine`", text)

    def test_what_it_has_beside_full_attention(self):
        base = self.make("mine")
        for mixers, title, is_linear in (
                (GDN, "mine, with linear attention", True),
                (GDN | {"sliding_window": "", "none": ""}, "mine, with linear attention", True),
                ({"my_own": ""}, "mine, with linear attention", True),
                ({"sliding_window": ""}, "mine, with sliding-window attention", False),
                ({"sliding_window": "", "none": ""}, "mine, with sliding-window attention and layers without attention", False),
                ({}, "mine", False)):
            front, text = self.card(base, declarations=mixers)
            self.assertIn(f"\n# {title}\n", text)
            self.assertEqual("- linear-attention\n" in front, is_linear, front)

    def test_agreement(self):
        base = self.make("mine")
        self.assertNotIn("differ", self.card(base)[1])
        _, text = self.card(base, check={"verdict": "agreement", "fp32": {"whole": 1e-5, "decode": 2e-5}})
        self.assertIn("differ from those of the run by 2.0e-05 at most.\n", text)
        # null is what was not finite.
        _, text = self.card(base, check={"verdict": "mismatch", "fp32": {"whole": 1e-5, "decode": None}})
        self.assertIn("differ from those of the run: some are not finite.\n", text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
