# SPDX-License-Identifier: Apache-2.0
"""Programs of a whole model on a GPU: scores, logits and a step of the search."""

import os
import pathlib
import re
import unittest

import torch
from programs import ProgramCase

MODEL = pathlib.Path(os.environ["MORPH_SOURCE_DIR"]) / "test/passes/Inputs/tiny-base.mlir"


class ModelsTest(ProgramCase):
    def compare_program(self, program, inputs, *before, tolerance=5e-6):
        # Sums of a whole model, one after the other; in fp32 a processor's vectors decide how the CPU adds them up.
        text = MODEL.read_text()
        torch.manual_seed(0)
        weights = {name: 0.3 * torch.randn([int(size) for size in shape.split("x")])
                   for name, shape in re.findall(r'morph.weight @"([^"]+)" : tensor<([0-9x]+)xbf16>', text)}
        # A gate of one would make the student its teacher.
        gates = {"gate.0": torch.tensor([0.6]), "gate.1": torch.tensor([0.3])} if before else {}
        tokens = {"tokens": torch.randint(0, 32, (2, 19)), "positions": torch.tensor([0, 7, 18, 20, 37])}
        self.compare(text, {**tokens, **inputs}, {**{name: weight.bfloat16() for name, weight in weights.items()}, **gates},
                     tolerance, (*before, f"--morph-program-pipeline=program={program}"), program, precision="f64")

    def test_score(self):
        self.compare_program("score", {"targets": torch.tensor([3, 1, 31, 0, 9])})

    def test_logits(self):
        self.compare_program("logits", {})

    def test_gates(self):
        # The share makes the gates' gradients large enough to be compared.
        self.compare_program("gates", {"targets": torch.tensor([3, 1, 31, 0, 9]),
                                       "weights": torch.tensor([1.0, 0.5, 1.0, 0.0, 2.0]),
                                       "share": torch.tensor(10.0)}, "--morph-search-pipeline")


if __name__ == "__main__":
    unittest.main()
