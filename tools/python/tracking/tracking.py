# SPDX-License-Identifier: Apache-2.0
"""A run's metrics as TensorBoard's event files and Weights & Biases' offline files, written by their own libraries.

    tracking.py RUN [--tensorboard DIR] [--wandb DIR] [--project NAME]

Every stage has steps of its own. In TensorBoard each stage, of several models each model's (distill-selected), is a run
`DIR/<run>/<stage>` with the tags loss, lr, ...; in Weights & Biases all are one run with `<stage>/loss`, ... over
`<stage>/step`. Lists, one number a layer, are `layer_loss/07`; what a stage says beside numbers stays in metrics.jsonl. The
evaluation's shares and cross-entropies are the last values, and the resolved spec is the configuration.
"""

import argparse
import collections
import json
import math
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))
from morph_data import InputError, exit_status


def read_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read: {error}", "give the folder of a run: morph run SPEC --out RUN") from error


def numbers_of(name, value):
    """The numbers in a value of a line by tags: itself, or a list's elements with the places of the list in their names."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return {}
    if isinstance(value, (int, float)):
        return {name: float(value)}
    if isinstance(value, list):
        width = len(str(max(0, len(value) - 1)))
        items = [(f"{place:0{width}}", element) for place, element in enumerate(value)]
    else:
        items = value.items()
    found = {}
    for key, element in items:
        found.update(numbers_of(f"{name}/{key}", element))
    return found


def read_steps(path, is_growing=False):
    """By stage the lines of metrics.jsonl as (step, numbers by tag); of one that grows up to the last whole line."""
    stages = collections.defaultdict(list)
    try:
        content = path.read_bytes()
        # What is behind the last end of a line is being written, or a kill has cut it.
        lines = content[:content.rfind(b"\n") + 1 if is_growing else None].decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        if is_growing and isinstance(error, FileNotFoundError):
            return stages  # Its stage is whole by now.
        raise InputError(f"'{path}' cannot be read: {error}", "give the folder of a run: morph run SPEC --out RUN") from error
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
            stage = "-".join(line.pop(key) for key in ("stage", "variant") if key in line)
            step = line.pop("step")
            if not stage or not isinstance(step, int):
                raise ValueError("a line has a stage and a step")
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise InputError(f"{path}:{number}: not a line of metrics: {error}") from error
        # "wave 2 of 4" and names with a colon go into names of folders.
        stage = "".join(letter if letter.isalnum() or letter in "-_+." else "-" for letter in stage)
        numbers = {}
        for key, value in line.items():
            numbers.update(numbers_of(key, value))
        stages[stage].append((step, numbers))
    return stages


def read_stages(folder):
    """The steps of a run's stages: of those that are whole, which the run's metrics.jsonl has, and of one that goes on."""
    growing = {}
    # These first: a stage that becomes whole meanwhile is then in the run's file.
    for path in sorted([*folder.glob("*.partial/metrics.jsonl"), *folder.glob("*/*.partial/metrics.jsonl")]):
        growing |= read_steps(path, is_growing=True)
    whole = folder / "metrics.jsonl"
    # A run in its first stage has none yet.
    stages = {} if not whole.exists() and (folder / "resolved.json").exists() else read_steps(whole)
    if not stages and not growing:
        raise InputError(f"'{whole}' has no lines: no stage of the run has logged a step", "a stage logs every `log_every` steps")
    return stages | {stage: steps for stage, steps in growing.items() if stage not in stages}


def read_evaluation(path):
    """The evaluation's numbers by tags: `evaluation/recall@512/selected/distill/generated`."""
    results = {}
    if not path.exists():
        return results
    for row in read_json(path):
        what = row["task"] + (f"@{row['length']}" if row.get("length") else "")
        if row.get("depth") is not None:
            what += f"@{row['depth']}"
        where = "/".join(part for part in ("evaluation", what, row["model"], row.get("after")) if part)
        for measure in ("generated", "teacher_forced"):
            if isinstance(row.get(measure), dict):
                results[f"{where}/{measure}"] = float(row[measure]["answers"])
        for measure in ("cross_entropy", "perplexity"):
            if isinstance(row.get(measure), (int, float)):
                results[f"{where}/{measure}"] = float(row[measure])
    return results


def write_tensorboard(folder, run):
    from torch.utils.tensorboard import SummaryWriter

    for stage, steps in run.stages.items():
        with SummaryWriter(str(folder / stage)) as writer:
            for step, numbers in steps:
                for tag, value in numbers.items():
                    writer.add_scalar(tag, value, step, walltime=numbers.get("seconds", 0.0))
    with SummaryWriter(str(folder / "results")) as writer:
        writer.add_text("spec", "    " + json.dumps(run.spec, indent=2).replace("\n", "\n    "))
        for tag, value in run.results.items():
            writer.add_scalar(tag, value, 0)


def write_wandb(folder, run, project):
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(silent=True, console="off", disable_git=True, x_disable_meta=True, x_disable_stats=True)
    with wandb.init(mode="offline", dir=str(folder), project=project, name=run.name, config=run.spec, settings=settings) as log:
        for stage, steps in run.stages.items():
            log.define_metric(f"{stage}/step")
            log.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
            for step, numbers in steps:
                log.log({f"{stage}/step": step, **{f"{stage}/{tag}": value for tag, value in numbers.items()}})
        log.summary.update({tag: value for tag, value in run.results.items() if math.isfinite(value)})


class Run:
    """What a run's folder says."""

    def __init__(self, folder):
        self.name = folder.resolve().name
        self.stages = read_stages(folder)
        self.spec = read_json(folder / "resolved.json")
        try:
            self.results = read_evaluation(folder / "evaluation.json")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"'{folder / 'evaluation.json'}' is no evaluation: {error!r}") from error


def place_for(parent, run):
    """`parent/<run>`, which must not be there: writers of events would add to what others wrote."""
    place = parent / run.name
    if place.exists():
        raise InputError(f"'{place}' is there already", "name another folder, or remove it")
    return place


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--tensorboard", type=pathlib.Path)
    parser.add_argument("--wandb", type=pathlib.Path)
    parser.add_argument("--project", default="morph")
    arguments = parser.parse_args()
    if not arguments.tensorboard and not arguments.wandb:
        raise InputError("nothing to write", "give --tensorboard DIR, --wandb DIR or both")
    run = Run(arguments.run)
    writers = [(parent, write) for parent, write in (
        (arguments.tensorboard, write_tensorboard),
        (arguments.wandb, lambda folder, run: write_wandb(folder, run, arguments.project))) if parent]
    places = [place_for(parent, run) for parent, _ in writers]
    for (parent, write), place in zip(writers, places, strict=True):
        parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all.
        partial = pathlib.Path(tempfile.mkdtemp(prefix=".morph-", dir=parent))
        try:
            write(partial / run.name, run)
            (partial / run.name).rename(place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        print(place)


if __name__ == "__main__":
    sys.exit(exit_status("morph track", main))
