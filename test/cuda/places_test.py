# SPDX-License-Identifier: Apache-2.0
"""Rows put into places, and sums over rows, on a GPU."""

import tempfile
import unittest

import gpu
import torch
from programs import KEPT, TARGETS, Program, ProgramCase, model


class PlacesTest(ProgramCase):
    def test_mask_padding(self):
        for width in (5, 6, 8):
            for batch in (1, 3):
                with self.subTest(width=width, batch=batch):
                    x = f"tensor<?x?x{width}xf32>"
                    text = model(f"""(%x: {x} "x" [B, T], %s: tensor<?xi64> "s" [B], %o: tensor<?xi64> "o" [B]) {{
    %m = morph.mask_padding %x, %s, %o : {x}, tensor<?xi64>, tensor<?xi64>
    %e = morph.exp %x : {x}
    %n = morph.mask_padding %e, %s, %o : {x}, tensor<?xi64>, tensor<?xi64>
    morph.output "m" = %m, "n" = %n : {x}, {x}
  }}""")
                    torch.manual_seed(0)
                    self.compare(text, {"x": torch.randn(batch, 19, width), "s": torch.tensor([7, 0, 40][:batch]),
                                        "o": torch.tensor([3, 0, 24][:batch])}, tolerance=2e-6)

    def test_lines(self):
        for width in (1, 6, 36, 300):
            with self.subTest(width=width):
                x, y = "tensor<?x?x3xf32>", f"tensor<?x?x3x{width}xf32>"
                text = model(f"""(%x: {x} "x" [B, T], %y: {y} "y" [B, T]) {{
    %e = morph.expand %x to {width} : {x}
    %s = morph.sum_last %y : {y}
    morph.output "e" = %e, "s" = %s : {y}, {x}
  }}""")
                torch.manual_seed(0)
                self.compare(text, {"x": torch.randn(2, 11, 3), "y": torch.randn(2, 11, 3, width)}, tolerance=2e-6)

    def test_sums_over_rows(self):
        # Fewer rows than a part has, and several parts.
        for length in (5, 67):
            with self.subTest(length=length):
                x = "tensor<?x?x2x150xf32>"
                text = model(f"""(%x: {x} "x" [B, T]) {{
    %m = morph.position_mean %x : {x}
    %r = morph.reduce_to %x rank 1 : {x}
    %t = morph.reduce_to %x rank 0 : {x}
    %u = morph.reduce_to %x rank 3 : {x}
    morph.output "m" = %m, "r" = %r, "t" = %t, "u" = %u : tensor<2x150xf32>, tensor<150xf32>, tensor<f32>, tensor<?x2x150xf32>
  }}""")
                torch.manual_seed(0)
                self.compare(text, {"x": torch.randn(3, length, 2, 150)}, tolerance=2e-6, passes=())

    def test_added_rows(self):
        # Places that nothing reaches, that one row reaches, and many; a row of less than a vector a thread, and of more.
        for width in (5, 8, 1050):
            with self.subTest(width=width):
                dy, x, n = f"tensor<?x{width}xf32>", f"tensor<?x?x{width}xf32>", "tensor<?xi64>"
                text = model(f"""(%d: {dy} "d" [N], %p: {n} "p" [N], %x: {x} "x" [B, T], %i: tensor<?x?xi64> "i" [B, T]) {{
    %s = morph.scatter_rows %d, %p, %x : {dy}, {n}, {x}
    %e = morph.embedding_grad %x, %i rows 29 : {x}, tensor<?x?xi64>
    morph.output "s" = %s, "e" = %e : {x}, tensor<29x{width}xf32>
  }}""")
                torch.manual_seed(0)
                ids = torch.randint(0, 29, (3, 100))
                ids[:, ::3] = 7
                self.compare(text, {"d": torch.randn(6, width), "p": torch.tensor([299, 3, 3, 0, 299, 299]),
                                    "x": torch.randn(3, 100, width), "i": ids}, tolerance=2e-6)

    def test_cache_write(self):
        # Rings of both types, written around their end, before it and wholly.
        for dtype, offset, length, width in (("f32", 3, 5, 8), ("bf16", 12, 5, 5), ("bf16", 0, 1, 8), ("f32", 2, 11, 3)):
            with self.subTest(dtype=dtype, offset=offset, length=length):
                ring, x = f"tensor<?x?x2x{width}x{dtype}>", f"tensor<?x?x2x{width}xf32>"
                text = model(f"""(%c: {ring} "c" [B, S], %x: {x} "x" [B, T], %o: tensor<?xi64> "o" [B]) {{
    %r = morph.cache_write %c, %x offset %o : {ring}, {x}, tensor<?xi64>
    morph.output "c" = %r : {ring}
  }}""")
                torch.manual_seed(0)
                self.compare(text, {"c": torch.randn(2, 11, 2, width).to(getattr(torch, {"f32": "float32"}.get(dtype, "bfloat16"))),
                                    "x": torch.randn(2, length, 2, width), "o": torch.tensor([offset, offset + 4])})

    def expect_refused(self, text, inputs, message):
        """A program's inputs are refused on the CPU and on a GPU, with the same words."""
        if KEPT:
            self.skipTest("what is kept is what runs")
        with tempfile.TemporaryDirectory() as folder:
            one = Program(folder, text, inputs)
            for target in (None, *TARGETS):
                if target and gpu.refuses(target):
                    continue
                with self.subTest(target=target), self.assertRaisesRegex(RuntimeError, message):
                    one.run(target)

    def test_rings_that_are_too_small(self):
        ring, x = "tensor<?x?x2x8xf32>", "tensor<?x?x2x8xf32>"
        text = model(f"""(%c: {ring} "c" [B, S], %x: {x} "x" [B, T], %o: tensor<?xi64> "o" [B]) {{
    %r = morph.cache_write %c, %x offset %o : {ring}, {x}, tensor<?xi64>
    morph.output "c" = %r : {ring}
  }}""")
        self.expect_refused(text, {"c": torch.zeros(2, 11, 2, 8), "x": torch.zeros(2, 12, 2, 8), "o": torch.tensor([0, 4])},
                            "program 'small': cache_write_c4: T is 12, expected no more than S, which is 11")
        for window, offset, seen in (("", 9, 12), ("window 10", 40, 12)):
            with self.subTest(window=window):
                text = model(f"""(%q: {x} "q" [B, T], %k: {ring} "k" [B, S], %o: tensor<?xi64> "o" [B]) {{
    %y = morph.attention %q, %k, %k offset %o scale 0.3 {window} : {x}, {ring}, {ring} offset tensor<?xi64>
    morph.output "y" = %y : {x}
  }}""")
                self.expect_refused(text, {"q": torch.zeros(2, 3, 2, 8), "k": torch.zeros(2, 11, 2, 8),
                                           "o": torch.tensor([8, offset])},
                                    f"input 'o' of program 'small' holds {offset} at element 1: 3 positions from there on see "
                                    f"{seen}, but a ring keeps 11")

    def test_attention_distance(self):
        # More keys than threads, with and without a window, heads that share keys; scores with a bound.
        for batch, length, options in ((1, 300, ""), (3, 21, "window 5"), (2, 7, "window 100"),
                                       (2, 70, "window 60 softcap 2.0"), (1, 300, "softcap 2.0")):
            with self.subTest(length=length, options=options):
                q, k = "tensor<?x?x4x6xf32>", "tensor<?x?x2x6xf32>"
                text = model(f"""(%q: {q} "q" [B, T], %k: {k} "k" [B, T]) {{
    %d = morph.attention_distance %q, %k scale 0.4 {options} : {q}, {k}
    morph.output "d" = %d : tensor<4xf32>
  }}""")
                torch.manual_seed(0)
                self.compare(text, {"q": torch.randn(batch, length, 4, 6), "k": torch.randn(batch, length, 2, 6)},
                             tolerance=2e-6)


if __name__ == "__main__":
    unittest.main()
