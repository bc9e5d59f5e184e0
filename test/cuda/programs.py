# SPDX-License-Identifier: Apache-2.0
"""Programs on a GPU against the same ones on the CPU: compiled for sm_80 and sm_90, run by the very runtime on the stand-ins
for NVIDIA's driver and cuBLASLt, which also check every access."""

import collections
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import gpu
import torch
from safetensors.torch import load_file, save_file

BIN, SOURCE = pathlib.Path(os.environ["MORPH_BIN"]), pathlib.Path(os.environ["MORPH_SOURCE_DIR"])
sys.path.insert(0, str(SOURCE / "tools/python/bench"))
import cuda_model  # noqa: E402  pylint: disable=wrong-import-position
from plan_runs import run_plan  # noqa: E402  pylint: disable=wrong-import-position

PLAN_RUN = BIN.parent / "test/bin/morph-plan-run"
PTXAS = cuda_model.find_ptxas(BIN.parent)
# Where programs are kept in place of being run on the stand-ins.
KEPT = os.environ.get("MORPH_KEEP_PROGRAMS")
TARGETS = {"sm_80": "a100", "sm_90": "h100"}


def run(*command, **environment):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                            env={**os.environ, **environment})
    if result.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result


def tensor(*shape, dtype="f32"):
    return f"tensor<{'x'.join('?' if size is None else str(size) for size in shape)}{'x' if shape else ''}{dtype}>"


def begins_of(*documents):
    """[B,T] of where the document of a position begins: of a sequence the lengths of its documents."""
    return torch.tensor([[sum(lengths[:i]) for i, length in enumerate(lengths) for _ in range(length)] for lengths in documents])


def model(program, weights="", kernels=""):
    return f"""
morph.model @model base architecture "llama" layers 1 {{
  {weights}
  morph.rope_table @rope [1.0, 0.5, 0.1] attention_factor 1.5
  {kernels}
  morph.program @small{program}
}}
"""


class Program:
    """A program of a model in MLIR, in a folder, with its inputs."""

    def __init__(self, folder, text, inputs, weights=None, passes=("--morph-form-kernels",), name="small"):
        self.folder, self.passes, self.name, self.options = pathlib.Path(folder), passes, name, []
        (self.folder / "model.mlir").write_text(text)
        save_file(inputs, self.folder / "inputs.safetensors")
        if weights:
            save_file(weights, self.folder / "weights.safetensors")
            self.options = ["--weights", self.folder / "weights.safetensors"]

    @functools.cache
    def emit(self, target=None):
        """The file of the plan for a target, or for the CPU."""
        plan = self.folder / f"{target or 'cpu'}.json"
        device = f"device={target}" if target else ""
        run(BIN / "morph-opt", self.folder / "model.mlir", *self.passes,
            f"--morph-emit-plan=program={self.name} output={plan} {device}", "-o", os.devnull)
        return plan

    def run(self, target=None, *options, start=run_plan):
        """The outputs, on a GPU by the code of a target, or on the CPU without compiled kernels. `start`: starts the program."""
        plan = self.emit(target)
        output = plan.with_suffix(".safetensors")
        start(PLAN_RUN, plan, "--input", self.folder / "inputs.safetensors", "--output", output,
              "--device", "cuda" if target else "cpu", *self.options, *options,
              **({"MORPH_STAND_IN_DEVICE": TARGETS[target]} if target and gpu.is_stand_in() else {}))
        return load_file(output)

    def code(self, target):
        """What a GPU of a target is told: PTX without its first lines, which name the target, and launches."""
        device = json.loads(self.emit(target).read_text())["devices"][0]
        ptx = (self.folder / f"{device['ptx']}.ptx").read_text().partition(".address_size")[2]
        return ptx, device["instructions"]

    def keep(self, case, tolerance):
        """The program with its inputs and what the CPU made of them, for a machine with a GPU and without a compiler."""
        for target in TARGETS:
            self.emit(target)
        (self.folder / "tolerance").write_text(str(tolerance))
        shutil.copytree(self.folder, tempfile.mkdtemp(prefix=f"{case}-", dir=KEPT), dirs_exist_ok=True)

    def counts(self, target):
        """What the stand-in counted of each kernel, summed over its lines, what of it the memory had, and what ptxas says of its
        registers and spills."""
        file = self.folder / "counts.json"
        self.run(target, "--counts", file, start=run)  # Of the process's runs.
        totals = {}
        for kernel in json.loads(file.read_text()):
            total = totals.setdefault(kernel["kernel"], collections.Counter())
            for line in [kernel, *kernel["lines"]]:
                total.update({name: number for name, number in line.items() if isinstance(number, int)})
        plan = json.loads(self.emit(target).read_text())
        said = cuda_model.assemble(PTXAS, self.folder / f"{plan['devices'][0]['ptx']}.ptx", target)
        for name, total in totals.items():
            total.update(registers=said[name]["registers"], spill_bytes=said[name]["spill_bytes"])
        return totals


class ProgramCase(unittest.TestCase):
    def compare(self, text, inputs, weights=None, tolerance=1e-6, passes=("--morph-form-kernels",),
                program="small", same=None, precision="f32"):
        """A program of a model in MLIR, on the CPU (in fp64: `precision` f64) without compiled kernels and by the code of each target that the GPU runs;
        on the stand-in, which runs all PTX alike, the same code once. Outputs have the bits of those that `same` names for
        them."""
        with tempfile.TemporaryDirectory() as folder:
            one = Program(folder, text, inputs, weights, passes, program)
            expected = one.run(None, "--precision", precision)
            if KEPT:
                return one.keep(self._testMethodName, tolerance)
            done = []
            for target in TARGETS:
                with self.subTest(target=target):
                    if gpu.refuses(target):
                        self.skipTest(f"the device is too old for {target}")
                    if gpu.is_stand_in():
                        code = one.code(target)
                        if code in done:
                            continue
                        done.append(code)
                    found = one.run(target)
                    self.assertEqual(found.keys(), expected.keys())
                    for one_name, other in (same or {}).items():
                        self.assertTrue(torch.equal(found[one_name], found[other]), one_name)
                    for name in expected:
                        scale = expected[name].abs().max().item() or 1.0
                        difference = (found[name] - expected[name]).abs().max().item() / scale
                        self.assertLess(difference, tolerance, name)

    def counts(self, text, inputs, weights=None, target="sm_90"):
        """Program.counts; skipped where nothing counts or no ptxas tells spills."""
        if KEPT or not gpu.is_stand_in():
            self.skipTest("only the stand-in counts")
        if not PTXAS:
            self.skipTest("there is no ptxas")
        with tempfile.TemporaryDirectory() as folder:
            return Program(folder, text, inputs, weights).counts(target)
