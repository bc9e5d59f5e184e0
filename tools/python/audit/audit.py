# SPDX-License-Identifier: Apache-2.0
"""Holds selectors against each other and against the best of all choices: the last step of `morph audit`.

Reads DIR/cells.json and the files that it names, writes DIR/audit.json, DIR/audit.html and DIR/regret.svg, the page's
first figure, and prints a table.
Run with the Python environment of tools/setup. Exit status: 0 done, 1 failed, 2 wrong input.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

PYTHON = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(PYTHON), str(PYTHON / "pages")]
from cells import read_audit
from drawing import as_file
from estimates import WEAK_TEACHER, Results, Summary, evaluate
from figures import cost_figure
from formats import counted, duration, interval, number
from morph_data import exit_status, whole_file
from report import make_report, of_cells, ranked_cells


def text_table(lines: list[list[str]]) -> str:
    """Columns, the first aligned left, with a rule below the first line."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "".join(
        "  "
        + "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        + "\n"
        for line in lines
    )


def teacher_lines(results: Results) -> str:
    """A line a base: the teacher's share of right tokens, and of which tasks it solves too little."""
    lines = []
    for base, tasks in results.teacher.items():
        words = [
            f"{task} {f'{answers.correct:.2f}'.removeprefix('0')} of tokens"
            + (f" (below {f'{WEAK_TEACHER:g}'.removeprefix('0')})" if answers.correct < WEAK_TEACHER else "")
            for task, answers in tasks.items()
        ]
        lines.append(f"teacher{f' {base}' if len(results.teacher) > 1 else ''}: {', '.join(words)}\n")
    return "".join(lines)


def make_table(results: Results, reference: str) -> str:
    """What is printed: for each `after` a line a selector, and what the teacher itself gets right."""
    blocks = []
    for after in dict.fromkeys(line.after for line in results.summary):
        summary = [line for line in results.summary if line.after == after]
        against = {
            comparison.selector: comparison.verdict
            for comparison in results.comparisons
            if comparison.after == after and comparison.base is None
        } | {reference: "(reference)"}
        is_ranked = any(line.ranked for line in summary)

        def measured(line: Summary, is_ranked: bool = is_ranked) -> list[str]:
            if not is_ranked:
                return [number(line.objective), interval(line.objective_interval)]
            rank = f"{line.worst_rank} of {line.worst_rank_of}" if line.ranked else "-"
            above = of_cells(line.above_zero, line.ranked, line.cells)
            return [number(line.regret), interval(line.regret_interval), rank, above]

        header = ["regret", "interval", "worst rank", "above 0"] if is_ranked else ["KL", "interval"]
        costs = ["tokens", "FLOPs", "time"]
        lines = [["selector", "cells", *header, "above uniform", *costs, "against the reference"]]
        lines += [
            [
                line.selector,
                str(line.cells),
                *measured(line),
                of_cells(line.above_uniform, line.uniform_cells, line.cells),
                counted(line.tokens),
                counted(line.flops),
                duration(line.seconds),
                against.get(line.selector, "-"),
            ]
            for line in summary
        ]
        cells = max(line.cells for line in summary)
        title = f"{results.name}, after {after}: {cells} cell{'' if cells == 1 else 's'}"
        if of := ranked_cells(summary):
            title += f"; {of}"
        blocks.append(f"{title}\n{text_table(lines)}")
    if results.teacher:
        blocks.append(teacher_lines(results))
    for line in results.persistence:
        finalists = ", ".join(f"{number(regret)} (n = {size})" for size, regret in line.finalists.items())
        blocks.append(
            f"{line.base}, seed {line.seed}, {line.budget} layers: rank correlation of {line.choices} choices before and "
            f"after distillation {number(line.spearman)}, of the best quarter {number(line.spearman_best)}\n"
            f"  the best after it, among the n that are best before it, has regret {finalists}\n"
        )
    return "\n".join(blocks)


def run(folder: pathlib.Path) -> str:
    """Writes the files; the table."""
    audit = read_audit(folder)
    results = evaluate(audit)
    data = json.dumps(dataclasses.asdict(results), indent=1, allow_nan=False) + "\n"
    page = make_report(audit, results)
    first = [line for line in results.summary if line.after == results.summary[0].after]
    figure = as_file(cost_figure("regret", first, audit.reference))
    # The file that programs look for comes last.
    with whole_file(folder / "audit.html") as stream:
        stream.write(page)
    with whole_file(folder / "regret.svg") as stream:
        stream.write(figure)
    with whole_file(folder / "audit.json") as stream:
        stream.write(data)
    return make_table(results, audit.reference)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dir", type=pathlib.Path, required=True, help="folder with cells.json, in which results are written"
    )
    arguments = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr.reconfigure(errors="backslashreplace")
    return exit_status("audit", lambda: print(run(arguments.dir), end=""))


if __name__ == "__main__":
    sys.exit(main())
