# SPDX-License-Identifier: Apache-2.0
"""The guide's pages: each page's blocks of `sh`, one after another in an empty folder, as a reader would type them.

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

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main():
    text = (SOURCE / "specs/guide" / sys.argv[1]).read_text()
    blocks = BLOCK.findall(text)
    assert blocks, "a page without commands"
    environment = {**os.environ, "MORPH": str(SOURCE), "PATH": f"{BIN}:{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory() as folder:
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
