# SPDX-License-Identifier: Apache-2.0
"""Where documents come from: what a source is, its files, and their rows and documents, read in bounded memory.

A source is a file, a folder, a pattern of files or a dataset that Hugging Face `datasets` has saved. A file is plain
text, or rows: JSON lines, parquet, arrow. Text and JSON lines may be packed with gzip or zstd.
"""

import codecs
import glob
import json
import os
import re

from data.files import InputError, blocks, parse_json, tokenizer_folder

ROWS = (".jsonl", ".ndjson", ".json")
TEXTS = (".txt", ".md", ".text")
TABLES = (".parquet", ".arrow", ".feather")
PACKED = (".gz", ".zst")
# What describes a dataset and is none of its rows.
CARDS = ("README.md", "dataset_infos.json")
# How names say their split, as `datasets` reads them.
SPLIT = re.compile(r"(?:^|[^a-z])(train|training|test|testing|eval|evaluation|validation|valid|val|dev)(?:[^a-z]|$)")
READ = 1024  # rows of a table at a time
LONGEST = 1 << 22  # Characters of a document that are held at once, where the tokenizer lets it be cut.


def ending(path):
    """The file's ending, without that of a packed one: ".jsonl" of a.jsonl.gz."""
    name = path.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return os.path.splitext(name)[1]


def leave_out(source, found, others, note):
    """Of a folder as from Hugging Face's hub the files of its split `train`, without its card; and how many others there are."""
    data = [path for path in found if os.path.basename(path) not in CARDS]
    if any(ending(path) in ROWS + TABLES for path in data):
        others += len(found) - len(data)
        found = data

    def split(path):
        match = SPLIT.search(os.path.relpath(path, source).lower())
        return match and match[1]

    training = [path for path in found if split(path) in ("train", "training")]
    held_out = [path for path in found if split(path) not in (None, "train", "training")]
    if training and held_out:
        note(f"of the folder '{source}' split 'train' is read, not {len(held_out)} "
             f"file{'s' * (len(held_out) > 1)} of {', '.join(sorted({split(path) for path in held_out}))}")
        found = [path for path in found if path not in held_out]
    return found, others


def files_of(source, note=lambda text: None):
    """The files of a source in order. `note` is told what of it is not read."""
    if os.path.isfile(source):
        return [source]
    if not os.path.isdir(source):
        found = sorted(path for path in glob.glob(source) if os.path.isfile(path))
        if not found:
            raise InputError(f"cannot read '{source}': No such file or folder, and no file that it is a pattern of")
        return found
    if os.path.exists(os.path.join(source, "dataset_dict.json")):
        with open(os.path.join(source, "dataset_dict.json"), encoding="utf-8") as stream:
            splits = parse_json(stream.read(), f"'{stream.name}'").get("splits", [])
        if "train" not in splits:
            raise InputError(f"the dataset '{source}' has no split 'train'",
                             f"name the folder of one of its splits: {', '.join(splits) or 'it has none'}")
        note(f"of the dataset '{source}' split 'train' is read" +
             (f", not {', '.join(name for name in splits if name != 'train')}" if len(splits) > 1 else ""))
        source = os.path.join(source, "train")
    if os.path.exists(os.path.join(source, "state.json")):
        with open(os.path.join(source, "state.json"), encoding="utf-8") as stream:
            state = parse_json(stream.read(), f"'{stream.name}'")
        if state.get("_indices_files"):
            raise InputError(f"the rows of the dataset '{source}' are chosen by a table of indices",
                             "save it after flatten_indices()")
        found = [os.path.join(source, entry["filename"]) for entry in state.get("_data_files", [])]
    else:
        found, others = [], 0
        for folder, folders, names in os.walk(source):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                if name.startswith("."):
                    continue
                if ending(name) in ROWS + TEXTS + TABLES:
                    found.append(os.path.join(folder, name))
                else:
                    others += 1
        found, others = leave_out(source, sorted(found), others, note)
        if found and others:
            note(f"of the folder '{source}' {others} file{'s are' if others > 1 else ' is'} not read, by the names")
    if not found:
        raise InputError(f"the folder '{source}' has no file of text",
                         f"files end in {', '.join(TEXTS + ROWS + TABLES)}, the first six also in {' or '.join(PACKED)}")
    return found


