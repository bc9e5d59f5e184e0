# SPDX-License-Identifier: Apache-2.0
"""morph chat of lines from a pipe: what is said is what one reading of the whole conversation gives, of which a turn reads its
new tokens alone."""

import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

from support import BIN, SOURCE, run

MODEL = SOURCE / "specs/models/tiny-recall"
TURNS = ["A hacker is", "one who enjoys", "the art of"]


def chat(model, lines, *arguments, expect=0):
    return run("morph", "chat", model, "--temperature", 0, "--max-tokens", 10, *arguments, input="".join(f"{line}\n" for line in lines),
               expect=expect)


def main():
    with tempfile.TemporaryDirectory() as holder:
        model = pathlib.Path(holder, "model")
        shutil.copytree(MODEL, model)
        said = chat(model, TURNS, expect=2).stderr
        assert "has no chat template" in said, said
        # The tokenizer gives a token a character.
        (model / "chat_template.jinja").write_text(
            "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}")
        told = chat(model, TURNS, "--show-counts")
        answers = told.stdout.split("\n")[:-1]
        assert len(answers) == 3, told.stdout
        text, before = "", 0
        counts = [tuple(map(int, pair)) for pair in re.findall(r"\((\d+) tokens, (\d+) of them kept\)", told.stderr)]
        for turn, answer, (tokens, kept) in zip(TURNS, answers, counts, strict=True):
            text += f"[user]{turn}[assistant]"
            (pathlib.Path(holder) / "prompt").write_text(text)
            alone = run("morph", "generate", model, "--prompt-file", pathlib.Path(holder) / "prompt", "--max-tokens", 10).stdout
            assert alone == answer + "\n", (alone, answer)
            # All but the answer's last token, which was given out and never read.
            assert (tokens, kept) == (len(text), max(0, before - 1)), (tokens, kept, len(text), before)
            text += answer
            before = len(text)
        again = chat(model, [TURNS[0], "/reset", "", TURNS[0], "/exit", "never"], "--show-counts")
        assert again.stdout.split("\n") == [answers[0], answers[0], ""], again.stdout
        long = chat(model, ["a" * 100, TURNS[0]], "--context", 64)
        assert "a context has 64" in long.stderr and long.stdout == answers[0] + "\n", long
        # Ctrl-C stops an answer and not the chat.
        process = subprocess.Popen([BIN / "morph", "chat", model, "--temperature", "0", "--max-tokens", "100000", "--context", "100100"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdin.write(TURNS[0] + "\n")
        process.stdin.flush()
        assert process.stdout.read(5) == answers[0][:5]
        process.send_signal(signal.SIGINT)
        process.stdout.readline()
        process.stdin.write("/exit\n")
        process.stdin.close()
        assert process.wait(60) == 0


if __name__ == "__main__":
    main()
