# SPDX-License-Identifier: Apache-2.0
"""Elementwise ops that stand alone, on a GPU."""

import unittest

import torch
from programs import ProgramCase, model


class ElementsTest(ProgramCase):
    def test_alone(self):
        # With attributes, with lines and uniform numbers beside rows, with two results, and in another type.
        x, y = "tensor<?x?x7xf32>", "tensor<7xf32>"
        text = model(f"""(%x: {x} "x" [B, T], %g: {x} "g" [B, T], %y: {y} "y", %s: tensor<f32> "s") {{
    %a = morph.scale %y by -2.5 : {y}
    %b = morph.offset %a by 0.5 : {y}
    %c = morph.mul %x, %b : {x}, {y}
    %d = morph.add %c, %s : {x}, tensor<f32>
    %e = morph.softplus %d : {x}
    %da, %db = morph.swiglu_grad %e, %g, %x : {x}, {x}, {x}
    %h = morph.cast %da to "bf16" : {x}
    %i = morph.cast %h to "f32" : tensor<?x?x7xbf16>
    %z = morph.scale %s by 3.0 : tensor<f32>
    morph.output "e" = %e, "i" = %i, "b" = %db, "z" = %z : {x}, {x}, {x}, tensor<f32>
  }}""")
        torch.manual_seed(0)
        self.compare(text, {"x": torch.randn(2, 53, 7), "g": torch.randn(2, 53, 7), "y": torch.randn(7),
                            "s": torch.tensor(0.3)}, tolerance=2e-6, passes=())


if __name__ == "__main__":
    unittest.main()
