# SPDX-License-Identifier: Apache-2.0
"""specs_test.py MODEL: every program of a model's spec on a GPU against the CPU in fp64, weights and inputs random; lengths are
no multiple of a tile. All PTX is assembled for every generation that runs it."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from safetensors.torch import load_file

SOURCE, BIN = pathlib.Path(os.environ["MORPH_SOURCE_DIR"]), pathlib.Path(os.environ["MORPH_BIN"])
sys.path.insert(0, str(SOURCE / "tools/python/bench"))
import cuda_model  # noqa: E402  pylint: disable=wrong-import-position
import cuda_programs  # noqa: E402  pylint: disable=wrong-import-position
from cuda_programs import distances  # noqa: E402  pylint: disable=wrong-import-position

MODEL = sys.argv.pop()
# Sequences and tokens by target.
CASES = {"quickstart": {"sm_80": [(2, 37)], "sm_90": [(1, 70), (3, 21)]},
         "stories260K": {"sm_80": [(2, 37)], "sm_90": [(1, 131), (3, 70)]},
         "qwen3-layer": {"sm_80": [(2, 21)], "sm_90": [(1, 70), (3, 9)]}}
# Programs of a layer of Qwen3's width take their time: all of them for one target and case, these for the others.
FEW = {"qwen3-layer": ("align", "decode", "decode-full", "gates")}
# Of an output's largest magnitude. Gradients of the CPU in fp32 are as far from fp64: 5e-5. In bf16 an output may be farther off
# if the CPU's is, with factors rounded as on tensor cores: some processors would not round them.
TOLERANCE = {"fp32": 2e-4, "bf16": 3e-2}
GENERATIONS = {"sm_80": ("sm_80", "sm_90", "sm_100"), "sm_90": ("sm_90", "sm_100")}
DEVICES = {"sm_80": "a100", "sm_90": "h100"}


class SpecsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.programs = {target: cuda_programs.Programs(BIN, SOURCE, MODEL, target, cls.folder.name) for target in DEVICES}
        cls.precision = cuda_programs.MODELS[MODEL]["precision"]

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_every_program_is_there(self):
        for programs in self.programs.values():
            self.assertLessEqual({"align", "align_update", "gates", "gates_update", "distill", "distill_update", "finetune",
                                  "finetune_update", "score", "decode", "decode-full"}, set(programs.plans))

    def test_programs(self):
        for target, programs in self.programs.items():
            cases, known = CASES[MODEL][target], set()
            for program, plan in programs.plans.items():
                kernels = {launch["kernel"] for code in plan["devices"][0]["instructions"] for launch in code["launches"]}
                # Of the large model, programs that are made of the kernels of others are left out.
                if MODEL in FEW and kernels <= known:
                    continue
                known |= kernels
                for case in cases:
                    # An update has no tokens.
                    if case != cases[0] and program.endswith("_update"):
                        continue
                    if (target, case) != ("sm_90", cases[0]) and program not in FEW.get(MODEL, [program]):
                        continue
                    with self.subTest(target=target, program=program, case=case):
                        self.compare(programs, program, *case)

    def compare(self, programs, program, batch, length):
        expected = load_file(programs.run(program, batch, length, "cpu", "f64"))
        found = load_file(programs.run(program, batch, length, "cuda", MORPH_STAND_IN_DEVICE=DEVICES[programs.target]))
        self.assertEqual(found.keys(), expected.keys())
        far = {name: distance for name, distance in distances(found, expected).items()
               if not distance < TOLERANCE[self.precision]}
        if far and self.precision == "bf16":
            half = distances(load_file(programs.run(program, batch, length, "cpu", factors="rounded")), expected)
            far = {name: (distance, half[name]) for name, distance in far.items() if not distance < 2 * half[name]}
        self.assertFalse(far)

    @unittest.skipUnless(cuda_model.find_ptxas(BIN.parent), "there is no ptxas")
    def test_ptx_is_assembled(self):
        ptxas = cuda_model.find_ptxas(BIN.parent)
        for target, programs in self.programs.items():
            files = sorted((programs.folder / "plans").glob("*.ptx"))
            self.assertGreater(len(files), 5)
            for generation in GENERATIONS[target]:
                done = [subprocess.run([ptxas, f"-arch={generation}", file, "-o", os.devnull], capture_output=True, text=True)
                        for file in files]
                for each in done:
                    self.assertEqual(each.returncode, 0, f"{generation}: {each.stderr}")


if __name__ == "__main__":
    unittest.main()
