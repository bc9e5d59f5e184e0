# SPDX-License-Identifier: Apache-2.0
"""What tools/package packs runs without the build: from another folder, with another Python's packages, and a model goes
through the compiler and the runtime."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from support import BIN, SOURCE


def main():
    os.environ["MORPH_BUILD"] = str(BIN.parent)
    with tempfile.TemporaryDirectory() as folder:
        packed = pathlib.Path(folder) / "packed"
        subprocess.run([SOURCE / "tools/package", packed], check=True)
        moved = pathlib.Path(folder) / "elsewhere"
        shutil.move(packed, moved)
        # Nothing of this environment but the Python.
        environment = {"PATH": os.environ["PATH"], "MORPH_PYTHON": sys.executable, "HOME": folder}

        def morph(*arguments, expect=0):
            result = subprocess.run([moved / "morph", *arguments], capture_output=True, text=True, env=environment)
            assert result.returncode == expect, (arguments, result.stdout, result.stderr)
            return result

        found = morph("doctor").stdout
        for name in ("morph-translate", "morph-opt", "morph-run"):
            assert f"{moved}/bin/{name}" in found, found
        # The libraries are those that came along.
        maps = subprocess.run(["ldd", moved / "bin/morph-opt"], capture_output=True, text=True,
                              env={**environment, "LD_LIBRARY_PATH": str(moved / "lib")}).stdout
        assert f"{moved}/lib/libLLVM" in maps, maps
        text = morph("generate", moved / "specs/models/tiny-recall", "--prompt", "a", "--max-tokens", "2").stdout
        assert text.strip(), text

        environment["MORPH_PYTHON"] = shutil.which("false")
        assert "no package torch" in morph("doctor", expect=1).stderr
        again = subprocess.run([SOURCE / "tools/package", moved], capture_output=True, text=True)
        assert again.returncode == 2 and "is there already" in again.stderr, again


main()
