# SPDX-License-Identifier: Apache-2.0
"""Files that are read by blocks and written whole, models' folders, tokenizers, and the error that says what of the input is wrong."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import sys
import tempfile
import zlib

BLOCK = 1 << 16  # So that even the most packed block stays tens of megabytes.


class InputError(Exception):
    """What the caller gave is wrong; `hint` says what to do."""

    def __init__(self, message, hint=""):
        super().__init__(message)
        self.hint = hint


def print_error(program, error):
    """What an error says, and its hint where it has one, in a program's name."""
    print(f"{program}: error: {error}", file=sys.stderr)
    if hint := getattr(error, "hint", ""):
        print(f"{program}: hint: {hint}", file=sys.stderr)


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


def check_writable(path, option):
    """Refuses a file that cannot be written, given as this option, before what goes into it takes its time. Its folder is made."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{option}: '{path}' cannot be written: {error.strerror}",
                         "name a file in a folder that can be written to") from error


def sha256_of(path, update=lambda size: None):
    """The hash of a file's content in hexadecimal digits; `update` is told the bytes of each block."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            update(len(block))
    return digest.hexdigest()


def blocks(path, update=lambda size: None):
    """The bytes of a file, plain or packed with gzip or zstd (told by its first bytes), block by block.

    `update` is told the bytes as they lie in the file. Raises InputError where it cannot be read, is cut or broken."""
    try:
        with open(path, "rb") as stream:
            block = stream.read(BLOCK)
            if block[:2] == b"\x1f\x8b":
                make = lambda: zlib.decompressobj(31)  # noqa: E731: 31 is gzip with its header
            elif block[:4] == b"\x28\xb5\x2f\xfd":
                import zstandard

                make = zstandard.ZstdDecompressor().decompressobj
            else:
                make = None
            unpacker = make and make()
            while block:
                update(len(block))
                if not make:
                    yield block
                while make and block:
                    if unpacker.eof:  # Packed files may be joined.
                        unpacker = make()
                    yield unpacker.decompress(block)
                    block = unpacker.unused_data
                block = stream.read(BLOCK)
            if make and not unpacker.eof:
                raise InputError(f"'{path}' ends within what is packed", "was it copied whole?")
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror or error}") from error
    except (InputError, GeneratorExit):
        raise
    except Exception as error:
        if isinstance(error, zlib.error) or type(error).__name__ == "ZstdError":
            raise InputError(f"cannot unpack '{path}': {error}", "was it copied whole?") from error
        raise


def read_text(path):
    """The text of a plain or packed UTF-8 file."""
    try:
        return b"".join(blocks(path)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}",
                         "convert it, for example with iconv") from error


def model_folder(path):
    """A folder with a model in it and a tokenizer."""
    folder = pathlib.Path(path)
    if not (folder / "config.json").is_file():
        raise InputError(f"'{folder}' is no model folder: it has no config.json", "give the folder hybrid/ of a run, or its base's")
    if not (folder / "tokenizer.json").is_file():
        raise InputError(f"'{folder}' has no tokenizer.json", "text cannot become tokens without it")
    return folder


SINGLE_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"


def weight_files(folder):
    """The files of a model folder's weights: model.safetensors, else the shards that the index names, sorted, as the importer
    (frontends/huggingface/Checkpoint.cpp) and the runtime (runtime/weights/WeightStore.cpp) choose them.

    Other .safetensors that lie there are none of the model's: Mistral's consolidated.safetensors, what a stopped copy left."""
    folder = pathlib.Path(folder)
    if (folder / SINGLE_FILE).exists():
        return [folder / SINGLE_FILE]
    index = folder / INDEX_FILE
    if not index.exists():
        raise InputError(f"'{folder}' holds no weights: there is neither '{SINGLE_FILE}' nor '{INDEX_FILE}'",
                         "weights of other forms are converted by transformers' save_pretrained")
    hint = "was the folder copied whole? transformers' save_pretrained writes it anew"
    content = parse_json(read_text(index), f"'{index}'", hint)
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise InputError(f"'{index}': 'weight_map' must be an object that maps tensors to files", hint)
    for tensor, name in shards.items():
        # A name with a folder in it could point anywhere.
        if not isinstance(name, str) or not name.endswith(".safetensors") or "/" in name or "\0" in name:
            raise InputError(f"'{index}' gives no file of its own folder for the tensor '{tensor}'", hint)
    files = [folder / name for name in sorted(set(shards.values()))]
    if missing := next((file for file in files if not file.exists()), None):
        raise InputError(f"'{index}' names '{missing.name}', which is not there", hint)
    return files


def distinct_names(folders, least=1):
    """Names that tell folders apart, of which each is given once: their last `least` names, and as much more of their paths as
    that takes."""
    paths = [pathlib.Path(folder).resolve() for folder in folders]
    assert len(set(paths)) == len(paths), paths
    depth = least
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    names = ["/".join(path.parts[-depth:]) for path in paths]
    return [name if name.isprintable() else ascii(name)[1:-1] for name in names]


def tokenizer_file(path):
    """The tokenizer.json of a folder, or the file itself."""
    file = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
    if not os.path.isfile(file):
        raise InputError(f"there is no tokenizer at '{path}'", "give a folder with tokenizer.json, or that file")
    return file


def tokenizer_folder(path):
    """The folder of a tokenizer, that itself or where the file lies: what transformers reads."""
    return path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))


def load_tokenizer(path):
    from tokenizers import Tokenizer

    file = tokenizer_file(path)
    try:
        return Tokenizer.from_file(file)
    except Exception as error:  # the library raises bare Exception for malformed files
        raise InputError(f"'{file}' is no tokenizer that the tokenizers library reads: {error}") from error


def parse_json(text, where, hint=""):
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where} is no JSON: {error}", hint) from error
