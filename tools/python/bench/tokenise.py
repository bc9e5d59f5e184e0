# SPDX-License-Identifier: Apache-2.0
"""How much memory and time tokenising takes: a corpus made here goes through the step that `morph run` begins with.

    tools/bench --tokenise [--megabytes 1000] [--tokenizer specs/models/tiny-recall] [--json FILE]

The corpus is JSON lines of seeded words by Zipf's law, in documents of 200 to 4000 words; it goes to a folder that is removed.
Prints megabytes, documents, tokens, the seconds of all cores together and of the clock, and the most memory that the process
held.
"""

import argparse
import itertools
import json
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time


def write_corpus(path, megabytes):
    """Writes JSON lines of about so many megabytes; how many documents."""
    generator = random.Random(1)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "in", "on")]
    words = ["".join(generator.choice(syllables) for _ in range(generator.randrange(1, 4))) for _ in range(50000)]
    weights = list(itertools.accumulate(1 / (i + 1) for i in range(len(words))))
    size = documents = 0
    with open(path, "w", encoding="utf-8") as file:
        while size < megabytes * 1e6:
            text = " ".join(generator.choices(words, cum_weights=weights, k=generator.randrange(200, 4000)))
            size += file.write(json.dumps({"text": f"{documents} {text}"}) + "\n")
            documents += 1
    return documents


def main(arguments, binaries, source):
    del binaries  # The step is Python's.
    parser = argparse.ArgumentParser(prog="tools/bench --tokenise", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=1000, help="the corpus' size (default: 1000)")
    parser.add_argument("--tokenizer", type=pathlib.Path, default=source / "specs/models/tiny-recall",
                        help="a model's folder (default: the embedded one's, whose tokens are letters)")
    parser.add_argument("--json", type=pathlib.Path, help="file of the result")
    arguments = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        documents = write_corpus(folder / "corpus.jsonl", arguments.megabytes)
        begin = time.monotonic()
        step = subprocess.run([sys.executable, source / "tools/python/morph_data.py", "tokenize", "--tokenizer",
                               arguments.tokenizer, "--text", folder / "corpus.jsonl", "--field", "text", "--separator", "\f",
                               "--vocab", "0", "--holdout", "0.1", "--out", folder / "out", "--cache", folder / "cache"],
                              stdout=subprocess.DEVNULL, check=False)
        if step.returncode:  # It has said what is wrong.
            return step.returncode
        seconds = time.monotonic() - begin
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        made = json.loads((folder / "out/text.json").read_text())
        size = (folder / "corpus.jsonl").stat().st_size
    assert made["documents"] == documents, (made, documents)
    result = {"megabytes": size / 1e6, "documents": documents, "tokens": made["count"], "seconds": seconds,
              "cpu_seconds": used.ru_utime + used.ru_stime, "peak_megabytes": used.ru_maxrss * 1024 / 1e6}
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{result['megabytes']:.0f} MB, {documents} documents, {made['count']} tokens: {seconds:.0f} s, "
          f"{result['cpu_seconds']:.0f} s of cores, at most {result['peak_megabytes']:.0f} MB of memory")
    return 0
