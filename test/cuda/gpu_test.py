# SPDX-License-Identifier: Apache-2.0
"""Runs a test of this folder, or a program of tests, on the machine's GPU and NVIDIA's libraries: gpu_test.py COMMAND ..."""

import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from support import BIN, skip  # noqa: E402

report = subprocess.run([BIN / "morph", "doctor", "--json"], stdout=subprocess.PIPE, text=True).stdout
cuda = next(finding for finding in json.loads(report) if finding["name"] == "CUDA")
if not cuda["found"]:
    skip(cuda["detail"])
# The tests of the driver take the stand-in where no other is named.
sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, "MORPH_CUDA_DRIVER": "libcuda.so.1"}).returncode)
