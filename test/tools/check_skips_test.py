# SPDX-License-Identifier: Apache-2.0
"""test/check_skips.py: which skipped tests it lets pass."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(os.environ["MORPH_SOURCE_DIR"]) / "test/check_skips.py"
ALLOWED = "# a comment\n\npython.stories  stories is not here\nlit.*  features: shared\n"


class CheckSkips(unittest.TestCase):
    def check(self, status, output, name="python.stories", allowed=ALLOWED):
        """Exit code and stderr for one test case of ctest's report."""
        with tempfile.TemporaryDirectory() as folder:
            results, rows = pathlib.Path(folder, "ctest.xml"), pathlib.Path(folder, "allowed.txt")
            results.write_text(
                f'<testsuite><testcase name="whole" status="run"/><testcase name="{name}" status="{status}">'
                f"<system-out>{output}</system-out></testcase></testsuite>"
            )
            rows.write_text(allowed)
            done = subprocess.run([sys.executable, SCRIPT, results, rows], capture_output=True, text=True)
            return done.returncode, done.stderr

    def test_what_ran_is_not_looked_at(self):
        self.assertEqual(self.check("run", "all well"), (0, ""))

    def test_listed_for_its_reason(self):
        self.assertEqual(self.check("notrun", "skipped: stories is not here"), (0, ""))
        self.assertEqual(self.check("notrun", "features: shared", name="lit.passes/a.mlir"), (0, ""))

    def test_another_reason_or_another_test(self):
        for name, words in (("python.stories", "no time"), ("python.parity", "stories is not here")):
            code, error = self.check("notrun", f"skipped: {words}", name=name)
            self.assertEqual(code, 1)
            self.assertIn(f"'{name}' was skipped", error)
            self.assertIn(words, error)

    def test_inside_a_program_that_passes(self):
        self.assertEqual(self.check("run", "test_a ... skipped 'no root'\nOK (skipped=1)")[0], 1)

    def test_cases_of_googletest(self):
        output = """[ RUN      ] Suite.Fits
[       OK ] Suite.Fits (0 ms)
[ RUN      ] Suite.One
File.cpp:9: Skipped
this machine has one
[  SKIPPED ] Suite.One (0 ms)
[  SKIPPED ] 1 test, listed below:
"""
        for row, expected in (("p.Suite.One  has one", 0), ("p.Suite.Fits  has one", 1), ("p.Suite.One  has two", 1)):
            code, error = self.check("run", output, name="p", allowed=row)
            self.assertEqual((code, "'p.Suite.One' was skipped" in error), (expected, bool(expected)), row)

    def test_disabled(self):
        self.assertEqual(self.check("disabled", "")[0], 1)

    def test_a_row_without_a_reason(self):
        code, error = self.check("run", "", allowed="python.stories\n")
        self.assertEqual(code, 1)
        self.assertIn("allowed.txt:1: error: 'python.stories' has no reason", error)


if __name__ == "__main__":
    unittest.main(verbosity=2)
