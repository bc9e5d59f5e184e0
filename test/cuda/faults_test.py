# SPDX-License-Identifier: Apache-2.0
"""Programs of the quickstart's model whose code is wrong: the stand-in sees what a kernel reads of its arena that is not its own,
and errors name kernel, instruction and layer. Which of a program's runs are graphs, too."""

import hashlib
import json
import os
import pathlib
import re
import sys
import tempfile
import unittest

import torch
from safetensors.torch import load_file, save_file

SOURCE, BIN = pathlib.Path(os.environ["MORPH_SOURCE_DIR"]), pathlib.Path(os.environ["MORPH_BIN"])
sys.path.insert(0, str(SOURCE / "tools/python/bench"))
import cuda_programs  # noqa: E402  pylint: disable=wrong-import-position

PROGRAM = "score"


class FaultsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.programs = cuda_programs.Programs(BIN, SOURCE, "quickstart", "sm_90", cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def ptx(self, plan):
        return self.programs.folder / "plans" / f"{plan['devices'][0]['ptx']}.ptx"

    def launches_of(self, op, layer=None):
        """Places of instructions of the op that launch kernels; with a layer, those that read weights of it."""
        plan = self.programs.plans[PROGRAM]
        weights = {weight["value"] for weight in plan["weights"] if f"layers.{layer}." in weight["name"]}
        return [place for place, (instruction, code) in enumerate(zip(plan["instructions"], plan["devices"][0]["instructions"]))
                if instruction["op"] == op and code["launches"] and
                (layer is None or weights & set(instruction["operands"]))]

    def plant(self, place, bytes_off):
        """A plan whose instruction at a place launches a kernel of its own, which loads too far. Returns the kernel's name."""
        plan = json.loads(json.dumps(self.programs.plans[PROGRAM]))
        launch = plan["devices"][0]["instructions"][place]["launches"][0]
        text = self.ptx(plan).read_text()
        kernel = re.search(rf"(\.visible )?\.entry {launch['kernel']}\(.*?\n}}\n", text, re.DOTALL)[0]
        launch["kernel"], before = "planted", launch["kernel"]
        wrong, count = re.subn(r"(ld\.global[\w.:]*\s+[^;\[]*\[%\w+)(\+\d+)?\]",
                               lambda found: f"{found[1]}+{int(found[2] or 0) + bytes_off}]", kernel, count=1)
        self.assertEqual(count, 1, kernel)
        text += wrong.replace(before, "planted")
        plan["devices"][0]["ptx"] = hashlib.sha256(text.encode()).hexdigest()
        self.ptx(plan).write_text(text)
        self.programs.plans["planted"] = plan

    def error_of(self, **environment):
        with self.assertRaises(RuntimeError) as failed:
            self.programs.run("planted", 1, 37, "cuda", **environment)
        return str(failed.exception)

    def name_of(self, place, layer=None):
        op = self.programs.plans[PROGRAM]["instructions"][place]["op"]
        return f"program '{PROGRAM}': instruction {place} ({op}{'' if layer is None else f', layer {layer}'})"

    def test_loads_outside_operands(self):
        for place, layer in ((self.launches_of("launch", 1)[0], 1), (self.launches_of("token_nll")[0], None)):
            for bytes_off in (8192, 20000):
                with self.subTest(layer=layer, bytes_off=bytes_off):
                    self.plant(place, bytes_off)
                    message = self.error_of(MORPH_CUDA_SYNC="1")
                    # The arena is one allocation.
                    self.assertRegex(message, r"stand-in driver: kernel planted, PTX line \d+ `ld\.global.*: loads \d+ bytes at \w+, \d+ "
                                              r"bytes into an allocation of \d+, (in no buffer|beyond the end of a buffer of \d+ bytes) "
                                              r"that the launch was given")
                    error = message[message.index("morph-plan-run: error"):]
                    self.assertIn(f"error: {self.name_of(place, layer)}: kernel 'planted': CUDA_ERROR_ILLEGAL_ADDRESS", error)
                    self.assertEqual(error.count(PROGRAM), 1, error)
                    self.assertEqual(error.count("instruction"), 1, error)

    def test_late_errors(self):
        place = self.launches_of("launch", 1)[0]
        self.plant(place, 20000)
        error = self.error_of()
        error = error[error.index("morph-plan-run: error"):]
        found = re.search(r"in one of the (\d+) launches since the device was last waited for, of which the last are: (.*)", error)
        self.assertTrue(found and int(found[1]) > place, error)
        self.assertEqual(found[2].count(f"program '{PROGRAM}': instruction "), 8, error)
        self.assertIn("MORPH_CUDA_SYNC=1", error)

    def graph_launches(self, *run, **options):
        """How many graphs a run launches, and the file of its outputs."""
        with tempfile.NamedTemporaryFile() as report:
            outputs = self.programs.run(*run, "cuda", **options, MORPH_STAND_IN_REPORT=report.name)
            return json.load(report)["graph_launches"], outputs

    def test_training_steps_launch_graphs(self):
        for program in ("gates", "gates_update"):
            with self.subTest(program=program):
                launches, outputs = self.graph_launches(program, 1, 37, runs=3)
                # The first run finds the memory, which the others use again.
                self.assertEqual(launches, 2)
                expected = load_file(self.programs.run(program, 1, 37, "cpu", "f64", runs=3))
                for name, value in load_file(outputs).items():
                    difference = (value - expected[name]).abs().max().item() / max(expected[name].abs().max().item(), 1e-3)
                    self.assertLess(difference, 2e-4, name)

    def test_decode_launches_graphs(self):
        tokens = torch.randint(0, 200, (1, 12), generator=cuda_programs.generator("tokens"))
        save_file({"tokens": tokens, "pieces": torch.tensor([6, 2, 1, 1, 1, 1])}, self.programs.folder / "decode-1-12.safetensors")
        # The steps of one token but for the first.
        self.assertEqual(self.graph_launches("decode", 1, 12)[0], 3)


if __name__ == "__main__":
    unittest.main()
