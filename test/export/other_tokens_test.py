# SPDX-License-Identifier: Apache-2.0
"""Tokenizers that transformers reads otherwise for a class of models than the base's folder has them."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import hybrids  # noqa: F401 (finds tools/python)
from export.other_tokens import REPLACED, other_tokens
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

    def test_what_cannot_be_read(self):
        (self.base / "tokenizer_config.json").write_text("[]")
        self.assertIn("transformers reads no tokenizer of a qwen2", self.of("qwen2"))


if __name__ == "__main__":
    unittest.main()
