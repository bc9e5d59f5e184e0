# SPDX-License-Identifier: Apache-2.0
"""Writes the page of a run, or of several side by side: what `morph run` ends with, and `morph report`.

Run with the Python environment of tools/setup. Exit status: 0 done, 1 failed, 2 wrong input.
"""

import argparse
import pathlib
import sys

PYTHON = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(PYTHON), str(PYTHON / "pages")]
try:
    from morph_data import exit_status, whole_file
    from run_page import make_report
    from runs import read_runs
except ImportError as missing:
    print(f"report: error: {missing}", file=sys.stderr)
    print("report: hint: tools/setup makes an environment with tools/python/requirements.txt", file=sys.stderr)
    sys.exit(1)


def run(folders: list[pathlib.Path], out: pathlib.Path) -> None:
    page = make_report(read_runs(folders))
    # What text of other programs cannot be written is shown by its number.
    with whole_file(out, "wb") as stream:
        stream.write(page.encode("utf-8", errors="backslashreplace"))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", metavar="RUN", type=pathlib.Path, nargs="+", help="a run's folder")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the page")
    arguments = parser.parse_args()
    sys.stderr.reconfigure(errors="backslashreplace")
    return exit_status("report", lambda: run(arguments.runs, arguments.out))


if __name__ == "__main__":
    sys.exit(main())
