# SPDX-License-Identifier: Apache-2.0
"""Every kernel of a spec at its model's full width and vocabulary becomes PTX: `morph plan --device` and the tests of small
models do without."""

import os
import pathlib
import subprocess
import sys
import tempfile

BIN, SOURCE = pathlib.Path(os.environ["MORPH_BIN"]), pathlib.Path(os.environ["MORPH_SOURCE_DIR"])


def main():
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place) / "compiled"
        subprocess.run([BIN / "morph", "compile", SOURCE / "specs" / sys.argv[1], "--device", "sm_80,sm_90", "--out", folder],
                       check=True, stdout=subprocess.DEVNULL)
        texts = [file.read_text() for file in folder.glob("*.ptx")]
        for target in ("sm_80", "sm_90"):
            assert any(f".target {target}" in text and ".entry linear_attention" in text for text in texts), target


if __name__ == "__main__":
    main()
