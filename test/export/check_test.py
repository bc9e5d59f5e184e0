# SPDX-License-Identifier: Apache-2.0
"""The comparison of an export with transformers, without either: what it makes of numbers that are none, and how much of a text
it reads. (With both, it is in the tests of whole runs.)"""

import contextlib
import io
import json
import math
import pathlib
import tempfile
import types
import unittest
from unittest import mock

import numpy
from hybrids import check_export

NAN = float("nan")
# What fp64 may say: the programs agree there, and are as far from their fp32.
ROUNDING = ({"whole": 1e-9, "decode": 1e-9}, {"whole": 2e-2, "decode": 2e-2}, {"whole": 1e-2, "decode": 1e-2})


class CheckTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.folder = pathlib.Path(place.name)

    def test_what_is_not_finite_is_no_rounding(self):
        self.assertEqual(check_export.judge({"whole": 4e-3, "decode": 5e-3}, 1e-3, lambda: ROUNDING)["verdict"], "rounding")
        # Wherever it stands: max() may pass over a NaN.
        for wrong in (NAN, math.inf):
            for fp32 in ({"whole": 4e-3, "decode": wrong}, {"whole": wrong, "decode": 4e-3}, {"whole": 0.0, "decode": wrong}):
                found = check_export.judge(fp32, 1e-3, lambda: ROUNDING)
                self.assertEqual((found["verdict"], found["fp32"]), ("mismatch", fp32))
        for place in range(3):
            parts = [dict(part) for part in ROUNDING]
            parts[place]["decode"] = NAN
            found = check_export.judge({"whole": 4e-3, "decode": 5e-3}, 1e-3, lambda parts=parts: tuple(parts))
            self.assertEqual(found["verdict"], "mismatch", found)

    def main(self, judgement):
        """The manifest that main() leaves of a judgement, its exit code and what it says."""
        manifest = self.folder / "conversion_manifest.json"
        manifest.write_text(json.dumps({"check": None, "export": {"format": "remote"}}))
        options = [word for name in ("morph-run", "logits-plan", "decode-plan") for word in (f"--{name}", "none")]
        code = 0
        with mock.patch.object(check_export, "compare", return_value=judgement | {"tokens": "text"}), \
             contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                check_export.main(["--folder", str(self.folder), *options, "--tolerance", "1e-3"])
            except SystemExit as end:
                code = end.code

        def no_number(name):
            raise AssertionError(f"{name} is no JSON")

        return json.loads(manifest.read_text(), parse_constant=no_number)["check"], code, said.getvalue()

    def test_the_manifest_is_json(self):
        check, code, said = self.main(check_export.judge({"whole": 4e-3, "decode": NAN}, 1e-3, lambda: ROUNDING))
        self.assertEqual((check["verdict"], check["fp32"], code), ("mismatch", {"whole": 4e-3, "decode": None}, 1))
        self.assertIn("beyond export.tolerance 1.0e-03 (fp32: whole 4.0e-03, decode nan)\n", said)
        check, code, said = self.main(check_export.judge({"whole": 4e-3}, 1e-3, lambda: ({"whole": NAN}, *ROUNDING[1:])))
        self.assertEqual((check["verdict"], check["fp64"], code), ("mismatch", {"whole": None}, 1))
        self.assertIn("fp64: whole nan; of each program", said)

    def test_the_end_of_a_text_is_read(self):
        (self.folder / "text.json").write_text('{"dtype": "u16"}')
        file = self.folder / "text.tokens"
        for count, expected in ((9, None), (10, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]), (12, [[2, 3, 4, 5, 6], [7, 8, 9, 10, 11]])):
            numpy.arange(count, dtype="<u2").tofile(file)
            found = check_export.text_tokens(self.folder, 5)
            self.assertEqual(found if found is None else found.tolist(), expected)
        # More than any memory: a terabyte, of which the disk holds the end alone.
        with file.open("r+b") as stream:
            stream.truncate(2**40)
            stream.seek(-20, 2)
            stream.write(numpy.arange(10, dtype="<u2").tobytes())
        self.assertEqual(check_export.text_tokens(self.folder, 5).tolist(), [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])
        self.assertIsNone(check_export.text_tokens(None, 5))

    def test_leftover_weights_are_none_of_the_folder(self):
        """The types that are compared are those of the model's own files."""
        from safetensors.torch import save_file
        import torch

        model = torch.nn.Linear(2, 2)
        save_file({"weight": model.weight.data, "bias": model.bias.data}, self.folder / "model.safetensors")
        save_file({"weight": model.weight.data.bfloat16()}, self.folder / "zzz.safetensors")
        model.config = types.SimpleNamespace(vocab_size=8)
        model.generate = lambda *arguments, **options: None
        report = dict.fromkeys(("missing_keys", "unexpected_keys", "mismatched_keys"), ())
        with mock.patch("transformers.AutoModelForCausalLM.from_pretrained", return_value=(model, report)):
            self.assertIs(check_export.load(self.folder, native=False), model)


if __name__ == "__main__":
    unittest.main(verbosity=2)
