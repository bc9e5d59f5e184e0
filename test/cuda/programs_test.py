# SPDX-License-Identifier: Apache-2.0
"""Programs on a GPU against the same ones on the CPU: compiled for sm_80 and sm_90, run by the very runtime on the stand-ins
for NVIDIA's driver and cuBLASLt, which also check every access."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch
from safetensors.torch import load_file, save_file

BIN = pathlib.Path(os.environ["MORPH_BIN"])
TARGETS = {"sm_80": "a100", "sm_90": "h100"}


def run(*command, **environment):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                            env={**os.environ, **environment})
    if result.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result


def model(program, weights="", kernels=""):
    return f"""
morph.model @model base architecture "llama" layers 1 {{
  {weights}
  morph.rope_table @rope [1.0, 0.5, 0.1] attention_factor 1.5
  {kernels}
  morph.program @small{program}
}}
"""


class ProgramTest(unittest.TestCase):
    def compare(self, text, inputs, weights=None, tolerance=1e-6, passes=("--morph-form-kernels",)):
        """The program `small` of a model in MLIR, on the CPU without compiled kernels and on both targets."""
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "model.mlir").write_text(text)
            save_file(inputs, folder / "inputs.safetensors")
            options = []
            if weights:
                save_file(weights, folder / "weights.safetensors")
                options = ["--weights", folder / "weights.safetensors"]

            def results(name, device, emit, **environment):
                plan = folder / f"{name}.json"
                run(BIN / "morph-opt", folder / "model.mlir", *passes,
                    f"--morph-emit-plan=program=small output={plan} {emit}", "-o", os.devnull)
                run(BIN.parent / "test/bin/morph-plan-run", plan, "--input", folder / "inputs.safetensors", "--output",
                    folder / f"{name}.safetensors", "--device", device, *options, **environment)
                return load_file(folder / f"{name}.safetensors")

            expected = results("cpu", "cpu", "")
            for target, device in TARGETS.items():
                with self.subTest(target=target):
                    found = results(target, "cuda", f"device={target}", MORPH_STAND_IN_DEVICE=device)
                    self.assertEqual(found.keys(), expected.keys())
                    for name in expected:
                        scale = max(1.0, expected[name].abs().max().item())
                        difference = (found[name] - expected[name]).abs().max().item() / scale
                        self.assertLess(difference, tolerance, name)

    def test_rows_and_products(self):
        # Lines of one warp and of several, a line that no vector fits, and a product between them.
        for width in (36, 37, 64, 1536):
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

    def test_rope(self):
        # The table reaches six of ten elements.
        text = model("""(%x: tensor<?x?x2x10xf32> "x" [B, T], %o: tensor<i64> "o") {
    %r = morph.rope %x offset %o table @rope : tensor<?x?x2x10xf32>, tensor<i64>
    %i = morph.rope %x table @rope inverse : tensor<?x?x2x10xf32>
    morph.output "r" = %r, "i" = %i : tensor<?x?x2x10xf32>, tensor<?x?x2x10xf32>
  }""")
        torch.manual_seed(0)
        self.compare(text, {"x": torch.randn(3, 19, 2, 10), "o": torch.tensor(100_000)}, tolerance=2e-6)

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
    unittest.main(argv=sys.argv[:1] + sys.argv[1:])
