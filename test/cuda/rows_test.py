# SPDX-License-Identifier: Apache-2.0
"""Rows, products, rotations and moves of rows on a GPU."""

import unittest

import torch
from programs import ProgramCase, model


class RowsTest(ProgramCase):
    def test_rows_and_products(self):
        # Lines of part of a warp, of two warps and of more, a line that no vector fits, and a product between them.
        for width in (36, 37, 64, 576, 1024, 1536):
            with self.subTest(width=width):
                text = model(f"""(%x: tensor<?x?x{width}xf32> "x" [B, T]) {{
    %w = morph.param @norm : tensor<{width}xf32>
    %m = morph.param @matrix : tensor<24x{width}xf32>
    %n = morph.rms_norm %x, %w eps 1.0e-5 : tensor<?x?x{width}xf32>, tensor<{width}xf32>
    %s = morph.silu %n : tensor<?x?x{width}xf32>
    %a = morph.add %x, %s : tensor<?x?x{width}xf32>, tensor<?x?x{width}xf32>
    %y = morph.linear %a, %m : tensor<?x?x{width}xf32>, tensor<24x{width}xf32>
    %z = morph.softplus %y : tensor<?x?x24xf32>
    morph.output "a" = %a, "z" = %z : tensor<?x?x{width}xf32>, tensor<?x?x24xf32>
  }}""", f"morph.weight @norm : tensor<{width}xf32>\n  morph.weight @matrix : tensor<24x{width}xf32>")
                torch.manual_seed(0)
                self.compare(text, {"x": torch.randn(2, 37, width)},
                             {"norm": torch.randn(width), "matrix": torch.randn(24, width) / width**0.5}, 2e-6)

    def test_sums_over_rows(self):
        # Parts of 64 rows, the last one short: by four groups of threads, by a line of two warps, added to in memory where
        # heads take turns over the weight, and totals.
        for width, heads in ((64, 1), (512, 1), (576, 1), (4096, 1), (32, 3)):
            with self.subTest(width=width, heads=heads):
                row, line = f"{heads}x{width}", f"tensor<{width}xf32>"
                text = model(f"""(%y: tensor<?x?x{row}xf32> "y" [B, T], %x: tensor<?x?x{row}xf32> "x" [B, T]) {{
    %w = morph.param @norm : {line}
    %i = morph.rms_norm_input_grad %y, %x, %w eps 1.0e-5 : tensor<?x?x{row}xf32>, tensor<?x?x{row}xf32>, {line}
    %g = morph.rms_norm_weight_grad %y, %x eps 1.0e-5 : tensor<?x?x{row}xf32>, tensor<?x?x{row}xf32>
    %b = morph.reduce_to %y rank 2 : tensor<?x?x{row}xf32>
    morph.output "i" = %i, "g" = %g, "b" = %b : tensor<?x?x{row}xf32>, {line}, tensor<{row}xf32>
  }}""", f"morph.weight @norm : {line}")
                torch.manual_seed(0)
                # Sums of 222 terms, or of three times as many.
                self.compare(text, {"y": torch.randn(3, 74, heads, width), "x": torch.randn(3, 74, heads, width)},
                             {"norm": torch.randn(width)}, 4e-6)

    def test_rope(self):
        # The table reaches six of ten elements.
        text = model("""(%x: tensor<?x?x2x10xf32> "x" [B, T], %o: tensor<?xi64> "o" [B]) {
    %r = morph.rope %x offset %o table @rope : tensor<?x?x2x10xf32>, tensor<?xi64>
    %i = morph.rope %x table @rope inverse : tensor<?x?x2x10xf32>
    morph.output "r" = %r, "i" = %i : tensor<?x?x2x10xf32>, tensor<?x?x2x10xf32>
  }""")
        torch.manual_seed(0)
        self.compare(text, {"x": torch.randn(3, 19, 2, 10), "o": torch.tensor([100_000, 0, 7])}, tolerance=2e-6)

    def test_rows_taken(self):
        text = model("""(%t: tensor<?x?xi64> "t" [B, T], %p: tensor<?xi64> "p" [N]) {
    %w = morph.param @table : tensor<11x6xbf16>
    %e = morph.embedding %t, %w : tensor<?x?xi64>, tensor<11x6xbf16>
    %r = morph.take_rows %e, %p : tensor<?x?x6xf32>, tensor<?xi64>
    %l = morph.last_rows %e : tensor<?x?x6xf32>
    morph.output "r" = %r, "l" = %l : tensor<?x6xf32>, tensor<?x6xf32>
  }""", "morph.weight @table : tensor<11x6xbf16>")
        torch.manual_seed(0)
        self.compare(text, {"t": torch.randint(0, 11, (2, 5)), "p": torch.tensor([9, 0, 4])},
                     {"table": torch.randn(11, 6).bfloat16()})


if __name__ == "__main__":
    unittest.main()
