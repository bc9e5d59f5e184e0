# SPDX-License-Identifier: Apache-2.0
"""morph compile: every program of a spec, with PTX of its own hash, that ptxas assembles where there is one; whole or not at
all. The runtime refuses what is not whole, and code that its GPU does not run."""

import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import gpu
import torch
from programs import BIN, PLAN_RUN, PTXAS, SOURCE, Program, model
from safetensors.torch import load_file


EXP = model("""(%x: tensor<?x8xf32> "x" [N]) {
    %y = morph.exp %x : tensor<?x8xf32>
    morph.output "y" = %y : tensor<?x8xf32>
  }""")


def compile_spec(folder, *arguments):
    command = [BIN / "morph", "compile", SOURCE / "specs/quickstart.toml", "--out", folder, *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


class CompileTest(unittest.TestCase):
    def test_quickstart(self):
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place) / "compiled"
            result = compile_spec(folder, "--device", "h100")  # Its generation is sm_90.
            self.assertEqual(result.returncode, 0, result.stderr)
            plans = [pathlib.Path(line) for line in result.stdout.split()]
            self.assertLessEqual({"align.json", "gates.json", "distill.json", "score.json", "decode.json"},
                                 {plan.name for plan in plans})
            for plan in plans:
                text = json.loads(plan.read_text())
                while text:
                    device = text["devices"][0]
                    self.assertEqual(device["target"], "sm_90")
                    self.assertEqual(len(device["instructions"]), len(text["instructions"]))
                    ptx = (folder / f"{device['ptx']}.ptx").read_bytes()
                    self.assertEqual(hashlib.sha256(ptx).hexdigest(), device["ptx"])
                    text = text.get("update")
            if PTXAS:
                largest = max(folder.glob("*.ptx"), key=lambda file: file.stat().st_size)
                assembled = subprocess.run([PTXAS, "-arch=sm_90", "-v", largest, "-o", pathlib.Path(place) / "cubin"],
                                           capture_output=True, text=True)
                self.assertEqual(assembled.returncode, 0, assembled.stderr)

            # What is there is not written over, and what fails leaves nothing.
            again = compile_spec(folder, "--device", "sm_90")
            self.assertEqual(again.returncode, 2)
            self.assertIn("is there and not empty", again.stderr)
            other = compile_spec(pathlib.Path(place) / "other", "--device", "sm_90", "--set", "linear.backend=glaa")
            self.assertEqual(other.returncode, 2)
            self.assertEqual(sorted(path.name for path in pathlib.Path(place).iterdir() if path.is_dir()), ["compiled"])
            self.assertEqual(compile_spec(pathlib.Path(place) / "old", "--device", "sm_70").returncode, 2)
            self.assertEqual(compile_spec(pathlib.Path(place) / "old", "--device", "sm_90,sm_70").returncode, 2)

    def test_targets(self):
        """A plan of several targets runs on each: the latest code that a device runs, whose file alone must be right there."""
        if not gpu.is_stand_in():
            self.skipTest("only the stand-in plays several devices")
        with tempfile.TemporaryDirectory() as folder:
            program = Program(folder, EXP, {"x": torch.zeros(3, 8)})
            plan = program.emit("sm_90,sm_80")
            written = json.loads(plan.read_text())
            codes = written["devices"]
            self.assertEqual([code["target"] for code in codes], ["sm_80", "sm_90"])
            for code in codes:
                self.assertIn(f".target {code['target']}", plan.with_name(f"{code['ptx']}.ptx").read_text())
            # Which of them is run: the other's launches name no kernel of its PTX.
            for device, mine in (("a100", 0), ("h100", 1)):
                for broken in (0, 1):
                    damaged = json.loads(json.dumps(written))
                    damaged["devices"][broken]["instructions"][0]["launches"][0]["kernel"] = "other"
                    plan.write_text(json.dumps(damaged))
                    if broken == mine:
                        self.check_refused(plan, device, "the PTX of program 'small' has no kernel 'other'")
                    else:
                        self.check_runs(plan, device)

    def start_plan(self, plan, device):
        return subprocess.run([str(part) for part in (
            PLAN_RUN, plan, "--input", plan.parent / "inputs.safetensors", "--output", plan.parent / "outputs", "--device",
            "cuda")], capture_output=True, text=True, env={**os.environ, "MORPH_STAND_IN_DEVICE": device})

    def check_runs(self, plan, device):
        result = self.start_plan(plan, device)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(load_file(plan.parent / "outputs")["y"].eq(1).all())

    def check_refused(self, plan, device, *words):
        """That a plan is not run on a device; the error's words."""
        result = self.start_plan(plan, device)
        self.assertEqual(result.returncode, 2, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def test_refused_plans(self):
        if not gpu.is_stand_in():
            self.skipTest("only the stand-in plays an older device")
        with tempfile.TemporaryDirectory() as folder:
            program = Program(folder, EXP, {"x": torch.zeros(3, 8)})
            self.assertTrue(program.run("sm_90")["y"].eq(1).all())
            plan = program.emit("sm_90")
            self.check_refused(plan, "a100", "program 'small' is compiled for sm_90, and NVIDIA A100", "is sm_80",
                               "hint: compile it for sm_80 or an earlier one")
            # What only the driver and the sizes of a run tell.
            text = json.loads(plan.read_text())
            launch = text["devices"][0]["instructions"][0]["launches"][0]
            for key, value, words in (("grid", [[[1, 1, ["Z"], 1]], 1, 1], "names a size 'Z', which the program does not have"),
                                      ("kernel", "other", "the PTX of program 'small' has no kernel 'other'")):
                old, launch[key] = launch[key], value
                plan.write_text(json.dumps(text))
                self.check_refused(plan, "h100", words)
                launch[key] = old
            # What tells costs alone.
            old, text["devices"][0]["ptx"] = text["devices"][0]["ptx"], ""
            plan.write_text(json.dumps(text))
            self.check_refused(plan, "h100", "program 'small' has no PTX: a plan that tells costs")
            text["devices"][0]["ptx"] = old
            plan.write_text(json.dumps(text))
            plan = program.emit("sm_90")
            ptx = plan.with_name(json.loads(plan.read_text())["devices"][0]["ptx"] + ".ptx")
            ptx.write_text(ptx.read_text().replace("ret;", "ret; ", 1))
            self.check_refused(plan, "h100", f"'{ptx}' is not what its name says: its hash is another",
                               "hint: compile the program again")
            ptx.unlink()
            self.check_refused(plan, "h100", f"'{ptx}'", "No such file")


if __name__ == "__main__":
    unittest.main()
