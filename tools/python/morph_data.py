#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The steps of Morph's data that need a tokenizer: token files, lexicons of retrieval tasks, the tiny tokenizer.

Run with the Python environment of tools/setup. Exit status: 0 done, 1 failed, 2 wrong input.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import pathlib
import sys
from importlib import metadata

import morph_lexicon
from data import questions, tokens
from data.files import (
    InputError, parse_json, print_error, read_text, sha256_of, tokenizer_file, tokenizer_folder, whole_file)


def tokenize(arguments):
    """Texts to a token file."""
    if arguments.workers:
        os.environ["RAYON_NUM_THREADS"] = str(arguments.workers)
    tokens.write_text(arguments.tokenizer, arguments.text, arguments.weight, arguments.field, arguments.out,
                      arguments.separator, arguments.holdout, arguments.vocab, arguments.cache)


def make_lexicon(tokenizer, task, seed, cache):
    """The lexicon of a [[task]]; made once for the same task, seed, tokenizer and code, as loading a tokenizer takes seconds."""
    tokenizer_file(tokenizer)
    folder = tokenizer_folder(tokenizer)
    # What transformers may read of it: its model's type, the tokenizer, templates.
    files = {path.name: sha256_of(path) for path in sorted(pathlib.Path(folder).glob("*"))
             if path.suffix in (".json", ".jinja", ".txt", ".model") and path.is_file()}
    content = {"task": task, "seed": seed, "files": files, "code": sha256_of(morph_lexicon.__file__), "python": sys.version,
               "packages": {name: metadata.version(name) for name in ("transformers", "tokenizers", "jinja2")}}
    kept = os.path.join(cache, hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest() + ".json")
    with contextlib.suppress(OSError, ValueError), open(kept, encoding="utf-8") as stream:
        return json.load(stream)
    try:
        result = morph_lexicon.make_lexicon(folder, task, seed)
    except morph_lexicon.LexiconError as error:
        raise InputError(str(error), error.hint) from error
    with contextlib.suppress(OSError):
        # Others may write the same.
        own = f"{kept}.{os.getpid()}"
        with whole_file(own) as stream:
            json.dump(result, stream, separators=(",", ":"))
        os.replace(own, kept)
    return result


def write_lexicon(tokenizer, task, out, seed, cache):
    """Writes the lexicon of one [[task]] to the file `out`."""
    result = make_lexicon(tokenizer, task, seed, cache)
    with whole_file(out) as stream:
        json.dump(result, stream, separators=(",", ":"))
        stream.write("\n")
    values = math.prod(len(result["alphabets"][part]) for part in result["value"])
    # Tasks whose whole context is words draw no values.
    print(f"lexicon of task '{task['name']}': {len(result['keys'])} keys" + (f", {values:.3g} values" if values > 1 else ""))


def write_questions(arguments):
    """The token files of tasks of kinds jsonl and qa (runtime/data/Questions.h)."""
    if len(arguments.task) != len(arguments.out):
        raise InputError("each --task needs an --out")
    for task, out in zip(arguments.task, arguments.out):
        questions.write_questions(arguments.tokenizer, parse_json(task, "--task"), out, arguments.vocab, arguments.cache)


def lexicon(arguments):
    """The lexicons of words-space tasks (runtime/data/Lexicon.h)."""
    if len(arguments.task) != len(arguments.out):
        raise InputError("each --task needs an --out")
    for task, out in zip(arguments.task, arguments.out):
        text = task if task.lstrip().startswith("{") else read_text(task)
        write_lexicon(arguments.tokenizer, parse_json(text, "--task"), out, arguments.seed, arguments.cache)


# What ASCII writes differently; what is still unknown afterwards becomes '?'.
ASCII_FORMS = {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2500": "-",
               "\u2502": "|", "\u00a0": " "}


