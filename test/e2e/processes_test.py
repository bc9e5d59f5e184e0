# SPDX-License-Identifier: Apache-2.0
"""Several processes: every stage gives what one process gives, whatever their number and whoever started them; runs
go on with another number of them; one that dies ends the others, and the reason is said.

Usage: processes_test.py [PART ...]     numbers, selectors, resume, shard, launcher, deaths; default: all
"""

import json
import math
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from small_model import make_inputs
from support import BIN, read_json, read_lines, run

# Batches that three processes share unevenly, of sequences and of whole batches.
SETTINGS = ["align.batch=5", "align.steps=6", "select.steps=6", "select.accumulate=2", "distill.steps=4", "distill.batch=3",
            "finetune.accumulate=3", "finetune.steps=3", "evaluate.samples=5", "evaluate.batch=2"]
# Of losses and norms: fp32 sums in another order.
TOLERANCE = 1e-6


def arguments(folder, out, *settings, command="run"):
    return [command, folder / "small.toml", "--out", folder / out,
            *(word for key in (*SETTINGS, *settings) for word in ("--set", key))]


def close(actual, expected, tolerance=TOLERANCE):
    return math.isclose(actual, expected, rel_tol=tolerance, abs_tol=tolerance)


def compare(folder, out, reference="one", stages=None):
    """Losses of every step, choices and evaluations of two runs; `stages`: those that `out` has, where it has not all."""
    actual, expected = (read_lines(folder / name / "metrics.jsonl") for name in (out, reference))
    expected = [line for line in expected if not stages or line["stage"] in stages]
    assert len(actual) == len(expected) > 10
    worst = 0
    for ours, theirs in zip(actual, expected):
        for key in ("stage", "variant", "step", "tokens"):
            assert ours.get(key) == theirs.get(key), (ours, theirs)
        for key in ("loss", "grad_norm"):
            if key not in theirs:
                continue
            worst = max(worst, abs(ours[key] - theirs[key]) / max(1, abs(theirs[key])))
            assert close(ours[key], theirs[key]), (key, ours, theirs)
        for a, b in zip(ours.get("layer_loss", []), theirs.get("layer_loss", []), strict=True):
            assert close(a, b), (ours, theirs)
    choices = [read_json(folder / name / "selection.json") for name in (out, reference)]
    assert choices[0]["choice"] == choices[1]["choice"]
    assert choices[0]["cost"]["tokens"] == choices[1]["cost"]["tokens"]
    assert close(choices[0]["cost"]["flops"] / choices[1]["cost"]["flops"], 1)
    rows = [read_json(file) if not stages and (file := folder / name / "evaluation.json").exists() else []
            for name in (out, reference)]
    for ours, theirs in zip(*rows, strict=True):
        for key in ("model", "after", "task", "length", "samples"):
            assert ours.get(key) == theirs.get(key)
        if "cross_entropy" in theirs:
            assert close(ours["cross_entropy"], theirs["cross_entropy"], 1e-5)
        if "teacher_forced" in theirs:
            assert len(ours["teacher_forced"]["by_sample"]) == len(theirs["teacher_forced"]["by_sample"])
            assert close(ours["teacher_forced"]["cross_entropy"], theirs["teacher_forced"]["cross_entropy"], 1e-5)
            assert ours["generated"]["written"] == theirs["generated"]["written"]
    print(f"{out}: {len(actual)} lines, the largest difference of a loss or norm is {worst:.1e}")


def check_numbers(folder):
    for count in (2, 3):
        process = run("morph", *arguments(folder, f"of{count}"), "--processes", count)
        assert "error" not in process.stderr and "warning: align" not in process.stderr, process.stderr
        # Only the leader speaks.
        assert process.stderr.count("] align") == 1
        compare(folder, f"of{count}")
    # Losses whose denominators are sums over the batch.
    more = ["align.normalize=\"relative\"", "select.loss=\"final_hidden\"", "select.batch=5", "select.accumulate=1"]
    run("morph", *arguments(folder, "relative", *more, command="select"))
    run("morph", *arguments(folder, "relative3", *more, command="select"), "--processes", 3)
    compare(folder, "relative3", "relative")


def check_selectors(folder):
    """A selector that measures models, whose samples the processes share unevenly; numbers of processes that there are not."""
    choices = []
    for count in (1, 2):
        out = f"drop{count}"
        run("morph", *arguments(folder, out, "select.method=drop", "select.samples=7", command="select"), "--processes", count)
        choices.append(read_json(folder / out / "selection.json"))
    one, two = choices
    assert two["choice"] == one["choice"] and two["cost"]["tokens"] == one["cost"]["tokens"], choices
    for key in ("scores", "standard_errors"):
        for ours, theirs in zip(two[key], one[key], strict=True):
            # KLs of 5e-4 between fp32 logits.
            assert close(ours, theirs, 1e-3 * theirs) and theirs > 0, (key, choices)
    for count in (0, 257):
        words = run("morph", *arguments(folder, "none"), "--processes", count, expect=2).stderr
        assert "--processes" in words and f"{count} not in range" in words, words
    assert not (folder / "none").exists()