def kind_of(path):
    """"parquet", "arrow", "rows" or "text", by the first bytes and then by the name."""
    try:
        with open(path, "rb") as stream:
            begin = stream.read(6)
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror or error}") from error
    if begin[:4] == b"PAR1":
        return "parquet"
    if begin == b"ARROW1" or begin[:4] == b"\xff\xff\xff\xff":
        return "arrow"
    if ending(path) in TABLES:
        raise InputError(f"'{path}' is no {ending(path)[1:]} file by its first bytes", "was it copied whole?")
    return "rows" if ending(path) in ROWS else "text"


def table_batches(path, kind, update):
    """The record batches of a parquet or arrow file."""
    import pyarrow
    import pyarrow.parquet

    size = os.path.getsize(path)
    try:
        if kind == "parquet":
            with pyarrow.parquet.ParquetFile(path) as table:
                total = max(1, table.metadata.num_rows)
                for batch in table.iter_batches(batch_size=READ):
                    yield batch
                    update(size * batch.num_rows / total)
            return
        with pyarrow.memory_map(path) as source:
            if source.read(6) == b"ARROW1":
                reader = pyarrow.ipc.open_file(source)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            else:
                source.seek(0)
                batches = pyarrow.ipc.open_stream(source)
            told = 0
            for batch in batches:
                for begin in range(0, batch.num_rows, READ):
                    yield batch.slice(begin, READ)
                update(source.tell() - told)
                told = source.tell()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"cannot read '{path}': {str(error).splitlines()[0]}", "was it copied whole?") from error


def lines(path, update):
    """(line, number) of a file, as bytes without its end."""
    rest, number = [], 0
    for block in blocks(path, update):
        parts = block.split(b"\n")
        for part in parts[:-1]:
            rest.append(part)
            number += 1
            yield b"".join(rest), number
            rest = []
        rest.append(parts[-1])
    if last := b"".join(rest):
        yield last, number + 1


def rows(path, update=lambda size: None):
    """(row, where) of a file of rows: a dictionary, and the place that errors name. Blank lines are none."""
    kind = kind_of(path)
    if kind == "text":
        raise InputError(f"'{path}' has no rows", f"rows are in files {', '.join(ROWS + TABLES)}")
    if kind != "rows":
        number = 0
        for batch in table_batches(path, kind, update):
            for row in batch.to_pylist():
                number += 1
                yield row, f"{path}, row {number}"
        return
    for line, number in lines(path, update):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: byte {error.start} of the line is {line[error.start]:#04x}, which is no UTF-8",
                             "convert the file, for example with iconv") from error
        row = parse_json(text, f"{where}:", "a file of rows has a JSON object in each line")
        if not isinstance(row, dict):
            raise InputError(f"{where}: the row is no JSON object, but {json.dumps(row)[:40]}",
                             "a row is an object: {\"text\": \"...\"}")
        yield row, where


