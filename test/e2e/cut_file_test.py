# SPDX-License-Identifier: Apache-2.0
"""A file that is cut while a stage reads it: the run says which, ends with exit code 1 and loses nothing."""

import pathlib
import subprocess
import tempfile

from small_model import make_inputs
from support import BIN, read_lines, run

STEPS = 150
SETTINGS = ("--set", f"align.steps={STEPS}", "--set", "select.steps=1", "--set", "distill.steps=1", "--set", "finetune.steps=0")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_inputs(folder)
        command = ("run", folder / "small.toml", "--out", folder / "run", *SETTINGS)
        for name, path in (("weights", folder / "model/model.safetensors"), ("tokens", folder / "run/data/text.tokens")):
            with subprocess.Popen([BIN / "morph", *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
                seen = 0
                while seen < 5:
                    line = process.stderr.readline()
                    assert line, "the run ended before it had begun"
                    seen += line.startswith("align: step")
                content = path.read_bytes()
                with path.open("r+b") as file:
                    file.truncate(0)
                message = "".join(process.stderr.readlines()[-4:])
            print(f"--- {name}\n{message.strip()}")
            assert process.returncode == 1, process.returncode
            assert f"{path}' was cut or replaced while it was being read" in message, message
            assert "hint: put the file back" in message, message
            with path.open("r+b") as file:
                file.write(content)
        run("morph", *command)
        steps = [line["step"] for line in read_lines(folder / "run/metrics.jsonl") if line["stage"] == "align"]
        assert steps == list(range(1, STEPS + 1)), steps


main()
