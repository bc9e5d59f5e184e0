# SPDX-License-Identifier: Apache-2.0
"""Runs killed with SIGKILL at random moments over all stages end with the bits of a run never killed.

    kill_test.py [--kills 15] [--seed 0] [--precision bf16] [--threads 2] [--set KEY=VALUE ...]

Every kill has a stage, drawn beforehand. Every other one comes at a random step of a stage that trains, so that the next
start goes on from a checkpoint; the others come a random part of any stage's duration after its begin: into its start,
its last writes, the renaming of its folder, the compilation before it.
"""

import argparse
import collections
import os
import pathlib
import random
import re
import signal
import subprocess
import tempfile
import threading
import time

from small_model import make_inputs
from support import BIN, read_json, read_lines

BEGIN = re.compile(r"^(?:morph: (compiling)|\[(\d+)/\d+\] )")
STEP = re.compile(r": step (\d+)/(\d+),")
# Steps enough that a kill finds a stage within them.
STEPS = {"align": 40, "select": 30, "distill": 24, "finetune": 16}


def numbers(out):
    """Everything of a run that a kill must not change; times left out."""
    selection = read_json(out / "selection.json")
    selection["cost"].pop("seconds")
    metrics = [{k: v for k, v in row.items() if k != "seconds"} for row in read_lines(out / "metrics.jsonl")]
    weights = {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.safetensors"))}
    return {"selection": selection, "evaluation": read_json(out / "evaluation.json"), "metrics": metrics, **weights}


class Run:
    """One start of the driver, with the moments at which its stages begin."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                        start_new_session=True)
        self.begins, self.steps, self.lines = {}, {}, []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line)
                if match := BEGIN.match(line):
                    self.begins.setdefault(int(match[2] or 0), time.monotonic())
                    self.changed.notify()
                elif match := STEP.search(line):
                    self.steps[max(self.begins, default=0)] = int(match[1])
                    self.changed.notify()
        with self.changed:
            self.changed.notify()

    def finish(self):
        """Waits for its end; its exit code."""
        self.process.wait()
        self.reader.join()
        return self.process.returncode

    def resumed(self):
        """How many stages went on from a checkpoint within their steps."""
        return sum("continuing after step" in line for line in self.lines)

    def kill_after(self, stage, step, delay):
        """Kills the driver and all that it started `delay` seconds after a stage's begin or, where `step` is not 0, its
        step. False where it ended before."""
        with self.changed:
            self.changed.wait_for(lambda: (self.steps.get(stage, 0) >= step if step else stage in self.begins)
                                  or max(self.begins, default=0) > stage or not self.reader.is_alive()
                                  or self.process.poll() is not None)
        try:
            self.process.wait(timeout=delay)
            self.finish()
            return False
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.finish()
            return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], help="a key of the spec, KEY=VALUE")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)

        def start(out):
            return Run([BIN / "morph", "run", folder / "small.toml", "--out", folder / out, "--set", "export.check=true", "--set",
                        f'model.precision="{arguments.precision}"', "--set", f"model.threads={arguments.threads}",
                        *(part for stage, steps in STEPS.items() for part in ("--set", f"{stage}.steps={steps}")),
                        *(part for setting in arguments.set for part in ("--set", setting))])

        whole = start("whole")
        begin = time.monotonic()
        assert whole.finish() == 0, "".join(whole.lines)
        moments = [*whole.begins.values(), time.monotonic()]
        durations = [end - start for start, end in zip(moments, moments[1:])]
        print(f"never killed: {moments[-1] - begin:.1f} s in {len(durations) - 1} stages", flush=True)
        expected = numbers(folder / "whole")

        # In ascending order, so that each run goes on a little further.
        trained = sorted(whole.steps)
        kills = sorted((generator.choice(trained), True) if kill % 2 == 0 else (generator.randrange(len(durations)), False)
                       for kill in range(arguments.kills))
        hit, resumed, finished, out = collections.Counter(), 0, 0, "killed-0"
        for stage, within in kills:
            run = start(out)
            # In the first half: the kill takes its time.
            step = generator.randrange(4, whole.steps[stage] // 2) if within else 0
            killed = run.kill_after(stage, step, 0 if step else generator.random() * durations[stage])
            resumed += run.resumed()
            if killed:
                hit[max(run.begins, default=0)] += 1
                continue
            # It was faster than this time: the next kills are another run's.
            assert run.process.returncode == 0, "".join(run.lines)
            compare(expected, numbers(folder / out))
            finished += 1
            out = f"killed-{finished}"
        last = start(out)
        assert last.finish() == 0, "".join(last.lines)
        resumed += last.resumed()
        compare(expected, numbers(folder / out))
        left = [path for path in (folder / out).rglob("*") if path.suffix in (".partial", ".old", ".tmp")]
        assert not left, left
        print(f"killed {sum(hit.values())} times, in stages "
              f"{ {stage: hit[stage] for stage in sorted(hit)} } (0: compiling): the same bits in "
              f"{len(expected)} files; went on from a checkpoint {resumed} times")
        assert sum(hit.values()) >= 0.8 * arguments.kills, "too few kills: the test did not test"
        assert resumed > 0, "no stage went on from within its steps: the test did not test"


def compare(expected, actual):
    """Both runs have the same files with the same bits."""
    assert sorted(expected) == sorted(actual), sorted(set(expected) ^ set(actual))
    for part in expected:
        assert actual[part] == expected[part], f"{part} differs"


if __name__ == "__main__":
    main()
