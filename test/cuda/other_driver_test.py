# SPDX-License-Identifier: Apache-2.0
"""The tests labelled gpu on a driver that is no stand-in, with an A100: counts are left out, and code for later devices. The
driver is the stand-in without the function by which it is known."""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KNOWN_BY = b"morphStandInCountersJson"


def main():
    with tempfile.TemporaryDirectory() as folder:
        driver = pathlib.Path(folder, "libcuda.so.1")
        text = pathlib.Path(os.environ["MORPH_CUDA_DRIVER"]).read_bytes()
        assert KNOWN_BY in text
        driver.write_bytes(text.replace(KNOWN_BY, KNOWN_BY.swapcase()))

        def check(test, case, skips, reason):
            done = subprocess.run([sys.executable, HERE / test, "-v", case], capture_output=True, text=True,
                                  env={**os.environ, "MORPH_CUDA_DRIVER": str(driver), "MORPH_STAND_IN_DEVICE": "a100"})
            words = done.stderr
            assert done.returncode == 0 and f"OK (skipped={skips})" in words and words.count(reason) == skips, words

        # Its code for sm_80 runs.
        check("rows_test.py", "RowsTest.test_rope", 1, "(target='sm_90') ... skipped 'the device is too old for sm_90'")
        check("attention_test.py", "AttentionTest.test_counts", 10, "skipped 'only the stand-in counts'")
        check("compile_test.py", "CompileTest.test_refused_plans", 1, "skipped 'only the stand-in plays an older device'")


main()
