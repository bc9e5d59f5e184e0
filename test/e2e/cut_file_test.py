# SPDX-License-Identifier: Apache-2.0
"""A file that is cut while a stage reads it: the run says which, ends with exit code 1 and loses nothing."""

import pathlib
import subprocess
import tempfile
import time

from small_model import make_inputs
from support import BIN, read_lines, run

SETTINGS = ("--set", "align.steps=400", "--set", "select.steps=1", "--set", "distill.steps=1", "--set", "finetune.steps=0",
            "--set", "evaluate.perplexity_tokens=0")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)
        command = ("run", folder / "small.toml", "--out", folder / "run", *SETTINGS)
        for name, path in (("weights", folder / "model/model.safetensors"), ("tokens", folder / "run/data/text.tokens")):
            content = path.read_bytes() if path.exists() else None
            process = subprocess.Popen([BIN / "morph", *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
            metrics = folder / "run/metrics.jsonl"
            before = len(read_lines(metrics)) if metrics.exists() else 0
            while process.poll() is None and (not metrics.exists() or len(metrics.read_text().splitlines()) < before + 5):
                time.sleep(0.02)
            assert process.poll() is None, process.communicate()[1]
            content = content or path.read_bytes()
            with path.open("r+b") as file:
                file.truncate(0)
            message = process.communicate()[1]
            print(f"--- {name}\n{message.strip()}")
            assert process.returncode == 1, process.returncode
            assert f"{path}' was cut or replaced while it was being read" in message, message
            assert "hint: put the file back" in message, message
            with path.open("r+b") as file:
                file.write(content)
        run("morph", *command)
        steps = [line["step"] for line in read_lines(folder / "run/metrics.jsonl") if line["stage"] == "align"]
        assert steps == list(range(1, 401)), steps


main()
