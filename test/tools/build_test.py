# SPDX-License-Identifier: Apache-2.0
"""What tools/build says and passes to cmake, whose cache of an earlier call may leave something out. cmake and ninja are
stand-ins: one writes the cache as cmake does, the other has work where there is a file `work`."""

import os
import pathlib
import subprocess
import tempfile

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
CMAKE = """#!/usr/bin/env python3
import os, pathlib, sys
cache = pathlib.Path(os.environ["MORPH_BUILD"], "CMakeCache.txt")
values = dict(line.split("=") for line in cache.read_text().split()) if cache.exists() else {}
for word in sys.argv[1:]:
    if word.startswith("-D"):
        name, value = word[2:].split("=")
        values[name + ":BOOL"] = value
cache.write_text("".join(f"{name}={value}\\n" for name, value in values.items()))
"""
NINJA = """#!/bin/sh
[ "$3" = -n ] && { [ -e "$MORPH_BUILD/work" ] || echo "ninja: no work to do."; }
exit 0
"""


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        build = folder / "out"
        for program, text in (("cmake", CMAKE), ("ninja", NINJA)):
            (folder / program).write_text(text)
            (folder / program).chmod(0o755)

        def run(*arguments):
            environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "MORPH_BUILD": str(build)}
            done = subprocess.run([SOURCE / "tools/build", *arguments], capture_output=True, text=True, env=environment)
            assert done.returncode == 0, done.stderr
            return done.stdout, dict(line.split("=") for line in (build / "CMakeCache.txt").read_text().split())

        words, cache = run("-DMORPH_BUILD_COMPILER=OFF")
        assert cache["MORPH_BUILD_COMPILER:BOOL"] == "OFF" and "everything" not in words, (words, cache)
        assert "compiling" not in words and "build: ready" in words, words
        (build / "work").touch()
        words, cache = run()
        assert cache["MORPH_BUILD_COMPILER:BOOL"] == "ON" and "compiling into" in words, (words, cache)
        assert "now with what the last one left out: MORPH_BUILD_COMPILER" in words, words
        assert "everything" not in run()[0]


main()
