# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end checks share: running programs, reading what they wrote, small models."""

import json
import os
import pathlib
import subprocess
import sys

BIN = pathlib.Path(os.environ["MORPH_BIN"])
SOURCE = pathlib.Path(os.environ["MORPH_SOURCE_DIR"])
SHARED = SOURCE.parent / "shared"
SKIPPED = 77


def skip(reason):
    """Ends the check as skipped, with the reason."""
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def run(*command, expect=0, **options):
    """Runs a program of build/bin, checks its exit code and returns the finished process with text output."""
    process = subprocess.run(
        [str(BIN / command[0]), *map(str, command[1:])], capture_output=True, text=True, check=False, **options
    )
    assert process.returncode == expect, (
        f"{' '.join(map(str, command))}\nexit code {process.returncode}, expected {expect}\n"
        f"{process.stdout[-4000:]}\n{process.stderr[-4000:]}"
    )
    return process


def read_json(path):
    """The parsed JSON of a file."""
    return json.loads(pathlib.Path(path).read_text())


def read_lines(path):
    """The parsed lines of a JSON-lines file."""
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
