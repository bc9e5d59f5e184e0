# SPDX-License-Identifier: Apache-2.0
"""What a step does with gradients, on a GPU."""

import unittest

import torch
from programs import ProgramCase, model


class UpdatesTest(ProgramCase):
    def test_accumulate(self):
        for width in (7, 8, 4098):
            with self.subTest(width=width):
                t = f"tensor<3x{width}xf32>"
                text = model(f"""(%s: {t} "s", %x: {t} "x", %share: tensor<f32> "share") {{
    %a = morph.accumulate %s, %x, %share : {t}, {t}, tensor<f32>
    morph.output "s" = %a : {t}
  }}""")
                torch.manual_seed(0)
                self.compare(text, {"s": torch.randn(3, width), "x": torch.randn(3, width),
                                    "share": torch.tensor(0.25)}, tolerance=2e-6)

    def test_adamw(self):
        # Two groups of parameters, whose norms are clipped or small enough, at the first step, a late and a very late one.
        for step, scale in ((1, 1.0), (1000, 1e-6), (2**31 - 1, 3.0)):
            with self.subTest(step=step):
                t, u = "tensor<37x260xf32>", "tensor<3xf32>"
                attributes = "beta1 = 0.9 : f64, beta2 = 0.95 : f64, epsilon = 1.0e-8 : f64"
                text = model(f"""(%p: {t} "p", %g: {t} "g", %m: {t} "m", %v: {t} "v",
        %q: {u} "q", %h: {u} "h", %n: {u} "n", %w: {u} "w", %rate: tensor<f32> "rate", %step: tensor<i64> "step") {{
    %norm = morph.global_norm %g, %h : {t}, {u}
    %c = morph.clip %g, %norm limit 0.5 : {t}, tensor<f32>
    %d = morph.clip %h, %norm limit 0.5 : {u}, tensor<f32>
    %p1, %m1, %v1 = morph.adamw %p, %c, %m, %v, %rate, %step {{{attributes}, weight_decay = 0.1 : f64}} : {t}, {t}, {t}, {t}, tensor<f32>, tensor<i64>
    %q1, %n1, %w1 = morph.adamw %q, %d, %n, %w, %rate, %step {{{attributes}, weight_decay = 0.0 : f64}} : {u}, {u}, {u}, {u}, tensor<f32>, tensor<i64>
    morph.output "norm" = %norm, "p" = %p1, "m" = %m1, "v" = %v1, "q" = %q1, "n" = %n1, "w" = %w1 : tensor<f32>, {t}, {t}, {t}, {u}, {u}, {u}
  }}""")
                torch.manual_seed(0)
                shape = (37, 260)
                self.compare(text, {"p": torch.randn(shape), "g": scale * torch.randn(shape),
                                    "m": 0.1 * scale * torch.randn(shape), "v": scale**2 * torch.rand(shape),
                                    "q": torch.randn(3), "h": scale * torch.randn(3),
                                    "n": 0.1 * scale * torch.randn(3), "w": scale**2 * torch.rand(3),
                                    "rate": torch.tensor(1e-2), "step": torch.tensor(step)}, tolerance=2e-6)

    def test_many_scalars(self):
        # More than one launch of stack takes.
        count = 70
        names = [f"s{i}" for i in range(count)]
        inputs = ", ".join(f'%{name}: tensor<f32> "{name}"' for name in names)
        text = model(f"""({inputs}) {{
    %s = morph.stack {", ".join("%" + name for name in names)} : {", ".join(["tensor<f32>"] * count)}
    morph.output "s" = %s : tensor<{count}xf32>
  }}""")
        self.compare(text, {name: torch.tensor(float(i)) for i, name in enumerate(names)})


if __name__ == "__main__":
    unittest.main()
