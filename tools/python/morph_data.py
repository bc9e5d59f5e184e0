#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The steps of Morph's data that need a tokenizer: token files, lexicons of retrieval tasks, the tiny tokenizer.

Run with the Python environment of tools/setup. Exit status: 0 done, 1 failed, 2 wrong input.
"""

import argparse
import contextlib
import gzip
import hashlib
import json
import math
import os
import sys

import morph_lexicon


class InputError(Exception):
    """What the caller gave is wrong; `hint` says what to do."""

    def __init__(self, message, hint=""):
        super().__init__(message)
        self.hint = hint


@contextlib.contextmanager
def whole_file(path, mode="w"):
    """Writes `path`.partial, syncs, renames and syncs the folder: the file is whole or absent, whatever ends the machine.

    The name is fixed, so that what a kill leaves is written over."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    temporary = f"{path}.partial"
    try:
        with open(temporary, mode, **({} if "b" in mode else {"encoding": "utf-8"})) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tokenizer_file(path):
    """The tokenizer.json of a folder, or the file itself."""
    file = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
    if not os.path.isfile(file):
        raise InputError(f"there is no tokenizer at '{path}'", "give a folder with tokenizer.json, or that file")
    return file


def load_tokenizer(path):
    from tokenizers import Tokenizer

    file = tokenizer_file(path)
    try:
        return Tokenizer.from_file(file)
    except Exception as error:  # the library raises bare Exception for malformed files
        raise InputError(f"'{file}' is no tokenizer that the tokenizers library reads: {error}") from error


def read_text(path):
    """The text of a plain or gzipped UTF-8 file."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}",
                         "convert it, for example with iconv") from error
    except (OSError, EOFError) as error:
        raise InputError(f"cannot read '{path}': {getattr(error, 'strerror', None) or error}") from error


def parse_json(text, where):
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is no JSON: {error}") from error


def tokenize(arguments):
    """Texts to a token file."""
    write_tokens(arguments.tokenizer, arguments.text, arguments.out, arguments.separator, arguments.holdout,
                 arguments.vocab)


def write_tokens(tokenizer_path, texts, out, separator, holdout, model_vocabulary):
    """Texts to `text.tokens` and `text.json` of runtime/data/TextStore.h. `model_vocabulary` 0: the tokenizer's."""
    import numpy

    if not 0 <= holdout < 1:
        raise InputError(f"--holdout must be in [0, 1), not {holdout}")
    if not separator:
        raise InputError("--separator must not be empty")
    tokenizer = load_tokenizer(tokenizer_path)
    # A text that writes about special tokens must not steer the model with them.
    tokenizer.encode_special_tokens = True
    vocabulary = max(tokenizer.get_vocab().values()) + 1
    if model_vocabulary and vocabulary > model_vocabulary:
        raise InputError(f"the tokenizer at '{tokenizer_path}' has {vocabulary} ids and the model {model_vocabulary}",
                         "is it this model's tokenizer?")
    vocabulary = model_vocabulary or vocabulary
    dtype = "u16" if vocabulary <= 65536 else "u32"

    offsets, parts, sources, count = [], [], [], 0
    for path in texts:
        documents = [text for text in read_text(path).split(separator) if text.strip()]
        if not documents:
            raise InputError(f"'{path}' has no text")
        begin = count
        for encoding in tokenizer.encode_batch(documents, add_special_tokens=False):
            if not encoding.ids:
                continue
            offsets.append(count)
            parts.append(numpy.array(encoding.ids, dtype="<u2" if dtype == "u16" else "<u4"))
            count += len(encoding.ids)
        sources.append({"path": path, "documents": len(documents), "tokens": count - begin})
    if not count:
        raise InputError("the texts have no tokens")
    os.makedirs(out, exist_ok=True)
    with whole_file(os.path.join(out, "text.tokens"), "wb") as stream:
        for part in parts:
            stream.write(part.tobytes())
    with open(tokenizer_file(tokenizer_path), "rb") as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()
    with whole_file(os.path.join(out, "text.json")) as stream:
        json.dump({"dtype": dtype, "count": count, "documents": offsets, "holdout": holdout,
                   "vocabulary": vocabulary, "tokenizer_sha256": digest, "sources": sources}, stream, indent=1)
        stream.write("\n")
    print(f"{count} tokens ({dtype}) of {len(offsets)} document{'s' if len(offsets) > 1 else ''}")


def write_lexicon(tokenizer, task, out, seed):
    """Writes the lexicon of one [[task]] to the file `out`."""
    tokenizer_file(tokenizer)
    try:
        result = morph_lexicon.make_lexicon(tokenizer, task, seed)
    except morph_lexicon.LexiconError as error:
        raise InputError(str(error), error.hint) from error
    with whole_file(out) as stream:
        json.dump(result, stream, separators=(",", ":"))
        stream.write("\n")
    values = math.prod(len(result["alphabets"][part]) for part in result["value"])
    print(f"lexicon of task '{task['name']}': {len(result['keys'])} keys, {values:.3g} values")


def lexicon(arguments):
    """The lexicons of words-space tasks (runtime/data/Lexicon.h)."""
    if len(arguments.task) != len(arguments.out):
        raise InputError("each --task needs an --out")
    for task, out in zip(arguments.task, arguments.out):
        text = task if task.lstrip().startswith("{") else read_text(task)
        write_lexicon(arguments.tokenizer, parse_json(text, "--task"), out, arguments.seed)


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
        print(f"{program}: error: {error}", file=sys.stderr)
        if error.hint:
            print(f"{program}: hint: {error.hint}", file=sys.stderr)
        return 2
    except (OSError, morph_lexicon.VerificationError) as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("tokenize", help="text files to one token file")
    command.add_argument("--tokenizer", required=True, metavar="DIR", help="folder of tokenizer.json, or the file")
    command.add_argument("--text", required=True, nargs="+", metavar="FILE",
                         help="UTF-8 text, plain or gzipped; a file is one document unless it has separators")
    command.add_argument("--out", required=True, metavar="DIR", help="where text.tokens and text.json go")
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
    command.set_defaults(run=lexicon)

    command = commands.add_parser("make-tiny-tokenizer", help="the tokenizer of the embedded tiny base")
    command.add_argument("out", metavar="OUT", help="folder to write")
    command.set_defaults(run=make_tiny_tokenizer)

    arguments = parser.parse_args()
    return exit_status("morph_data", lambda: arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
