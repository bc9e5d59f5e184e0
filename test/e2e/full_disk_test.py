# SPDX-License-Identifier: Apache-2.0
"""A run that cannot write says so, keeps what it has, and goes on once there is room. A limit on the size of files stands
for a disk that is too small, /dev/full for one that is full: both work everywhere, a small disk only for root."""

import pathlib
import resource
import signal
import subprocess
import tempfile

from small_model import make_inputs
from support import BIN, run

# Above what the compiler writes, below the branches' checkpoint.
LIMIT = 180_000


def limit_files():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def main():
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        make_inputs(folder)
        out = folder / "out"
        command = ["morph", "run", folder / "small.toml", "--out", out]
        for key in ("align", "select", "distill", "finetune"):
            command += ["--set", f"{key}.steps=2", "--set", f"{key}.checkpoint_every=1"]

        limited = subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True, preexec_fn=limit_files,
                                 restore_signals=False, check=False)
        print(limited.stderr)
        assert limited.returncode == 1, limited.returncode
        assert "stage 'align' failed; the reason stands above" in limited.stderr
        assert "File too large" in limited.stderr and str(out / "align.partial") in limited.stderr
        assert not list(out.rglob("*.safetensors.partial")), "something half-written is left"

        (out / "align.partial/checkpoint.safetensors.partial").symlink_to("/dev/full")
        full = run(*command, expect=1).stderr
        print(full)
        assert "No space left on device" in full and "the disk is full: free some space" in full
        assert not list(out.rglob("*.safetensors.partial")), "something half-written is left"

        assert "The hybrid: " in run(*command).stdout


main()
