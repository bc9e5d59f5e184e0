# SPDX-License-Identifier: Apache-2.0
"""A GPU that is too small for a program's values, its weights or the workspace of products: the error has what takes the memory,
the bytes, and of values the length that fits, which does fit."""

import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from support import run  # noqa: E402

COMMAND = ("morph", "bench", "gates", "--shape", "2,64,4,2,128,256", "--precision", "fp32", "--device", "cuda", "--repeat", 1,
           "--json", "--length")
WORKSPACE = 2**25


def small(memory):
    return {**os.environ, "MORPH_STAND_IN_MEMORY": str(memory), "MORPH_STAND_IN_CHECKS": "0"}


def main():
    message = run(*COMMAND, 32, expect=1, env=small(WORKSPACE - 1)).stderr
    assert re.search(f"program 'gates': out of memory on NVIDIA H100.*: the workspace of products takes {WORKSPACE} bytes "
                     f"beside 0 that are held, \\d+ of {WORKSPACE - 1} are free", message), message

    message = run(*COMMAND, 32, expect=1, env=small(WORKSPACE + 100000)).stderr
    words = re.search(r"out of memory on NVIDIA H100.*: the weights of program 'gates' take (\d+) bytes, '(\S+)' alone (\d+); "
                      r"(\d+) are free beside \d+ that are held", message)
    assert words and "hint: no length would fit" in message, message
    assert int(words[1]) > int(words[4]) >= 90000, message
    assert "embed" in words[2] and int(words[3]) < int(words[1]), message

    environment = small(WORKSPACE + 5000000)
    message = run(*COMMAND, 512, expect=1, env=environment).stderr
    words = re.search(r"out of memory on NVIDIA H100.*: the values of program 'gates' take (\d+) bytes at B=1 N=32 T=512, "
                      r"(\d+) are free beside weights and caches, which take \d+", message)
    assert words and int(words[1]) > int(words[2]), message
    fits = int(re.search(r"hint: a length of (\d+) would fit", message)[1])
    assert 32 < fits < 512, message
    # A bench holds matrices of its own beside the program.
    run(*COMMAND, fits * 3 // 4, env=environment)
    run(*COMMAND, fits + 1, expect=1, env=environment)


main()