def stop_at(folder, out, processes, stage, step, *settings):
    """Runs until a stage has a line of a step, and stops the driver there."""
    process = subprocess.Popen([BIN / "morph", *map(str, arguments(folder, out, *settings)), "--processes", str(processes)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = folder / out / f"{stage}.partial" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= step):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    words = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGINT, (process.returncode, words)
    assert "stopped" in words and "error" not in words, words
    return words


def check_resume(folder):
    stop_at(folder, "resumed", 2, "align", 2)
    stop_at(folder, "resumed", 3, "distill/selected", 1)
    run("morph", *arguments(folder, "resumed"))
    compare(folder, "resumed")


SHARD = "model.shard=true"


def check_shard(folder):
    """Each process keeps a part of the frozen weights: nothing else changes, not even a bit."""
    run("morph", *arguments(folder, "whole2"), "--processes", 2)
    run("morph", *arguments(folder, "shard2", SHARD), "--processes", 2)
    compare(folder, "shard2")
    ours, theirs = (read_lines(folder / out / "metrics.jsonl") for out in ("shard2", "whole2"))
    for a, b in zip(ours, theirs, strict=True):
        assert (a.get("loss"), a.get("grad_norm")) == (b.get("loss"), b.get("grad_norm")), (a, b)
    peaks = [{stage: read_json(folder / out / stage / "facts.json")["peak_bytes"]
              for stage in ("align", "distill/selected", "evaluate/teacher")} for out in ("shard2", "whole2")]
    print(f"bytes held in each process, divided and whole: {peaks}")
    # Half of the matrices goes, the largest comes back as a buffer, and once and a half as the message that fills it.
    assert all(peaks[0][stage] < peaks[1][stage] - 15_000 for stage in peaks[0]), peaks
    plans = [json.loads(run("morph", "plan", folder / "small.toml", "--json", "--processes", 2, *(
        word for key in (*SETTINGS, *more) for word in ("--set", key))).stdout)["stages"] for more in ([], [SHARD])]
    for whole, divided in zip(*plans, strict=True):
        frozen = whole["stage"] != "finetune" # There all are trained.
        assert not whole["sharded"] and divided["sharded"] == frozen, (whole, divided)
        assert (divided["weight_bytes"] < whole["weight_bytes"]) == frozen, (whole, divided)
    # Three that shard are stopped, two go on, then one alone, which has all weights.
    stop_at(folder, "shard-resumed", 3, "align", 2, SHARD)
    stop_at(folder, "shard-resumed", 2, "distill/selected", 1, SHARD)
    run("morph", *arguments(folder, "shard-resumed", SHARD))
    compare(folder, "shard-resumed")
    # Where they fit no other way, nobody need say so; here they do not fit so either.
    limit = "model.memory_limit=0.005"
    process = run("morph", *arguments(folder, "shard-limit", limit, command="select"), "--processes", 2, expect=2)
    assert "stage 'evaluate': the frozen weights are divided among the 2 processes" in process.stderr, process.stderr
    # What is said before a run is what the plan says of it.
    plan = json.loads(run("morph", "plan", folder / "small.toml", "--json", "--processes", 2, *(
        word for key in (*SETTINGS, limit) for word in ("--set", key))).stdout)["stages"]
    excess = next(stage["excess"] for stage in plan if stage["stage"] == "evaluate")
    assert excess and excess in process.stderr, (excess, process.stderr)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(folder, out, variables, count, *settings, command="run"):
    """Starts `count` drivers as a launcher would; `variables` gives each its own."""
    clean = {name: value for name, value in os.environ.items() if not re.match("SLURM|OMPI|PMI|RANK|WORLD|MASTER", name)}
    return [subprocess.Popen([BIN / "morph", *map(str, arguments(folder, out, *settings, command=command))],
                             env={**clean, **{name: str(value) for name, value in variables(rank).items()}},
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for rank in range(count)]


def torchrun(port, count):
    return lambda rank: {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


def slurm(port, count):
    return lambda rank: {"SLURM_PROCID": rank, "SLURM_NTASKS": count, "SLURM_LOCALID": rank, "SLURM_STEP_ID": 0, "SLURM_JOB_ID": 1,
                         "SLURM_JOB_NODELIST": "localhost", "MASTER_PORT": port}


def open_mpi(port, count):
    return lambda rank: {"OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_SIZE": count, "OMPI_COMM_WORLD_LOCAL_RANK": rank,
                         "OMPI_COMM_WORLD_LOCAL_SIZE": count, "MASTER_PORT": port}


def check_launcher(folder):
    # What a launcher's own variables say is used by all stages alike.
    for name, launcher, count, command, stages in (("torchrun", torchrun, 3, "run", None),
                                                   ("slurm", slurm, 2, "select", ("align", "select")),
                                                   ("open_mpi", open_mpi, 2, "select", ("align", "select"))):
        drivers = launch(folder, name, launcher(free_port(), count), count, command=command)
        ends = [driver.communicate(timeout=300) for driver in drivers]
        assert [driver.returncode for driver in drivers] == [0] * count, ends
        assert "align" in ends[0][1] and all(end == ("", "") for end in ends[1:]), ends
        compare(folder, name, stages=stages)
    # The kind of an error is the same in all of them, and one says it.
    drivers = launch(folder, "wrong", torchrun(free_port(), 2), 2, "align.steps=-1")
    ends = [driver.communicate(timeout=60) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [2, 2] and "align.steps" in ends[0][1] and not ends[1][1], ends
    process = run("morph", *arguments(folder, "wrong"), expect=2, env={**os.environ, "RANK": "2", "WORLD_SIZE": "2"})
    assert "RANK" in process.stderr


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def variable(pid, name):
    for entry in pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0"):
        if entry.startswith(f"{name}="):
            return entry.split("=", 1)[1]
    return None


def worker(driver, rank):
    """The morph-run of that rank below a driver, once there is one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert driver.poll() is None, driver.communicate()
        for child in children(driver.pid):
            try:
                if variable(child, "MORPH_DRIVER") and variable(child, "RANK") == str(rank):
                    return child
            except OSError:
                pass
        time.sleep(0.01)
    raise AssertionError("no process of that rank")


def ends_within(process, seconds):
    begin = time.monotonic()
    words = process.communicate(timeout=seconds)
    return words[1], time.monotonic() - begin


def gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def check_deaths(folder):
    long = ["align.steps=100000", "align.length=64"]
    for rank, more in ((1, []), (0, []), (2, [SHARD])):
        out = f"dead{rank}"
        driver = subprocess.Popen([BIN / "morph", *map(str, arguments(folder, out, *long, *more)), "--processes", "3"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        others = [worker(driver, r) for r in range(3)]
        time.sleep(2)
        os.kill(others[rank], signal.SIGKILL)
        words, seconds = ends_within(driver, 30)
        print(f"a child of rank {rank} dies: {seconds:.1f} s: {words.splitlines()[-3:]}")
        assert driver.returncode == 1 and "died from signal 9" in words, (driver.returncode, words)
        assert words.count("error:") == 1, words
        assert all(gone(pid) for pid in others)
    # Drivers of a launcher: a follower's process, a follower, the leader.
    for victim in ("process", "follower", "leader"):
        drivers = launch(folder, f"dead-{victim}", torchrun(free_port(), 2), 2, *long)
        processes = [worker(driver, rank) for rank, driver in enumerate(drivers)]
        time.sleep(2)
        os.kill({"process": processes[1], "follower": drivers[1].pid, "leader": drivers[0].pid}[victim], signal.SIGKILL)
        results = [ends_within(driver, 30) for driver in drivers]
        codes = [driver.returncode for driver in drivers]
        print(f"a {victim} dies: {[f'{seconds:.1f} s' for _, seconds in results]}, codes {codes}")
        if victim == "leader":
            assert codes == [-9, 1] and "rank 0 at 127.0.0.1 is gone" in results[1][0], (codes, results)
        else:
            assert codes[0] == 1 and (victim == "follower" or codes[1] == 1), (codes, results)
            reason = "process 1 on 127.0.0.1 is gone" if victim == "follower" else "died from signal 9"
            assert reason in results[0][0], results
        deadline = time.monotonic() + 10
        while not all(gone(pid) for pid in processes):
            assert time.monotonic() < deadline, "a process is left"
            time.sleep(0.05)


CHECKS = {"numbers": check_numbers, "selectors": check_selectors, "resume": check_resume, "shard": check_shard,
          "launcher": check_launcher, "deaths": check_deaths}


def main():
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        make_inputs(folder)
        parts = sys.argv[1:] or list(CHECKS)
        if set(parts) - {"deaths"}:
            run("morph", *arguments(folder, "one"))
        for part in parts:
            CHECKS[part](folder)


if __name__ == "__main__":
    main()
