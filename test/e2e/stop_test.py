# SPDX-License-Identifier: Apache-2.0
"""Signals: what has nothing to keep ends at once, in the middle of a forward too; a stage stops at a checkpoint, however
often the same request arrives, and a later signal ends it at once."""

import os
import pathlib
import signal
import subprocess
import tempfile
import time

import numpy
from small_model import make_inputs
from support import BIN, run

# A forward of minutes.
LENGTH = 400_000


def start(*command):
    return subprocess.Popen([BIN / command[0], *map(str, command[1:])], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            text=True, start_new_session=True)


def wait_for(condition, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def computing(driver):
    """The driver's morph-run once it has computed for two seconds."""
    for child in pathlib.Path(f"/proc/{driver}/task/{driver}/children").read_text().split():
        name, fields = pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)
        ticks = sum(map(int, fields.split()[11:13]))
        if name.endswith("(morph-run") and ticks > 2 * os.sysconf("SC_CLK_TCK"):
            return int(child)
    return None


def ends(process, seconds=30):
    """How a process ends, and what it said."""
    try:
        words = process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    print(words)
    return process.returncode, words


def check_eval(folder, number, group):
    process = start("morph", "eval", folder / "model", "--tokens", folder / "tokens", "--length", LENGTH)
    wait_for(lambda: computing(process.pid), "eval does not begin")
    (os.killpg if group else os.kill)(process.pid, number)
    code, words = ends(process)
    assert code == 128 + number and words.splitlines()[-1] == "morph: stopped", (code, words)


def stage(folder, out, **settings):
    """A stage of the whole run in `folder`, alone."""
    whole = folder / "whole"
    spec = folder / f"{out}.json"
    spec.write_text(run("morph-translate", "--spec-to-json", folder / "small.toml",
                        *[f"--set=align.{key}={value}" for key, value in settings.items()]).stdout)
    return start("morph-run", "align", "--spec", spec, "--run", whole, "--out", folder / out, "--key", "k", "--weights",
                 folder / "model", "--plan", f"align={whole}/plans/align.json", "--plan",
                 f"align-forward={whole}/plans/forward-align.json")


def main():
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        make_inputs(folder)
        numpy.full(LENGTH, 65, dtype="<u2").tofile(folder / "tokens")
        check_eval(folder, signal.SIGTERM, group=False)
        check_eval(folder, signal.SIGINT, group=True)

        run("morph", "select", folder / "small.toml", "--out", folder / "whole", "--set", "align.steps=1", "--set",
            "select.steps=1")
        # A signal to a group comes from its sender and from the driver.
        process = stage(folder, "twice", steps=100_000, length=64)
        wait_for(lambda: (folder / "twice/checkpoint.safetensors").exists(), "no step is made")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
            time.sleep(0.01)
        code, words = ends(process)
        assert code == 130, (code, words)

        # In a step of minutes; a signal of another kind, too.
        process = stage(folder, "again", steps=100, batch=4096, length=256)
        fields = lambda: pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        wait_for(lambda: int(fields()[11]) > 5 * os.sysconf("SC_CLK_TCK"), "the step does not begin")
        process.send_signal(signal.SIGTERM)
        time.sleep(3)
        assert process.poll() is None, "the first signal ended it within a step"
        process.send_signal(signal.SIGINT)
        code, words = ends(process)
        assert code == -signal.SIGINT, (code, words)


main()
