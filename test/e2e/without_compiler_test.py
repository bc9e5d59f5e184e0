# SPDX-License-Identifier: Apache-2.0
"""What is built without the compiler, -DMORPH_BUILD_COMPILER=OFF, has nothing of MLIR in it and runs plans and kernels
made elsewhere to the same bits; without the kernels it says so and interprets them. On a GPU (the stand-ins of test/cuda,
where they are built) it needs the plan's PTX alone."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from support import BIN, SOURCE, run

# Stays beside the build, so that only the first run compiles everything.
BUILD = BIN.parent / "without-compiler"
STAND_INS = BIN.parent / "test/cuda/lib"


def build():
    configure = ["cmake", "-S", SOURCE, "-B", BUILD, "-G", "Ninja", "-DMORPH_BUILD_COMPILER=OFF"]
    for command in (configure, ["ninja", "-C", BUILD, "morph", "morph-run"]):
        process = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-4000:]


def bench(program, plans, device="cpu", **environment):
    """The result of the gates' plan by one of the two builds, and what it says."""
    process = run(program, "bench", "--program", "gates", "--plan", f"gates={plans / 'gates.json'}", "--plan",
                  f"score={plans / 'score.json'}", "--length", 64, "--positions", 8, "--repeat", 1, "--threads", 1,
                  "--device", device, env={**os.environ, **environment})
    return json.loads(process.stdout), process.stderr


def cached(folder):
    """Variables for a cache of kernels of its own."""
    return {"MORPH_CACHE": str(folder), "TMPDIR": str(folder)}


def check_plans(folder):
    plans, ours, theirs, empty, cuda = (folder / name for name in ("plans", "ours", "theirs", "empty", "cuda"))
    for path in (plans, ours, theirs, empty, cuda):
        path.mkdir()
    base, relaxed = folder / "base.mlir", folder / "relaxed.mlir"
    run("morph-translate", "--import-spec", SOURCE / "specs/quickstart.toml", "-o", base)
    run("morph-opt", base, "--morph-search-pipeline", "-o", relaxed)
    for program, phase in (("gates", relaxed), ("score", base)):
        emit = ("morph-translate", "--emit-plan", phase, f"--program={program}", "-o")
        run(*emit, plans / f"{program}.json", env={**os.environ, "MORPH_CACHE": str(ours)})
        run(*emit, cuda / f"{program}.json", "--device=sm_90")
    expected, words = bench("morph-run", plans, **cached(ours))
    assert not words, words
    shutil.copytree(ours / "kernels", theirs / "kernels")
    without = BUILD / "bin/morph-run"
    result, words = bench(without, plans, **cached(theirs))
    assert not words and result["loss"] == expected["loss"] and result["loss"] > 0, (words, result["loss"], expected["loss"])
    result, words = bench(without, plans, **cached(empty))
    assert "are interpreted" in words and abs(result["loss"] / expected["loss"] - 1) < 1e-4, (words, result["loss"])
    if STAND_INS.exists():
        result, words = bench(without, cuda, "cuda", MORPH_CUDA_DRIVER=str(STAND_INS / "libcuda.so.1"), MORPH_STAND_IN_CHECKS="0",
                              MORPH_CUBLASLT=str(STAND_INS / "libcublasLt.so.13"))
        assert not words and abs(result["loss"] / expected["loss"] - 1) < 1e-4, (words, result["loss"], expected["loss"])


def main():
    build()
    libraries = subprocess.run(["ldd", BUILD / "bin/morph-run", BUILD / "bin/morph"], capture_output=True, text=True,
                               check=True).stdout
    assert "libtorch_cpu" in libraries and "MLIR" not in libraries and "LLVM" not in libraries, libraries
    assert not (BUILD / "bin/morph-opt").exists()
    with tempfile.TemporaryDirectory() as folder:
        check_plans(pathlib.Path(folder))
        message = run(BUILD / "bin/morph", "run", SOURCE / "specs/quickstart.toml", "--out", pathlib.Path(folder) / "run",
                      expect=1).stderr
        assert "morph-translate is not beside this one" in message and "tools/build without arguments" in message, message


main()
