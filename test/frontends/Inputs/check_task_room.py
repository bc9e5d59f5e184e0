# SPDX-License-Identifier: Apache-2.0
"""The rows of test/data/Inputs/task-room.json against morph-translate: a task fits exactly where the table says.

Usage: check_task_room.py TABLE SPEC
"""

import json
import re
import subprocess
import sys


def translate(spec, *settings):
    command = ["morph-translate", "--config-only", "--spec-to-json", spec, "-o", "/dev/null"]
    for setting in settings:
        command += ["--set", setting]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    return process.returncode, process.stderr


def main():
    table, spec = sys.argv[1:]
    with open(table) as file:
        rows = json.load(file)
    for row in rows:
        tokens, keys, values = row.pop("tokens"), row.pop("keys"), row.pop("values", None)
        settings = [f"task.mine.{key}={json.dumps(value)}" for key, value in row.items()]
        fits = [*settings, f"task.mine.length=[4096,{tokens}]", f"task.mine.key_tokens=[0,{max(keys, 1)}]"]
        if values:
            fits.append(f"task.mine.value_tokens=[64,{64 + values}]")
        code, message = translate(spec, *fits)
        assert code == 0, f"{row}: {message}"
        code, message = translate(spec, *fits, f"task.mine.length=[4096,{tokens - 1}]")
        wanted = rf"--set:1:18: error: 'task\[0\].length\[1\]' is {tokens - 1}, .* at least {tokens} tokens .*\[S19\]"
        assert code == 2 and re.search(wanted, message), f"{row}: {message}"
        if keys > 1:
            code, message = translate(spec, *fits, f"task.mine.key_tokens=[0,{keys - 1}]")
            assert code == 2 and f"{keys} different keys [S19]" in message, f"{row}: {message}"
        if values:
            code, message = translate(spec, *fits, f"task.mine.value_tokens=[64,{63 + values}]")
            assert code == 2 and f"{values} different values [S19]" in message, f"{row}: {message}"
    print(f"{len(rows)} rows agree")


main()
