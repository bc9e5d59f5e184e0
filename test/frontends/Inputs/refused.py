# SPDX-License-Identifier: Apache-2.0
"""Runs a command that must refuse its input: exit code 2, in 2 GB of memory, without dying. Prints what it says.

Usage: refused.py COMMAND ...
"""

import resource
import subprocess
import sys


def main():
    process = subprocess.run(sys.argv[1:], capture_output=True, check=False, timeout=120, stdin=subprocess.DEVNULL)
    # Not by a limit on addresses, of which AddressSanitizer reserves terabytes.
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    message = process.stderr.decode("utf-8")
    print(message[:20000])
    if process.returncode != 2:
        sys.exit(f"exit code {process.returncode}, expected 2")
    if memory > 2 << 30:
        sys.exit(f"{memory} bytes of memory")
    if len(message) > 20000:
        sys.exit(f"a message of {len(message)} characters")


main()
