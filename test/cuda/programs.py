# SPDX-License-Identifier: Apache-2.0
"""Programs on a GPU against the same ones on the CPU: compiled for sm_80 and sm_90, run by the very runtime on the stand-ins
for NVIDIA's driver and cuBLASLt, which also check every access."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import torch
from safetensors.torch import load_file, save_file

BIN = pathlib.Path(os.environ["MORPH_BIN"])
# Where programs are kept in place of being run on the stand-ins.
KEPT = os.environ.get("MORPH_KEEP_PROGRAMS")
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


class ProgramCase(unittest.TestCase):
    def compare(self, text, inputs, weights=None, tolerance=1e-6, passes=("--morph-form-kernels",),
                program="small"):
        """A program of a model in MLIR, on the CPU without compiled kernels and on both targets."""
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
                    f"--morph-emit-plan=program={program} output={plan} {emit}", "-o", os.devnull)
                run(BIN.parent / "test/bin/morph-plan-run", plan, "--input", folder / "inputs.safetensors", "--output",
                    folder / f"{name}.safetensors", "--device", device, *options, **environment)
                return load_file(folder / f"{name}.safetensors")

            expected = results("cpu", "cpu", "")
            if KEPT:
                return self.keep(folder, program, passes, tolerance)
            for target, device in TARGETS.items():
                with self.subTest(target=target):
                    found = results(target, "cuda", f"device={target}", MORPH_STAND_IN_DEVICE=device)
                    self.assertEqual(found.keys(), expected.keys())
                    for name in expected:
                        scale = max(1.0, expected[name].abs().max().item())
                        difference = (found[name] - expected[name]).abs().max().item() / scale
                        self.assertLess(difference, tolerance, name)

    def keep(self, folder, program, passes, tolerance):
        """The program with its inputs and what the CPU made of them, for a machine with a GPU and without a compiler."""
        for target in TARGETS:
            run(BIN / "morph-opt", folder / "model.mlir", *passes,
                f"--morph-emit-plan=program={program} output={folder / target}.json device={target}", "-o", os.devnull)
        (folder / "tolerance").write_text(str(tolerance))
        shutil.copytree(folder, tempfile.mkdtemp(prefix=f"{self._testMethodName}-", dir=KEPT), dirs_exist_ok=True)
