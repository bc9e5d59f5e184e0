# SPDX-License-Identifier: Apache-2.0
"""Starts the packed program `morph` with this Python and its packages. Run as a file it takes morph's own arguments."""

import importlib.util
import os
import pathlib
import sys

HOME = pathlib.Path(__file__).resolve().parent
PROGRAM = HOME / "bin/morph"


def environment() -> dict[str, str]:
    """The variables that the program needs: where Python, its packages, PyTorch's libraries and Morph's own files are.

    Raises ModuleNotFoundError where this Python has no package torch.
    """
    found = importlib.util.find_spec("torch")
    if not found or not found.origin:
        raise ModuleNotFoundError(f"{sys.executable} has no package torch", name="torch")
    torch = pathlib.Path(found.origin).parent
    # NVIDIA's libraries come with PyTorch as wheels of their own.
    libraries = [torch / "lib", *sorted(torch.parent.glob("nvidia/*/lib")), HOME / "lib"]
    packages = [path for path in sys.path if path.endswith("-packages")]
    before = os.environ.get("LD_LIBRARY_PATH")
    return os.environ | {
        "MORPH_PYTHON": sys.executable,
        "MORPH_PYTHON_ENV": sys.prefix,
        "MORPH_PYTHON_PACKAGES": ":".join(packages),
        "MORPH_SOURCE_DIR": str(HOME),
        "LD_LIBRARY_PATH": ":".join([*map(str, libraries), *([before] if before else [])]),
    }


def main() -> None:
    """The command `morph`. The process becomes the program; exit code 1 where torch is missing."""
    try:
        variables = environment()
    except ModuleNotFoundError as error:
        print(f"morph: error: {error}\nmorph: hint: {sys.executable} -m pip install -r {HOME}/tools/python/requirements.txt, "
              "or name another Python in MORPH_PYTHON", file=sys.stderr)
        sys.exit(1)
    os.execve(PROGRAM, ["morph", *sys.argv[1:]], variables)


if __name__ == "__main__":
    main()
