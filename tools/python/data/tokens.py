# SPDX-License-Identifier: Apache-2.0
"""Documents to token files, in bounded memory, with a journal to go on by and a cache by content.

A chunk of text is tokenised by all threads of the tokenizers library, and its ids are appended to the file before the
next is read. What is made is a function of the sources' content, the tokenizer and the options, whatever the threads.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time

from data import sources
from data.files import BLOCK, InputError, load_tokenizer, sha256_of, tokenizer_file, whole_file

FORMAT = 1  # Of what the cache holds: another number makes all anew.
PART = 1 << 17  # Characters that one thread tokenises at a time, where the tokenizer lets a document be cut.
CHUNK = 1 << 21  # Characters between two writes.
SAVE_EVERY = 2.0  # Seconds between two lines of the journal.
SAY_EVERY = 10.0  # Seconds between two lines of progress where standard error is no terminal.


class Cutter:
    """Cuts long documents where the tokens of both sides are those of the whole."""

    AROUND = 1000  # Characters on both sides that are tokenised to find out.
    TRIES = 16

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def place(self, text, near):
        """A place at or before `near`, or None: behind a letter and before a line's end, a space or any character."""
        for gap in ("\n", " "):
            at = near
            for _ in range(self.TRIES):
                at = text.rfind(gap, 1, at)
                if at < max(1, near // 2):
                    break
                left, right = text[max(0, at - self.AROUND):at], text[at:at + self.AROUND]
                if text[at - 1].isalnum() and self.ids(left + right) == self.ids(left) + self.ids(right):
                    return at
        return None

    def cut(self, text):
        """The text in parts of about PART characters."""
        begin = 0
        while len(text) - begin > 2 * PART:
            place = self.place(text[begin:begin + 2 * PART], PART)
            if place is None:
                break
            yield text[begin:begin + place]
            begin += place
        yield text[begin:] if begin else text


class Progress:
    """Says on standard error how far the bytes are."""

    def __init__(self, title, total, done=0):
        self.title, self.total, self.done, self.begin, self.first = title, max(1, total), done, time.monotonic(), done
        self.terminal, self.said, self.tokens = sys.stderr.isatty(), time.monotonic(), 0

    def update(self, size):
        self.done += size
        now = time.monotonic()
        if now - self.said < (0.5 if self.terminal else SAY_EVERY):
            return
        self.said, seconds = now, now - self.begin
        rate = (self.done - self.first) / seconds
        left = (self.total - self.done) / rate if rate else 0
        tokens = f", {self.tokens / seconds:.3g} tokens/s" if self.tokens else ""
        line = (f"{self.title}: {self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB ({100 * self.done / self.total:.0f} %)"
                f"{tokens}, {int(left) // 60} min {int(left) % 60} s left")
        print(f"\r{line}\x1b[K" if self.terminal else line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def finish(self):
        if self.terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def default_cache(name="tokens"):
    """Where token files, or what `name` says, are kept for other runs: that folder of $MORPH_CACHE, or of ~/.cache/morph."""
    root = os.environ.get("MORPH_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "morph")
    return os.path.join(root, name)


def content_key(tokenizer, source_files, options):
    """The hash of all that the tokens depend on: every file is read, whatever its size and times say."""
    import tokenizers

    total = sum(os.path.getsize(path) for files in source_files for path in files)
    progress = Progress("hashing texts", total)
    content = {"format": FORMAT, "library": tokenizers.__version__, "tokenizer": {}, "options": options,
               "sources": [[sha256_of(path, progress.update) for path in files] for files in source_files],
               # A kind is told by the name, too.
               "kinds": [[sources.kind_of(path) for path in files] for files in source_files]}
    progress.finish()
    folder = sources.Chat(tokenizer).folder
    for path in {tokenizer_file(tokenizer), *(os.path.join(folder, name) for name in
                                              ("tokenizer_config.json", "chat_template.jinja"))}:
        if os.path.isfile(path):
            content["tokenizer"][os.path.basename(path)] = sha256_of(path)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(), total


class Writer:
    """Token and document files that grow together, with a journal of how far both are whole."""

    def __init__(self, folder, source_count, width):
        self.folder, self.width = folder, width
        self.state = {"tokens": 0, "documents": 0, "open": False, "file": 0, "part": 0, "bytes": 0,
                      "sources": [{"documents": 0, "tokens": 0, "dropped": 0} for _ in range(source_count)]}
        self.journal = os.path.join(folder, "journal.json")
        with contextlib.suppress(OSError, ValueError):
            with open(self.journal, encoding="utf-8") as stream:
                self.state = json.load(stream)
        self.resumed = self.state["tokens"] > 0
        self.streams = []
        for name, size in (("tokens", self.state["tokens"] * width), ("documents", self.state["documents"] * 8)):
            stream = open(os.path.join(folder, name), "ab")  # noqa: SIM115: closed by `close`
            stream.truncate(size)
            self.streams.append(stream)
        self.saved = time.monotonic()

    def append(self, source, encoded):
        """Appends parts of documents: (ids, ends a document)."""
        import numpy

        counts, offsets = self.state["sources"][source], []
        for ids, ends in encoded:
            if ids:
                if not self.state["open"]:
                    offsets.append(self.state["tokens"])
                    self.state["open"] = True
                    counts["documents"] += 1
                self.streams[0].write(numpy.array(ids, dtype=f"<u{self.width}").tobytes())
                self.state["tokens"] += len(ids)
                counts["tokens"] += len(ids)
            if ends:
                counts["dropped"] += not self.state["open"]
                self.state["open"] = False
        self.streams[1].write(numpy.array(offsets, dtype="<u8").tobytes())
        self.state["documents"] += len(offsets)

    def save(self, force=False):
        """Makes what is written durable, and then the line that says so."""
        if not force and time.monotonic() - self.saved < SAVE_EVERY:
            return
        for stream in self.streams:
            stream.flush()
            os.fsync(stream.fileno())
        with whole_file(self.journal) as stream:
            json.dump(self.state, stream)
        self.saved = time.monotonic()

    def close(self):
        for stream in self.streams:
            stream.close()


def tokenize_files(tokenizer_path, options, writer, source_files, total):
    """Everything that the writer's journal does not hold yet."""
    plain, special = load_tokenizer(tokenizer_path), load_tokenizer(tokenizer_path)
    # A text that writes about special tokens must not steer the model with them; a chat template's own must.
    plain.encode_special_tokens = True
    chat, cutter, state = sources.Chat(tokenizer_path), Cutter(plain), writer.state
    progress = Progress("tokenising", total, state["bytes"])

    def encode(source, chunk, is_chat, number, part):
        encodings = (special if is_chat else plain).encode_batch_fast([text for text, _ in chunk],
                                                                      add_special_tokens=False)
        before = state["tokens"]
        writer.append(source, ((encoding.ids, ends) for encoding, (_, ends) in zip(encodings, chunk)))
        progress.tokens += state["tokens"] - before
        state["file"], state["part"] = number, part
        writer.save()

    number = 0
    for source, files in enumerate(source_files):
        for path in files:
            if number < state["file"]:
                number += 1
                continue
            skipped = state["part"] if number == state["file"] else 0
            chunk, size, was_chat, part = [], 0, False, 0
            for text, is_chat, ends in sources.parts(path, options["fields"], options["separator"], chat, cutter.place,
                                                     progress.update):
                part += 1
                if part <= skipped:  # A resumed file is read again up to there, which takes little beside tokenising.
                    continue
                if chunk and (size + len(text) > CHUNK or is_chat != was_chat or len(chunk) >= BLOCK):
                    encode(source, chunk, was_chat, number, part - 1)
                    chunk, size = [], 0
                was_chat, size = is_chat, size + len(text)
                cuts = list(cutter.cut(text)) if text.strip() and not is_chat else [text if text.strip() else ""]
                chunk += [(cut, False) for cut in cuts[:-1]] + [(cuts[-1], ends)]
            if chunk:
                encode(source, chunk, was_chat, number, part)
            number += 1
            state["file"], state["part"], state["bytes"] = number, 0, progress.done
    progress.finish()


def refuse_empty(counts, texts):
    for source, text in zip(counts, texts):
        if not source["documents"]:
            raise InputError(f"'{text}' has no text" + (f": its {source['dropped']} documents are empty"
                                                        if source["dropped"] > 1 else ""))


def make(tokenizer, texts, options, cache, produce):
    """The folder of the cache with `tokens`, `documents` and `record.json` of these texts, by `produce` if it is not there."""
    source_files = [sources.files_of(text, lambda line: print(line, file=sys.stderr)) for text in texts]
    key, total = content_key(tokenizer, source_files, options)
    folder = os.path.join(cache, key)
    record = os.path.join(folder, "record.json")
    os.makedirs(cache, exist_ok=True)
    with open(f"{folder}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Another run may make the same file just now.
        if os.path.exists(record):
            return folder
        os.makedirs(folder, exist_ok=True)
        writer = Writer(folder, len(texts), 2 if options["dtype"] == "u16" else 4)
        if writer.resumed:
            print(f"an earlier run was stopped behind {writer.state['tokens']} tokens: it goes on there", file=sys.stderr)
        try:
            produce(writer, source_files, total)
            writer.save(force=True)
            writer.close()
            refuse_empty(writer.state["sources"], texts)
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        hashes = {name: sha256_of(os.path.join(folder, name)) for name in ("tokens", "documents")}
        with whole_file(record) as stream:
            json.dump({**writer.state, "sha256": hashes}, stream)
        os.unlink(writer.journal)
    return folder


def copy_checked(path, out, expected):
    """Copies a file of the cache; False where its content is not what was written."""
    digest = hashlib.sha256()
    with open(path, "rb") as source, whole_file(out, "wb") as stream:
        while block := source.read(1 << 20):
            digest.update(block)
            stream.write(block)
    return digest.hexdigest() == expected


def tokens_of(tokenizer, texts, options, cache, prefix, produce):
    """Writes `prefix`.tokens and `prefix`.documents; what the record says of them.

    `produce(writer, files of each text, bytes)` appends what the writer's journal does not hold yet."""
    for _ in range(2):
        folder = make(tokenizer, texts, options, cache, produce)
        with open(os.path.join(folder, "record.json"), encoding="utf-8") as stream:
            record = json.load(stream)
        if all(copy_checked(os.path.join(folder, name), f"{prefix}.{name}", record["sha256"][name])
               for name in ("tokens", "documents")):
            return record
        print(f"'{folder}' is damaged and made anew", file=sys.stderr)
        shutil.rmtree(folder)
    raise OSError(f"'{folder}' cannot be read back as it was written")


def vocabulary_of(tokenizer_path, model_vocabulary):
    """(The vocabulary's size, the type of ids); `model_vocabulary` 0: the tokenizer's."""
    vocabulary = max(load_tokenizer(tokenizer_path).get_vocab().values()) + 1
    if model_vocabulary and vocabulary > model_vocabulary:
        raise InputError(f"the tokenizer at '{tokenizer_path}' has {vocabulary} ids and the model {model_vocabulary}",
                         "is it this model's tokenizer?")
    vocabulary = model_vocabulary or vocabulary
    return vocabulary, "u16" if vocabulary <= 65536 else "u32"


def write_text(tokenizer, texts, weights, fields, out, separator, holdout, model_vocabulary, cache):
    """Texts to `text.tokens`, `text.documents` and `text.json` of runtime/data/TextStore.h."""
    if not 0 <= holdout < 1:
        raise InputError(f"--holdout must be in [0, 1), not {holdout}")
    if not separator:
        raise InputError("--separator must not be empty")
    if weights and len(weights) != len(texts):
        raise InputError(f"there are {len(texts)} texts and {len(weights)} weights", "give each text one, or none")
    vocabulary, dtype = vocabulary_of(tokenizer, model_vocabulary)
    options = {"separator": separator, "fields": fields, "dtype": dtype}
    record = tokens_of(tokenizer, texts, options, cache, os.path.join(out, "text"),
                       lambda *work: tokenize_files(tokenizer, options, *work))
    described = [{"path": text, **counts} for text, counts in zip(texts, record["sources"])]
    for source, weight in zip(described, weights):
        source["weight"] = weight
    with whole_file(os.path.join(out, "text.json")) as stream:
        json.dump({"dtype": dtype, "count": record["tokens"], "documents": record["documents"], "holdout": holdout,
                   "vocabulary": vocabulary, "tokenizer_sha256": sha256_of(tokenizer_file(tokenizer)),
                   "sources": described}, stream, indent=1)
        stream.write("\n")
    print(f"{record['tokens']} tokens ({dtype}) of {record['documents']} document{'s' * (record['documents'] > 1)}")
    for source in described:
        if source["dropped"]:
            rows = source["dropped"] + source["documents"]
            print(f"of '{source['path']}' {source['dropped']} of {rows} documents are empty and dropped "
                  f"({100 * source['dropped'] / rows:.2g} %)")