class Chat:
    """Conversations as text, by the chat template of a tokenizer's folder."""

    def __init__(self, tokenizer):
        self.folder = tokenizer_folder(tokenizer)
        self.tokenizer = None

    def template(self):
        """The tokenizer of transformers, read once; its `chat_template` may be none."""
        if self.tokenizer is None:
            from transformers import AutoTokenizer

            try:
                self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
            except (OSError, ValueError) as error:
                raise InputError(f"transformers does not read the tokenizer of '{self.folder}': "
                                 f"{str(error).splitlines()[0]}") from error
        return self.tokenizer

    def check(self, messages, where):
        """An InputError unless these are messages: [{"role": "user", "content": "..."}, ...]."""
        if not isinstance(messages, list) or not messages:
            raise InputError(f"{where}: 'messages' is no list of messages")
        for message in messages:
            if not isinstance(message, dict) or not isinstance(message.get("role"), str) or not isinstance(
                    message.get("content"), str):
                raise InputError(f"{where}: a message has no strings 'role' and 'content'",
                                 "a message is {\"role\": \"user\", \"content\": \"...\"}")
        if not self.template().chat_template:
            raise InputError(f"{where}: the row is a conversation, and the tokenizer of '{self.folder}' has no chat "
                             "template", "give data.tokenizer a folder with chat_template.jinja, or name fields without "
                             "conversations: 'fields' in [data], 'prompt' and 'answer' of a task")

    def render(self, messages, where, asks=False):
        """The conversation as the model reads it; `asks`: up to where the assistant would answer."""
        self.check(messages, where)
        try:
            return self.template().apply_chat_template(messages, tokenize=False, add_generation_prompt=asks,
                                                       enable_thinking=False)
        except Exception as error:  # Templates raise what they like.
            raise InputError(f"{where}: the chat template refuses the conversation: {error}") from error


def row_text(row, where, fields, chat):
    """(text, is a conversation) of a row: of the first of `fields` that it has. No text where it holds none."""
    present = [field for field in fields if field in row]
    if not present:
        names = " or ".join(f"'{field}'" for field in fields)
        raise InputError(f"{where}: the row has no field {names}",
                         f"it has {', '.join(map(str, row)) or 'none'}; name the one to read by 'fields' in [data]")
    for field in present:
        value = row[field]
        if value is None:
            continue
        if isinstance(value, str):
            return value, False
        if isinstance(value, list):
            return (chat.render(value, where), True) if value else ("", False)
        raise InputError(f"{where}: '{field}' is neither text nor a conversation, but {type(value).__name__}",
                         "name a field of text by 'fields' in [data]")
    return "", False


def plain_parts(path, separator, cut, update):
    """(text, ends a document) of a plain file. A part ends where the separator stands or `cut` lets the text be cut."""
    decoder, text, lines_before, bytes_before = codecs.getincrementaldecoder("utf-8")(), "", 1, 0
    searched, waiting = 0, LONGEST

    def decoded():
        nonlocal lines_before, bytes_before
        for block in blocks(path, update):
            kept = decoder.getstate()[0]
            try:
                yield decoder.decode(block)
            except UnicodeDecodeError as error:
                block = kept + block
                line = lines_before + block[:error.start].count(b"\n")
                raise InputError(f"{path}:{line} is not UTF-8 text: byte {bytes_before - len(kept) + error.start} is "
                                 f"{block[error.start]:#04x}", "convert it, for example with iconv") from error
            lines_before += block.count(b"\n")
            bytes_before += len(block)
        try:
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise InputError(f"{path}:{lines_before} is not UTF-8 text: it ends within a character") from error

    for ahead in decoded():
        text += ahead
        if text.find(separator, searched) >= 0:
            *ended, text = text.split(separator)
            yield from ((document, True) for document in ended)
            waiting = LONGEST
        searched = max(0, len(text) - len(separator) + 1)
        if len(text) > waiting:
            if place := cut(text, min(LONGEST, len(text) - 4096)):
                yield text[:place], False
                text, searched, waiting = text[place:], max(0, searched - place), LONGEST
            else:
                waiting = 2 * len(text)
    yield text, True


def parts(path, fields, separator, chat, cut, update=lambda size: None):
    """(text, is a conversation, ends a document) of a file; a document without text is one empty part."""
    if kind_of(path) == "text":
        for text, ends in plain_parts(path, separator, cut, update):
            yield text, False, ends
        return
    for row, where in rows(path, update):
        text, is_chat = row_text(row, where, fields, chat)
        yield text, is_chat, True
