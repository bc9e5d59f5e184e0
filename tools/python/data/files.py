# SPDX-License-Identifier: Apache-2.0
"""Files that are read by blocks and written whole, tokenizers, and the error that says what of the input is wrong."""

import contextlib
import hashlib
import json
import os
import zlib

BLOCK = 1 << 16  # So that even the most packed block stays tens of megabytes.


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
