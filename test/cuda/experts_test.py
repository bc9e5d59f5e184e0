# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts on a GPU: the router, its experts, and the gradients of both."""

import unittest

import torch
from programs import ProgramCase, model

GRADIENTS = """
    %dx, %dr = morph.experts_input_grad {operands} active {active} : {types}
    %dg, %dd = morph.experts_weight_grad {operands} active {active} : {types}"""


def program(experts, active, width, inner, count, dtype="f32", normalised="normalised"):
    """The router, experts on what it chose, and all gradients, of rows [N,width]."""
    x, r = f"tensor<?x{width}x{dtype}>", f"tensor<?x{experts}xf32>"
    g, d = f"tensor<{experts}x{2 * inner}x{width}x{dtype}>", f"tensor<{experts}x{width}x{inner}x{dtype}>"
    wide = f"tensor<?x{width}xf32>"
    cast = (lambda name, kind: f'\n    %{name} = morph.cast %{name}0 to "{dtype}" : {kind}') if dtype != "f32" else None
    narrow = "".join(cast(name, kind) for name, kind in (
        ("x", wide), ("dy", wide), ("g", g.replace(dtype, "f32")), ("d", d.replace(dtype, "f32")))) if cast else ""
    zero = "0" if cast else ""
    return model(f"""(%x{zero}: {wide} "x" [N], %l: {r} "l" [N], %dy{zero}: {wide} "dy" [N], %g{zero}: {g.replace(dtype, "f32")} "g", %d{zero}: {d.replace(dtype, "f32")} "d") {{{narrow}
    %r = morph.top_k_softmax %l count {count} {normalised} : {r}
    %y = morph.experts %x, %r, %g, %d active {active} : {x}, {r}, {g}, {d}
    {GRADIENTS.format(operands="%dy, %x, %r, %g, %d", active=active, types=f"{x}, {x}, {r}, {g}, {d}")}
    %dl = morph.top_k_softmax_grad %dr, %l, %r count {count} {normalised} : {r}, {r}, {r}
    morph.output "r" = %r, "y" = %y, "dx" = %dx, "dr" = %dr, "dg" = %dg, "dd" = %dd, "dl" = %dl : {r}, {wide}, {wide}, {r}, {g.replace(dtype, "f32")}, {d.replace(dtype, "f32")}, {r}
  }}""")


def inputs(rows, experts, width, inner):
    torch.manual_seed(0)
    return {"x": torch.randn(rows, width), "l": 2 * torch.randn(rows, experts), "dy": torch.randn(rows, width),
            "g": torch.randn(experts, 2 * inner, width) / width**0.5, "d": torch.randn(experts, width, inner) / inner**0.5}


class ExpertsTest(ProgramCase):
    def test_fp32(self):
        # Sizes that are no multiples of a tile, rows for more than one tile of an expert, one row, experts of no row.
        for rows, experts, active, width, inner in ((150, 3, 2, 40, 24), (1, 5, 2, 64, 70), (70, 9, 1, 12, 6)):
            with self.subTest(rows=rows, experts=experts):
                self.compare(program(experts, active, width, inner, active), inputs(rows, experts, width, inner), tolerance=3e-6)

    def test_without_normalisation(self):
        self.compare(program(6, 2, 16, 8, 2, normalised=""), inputs(40, 6, 16, 8), tolerance=3e-6)

    def test_bf16(self):
        self.compare(program(4, 2, 64, 96, 2, "bf16"), inputs(100, 4, 64, 96), tolerance=2e-2)

    def test_equal_logits(self):
        given = inputs(5, 6, 16, 8)
        given["l"] = torch.tensor([[1.0, 3, 3, 3, 0, 3]]).repeat(5, 1)
        self.compare(program(6, 2, 16, 8, 2), given, tolerance=3e-6)


if __name__ == "__main__":
    unittest.main()
