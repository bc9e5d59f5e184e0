# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end checks share: running programs, reading what they wrote, small models."""

import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile

# ctest names them; a check that is started by hand is one of its clone and of the build there.
SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BIN = pathlib.Path(os.environ.get("MORPH_BIN", SOURCE / "build/bin"))
SHARED = SOURCE.parent / "shared"
SKIPPED = 77


def skip(reason):
    """Ends the check as skipped, with the reason."""
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def run(*command, expect=0, **options):
    """Runs a program of build/bin, checks its exit code and returns the finished process with text output."""
    process = subprocess.run(
        [str(BIN / command[0]), *map(str, command[1:])], capture_output=True, text=True, check=False, **options
    )
    assert process.returncode == expect, (
        f"{' '.join(map(str, command))}\nexit code {process.returncode}, expected {expect}\n"
        f"{process.stdout[-4000:]}\n{process.stderr[-4000:]}"
    )
    return process


def compare_export(out, tolerance=1e-3, expect=0):
    """Compares a run's export with transformers as the stage `check` does; the manifest's judgement and
    what was said. It is done by a copy of this process: transformers is loaded once, and no comparison sees the classes of
    the one before (transformers keeps a folder's classes as long as its configuration's text stays)."""
    sys.path.insert(0, str(SOURCE / "tools/python"))
    import torch
    from export import check_export
    from transformers import AutoModelForCausalLM, GenerationMixin, PreTrainedModel  # noqa: F401

    torch.set_num_threads(1)  # Threads are not copied.
    # What a folder of a stock class was made of; any other is read itself.
    made_of = [read_json(out / "resolved.json")["model"]["path"], out / "align/branches.safetensors",
               *(out / f"{stage}/selected/weights.safetensors" for stage in ("distill", "finetune"))]
    weights = [word for path in made_of if pathlib.Path(path).exists() for word in ("--weights", path)]
    arguments = ["--folder", out / "hybrid", "--data", out / "data", "--morph-run", BIN / "morph-run", "--logits-plan",
                 out / "plans/logits-check.json", "--decode-plan", out / "plans/decode-check.json", "--tolerance", tolerance, *weights]
    with tempfile.TemporaryFile("w+") as said:
        def compare():
            sys.stderr = said
            check_export.main(list(map(str, arguments)))

        child = multiprocessing.get_context("fork").Process(target=compare)
        child.start()
        child.join()
        said.seek(0)
        words = said.read()
    assert child.exitcode == expect, words
    return read_json(out / "hybrid/conversion_manifest.json")["check"], words


def read_json(path):
    """The parsed JSON of a file."""
    return json.loads(pathlib.Path(path).read_text())


def read_lines(path):
    """The parsed lines of a JSON-lines file."""
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
