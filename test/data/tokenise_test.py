# SPDX-License-Identifier: Apache-2.0
"""`tools/bench --tokenise`: three times the corpus takes three times the tokens, and no more memory."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ["MORPH_SOURCE_DIR"])


def measure(megabytes, file):
    subprocess.run([sys.executable, SOURCE / "tools/python/bench/bench.py", "--tokenise", "--megabytes", str(megabytes), "--json",
                    file], check=True)
    return json.loads(pathlib.Path(file).read_text())


with tempfile.TemporaryDirectory() as folder:
    small, large = measure(4, f"{folder}/small.json"), measure(12, f"{folder}/large.json")
    assert 2.8 < large["tokens"] / small["tokens"] < 3.2, (small, large)
    assert large["megabytes"] > 12 > large["tokens"] / 1e6 > 11, large  # Letters are its tokens.
    # Half a gigabyte of it is one chunk's letters, each as an object of the tokenizers library.
    assert large["peak_megabytes"] < 1.15 * small["peak_megabytes"], (small, large)
