# SPDX-License-Identifier: Apache-2.0
"""Checks that every constraint label is in the op's definition, in the code that reports it and in a breaking test.

Usage: labels.py SOURCE_DIR. A test is a function or model named by the label, or by the label and a suffix.
"""

import pathlib
import re
import sys

LABEL = re.compile(r"\b([a-z][a-z0-9_]*_c[1-9][0-9]*)\b")


def labels_of(paths, pattern=LABEL):
    return {match for path in paths for match in pattern.findall(path.read_text())}


def main():
    source = pathlib.Path(sys.argv[1])
    defined = labels_of(source.glob("dialect/*.td"))
    reported = labels_of(list(source.glob("dialect/*.cpp")) + list(source.glob("dialect/backends/*.cpp")))
    named = re.compile(r"(?:func\.func|morph\.model) @([a-z][a-z0-9_]*_c[1-9][0-9]*)(?:_[a-z]+)?\b")
    broken = labels_of(source.glob("test/dialect/invalid*.mlir"), named)
    problems = [f"{label}: defined in dialect/*.td, never reported" for label in sorted(defined - reported)]
    problems += [f"{label}: reported, not defined in dialect/*.td" for label in sorted(reported - defined)]
    problems += [f"{label}: no test of test/dialect/invalid*.mlir breaks it" for label in sorted(defined - broken)]
    problems += [f"{label}: tested, not defined in dialect/*.td" for label in sorted(broken - defined)]
    print("\n".join(problems) or f"{len(defined)} labels are defined, reported and tested")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
