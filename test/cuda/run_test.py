# SPDX-License-Identifier: Apache-2.0
"""The quickstart's whole pipeline in few steps with `--device cuda` on the stand-ins: the CPU's selection and losses, and a
run that was killed ends with the bits of one that was not. Two processes with a GPU each, too."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from support import BIN, SOURCE, read_json, read_lines, run  # noqa: E402

STEPS = {"task.recall.length": "[84]", "align.steps": 3, "align.length": 84, "align.warmup": 1, "align.batch": 1, "select.steps": 3, "select.batch": 1, "select.method": "gates", "evaluate.baselines": "[]",
         "distill.steps": 3, "distill.length": 84, "distill.warmup": 1, "distill.batch": 1, "evaluate.samples": 2, "evaluate.batch": 2,
         "evaluate.perplexity_tokens": 128, "evaluate.perplexity_length": 64, "align.checkpoint_every": 1,
         "align.log_every": 1, "select.log_every": 1, "distill.log_every": 1, "distill.checkpoint_every": 1,
         "export.check": "false", "model.threads": 1}


def command(out, device):
    settings = [part for key, value in STEPS.items() for part in ("--set", f"{key}={value}")]
    return ["morph", "run", SOURCE / "specs/quickstart.toml", "--out", out, "--device", device, *settings]


def numbers(out):
    """What a kill must not change; times left out."""
    selection = read_json(out / "selection.json")
    selection["cost"].pop("seconds")
    metrics = [{key: value for key, value in line.items() if key != "seconds"} for line in read_lines(out / "metrics.jsonl")]
    return {"selection": selection, "metrics": metrics, "evaluation": read_json(out / "evaluation.json"),
            **{path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.safetensors"))}}


def kill_in_align(out):
    """Starts a run and kills all of it once the align stage has written a checkpoint."""
    process = subprocess.Popen([str(BIN / "morph"), *map(str, command(out, "cuda")[1:])], stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    for line in process.stderr:
        if "align: step 2/" in line:
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run(*command(folder / "cpu", "cpu"))
        report = folder / "report.jsonl"
        said = run(*command(folder / "cuda", "cuda"), env={**os.environ, "MORPH_STAND_IN_REPORT": str(report)}).stderr
        assert "interpreted" not in said and "compared with transformers" not in said, said
        # A GPU's driver reports nothing.
        if "MORPH_NCCL" in os.environ:
            launches = {line["process"]: line["graph_launches"] for line in reversed(read_lines(report))}
            for stage in ("align", "select", "distill", "evaluate"):
                # Two of three steps and of their updates, at least, by the first run of a stage.
                assert launches[f"morph-run {stage}"] >= 4, launches
        cpu, cuda = numbers(folder / "cpu"), numbers(folder / "cuda")
        assert cuda["selection"]["kept"] == cpu["selection"]["kept"], (cuda["selection"], cpu["selection"])
        assert len(cuda["metrics"]) == len(cpu["metrics"]) == 9
        for ours, theirs in zip(cuda["metrics"], cpu["metrics"]):
            assert abs(ours["loss"] - theirs["loss"]) <= 1e-3 * abs(theirs["loss"]) + 1e-6, (ours, theirs)
        for ours, theirs in zip(cuda["evaluation"], cpu["evaluation"]):
            for key in ("cross_entropy", "perplexity"):
                if key in theirs:
                    assert abs(ours[key] - theirs[key]) <= 1e-3 * theirs[key], (ours, theirs)
        # Numbers of a GPU are not taken for the CPU's.
        message = run(*command(folder / "cuda", "cpu"), expect=2).stderr
        assert "model.device" in message or "computed" in message, message

        # The stand-in has checked the same work above.
        os.environ["MORPH_STAND_IN_CHECKS"] = "0"
        kill_in_align(folder / "killed")
        again = run(*command(folder / "killed", "cuda")).stderr
        assert "continuing after step" in again, again
        assert numbers(folder / "killed") == cuda

        # Whole batches each, and parts of batches; gradients and weights between GPUs.
        divided = ["--set", "align.accumulate=2", "--set", "select.batch=2"]
        for name, device, processes in (("one", "cpu", 1), ("two", "cuda", 2), ("shard", "cuda", 2)):
            start = command(folder / name, device)
            start[1] = "select"
            more = ["--set", f"model.shard={str(name == 'shard').lower()}"]
            words = run(*start, *divided, *more, "--processes", processes).stderr
            # On a machine with one GPU both processes have it, which NCCL refuses.
            assert "over the host" not in words or "MORPH_NCCL" not in os.environ, words
        one, two, shard = (read_lines(folder / name / "metrics.jsonl") for name in ("one", "two", "shard"))
        # Where frozen weights lie changes no bit.
        assert [line["loss"] for line in shard] == [line["loss"] for line in two], (shard, two)
        peaks = [read_json(folder / name / "align" / "facts.json")["peak_bytes"] for name in ("two", "shard")]
        assert peaks[1] < peaks[0], peaks
        assert len(one) == len(two) == 6
        for ours, theirs in zip(two, one):
            assert ours["tokens"] == theirs["tokens"], (ours, theirs)
            assert abs(ours["loss"] - theirs["loss"]) <= 1e-3 * abs(theirs["loss"]) + 1e-6, (ours, theirs)

        # Windows of several documents.
        apart = ["--set", "data.separate_documents=true", "--set", r'data.separator="\n\n"', "--set", "align.task_fraction=0",
                 "--set", 'select.method="uniform"']
        for name, device in (("apart", "cpu"), ("apart-cuda", "cuda")):
            start = command(folder / name, device)
            start[1] = "select"
            run(*start, *apart)
        plan = read_json(folder / "apart-cuda/plans/align.json")
        assert "begins" in [value["name"] for value in plan["inputs"]], plan["inputs"]
        for ours, theirs in zip(*(read_lines(folder / name / "metrics.jsonl") for name in ("apart-cuda", "apart")), strict=True):
            assert abs(ours["loss"] - theirs["loss"]) <= 1e-3 * abs(theirs["loss"]) + 1e-6, (ours, theirs)

        message = run(*command(folder / "none", "cuda:99"), expect=1).stderr
        assert "no CUDA device" in message, message
        os.environ["MORPH_CUBLASLT"] = "/nowhere/libcublasLt.so.13"
        message = run(*command(folder / "none", "cuda"), expect=1).stderr
        assert "no cuBLASLt: /nowhere" in message, message
        assert not (folder / "none").exists()


main()
