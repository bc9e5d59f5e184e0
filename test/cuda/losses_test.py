# SPDX-License-Identifier: Apache-2.0
"""Losses, measures and their gradients on a GPU."""

import tempfile
import unittest

import gpu
import torch
from programs import KEPT, TARGETS, Program, ProgramCase, model


class LossesTest(ProgramCase):
    def test_rows_of_logits(self):
        # Vectors of four, two and one; less than a vector a thread and more than one; equal largest logits.
        for vocabulary in (50, 2051, 4104):
            with self.subTest(vocabulary=vocabulary):
                rows = f"tensor<?x{vocabulary}xf32>"
                text = model(f"""(%x: {rows} "x" [N], %y: {rows} "y" [N], %t: tensor<?xi64> "t" [N], %d: tensor<?xf32> "d" [N]) {{
    %nll = morph.token_nll %x, %t : {rows}, tensor<?xi64>
    %right = morph.correct %x, %t : {rows}, tensor<?xi64>
    %kl = morph.kl_divergence %x, %y : {rows}, {rows}
    %gn = morph.token_nll_grad %d, %x, %t : tensor<?xf32>, {rows}, tensor<?xi64>
    %gk = morph.kl_divergence_grad %d, %x, %y : tensor<?xf32>, {rows}, {rows}
    %gn2 = morph.token_nll_grad %d, %gn, %t : tensor<?xf32>, {rows}, tensor<?xi64>
    %gk2 = morph.kl_divergence_grad %d, %x, %gk : tensor<?xf32>, {rows}, {rows}
    %top = morph.keep_top %x count 7 : {rows}
    %one = morph.keep_top %x count 1 : {rows}
    %all = morph.keep_top %x count {vocabulary} : {rows}
    morph.output "nll" = %nll, "right" = %right, "kl" = %kl, "gn2" = %gn2, "gk2" = %gk2, "top" = %top, "one" = %one, "all" = %all : tensor<?xf32>, tensor<?xf32>, tensor<?xf32>, {rows}, {rows}, {rows}, {rows}, {rows}
  }}""")
                torch.manual_seed(0)
                x = 3 * torch.randn(5, vocabulary)
                t = torch.randint(0, vocabulary, (5,))
                t[0], t[1] = x[0].argmax(), x[1].argmax()
                x[2, 3] = x[2, 5] = 20  # The first of two counts: row 3 has it, row 2 the other.
                x[3, 3] = x[3, 5] = 20
                t[2], t[3] = 5, 3
                # A row far from zero.
                x[4] += 1000
                self.compare(text, {"x": x, "y": x + 2 * torch.randn(5, vocabulary), "t": t, "d": torch.randn(5)},
                             tolerance=2e-6, precision="f64")

    def test_top_of_logits_that_are_far_apart(self):
        # To the bit: the largest are left however small the smallest are; zeros of both signs are equal.
        if KEPT:
            self.skipTest("what is kept has a tolerance")
        rows = torch.arange(200.0).repeat(6, 1)
        rows[0, 0] = -1e30
        rows[1, :2] = -torch.inf
        rows[2] *= 1e-30
        rows[3, :150] = -3e38
        rows[4] = torch.where(rows[4] < 150, -0.0, 0.0) - torch.where(rows[4] < 20, 1.0, 0.0)
        rows[5] = torch.where(rows[5] < 191, -1e-30 * rows[5], 3e38)
        logits = "tensor<?x200xf32>"
        for count in (1, 10, 150):
            text = model(f"""(%x: {logits} "x" [N]) {{
    %top = morph.keep_top %x count {count} : {logits}
    morph.output "top" = %top : {logits}
  }}""")
            last, largest = rows.sort(descending=True).values[:, [count - 1]], rows.amax(1, keepdim=True)
            expected = torch.where(rows < last, largest - 200, rows)
            with tempfile.TemporaryDirectory() as folder:
                one = Program(folder, text, {"x": rows})
                for target in (None, *TARGETS):
                    if target and gpu.refuses(target):
                        continue
                    with self.subTest(count=count, target=target):
                        self.assertTrue(torch.equal(one.run(target)["top"], expected))

    def test_reverse_kl(self):
        # Its gradient is what is left of logarithms as large as the divergence. In fp32 the
        # CPU's logarithms are off by as much as is allowed here, on some processors.
        for vocabulary in (50, 2051, 4104):
            with self.subTest(vocabulary=vocabulary):
                rows = f"tensor<?x{vocabulary}xf32>"
                text = model(f"""(%x: {rows} "x" [N], %y: {rows} "y" [N], %d: tensor<?xf32> "d" [N]) {{
    %kl = morph.reverse_kl_divergence %x, %y : {rows}, {rows}
    %g = morph.reverse_kl_divergence_grad %d, %x, %y : tensor<?xf32>, {rows}, {rows}
    %g2 = morph.reverse_kl_divergence_grad %d, %x, %g : tensor<?xf32>, {rows}, {rows}
    morph.output "kl" = %kl, "g2" = %g2 : tensor<?xf32>, {rows}
  }}""")
                torch.manual_seed(0)
                x = torch.randn(5, vocabulary)
                self.compare(text, {"x": x, "y": x + torch.randn(5, vocabulary), "d": torch.randn(5)},
                             tolerance=2e-6, precision="f64")

    def test_scalars(self):
        # Sums of one part and of several, in vectors and not.
        for rows, width in ((1, 3), (7, 64), (411, 60)):
            with self.subTest(rows=rows, width=width):
                x, n, scalar = f"tensor<?x{width}xf32>", "tensor<?xf32>", "tensor<f32>"
                errors = "".join(f"""
    %e{i} = morph.squared_error %x, %y normalize "{normalize}" : {x}
    %g{i} = morph.squared_error_grad %d, %x, %y normalize "{normalize}" : {scalar}, {x}, {x}
    %h{i} = morph.squared_error_grad %d, %g{i}, %y normalize "{normalize}" : {scalar}, {x}, {x}"""
                                 for i, normalize in enumerate(("mean", "rows", "relative")))
                text = model(f"""(%x: {x} "x" [N], %y: {x} "y" [N], %d: {scalar} "d", %w: {n} "w" [N], %v: {n} "v" [N]) {{
    {errors}
    %m = morph.weighted_mean %v, %w : {n}, {n}
    %q = morph.weighted_mean_grad %d, %w : {scalar}, {n}
    %r = morph.weighted_mean_grad %d, %q : {scalar}, {n}
    %o = morph.ones
    %s = morph.stack %e0, %e1, %e2, %m, %o : {", ".join([scalar] * 5)}
    morph.output "h0" = %h0, "h1" = %h1, "h2" = %h2, "r" = %r, "s" = %s : {x}, {x}, {x}, {n}, tensor<5xf32>
  }}""")
                torch.manual_seed(0)
                self.compare(text, {"x": torch.randn(rows, width), "y": torch.randn(rows, width),
                                    "d": torch.tensor(0.7), "w": torch.rand(rows) + 0.1, "v": torch.randn(rows)},
                             tolerance=2e-6)

    def test_target_of_zeros(self):
        text = model("""(%x: tensor<4x8xf32> "x", %y: tensor<4x8xf32> "y") {
    %e = morph.squared_error %x, %y normalize "relative" : tensor<4x8xf32>
    morph.output "e" = %e : tensor<f32>
  }""")
        self.compare(text, {"x": torch.full((4, 8), 1e-20), "y": torch.zeros(4, 8)}, tolerance=2e-6)


if __name__ == "__main__":
    unittest.main()
