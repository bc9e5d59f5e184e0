# SPDX-License-Identifier: Apache-2.0
"""Brings two models, one of four times the other's layers, from config.json to a plan, and compares processor time.

Usage: check_growth.py FOLDER LAYERS FOUR_TIMES_LAYERS     FOLDER/LAYERS holds config.json
"""

import resource
import subprocess
import sys

STEPS = {
    "import": "morph-translate --import-hf {0} --name many --config-only -o {0}/base.mlir",
    "search": "morph-opt {0}/base.mlir --morph-search-pipeline -o {0}/relaxed.mlir",
    "commit": "morph-opt {0}/relaxed.mlir --morph-commit-pipeline=uniform=64 -o {0}/hybrid.mlir",
    "plan": "morph-translate --emit-plan --program=distill --program-options=train=all {0}/hybrid.mlir -o {0}/plan.json",
}


def measure(command):
    """User seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(command.split(), check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def main():
    few, many = (f"{sys.argv[1]}/{layers}" for layers in sys.argv[2:])
    slow = []
    for name, command in STEPS.items():
        first, second = measure(command.format(few)), measure(command.format(many))
        print(f"{name}: {first:.2f} s and {second:.2f} s")
        # Four times the time would be linear, sixteen times quadratic.
        if second > 9 * first + 0.1:
            slow.append(name)
    if slow:
        sys.exit(f"more than linear: {', '.join(slow)}")


main()
