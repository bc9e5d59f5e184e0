# SPDX-License-Identifier: Apache-2.0
"""tools/gpu-check without a GPU: which code it takes for which, and that each part that compares can be wrong. Programs run on
the stand-ins; programs of tests and Morph are scripts that say what a GPU might make them say."""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import torch
from programs import BIN, PLAN_RUN, SOURCE
from safetensors.torch import load_file, save_file

os.environ["MORPH_BUILD"] = str(BIN.parent)
sys.path.insert(0, str(SOURCE / "tools/python/gpu"))
import check  # noqa: E402  pylint: disable=wrong-import-position
import pack  # noqa: E402  pylint: disable=wrong-import-position

LOSSES = [{"stage": "align", "step": step, "loss": loss} for step, loss in ((1, 4.0), (2, 3.0), (3, 2.0))]


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def write_run(folder, kept, lines):
    """What a run leaves of its selection and losses."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "selection.json").write_text(json.dumps({"kept": kept}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


class GpuCheckTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.folder = pathlib.Path(place.name)

    def code(self, part, capability=(9, 0), device="a GPU"):
        """The exit code of a part."""
        with mock.patch("torch.cuda.get_device_capability", return_value=capability), \
             mock.patch("torch.cuda.get_device_name", return_value=device), mock.patch("torch.zeros"), \
             mock.patch.dict(os.environ), contextlib.redirect_stdout(io.StringIO()):
            return check.main(self.folder, [part])

    def test_targets(self):
        for capability, targets in (((7, 5), []), ((8, 0), ["sm_80"]), ((8, 9), ["sm_80"]), ((9, 0), ["sm_80", "sm_90"]),
                                    ((10, 0), ["sm_80", "sm_90"])):
            with mock.patch("torch.cuda.get_device_capability", return_value=capability):
                self.assertEqual(check.targets(), targets)

    def test_timed_programs_are_of_every_target(self):
        packed = self.folder / "a folder"
        pack.emit_timed(packed)
        for part in ("rows", "attention", "recurrence"):
            places = list((packed / part).iterdir())
            self.assertEqual(len(places), 2)
            for place in places:
                for target in check.TARGETS:
                    device = json.loads((place / f"{target}.json").read_text())["devices"][0]
                    self.assertEqual(device["target"], target)
                    self.assertIn(f".target {target}", (place / f"{device['ptx']}.ptx").read_text())

    def test_programs(self):
        programs = self.folder / "programs"
        programs.mkdir()
        subprocess.run([sys.executable, pathlib.Path(__file__).with_name("elements_test.py"), "--quiet"], check=True,
                       env={**os.environ, "MORPH_KEEP_PROGRAMS": str(programs)})
        (self.folder / "morph-plan-run").symlink_to(PLAN_RUN)
        for capability, device, code, runs in (((8, 0), "a100", 0, 1), ((9, 0), "h100", 0, 2), ((9, 0), "a100", 1, 2)):
            os.environ["MORPH_STAND_IN_DEVICE"] = device
            self.assertEqual(self.code("programs", capability), code)
            line = json.loads((self.folder / "result.json").read_text())["programs"]["test_alone"]
            self.assertEqual((line["runs"], line["wrong"]), (runs, code), line)
        os.environ["MORPH_STAND_IN_DEVICE"] = "h100"
        expected = next(programs.iterdir()) / "cpu.safetensors"
        right = load_file(expected)
        for wrong in (right["e"] * 1.001, torch.full_like(right["e"], float("nan"))):
            save_file({**right, "e": wrong}, expected)
            self.assertEqual(self.code("programs"), 1)

    def test_tests(self):
        passes = 'echo "[  PASSED  ] 2 tests."'
        failure = 'echo "[  FAILED  ] Device.Copies (3 ms)"; '
        script(self.folder / "cuda-driver-test", passes)
        for name, text, code in (("passes", passes, 0), ("fails", failure + passes + "; exit 1", 1),
                                 ("crashes", "kill -SEGV $$", 1), ("crashes late", passes + "; exit 3", 1),
                                 ("runs nothing", "exit 0", 1)):
            with self.subTest(name):
                script(self.folder / "cuda-device-test", text)
                self.assertEqual(self.code("tests"), code)

    def test_what_hangs_is_wrong(self):
        """It ends neither the other programs nor the other parts."""
        for name in ("hangs-0", "runs-0"):
            place = self.folder / "programs" / name
            place.mkdir(parents=True)
            save_file({"e": torch.ones(2)}, place / "cpu.safetensors")
            save_file({"e": torch.ones(2)}, place / "sm_80.found")
            (place / "tolerance").write_text("1e-3")
        # So that what it starts is ended with it.
        script(self.folder / "morph-plan-run", 'case "$1" in *hangs*) exec sleep 60 ;; esac')
        script(self.folder / "cuda-driver-test", 'echo "[  PASSED  ] 2 tests."')
        script(self.folder / "cuda-device-test", "exec sleep 60")
        with mock.patch.object(check, "PROGRAM_SECONDS", 1), mock.patch.object(check, "TESTS_SECONDS", 1):
            self.assertEqual((self.code("programs", (8, 0)), self.code("tests")), (1, 1))
        result = json.loads((self.folder / "result.json").read_text())
        self.assertEqual({name: line["wrong"] for name, line in result["programs"].items()}, {"hangs": 1, "runs": 0})
        self.assertEqual(result["programs"]["hangs"]["errors"], ["hangs-0 sm_80: no end within 1 s"])
        self.assertEqual((result["tests"]["driver"]["code"], result["tests"]["device"]["code"]), (0, "no end within 1 s"))

    def test_figures_of_another_gpu_go(self):
        for name in ("cuda-driver-test", "cuda-device-test"):
            script(self.folder / name, 'echo "[  PASSED  ] 2 tests."')
        file = self.folder / "result.json"

        def parts(**options):
            self.assertEqual(self.code("tests", **options), 0)
            return set(json.loads(file.read_text()))

        own = {"device", "torch", "tests"}
        file.write_text(json.dumps({"device": "a GPU", "torch": torch.__version__, "rows": {}}))
        self.assertEqual(parts(), own | {"rows"})
        self.assertEqual(parts(device="another GPU"), own)
        file.write_text(json.dumps({"device": "another GPU", "torch": "1.0", "rows": {}}))
        self.assertEqual(parts(device="another GPU"), own)

    def test_bench_is_run_again(self):
        """bench.py leaves out rows that its file has."""
        bench = self.folder / "morph/tools/python/bench/bench.py"
        bench.parent.mkdir(parents=True)
        bench.write_text("import pathlib, sys\nfile = pathlib.Path(sys.argv[sys.argv.index('--json') + 1])\n"
                         "assert not file.exists()\nfile.write_text('{\"row\": {}}')\n")
        (self.folder / "bench.json").write_text('{"old": {}}')
        self.assertEqual(self.code("bench"), 0)
        self.assertEqual(json.loads((self.folder / "result.json").read_text())["bench"], {"row": {}})

    def test_quickstart(self):
        write_run(self.folder / "quickstart", [1, 4], LOSSES)
        script(self.folder / "morph/morph", f'cp -r "{self.folder}/found" "$4"')
        near, far, none = ([LOSSES[0], {**LOSSES[1], "loss": loss}, LOSSES[2]] for loss in (3.0029, 3.0031, float("nan")))
        for name, kept, lines, code in (
                ("the same", [1, 4], LOSSES, 0), ("near", [1, 4], near, 0), ("another layer", [1, 5], LOSSES, 1),
                ("another loss between the ends", [1, 4], far, 1), ("no number", [1, 4], none, 1),
                ("fewer steps", [1, 4], LOSSES[:2], 1)):
            with self.subTest(name):
                # Each is looked at anew, though the one before has left its run.
                write_run(self.folder / "found", kept, lines)
                self.assertEqual(self.code("quickstart"), code)
        script(self.folder / "morph/morph", "echo no memory >&2; exit 1")
        self.assertEqual(self.code("quickstart"), 1)

    def test_wrong_use(self):
        with contextlib.redirect_stderr(io.StringIO()) as words:
            self.assertEqual(self.code("quickstarts"), 2)
        self.assertIn("there is no part 'quickstarts'", words.getvalue())
        result = subprocess.run([SOURCE / "tools/gpu-check", "pack", self.folder / "packed"], capture_output=True, text=True,
                                env={**os.environ, "MORPH_BUILD": "/nowhere"})
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("error: /nowhere/bin/morph-opt is not there", result.stderr)
        # Meant from the clone, wherever the caller stands.
        result = subprocess.run([SOURCE / "tools/gpu-check", "pack", self.folder / "packed"], capture_output=True, text=True,
                                env={**os.environ, "MORPH_BUILD": "no-build"}, cwd=self.folder)
        self.assertIn(f"error: {SOURCE.resolve()}/no-build/bin/morph-opt is not there", result.stderr)
        result = subprocess.run([SOURCE / "tools/gpu-check", "pack", self.folder / "packed"], capture_output=True, text=True,
                                env={**os.environ, "MORPH_CACHE": str(self.folder)})
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("gpu-check: hint: run tools/setup first", result.stderr)


if __name__ == "__main__":
    unittest.main()
