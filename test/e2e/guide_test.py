# SPDX-License-Identifier: Apache-2.0
"""The guide's pages: each page's blocks of `sh`, one after another in an empty folder, as a reader would type them, but with a
fifth of their steps and less text to evaluate.

    guide_test.py PAGE      the file's name in specs/guide
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

from support import BIN, SOURCE

# What comes last counts.
MORPH = f"""#!/bin/sh
case "$1" in
run | select | audit) set -- "$@" --set align.warmup=1 --set distill.warmup=1 --set evaluate.perplexity_tokens=1024 ;;
esac
exec {BIN}/morph "$@"
"""
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main():
    text = (SOURCE / "specs/guide" / sys.argv[1]).read_text()
    blocks = BLOCK.findall(text)
    assert blocks, "a page without commands"
    blocks = [re.sub(r"(steps ?= ?)(\d+)", lambda found: found[1] + str(max(2, int(found[2]) // 5)), block) for block in blocks]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as programs:
        pathlib.Path(programs, "morph").write_text(MORPH)
        pathlib.Path(programs, "morph").chmod(0o755)
        environment = {**os.environ, "MORPH": str(SOURCE), "PATH": f"{programs}:{BIN}:{os.environ['PATH']}"}
        for block in blocks:
            print(block, flush=True)
            shell = subprocess.Popen(["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=environment,
                                     start_new_session=True)
            code = shell.wait()
            if code:
                # What the block has begun would hold the test's output open.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
            assert code == 0, f"exit code {code}"
        left = {path.name for path in pathlib.Path(folder).iterdir()}
        named = set(re.findall(r"--out (\S+)", "".join(blocks)))
        assert named <= left, (named, left)


if __name__ == "__main__":
    main()
