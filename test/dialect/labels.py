# SPDX-License-Identifier: Apache-2.0
"""Checks that every constraint label is defined, reported and tested.

Usage: labels.py SOURCE_DIR. A label is defined in an op's description, in dialect/*.td; reported by a rule there, as a
string of its own, or by a message in dialect/*.cpp; tested by a function or model named by it, or by it and a suffix.
"""

import pathlib
import re
import sys

LABEL = r"\b([a-z][a-z0-9_]*_c[1-9][0-9]*)\b"
DESCRIPTION = re.compile(r'let (?:summary|description) = (?:"((?:[^"\\]|\\.)*)"|\[\{(.*?)\}\])', re.DOTALL)
COMMENT = re.compile(r"//.*")


def labels_of(texts, pattern=LABEL):
    return {label for text in texts for label in re.findall(pattern, text)}


def main():
    source = pathlib.Path(sys.argv[1])
    definitions = [path.read_text() for path in source.glob("dialect/*.td")]
    code = [COMMENT.sub("", path.read_text()) for path in source.glob("dialect/**/*.cpp")]
    rules = [DESCRIPTION.sub("", COMMENT.sub("", text)) for text in definitions]
    tests = [path.read_text() for path in source.glob("test/dialect/invalid*.mlir")]
    defined = labels_of("".join(pair) for text in definitions for pair in DESCRIPTION.findall(text))
    reported = labels_of(code) | labels_of(rules, f'"{LABEL}"')
    broken = labels_of(tests, rf"(?:func\.func|morph\.model) @{LABEL[2:-2]}(?:_[a-z]+)?\b")
    problems = [f"{label}: defined in dialect/*.td, never reported" for label in sorted(defined - reported)]
    problems += [f"{label}: reported, in no description of dialect/*.td" for label in sorted(reported - defined)]
    problems += [f"{label}: no test of test/dialect/invalid*.mlir breaks it" for label in sorted(defined - broken)]
    problems += [f"{label}: tested, not defined in dialect/*.td" for label in sorted(broken - defined)]
    print("\n".join(problems) or f"{len(defined)} labels are defined, reported and tested")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
