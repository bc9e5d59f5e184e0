# SPDX-License-Identifier: Apache-2.0
"""`morph completion`: in bash by its own machinery, a terminal and the TAB key included; every command and option for the
other shells, and by them where they are installed."""

import os
import pathlib
import pty
import re
import shutil
import subprocess
import tempfile
import time
import unittest

BIN = pathlib.Path(os.environ["MORPH_BIN"])
MORPH = BIN / "morph"


def script(shell):
    return subprocess.run([MORPH, "completion", shell], capture_output=True, text=True, check=True).stdout


def helped(*command):
    """Commands and long options that --help shows."""
    text = subprocess.run([MORPH, *command, "--help"], capture_output=True, text=True, check=True).stdout
    options = re.findall(r"^  +(?:-\w,)?(--[a-z-]+)", text, re.MULTILINE)
    commands = re.findall(r"^  ([a-z]+)  ", text.partition("Subcommands:")[2], re.MULTILINE)
    return set(options), commands


class CompletionTest(unittest.TestCase):
    def complete(self, line):
        """What bash offers for a line whose last word is being typed."""
        words = re.findall(r"=|[^\s=]+", line) + ([""] if line.endswith((" ", "=")) else [])
        if line.endswith("="):
            words.pop()
        code = (f"{self.bash}\nCOMP_WORDS=({' '.join(map(repr, words))})\nCOMP_CWORD={len(words) - 1}\n_morph\n"
                "printf '%s\\n' \"${COMPREPLY[@]}\"")
        done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return set(done.stdout.split())

    def setUp(self):
        self.bash = script("bash")

    def test_every_command_and_option(self):
        _, commands = helped()
        self.assertGreater(len(commands), 15)
        self.assertEqual(self.complete("morph "), set(commands))
        for command in commands:
            options, _ = helped(command)
            self.assertEqual({word for word in self.complete(f"morph {command} -") if word.startswith("--")}, options)
            for shell in ("zsh", "fish"):
                text = script(shell)
                for option in options:
                    self.assertIn(option if shell == "zsh" else f"-l {option[2:]} ", text)

    def test_begun_words(self):
        self.assertEqual(self.complete("morph sele"), {"select", "selectors"})
        self.assertEqual(self.complete("morph run spec.toml --upd"), {"--update"})
        self.assertEqual(self.complete("morph --ver"), {"--version"})

    def test_values(self):
        self.assertEqual(self.complete("morph plan spec.toml --device "), {"a100", "h100", "b200", "measured"})
        self.assertEqual(self.complete("morph plan spec.toml --device="), {"a100", "h100", "b200", "measured"})
        self.assertEqual(self.complete("morph plan spec.toml --device=h"), {"h100"})
        self.assertEqual(self.complete("morph completion "), {"bash", "zsh", "fish"})
        self.assertEqual(self.complete("morph run "), set(), "files")
        self.assertEqual(self.complete("morph run spec.toml --out "), set(), "files")

    def test_commands_of_commands(self):
        self.assertIn("mixers", self.complete("morph bench "))
        self.assertIn("--contexts", self.complete("morph bench mixers --"))
        self.assertNotIn("--contexts", self.complete("morph mixers --"))
        self.assertNotIn("--profile", self.complete("morph bench mixers --"))
        # A value that is called as a command.
        self.assertIn("--update", self.complete("morph run plan --"))

    def test_at_a_terminal(self):
        with tempfile.TemporaryDirectory() as holder:
            folder = pathlib.Path(holder)
            (folder / "rc").write_text('eval "$(morph completion bash)"\nbind "set enable-bracketed-paste off"\n')
            environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "dumb"}
            process, terminal = pty.fork()
            if process == 0:
                os.chdir(folder)
                os.execvpe("bash", ["bash", "--noprofile", "--rcfile", "rc", "-i"], environment)
            os.write(terminal, b"morph comple\tba\t > script\n")
            deadline = time.monotonic() + 60
            while not ((folder / "script").exists() and (folder / "script").read_text().endswith(" morph\n")):
                self.assertLess(time.monotonic(), deadline, os.read(terminal, 65536))
                time.sleep(0.05)
            os.write(terminal, b"exit\n")
            os.waitpid(process, 0)
            os.close(terminal)
            self.assertEqual((folder / "script").read_text(), self.bash)

    def test_other_shells_take_it(self):
        for shell in ("zsh", "fish"):
            if shutil.which(shell):
                subprocess.run([shell, "-n", "/dev/stdin"], input=script(shell), text=True, check=True)

    def test_unknown_shell(self):
        done = subprocess.run([MORPH, "completion", "csh"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("csh not in {bash,zsh,fish}", done.stderr)


unittest.main()
