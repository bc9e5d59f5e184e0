# SPDX-License-Identifier: Apache-2.0
"""Tokenizers that transformers reads otherwise for a class of models than the base's folder has them, and who goes by them."""

import importlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types
import unittest
from unittest import mock

import hybrids  # noqa: F401 (finds tools/python)
import tokenizers
import torch
import transformers
from export.other_tokens import PROBES, REPLACED, load_tokenizer, other_tokens
from export.targets import TARGETS
from transformers.models.auto import tokenization_auto

MAKER = pathlib.Path(hybrids.SOURCE) / "tools/python/morph_data.py"
CONFIG = {"architectures": ["AnyForCausalLM"], "hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2,
          "num_key_value_heads": 1, "vocab_size": 256}


class OtherTokensTest(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.base = pathlib.Path(self.holder.name)
        subprocess.run([sys.executable, MAKER, "make-tiny-tokenizer", self.base], check=True)

    def tearDown(self):
        self.holder.cleanup()

    def of(self, kind):
        return other_tokens(self.base, CONFIG | {"model_type": kind})

    def test_a_class_with_a_tokenizer_of_its_own(self):
        said = self.of("qwen3_5_moe_text")
        self.assertIn("Qwen3_5Tokenizer", said)
        self.assertIn("as in \"A  hacker's", said)

    def test_all_that_transformers_replaces_are_known(self):
        types = {kind for target in TARGETS for kind in target.TYPES}
        self.assertEqual(types & tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS, set(REPLACED))

    def test_classes_that_read_the_file(self):
        for kind in ("qwen3_5_text", "qwen3_moe", "mellum", "llama"):
            with self.subTest(kind=kind):
                self.assertIsNone(self.of(kind))

    def test_without_a_tokenizer(self):
        (self.base / "tokenizer.json").unlink()
        self.assertIsNone(self.of("qwen3_5_moe_text"))

    def make_export(self, **form):
        """A folder whose class has a tokenizer of its own, with a manifest; what tokenizer.json gives, and what that class does."""
        (self.base / "config.json").write_text(json.dumps(CONFIG | {"model_type": "qwen3_5_moe_text"}))
        own = tokenizers.Tokenizer.from_file(str(self.base / "tokenizer.json")).encode(PROBES[0]).ids
        other = transformers.AutoTokenizer.from_pretrained(self.base).encode(PROBES[0])
        self.assertNotEqual(own, other)
        (self.base / "conversion_manifest.json").write_text(json.dumps({"export": {"format": "native", **form}}))
        return own, other

    def test_the_tokens_that_it_was_made_with(self):
        own, other = self.make_export(tokenizer=self.of("qwen3_5_moe_text"))
        self.assertEqual(load_tokenizer(self.base, trust_remote_code=True).encode(PROBES[0]), own)
        # A base, which has no manifest, and a class that reads the file are read as transformers does.
        self.make_export()
        self.assertEqual(load_tokenizer(self.base).encode(PROBES[0]), other)
        (self.base / "conversion_manifest.json").unlink()
        self.assertEqual(load_tokenizer(self.base).encode(PROBES[0]), other)

    def test_the_package_loads_them(self):
        own, _ = self.make_export(tokenizer="others")
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(sys, "path", [folder, *sys.path]), mock.patch.object(
                transformers.AutoModelForCausalLM, "from_pretrained", return_value=torch.nn.Identity()) as loaded:
            package = pathlib.Path(folder, "morph")  # as tools/package makes it
            package.mkdir()
            (package / "VERSION").write_text("0\n")
            (package / "tools").symlink_to(hybrids.SOURCE / "tools")
            for name in ("__init__.py", "_program.py"):
                shutil.copyfile(hybrids.SOURCE / "tools/python/package" / name, package / name)
            model, tokenizer = importlib.import_module("morph").load(self.base)
            self.assertIs(model, loaded.return_value)
            self.assertFalse(loaded.call_args.kwargs["trust_remote_code"])
        self.assertEqual(tokenizer.encode(PROBES[0]), own)

    def test_the_harness_has_them(self):
        own, _ = self.make_export(tokenizer="others")
        arguments = types.SimpleNamespace(dtype="float32", shots=None, limit=None, device="cpu", batch_size=1, seed=0)
        stand_in = types.SimpleNamespace(evaluator=mock.MagicMock())
        with mock.patch.dict(sys.modules, {"lm_eval": stand_in}):
            importlib.import_module("harness.harness").evaluate(self.base, None, ["task"], arguments)
        given = stand_in.evaluator.simple_evaluate.call_args.kwargs["model_args"]
        self.assertEqual(given["tokenizer"].encode(PROBES[0]), own)
        self.assertEqual(given["prefix_token_id"], 0)

    def test_what_cannot_be_read(self):
        (self.base / "tokenizer_config.json").write_text("[]")
        self.assertIn("transformers reads no tokenizer of a qwen2", self.of("qwen2"))


if __name__ == "__main__":
    unittest.main()
