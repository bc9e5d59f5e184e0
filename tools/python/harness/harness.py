# SPDX-License-Identifier: Apache-2.0
"""lm-evaluation-harness on Hugging Face folders, side by side.

    harness.py HYBRID --tasks NAME,... [--against FOLDER] [--include DIR] [--shots N] [--limit N] [--out FILE] ...
"""

import argparse
import contextlib
import json
import logging
import math
import os
import pathlib
import sys

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))
from morph_data import exit_status
from data.files import InputError, check_writable, distinct_names, model_folder, print_error, whole_file
from export.other_tokens import load_tokenizer


class EvaluationError(Exception):
    """The harness has failed; the message says at what."""


def without_bars():
    """Progress bars are for terminals: a log would have each of their states."""
    import tqdm

    start = tqdm.tqdm.__init__

    def disabled(bar, *arguments, **options):
        start(bar, *arguments, **{**options, "disable": True})

    tqdm.tqdm.__init__ = disabled


def find_tasks(names, include):
    """The harness's names of tasks that fit these names and patterns, in their order, and what loads them."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=include)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise InputError("--tasks names no task", "for example --tasks arc_easy,hellaswag")
    found = {name: manager.match_tasks([name]) for name in wanted}
    if unknown := [name for name, matched in found.items() if not matched]:
        raise InputError(f"there is no task '{unknown[0]}'",
                         f"the harness has {len(manager.all_tasks)} tasks and groups; --include DIR adds your own")
    return manager, list(dict.fromkeys(name for matched in found.values() for name in matched))


def first_token(folder, tokenizer):
    """What stands before a text of which every token is scored, where the tokenizer names neither begin nor end: token 0."""
    if tokenizer.bos_token_id is not None or tokenizer.eos_token_id is not None:
        return {}
    print(f"lm-eval: {folder}: the tokenizer has neither begin nor end; token 0 stands before texts", file=sys.stderr)
    return {"prefix_token_id": 0}


def evaluate(folder, manager, tasks, arguments):
    """What the harness finds for a folder: its results, without samples."""
    from lm_eval import evaluator

    # It asks git for the commit of whatever folder this is called in, which says nothing of the model, and of one that is
    # in no repository git complains.
    evaluator.get_git_commit_hash = lambda: None
    # The folder alone would have it take the class's tokenizer, whose tokens may be others.
    tokenizer = load_tokenizer(folder, trust_remote_code=True)
    return evaluator.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(folder), "trust_remote_code": True, "dtype": arguments.dtype, "tokenizer": tokenizer,
                    **first_token(folder, tokenizer)},
        tasks=tasks, task_manager=manager, num_fewshot=arguments.shots, limit=arguments.limit, device=arguments.device,
        batch_size=arguments.batch_size, log_samples=False, bootstrap_iters=1000, random_seed=arguments.seed,
        numpy_random_seed=arguments.seed, torch_random_seed=arguments.seed, fewshot_random_seed=arguments.seed)


def metrics_of(results):
    """By (task, metric with its filter) the value and its standard error, None where there is none."""
    found = {}
    for task, values in results["results"].items():
        for key, value in values.items():
            metric, _, name = key.partition(",")
            if metric.endswith("_stderr") or isinstance(value, bool) or not isinstance(value, (int, float)) or metric.startswith("sample"):
                continue
            error = values.get(f"{metric}_stderr,{name}")
            found[task, metric if name == "none" else f"{metric} ({name})"] = (
                value, error if isinstance(error, (int, float)) else None)
    return found


def number(value, error=None, sign=""):
    text = f"{value:{sign}.4f}"
    return text if error is None else f"{text} +- {error:.4f}"


def rows_of(columns):
    """Lines of the table: a metric of a task each, and of two folders the difference of the first from the second."""
    header = ["task", "metric", *(name for name, _ in columns)]
    rows = [header + (["difference"] if len(columns) > 1 else [])]
    for task, metric in columns[0][1]:
        cells = [metrics.get((task, metric)) for _, metrics in columns]
        row = [task, metric, *("-" if cell is None else number(*cell) for cell in cells)]
        if len(cells) > 1 and cells[1] is not None:
            errors = [cell[1] for cell in cells]
            row.append(number(cells[0][0] - cells[1][0], None if None in errors else math.hypot(*errors), "+"))
        rows.append(row)
    return rows


def print_table(rows):
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(len(rows[0]))]
    for index, row in enumerate(rows):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        if index == 0:
            print("  " + "  ".join("-" * width for width in widths))


def run(arguments):
    folders = [model_folder(text) for text in (arguments.model, arguments.against) if text]
    if len(folders) == 2 and folders[0].samefile(folders[1]):
        raise InputError(f"--against: '{folders[1]}' is the model itself", "give another folder, usually the base")
    if arguments.include and not pathlib.Path(arguments.include).is_dir():
        raise InputError(f"--include: there is no folder '{arguments.include}'")
    if arguments.out:
        check_writable(arguments.out, "--out")
    # The harness tells of everything that it does; what matters comes as an exception.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.disable(logging.WARNING)
    if not sys.stderr.isatty():
        without_bars()
    manager, tasks = find_tasks(arguments.tasks, arguments.include)
    columns, kept = [], {}
    # "hybrid" would say of no run which it is.
    for folder, label in zip(folders, distinct_names(folders, least=2), strict=True):
        print(f"lm-eval: {folder}: {', '.join(tasks)}", file=sys.stderr, flush=True)
        try:
            # What the harness prints is no part of the table.
            with contextlib.redirect_stdout(sys.stderr):
                results = evaluate(folder, manager, tasks, arguments)
        except OSError as error:
            raise InputError(words_of(folder, error), "a task that is not local needs a network for its data once") from error
        except (ValueError, KeyError, RuntimeError) as error:
            raise EvaluationError(words_of(folder, error)) from error
        columns.append((label, metrics_of(results)))
        kept[str(folder)] = {key: results[key] for key in ("results", "n-samples", "versions", "n-shot") if key in results}
    # A file that cannot be written after all does not take the figures with it.
    print_table(rows_of(columns))
    if arguments.out:
        with whole_file(pathlib.Path(arguments.out)) as stream:
            json.dump(kept, stream, indent=2, default=str)
            stream.write("\n")


def words_of(folder, error):
    """What a library's error says, in a line of a bearable length."""
    return f"the harness cannot evaluate '{folder}': {' '.join(str(error).split())[:400]}"


def at_least(least):
    def parse(text):
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"expected {least} or more")
        return value

    return parse


def main():
    parser = argparse.ArgumentParser(prog="tools/lm-eval", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="the folder, a hybrid's or any other of Hugging Face")
    parser.add_argument("--tasks", required=True, help="names of tasks or groups, with commas between them")
    parser.add_argument("--against", help="another folder, usually the base, for the same tasks")
    parser.add_argument("--include", help="a folder of YAML files that define further tasks")
    parser.add_argument("--shots", type=at_least(0), help="examples before a question; default: the task's own")
    parser.add_argument("--limit", type=at_least(1), help="samples of a task at most")
    parser.add_argument("--batch-size", type=at_least(1), default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda; default: %(default)s")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16", "auto"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="a JSON file for the results")
    arguments = parser.parse_args()
    try:
        return exit_status("lm-eval", lambda: run(arguments))
    except EvaluationError as error:
        print_error("lm-eval", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
