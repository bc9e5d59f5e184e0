# SPDX-License-Identifier: Apache-2.0
"""Runs a command that must refuse its input: exit code 2, in 2 GB of memory, without dying. Prints what it says.

Usage: refused.py COMMAND ...
"""

import resource
import subprocess
import sys


def main():
    limit = 2 << 30
    process = subprocess.run(
        sys.argv[1:], capture_output=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    message = process.stderr.decode("utf-8")
    print(message[:20000])
    if process.returncode != 2:
        sys.exit(f"exit code {process.returncode}, expected 2")
    if len(message) > 20000:
        sys.exit(f"a message of {len(message)} characters")


main()
