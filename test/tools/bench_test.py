# SPDX-License-Identifier: Apache-2.0
"""tools/bench with a program in the place of Morph that says how long it took: which rows of the file of --json are run again, and
what is said of wrong input. (Real rows are in test/e2e.)"""

import contextlib
import io
import json
import os
import pathlib
import sys
import tempfile
import types
import unittest
from unittest import mock

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tools/python/bench"))
import bench  # noqa: E402  pylint: disable=wrong-import-position

FIGURES = {"median_seconds": 1.5, "passes": {"Total": 0.5}, "cpu": "a CPU"}


class BenchTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.folder = pathlib.Path(place.name)
        self.file, self.calls = self.folder / "bench.json", self.folder / "calls"
        self.program(f"echo '{json.dumps(FIGURES)}'")

    def program(self, text):
        """What stands in for Morph."""
        (self.folder / "morph").write_text(f'#!/bin/sh\necho "$@" >>"{self.calls}"\n{text}\n')
        (self.folder / "morph").chmod(0o755)

    def bench(self, *arguments, expect=0):
        """What the command prints, in this process, which has its packages already."""
        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), \
             mock.patch.object(bench, "MORPH", self.folder / "morph"), \
             mock.patch.object(sys, "argv", ["bench.py", *map(str, arguments)]):
            try:
                code = bench.exit_status("bench", bench.main)
            except SystemExit as end:
                code = end.code
        self.assertEqual(code, expect, stdout.getvalue() + stderr.getvalue())
        return types.SimpleNamespace(stdout=stdout.getvalue(), stderr=stderr.getvalue())

    def count(self, *arguments, expect=0):
        """How many rows are run."""
        self.calls.write_text("")
        self.bench("--only", "compile-12", "--json", self.file, *arguments, expect=expect)
        return len(self.calls.read_text().splitlines())

    def test_rows_of_the_same_setup_are_not_run_again(self):
        self.assertEqual([self.count("--threads", threads) for threads in (1, 1, 2, 2)], [1, 0, 1, 0])
        # Without threads all cores are taken, which may be as many.
        self.assertEqual([self.count(), self.count("--threads", os.cpu_count())], [int(os.cpu_count() != 2), 0])
        self.assertEqual([self.count("--device", "cuda") for _ in range(2)], [1, 0])
        setup = json.loads(self.file.read_text())["compile-12"]["setup"]
        self.assertEqual(setup, {"device": "cuda", "threads": os.cpu_count(), "precision": None, "peers": []})
        # Of a file of before setups were kept nothing is known.
        self.file.write_text(json.dumps({"compile-12": {"morph": FIGURES}}))
        self.assertEqual(self.count(), 1)

    def test_peers_are_of_the_setup(self):
        def peers(row, *given):
            return bench.setup_of(bench.make_rows()[row], types.SimpleNamespace(device="cpu", threads=1, peers=[*given]))

        self.assertEqual(peers("gates-small-bf16", "eager", "compile"),
                         {"device": "cpu", "threads": 1, "precision": "bf16", "peers": ["eager", "compile"]})
        self.assertNotEqual(peers("gates-small-bf16", "eager"), peers("gates-small-bf16", "eager", "compile"))
        # Decoding has one peer, compiling none.
        self.assertEqual(peers("decode-1k", "eager"), peers("decode-1k", "eager", "compile"))
        self.assertEqual(peers("compile-12"), peers("compile-12", "eager", "compile"))

    def test_old_figures_are_not_shown(self):
        self.assertIn("1.5", self.bench("--only", "compile-12", "--json", self.file, "--threads", 1).stdout)
        self.program("echo no memory >&2; exit 1")
        done = self.bench("--only", "compile-12", "--json", self.file, "--threads", 2, expect=1)
        self.assertIn("bench: error: compile-12: no memory", done.stderr)
        self.assertEqual(done.stdout, "")
        # They stay what they were.
        self.assertIn("1.5", self.bench("--only", "compile-12", "--json", self.file, "--threads", 1).stdout)

    def test_wrong_input(self):
        for content, words in (("{", "is no JSON"), ("[]", "is no file of results"), ('{"compile-12": 3}', "is no file of results")):
            self.file.write_text(content)
            done = self.bench("--only", "compile-12", "--json", self.file, expect=2)
            self.assertIn(f"bench: error: '{self.file}' {words}", done.stderr)
            self.assertIn("bench: hint: ", done.stderr)
        done = self.bench("--only", "compile-12", "--json", self.file / "below", expect=2)
        self.assertIn(f"bench: error: --json: '{self.file}/below' cannot be written: ", done.stderr)
        self.assertFalse(self.calls.exists())
        serve = ("--serve", "--hybrid", SOURCE / "specs/models/tiny-recall")
        done = self.bench(*serve, "--base", "/nope", expect=2)
        self.assertEqual(done.stderr, "bench: error: '/nope' is no model folder: it has no config.json\n"
                                      "bench: hint: give the folder hybrid/ of a run, or its base's\n")
        done = self.bench(*serve, "--base", "/nope", "--contexts", "1k", expect=2)
        self.assertIn("argument --contexts: '1k' is no list of numbers with commas between, as 1024,8192", done.stderr)


if __name__ == "__main__":
    unittest.main()
