# SPDX-License-Identifier: Apache-2.0
"""Gradients of decays in bf16, on a GPU and on the CPU with factors rounded alike, against fp64. They are small sums of large
terms, which must lose the same by rounding, and vary much from case to case: so over many cases."""

import os
import pathlib
import sys
import tempfile
import unittest

from safetensors.torch import load_file

SOURCE, BIN = pathlib.Path(os.environ["MORPH_SOURCE_DIR"]), pathlib.Path(os.environ["MORPH_BIN"])
sys.path.insert(0, str(SOURCE / "tools/python/bench"))
import cuda_programs  # noqa: E402  pylint: disable=wrong-import-position
from cuda_programs import distances  # noqa: E402  pylint: disable=wrong-import-position

# The heads of Qwen3-1.7B, of a narrow model: for many cases.
MODEL = {**cuda_programs.MODELS["qwen3-layer"],
         "changes": {"num_hidden_layers": 1, "vocab_size": 256, "hidden_size": 256, "intermediate_size": 256,
                     "num_attention_heads": 4, "num_key_value_heads": 2}}
DECAYS = ("linear_attn.A_log", "linear_attn.dt_bias")
LENGTHS = (66, 70, 80, 90, 100, 110, 120, 128, 131, 140, 150, 192)
# Root mean squares of what they are off, of their largest. They were .02; with roundings that differ .05 on the CPU, .23 on a GPU.
MOST = .03


class DecaysTest(unittest.TestCase):
    def test_gradients(self):
        with tempfile.TemporaryDirectory() as folder:
            programs = cuda_programs.Programs(BIN, SOURCE, "qwen3-narrow", "sm_90", folder, MODEL)
            squares = {"cuda": [], "cpu": []}
            for length in LENGTHS:
                expected = load_file(programs.run("distill", 1, length, "cpu", "f64"))
                for device, found in squares.items():
                    values = load_file(programs.run("distill", 1, length, device, factors="rounded",
                                                    MORPH_STAND_IN_DEVICE="h100", MORPH_STAND_IN_CHECKS="0"))
                    found += [distance ** 2 for name, distance in distances(values, expected).items() if name.endswith(DECAYS)]
            self.assertEqual(len(squares["cuda"]), len(DECAYS) * len(LENGTHS))
            off = {device: (sum(found) / len(found)) ** .5 for device, found in squares.items()}
            self.assertLess(max(off.values()), MOST, off)


if __name__ == "__main__":
    unittest.main()
