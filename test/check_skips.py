# SPDX-License-Identifier: Apache-2.0
"""Fails where a test was skipped that may not be: what passes by not running proves nothing.

Usage: check_skips.py JUNIT.xml ALLOWED.txt
Skipped is what ctest calls "notrun" (exit code 77, lit's UNSUPPORTED), and what unittest and GoogleTest skip inside a
program that passes. ALLOWED names a test (a shell pattern; a case of GoogleTest is PROGRAM.SUITE.CASE) and words that its
output must hold.
"""

import fnmatch
import re
import sys
import xml.etree.ElementTree as ElementTree


def read_allowed(path):
    """The rows (pattern, words)."""
    rows = []
    with open(path) as file:
        for number, line in enumerate(file, start=1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            pattern, _, words = line.partition(" ")
            if not words.strip():
                sys.exit(f"{path}:{number}: error: '{pattern}' has no reason")
            rows.append((pattern, words.strip()))
    return rows


GTEST_SKIPPED = re.compile(r"^\[ RUN      \] (\S+)\n((?:.*\n)*?)\[  SKIPPED \] \1 \(", re.MULTILINE)


def skipped(case):
    """Names and outputs of what was skipped of a test of ctest's."""
    name, output = case.get("name"), case.findtext("system-out") or ""
    if case.get("status") in ("notrun", "disabled") or "(skipped=" in output:
        yield name, output
    for found in GTEST_SKIPPED.finditer(output):
        yield f"{name}.{found[1]}", found[2]


def main():
    results, allowed = sys.argv[1:]
    rows = read_allowed(allowed)
    wrong = []
    cases = ElementTree.parse(results).getroot().iter("testcase")
    for name, output in (pair for case in cases for pair in skipped(case)):
        if not any(fnmatch.fnmatchcase(name, pattern) and words in output for pattern, words in rows):
            wrong.append((name, output.strip().splitlines()[-3:]))
    for name, lines in wrong:
        print(f"check: error: '{name}' was skipped, and no row of {allowed} says that it may be", file=sys.stderr)
        for line in lines:
            print(f"  {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