def make_tiny_tokenizer(arguments):
    """256 ids: ASCII characters, <k0>..<k63> from 128, <v0>..<v63> from 192; loads in transformers."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.BPE({chr(i): i for i in range(128)}, [], unk_token="?"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(old, new) for old, new in ASCII_FORMS.items()] +
        [normalizers.NFKD(), normalizers.StripAccents()])
    # Words apart, so that the model's cache helps; characters stay characters.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^ \n]+|[ \n]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_tokens([AddedToken(f"<{kind}{i}>", normalized=False) for kind in "kv" for i in range(64)])
    os.makedirs(arguments.out, exist_ok=True)
    with whole_file(os.path.join(arguments.out, "tokenizer.json")) as stream:
        stream.write(tokenizer.to_str(pretty=True) + "\n")
    with whole_file(os.path.join(arguments.out, "tokenizer_config.json")) as stream:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 2048,
                   "clean_up_tokenization_spaces": False}, stream, indent=2)
        stream.write("\n")
    print(f"tokenizer of {tokenizer.get_vocab_size()} ids in {arguments.out}")


def exit_status(program, run):
    """Calls `run` and says what is wrong in `program`'s name; what a program exits with: 0 done, 1 failed, 2 wrong input."""
    try:
        run()
    except InputError as error:
        print_error(program, error)
        return 2
    except (OSError, morph_lexicon.VerificationError) as error:
        print_error(program, error)
        return 1
    return 0


def main(arguments=None):
    """Does what the arguments say, the command line's by default; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("tokenize", help="texts to one token file")
    command.add_argument("--tokenizer", required=True, metavar="DIR", help="folder of tokenizer.json, or the file")
    command.add_argument("--text", required=True, nargs="+", metavar="SOURCE",
                         help="text, JSON lines, parquet or arrow; a folder or pattern of such; a saved dataset")
    command.add_argument("--weight", type=float, nargs="+", default=[], metavar="W",
                         help="share in which windows are drawn of each text")
    command.add_argument("--field", required=True, action="append", metavar="NAME",
                         help="field of rows that holds text or messages; given again: the next to look for")
    command.add_argument("--cache", default=tokens.default_cache(), metavar="DIR", help="token files of other runs")
    command.add_argument("--workers", type=int, default=0, metavar="N", help="threads; 0: one a core")
    command.add_argument("--out", required=True, metavar="DIR", help="where text.{tokens,documents,json} go")
    command.add_argument("--separator", required=True, help="what divides documents in a file")
    command.add_argument("--holdout", type=float, required=True, help="tail of each document kept from training")
    command.add_argument("--vocab", type=int, required=True, metavar="N",
                         help="the model's vocabulary, which ids must fit; 0: the tokenizer's")
    command.set_defaults(run=tokenize)

    command = commands.add_parser("lexicon", help="the token pieces of retrieval tasks in words")
    command.add_argument("--tokenizer", required=True, metavar="DIR", help="folder of the model's tokenizer")
    command.add_argument("--task", required=True, action="append", metavar="JSON",
                         help="a [[task]] as JSON, or a file of it; may be given again, each with its --out")
    command.add_argument("--out", required=True, action="append", metavar="FILE")
    command.add_argument("--seed", type=int, required=True, help="of the pools of numbers and names")
    command.add_argument("--cache", default=tokens.default_cache("lexicons"), metavar="DIR", help="lexicons of other runs")
    command.set_defaults(run=lexicon)

    command = commands.add_parser("questions", help="your own questions to token files")
    command.add_argument("--tokenizer", required=True, metavar="DIR", help="folder of the model's tokenizer")
    command.add_argument("--task", required=True, action="append", metavar="JSON",
                         help="a [[task]] of kind jsonl or qa as JSON; may be given again, each with its --out")
    command.add_argument("--out", required=True, action="append", metavar="PREFIX",
                         help="PREFIX.{tokens,documents,json} are written")
    command.add_argument("--vocab", type=int, required=True, metavar="N", help="the model's vocabulary; 0: the tokenizer's")
    command.add_argument("--cache", default=tokens.default_cache(), metavar="DIR", help="token files of other runs")
    command.set_defaults(run=write_questions)

    command = commands.add_parser("make-tiny-tokenizer", help="the tokenizer of the embedded tiny base")
    command.add_argument("out", metavar="OUT", help="folder to write")
    command.set_defaults(run=make_tiny_tokenizer)

    arguments = parser.parse_args(arguments)
    return exit_status("morph_data", lambda: arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
