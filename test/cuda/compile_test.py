# SPDX-License-Identifier: Apache-2.0
"""morph compile: every program of a spec, with PTX of its own hash, that ptxas assembles where there is one; whole or not at
all."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

BIN, SOURCE = pathlib.Path(os.environ["MORPH_BIN"]), pathlib.Path(os.environ["MORPH_SOURCE_DIR"])


def compile_spec(folder, *arguments):
    command = [BIN / "morph", "compile", SOURCE / "specs/quickstart.toml", "--out", folder, *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


class CompileTest(unittest.TestCase):
    def test_quickstart(self):
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place) / "compiled"
            result = compile_spec(folder, "--device", "sm_90")
            self.assertEqual(result.returncode, 0, result.stderr)
            plans = [pathlib.Path(line) for line in result.stdout.split()]
            self.assertLessEqual({"align.json", "gates.json", "distill.json", "score.json", "decode.json"},
                                 {plan.name for plan in plans})
            for plan in plans:
                text = json.loads(plan.read_text())
                while text:
                    device = text["device"]
                    self.assertEqual(device["target"], "sm_90")
                    self.assertEqual(len(device["instructions"]), len(text["instructions"]))
                    ptx = (folder / f"{device['ptx']}.ptx").read_bytes()
                    self.assertEqual(hashlib.sha256(ptx).hexdigest(), device["ptx"])
                    text = text.get("update")
            if ptxas := shutil.which("ptxas"):
                largest = max(folder.glob("*.ptx"), key=lambda file: file.stat().st_size)
                assembled = subprocess.run([ptxas, "-arch=sm_90", "-v", largest, "-o", pathlib.Path(place) / "cubin"],
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


if __name__ == "__main__":
    unittest.main()
