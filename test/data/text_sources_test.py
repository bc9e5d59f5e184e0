#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sources of [data] and questions of [[task]]: every format gives the tokens of the plain text; what is refused, dropped,
cached and gone on with after a kill; memory that does not grow with the text."""

import gzip
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import numpy
import pyarrow
import pyarrow.parquet
import zstandard

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
SCRIPT = SOURCE / "tools" / "python" / "morph_data.py"
sys.path.insert(0, str(SOURCE / "test" / "data"))
from morph_data_test import make_byte_level, run  # noqa: E402

DOCUMENTS = [f"The gate of city {i}.\n\nIt is über {i} years old, and its bridge too.\n" for i in range(40)]
CHATS = [[{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": f"It is {i}."}]
         for i in range(12)]


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_stream(path, table):
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


class TextSourcesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.model = cls.folder / "model"
        make_byte_level(cls.model)
        cls.number = 0

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def new_folder(self):
        type(self).number += 1
        path = self.folder / f"case-{self.number}"
        path.mkdir()
        return path

    def command(self, texts, out, *more, cache=None, holdout=0.1):
        return [sys.executable, str(SCRIPT), "tokenize", "--tokenizer", str(self.model), "--separator=\f",
                "--holdout", str(holdout), "--vocab", "0", "--field=text", "--field=messages",
                "--cache", str(cache or self.folder / "cache"), "--out", str(out), *map(str, more), "--text",
                *map(str, texts)]

    def run_text(self, texts, *more, cache=None):
        """(tokens, offsets, description, what was said) of texts."""
        out = self.new_folder()
        done = subprocess.run(self.command(texts, out, *more, cache=cache), capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return (numpy.fromfile(out / "text.tokens", dtype="<u2").tolist(),
                numpy.fromfile(out / "text.documents", dtype="<u8").tolist(),
                json.loads((out / "text.json").read_text()), done.stdout + done.stderr)

    def refused(self, texts, *parts, more=()):
        out = self.new_folder()
        done = subprocess.run(self.command(texts, out, *more), capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)
        self.assertEqual(list(out.iterdir()), [])

    def test_formats_give_the_same_tokens(self):
        folder = self.new_folder()
        rows = jsonl({"id": i, "text": text} for i, text in enumerate(DOCUMENTS))
        table = pyarrow.table({"id": list(range(len(DOCUMENTS))), "text": DOCUMENTS})
        (folder / "a.txt").write_text("\f".join(DOCUMENTS), encoding="utf-8")
        (folder / "a.txt.gz").write_bytes(gzip.compress("\f".join(DOCUMENTS).encode()))
        # Packed files may be joined, and text be packed without its name saying so.
        (folder / "packed.txt").write_bytes(b"".join(
            zstandard.compress(part.encode()) for part in ("\f".join(DOCUMENTS[:9]) + "\f", "\f".join(DOCUMENTS[9:]))))
        (folder / "a.jsonl").write_text(rows, encoding="utf-8")
        (folder / "a.jsonl.zst").write_bytes(zstandard.compress(rows.encode()))
        pyarrow.parquet.write_table(table, folder / "a.parquet", row_group_size=11)
        write_stream(folder / "a.arrow", table)
        with pyarrow.OSFile(str(folder / "b.arrow"), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
        shards = folder / "shards"
        (shards / "deep").mkdir(parents=True)
        (shards / "a.jsonl").write_text(jsonl({"text": text} for text in DOCUMENTS[:13]), encoding="utf-8")
        (shards / "deep" / "b.txt.gz").write_bytes(gzip.compress("\f".join(DOCUMENTS[13:20]).encode()))
        pyarrow.parquet.write_table(table.slice(20), shards / "z.parquet")
        (shards / "README").write_text("Not a text of the corpus.")
        (shards / ".hidden.txt").write_text("Nor is this.")
        saved = folder / "saved"
        for split, part in (("train", table), ("test", table.slice(0, 3))):
            (saved / split).mkdir(parents=True)
            write_stream(saved / split / "data-00000-of-00002.arrow", part.slice(0, 5))
            write_stream(saved / split / "data-00001-of-00002.arrow", part.slice(5))
            (saved / split / "state.json").write_text(json.dumps({"_data_files": [
                {"filename": f"data-0000{i}-of-00002.arrow"} for i in range(2)], "_indices_files": None}))
            (saved / split / "dataset_info.json").write_text("{}")
        (saved / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')

        expected, offsets, _, _ = self.run_text([folder / "a.txt"])
        self.assertEqual(len(offsets), len(DOCUMENTS))
        for name in ("a.txt.gz", "packed.txt", "a.jsonl", "a.jsonl.zst", "a.parquet", "a.arrow", "b.arrow", "shards",
                     "saved", "saved/train"):
            tokens, begins, _, said = self.run_text([folder / name])
            self.assertEqual((tokens, begins), (expected, offsets), name)
            if name == "shards":
                self.assertIn("1 file is not read", said)
            if name == "saved":
                self.assertIn("split 'train' is read, not test", said)
        # As Hugging Face's hub has it: a card, and a file a split.
        hub = folder / "hub"
        (hub / "data").mkdir(parents=True)
        pyarrow.parquet.write_table(table, hub / "data/train-00000-of-00001.parquet")
        pyarrow.parquet.write_table(table.slice(0, 3), hub / "data/test-00000-of-00001.parquet")
        (hub / "README.md").write_text("A card, and no document.")
        (hub / "dataset_infos.json").write_text('{"default": {}}')
        tokens, begins, _, said = self.run_text([hub])
        self.assertEqual((tokens, begins), (expected, offsets))
        self.assertIn("split 'train' is read, not 1 file of test", said)
        self.assertIn("2 files are not read, by the names", said)
        for i, part in enumerate((DOCUMENTS[:17], DOCUMENTS[17:])):
            (folder / f"part-{i}.jsonl").write_text(jsonl({"text": text} for text in part), encoding="utf-8")
        self.assertEqual(self.run_text([folder / "part-*.jsonl"])[:2], (expected, offsets))

    def test_conversations_are_rendered_by_the_chat_template(self):
        from tokenizers import Tokenizer

        folder = self.new_folder()
        (folder / "a.jsonl").write_text(jsonl({"messages": chat} for chat in CHATS))
        pyarrow.parquet.write_table(pyarrow.table({"messages": CHATS}), folder / "a.parquet")
        rendered = ["".join(f"<|start|>{m['role']}\n{m['content']}<|end|>\n" for m in chat) for chat in CHATS]
        tokenizer = Tokenizer.from_file(str(self.model / "tokenizer.json"))
        expected = [i for text in rendered for i in tokenizer.encode(text, add_special_tokens=False).ids]
        self.assertEqual(expected[0], tokenizer.token_to_id("<|start|>"))
        for name in ("a.jsonl", "a.parquet"):
            self.assertEqual(self.run_text([folder / name])[0], expected, name)

    def test_dropped_rows_are_counted(self):
        path = self.new_folder() / "a.jsonl"
        path.write_text(jsonl([{"text": "one"}, {"text": " \n"}, {"text": None}, {"text": "two"}, {"messages": []}]) + "\n")
        _, _, description, said = self.run_text([path])
        self.assertEqual((description["sources"][0]["documents"], description["sources"][0]["dropped"]), (2, 3))
        self.assertIn("3 of 5 documents are empty and dropped (60 %)", said)

    def test_weights_are_handed_on(self):
        folder = self.new_folder()
        (folder / "a.txt").write_text("one two")
        (folder / "b.txt").write_text("three")
        _, _, description, _ = self.run_text([folder / "a.txt", folder / "b.txt"], "--weight", 2, 0.5)
        self.assertEqual([source["weight"] for source in description["sources"]], [2, 0.5])
        self.refused([folder / "a.txt"], "1 texts and 2 weights", more=["--weight", 1, 2])

    def test_refuses_with_the_place(self):
        folder = self.new_folder()

        def file(name, content):
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
            return [folder / name]

        self.refused(file("field.jsonl", '{"text": "a"}\n\n{"content": "b"}\n'), "field.jsonl:3", "it has content", "hint")
        self.refused(file("broken.jsonl", '{"text": "a"}\n{"text": \n'), "broken.jsonl:2", "no JSON")
        self.refused(file("list.jsonl", '[1]\n'), "list.jsonl:1", "no JSON object")
        self.refused(file("number.jsonl", '{"text": 3}\n'), "number.jsonl:1", "'text' is neither")
        self.refused(file("role.jsonl", '{"messages": [{"content": "a"}]}\n'), "role.jsonl:1", "'role'")
        self.refused(file("bytes.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n'), "bytes.jsonl:2", "0xff", "no UTF-8")
        self.refused(file("bytes.txt", b"one\ntwo \xff"), "bytes.txt:2", "byte 8 is 0xff")
        self.refused(file("half.txt", b"one \xc3"), "half.txt:1", "ends within a character")
        self.refused(file("empty.jsonl", "\n"), "empty.jsonl", "no text")
        self.refused(file("cut.zst", zstandard.compress(b"some words " * 99)[:-5]), "cut.zst", "ends within what is packed")
        self.refused(file("bad.gz", b"\x1f\x8b" + bytes(99)), "bad.gz", "cannot unpack")
        self.refused(file("bad.parquet", b"nothing"), "bad.parquet", "no parquet file")
        self.refused(file("cut.parquet", b"PAR1 cut"), "cut.parquet", "cannot read")
        pyarrow.parquet.write_table(pyarrow.table({"text": ["a"], "n": [1]}), folder / "n.parquet")
        pyarrow.parquet.write_table(pyarrow.table({"n": [1]}), folder / "no.parquet")
        self.refused([folder / "no.parquet"], "no.parquet, row 1", "no field 'text' or 'messages'", "it has n")
        self.refused([folder / "none-*.jsonl"], "none-*.jsonl", "no file that it is a pattern of")
        (folder / "void").mkdir()
        self.refused([folder / "void"], "void", "no file of text")
        (folder / "split").mkdir()
        (folder / "split" / "dataset_dict.json").write_text('{"splits": ["test"]}')
        self.refused([folder / "split"], "no split 'train'", "test")

    def test_long_documents_are_cut_where_tokens_are_the_same(self):
        from tokenizers import Tokenizer

        path = self.new_folder() / "long.txt"
        text = "".join(DOCUMENTS[i % 40] for i in range(9000))  # No separator: one document, larger than what is held.
        path.write_text(text, encoding="utf-8")
        tokens, offsets, _, _ = self.run_text([path])
        self.assertEqual(offsets, [0])
        tokenizer = Tokenizer.from_file(str(self.model / "tokenizer.json"))
        self.assertEqual(tokens, tokenizer.encode(text, add_special_tokens=False).ids)

    def test_cache_by_content(self):
        folder, cache = self.new_folder(), self.new_folder()
        path = folder / "a.txt"
        path.write_text("one two")
        first = self.run_text([path], cache=cache)[0]
        entries = {entry for entry in cache.iterdir() if entry.is_dir()}
        (folder / "b.txt").write_text("one two")  # The same content under another name is the same file.
        self.assertEqual(self.run_text([folder / "b.txt"], cache=cache)[0], first)
        self.assertEqual({entry for entry in cache.iterdir() if entry.is_dir()}, entries)
        before = path.stat()
        path.write_text("one six")  # Neither size nor time tells.
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.assertNotEqual(self.run_text([path], cache=cache)[0], first)
        # What is damaged is made anew.
        (next(iter(entries)) / "tokens").write_bytes(b"\0" * len(first) * 2)
        tokens, _, _, said = self.run_text([folder / "b.txt"], cache=cache)
        self.assertEqual(tokens, first)
        self.assertIn("is damaged", said)

    def write_large(self, megabytes):
        path = self.new_folder() / "large.jsonl"
        generator = numpy.random.default_rng(0)
        words = numpy.array("gate city bridge market river the of is and new 12 7 345".split())
        with open(path, "w", encoding="utf-8") as stream:
            while stream.tell() < megabytes * 1e6:
                stream.write(json.dumps({"text": " ".join(words[generator.integers(0, len(words), 400)])}) + "\n")
        return path

    def test_workers_and_a_kill_change_nothing(self):
        path = self.write_large(8)
        expected = self.run_text([path], "--workers", 1, cache=self.new_folder())[:2]
        self.assertEqual(self.run_text([path], "--workers", 2, cache=self.new_folder())[:2], expected)
        cache = self.new_folder()
        with subprocess.Popen(self.command([path], self.new_folder(), "--workers", 1, cache=cache),
                              stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not list(cache.glob("*/journal.json")):
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        self.assertEqual(process.returncode, -signal.SIGKILL, "it was done before it could be killed")
        *tokens, _, said = self.run_text([path], cache=cache)
        self.assertEqual(tuple(tokens), expected)
        self.assertIn("it goes on there", said)

    def test_memory_does_not_grow_with_the_text(self):
        def peak(path):
            script = ("import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=2); "
                      "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)")
            command = self.command([path], self.new_folder(), "--workers", 2, cache=self.new_folder())
            done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
            return int(done.stdout) * 1024 / 1e6

        # All ids in a list of Python are 8 bytes each and more, their documents' encodings a hundred.
        small, large = peak(self.write_large(3)), peak(self.write_large(24))
        self.assertLess(large, small + 40, "MB at 3 and at 24 MB of text")

    def questions(self, rows, expect=0, cache=None, **keys):
        """(question, answer) of each row as texts, or what is said where it is refused."""
        from tokenizers import Tokenizer

        folder = self.new_folder()
        (folder / "mine.jsonl").write_text(rows if isinstance(rows, str) else jsonl(rows), encoding="utf-8")
        task = {"name": "mine", "kind": "jsonl", "path": str(folder / "mine.jsonl"), "prompt": "prompt", "answer": "answer",
                "chat": True, "length": [64], **keys}
        done = run("questions", "--tokenizer", self.model, "--vocab", "0", "--cache", cache or self.folder / "cache", "--task",
                   json.dumps(task), "--out", folder / "task-mine")
        self.assertEqual(done.returncode, expect, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        if expect:
            self.assertFalse(list(folder.glob("task-mine*")))
            return done.stderr
        tokens = numpy.fromfile(folder / "task-mine.tokens", dtype="<u2")
        begins = numpy.fromfile(folder / "task-mine.documents", dtype="<u8").astype(int).tolist()
        description = json.loads((folder / "task-mine.json").read_text())
        self.assertEqual((description["count"], description["documents"]), (len(tokens), len(begins)))
        tokenizer = Tokenizer.from_file(str(self.model / "tokenizer.json"))
        texts = [tokenizer.decode(tokens[begin:end].tolist(), skip_special_tokens=False)
                 for begin, end in zip(begins, begins[1:] + [len(tokens)])]
        return list(zip(texts[::2], texts[1::2])), done.stdout

    def test_questions(self):
        rows = [{"prompt": f"The city of {i}:", "answer": f" gate {i}"} for i in range(20)]
        pairs, _ = self.questions(rows, chat=False)
        self.assertEqual(pairs, [(row["prompt"], row["answer"]) for row in rows])
        asked = "<|start|>user\n{}<|end|>\n<|start|>assistant\n"
        pairs, _ = self.questions(rows)
        self.assertEqual(pairs, [(asked.format(row["prompt"]), row["answer"]) for row in rows])
        pairs, _ = self.questions([{"messages": chat} for chat in CHATS])
        self.assertEqual(pairs, [(asked.format(chat[0]["content"]), chat[1]["content"]) for chat in CHATS])
        pairs, said = self.questions([{"q": "a", "a": "b"}, {"q": "word " * 99, "a": "c"}, {"q": "d", "a": ""}], prompt="q",
                                     answer="a", chat=False)
        self.assertEqual(pairs[0], ("a", "b"))
        self.assertIn("1 of 2 are longer than 64 tokens and are dropped (50 %)", said)
        self.assertIn("1 of 3 rows have an empty question or answer and are dropped (33 %)", said)

    def test_questions_go_on_behind_the_last_step(self):
        """A run that was stopped when all was written, and only the record of it was missing."""
        rows, cache = [{"prompt": f"The city of {i}:", "answer": f" gate {i}"} for i in range(20)], self.new_folder()
        pairs, _ = self.questions(rows, cache=cache)
        (record,) = cache.glob("*/record.json")
        record.rename(record.with_name("journal.json"))
        again, _ = self.questions(rows, cache=cache)
        self.assertEqual(again, pairs)

    def test_questions_refused(self):
        self.assertIn("mine.jsonl:2: the row has no 'answer'", self.questions('{"prompt": "a", "answer": "b"}\n{"prompt": ""}',
                                                                              expect=2))
        self.assertIn("mine.jsonl:1: the last message is not", self.questions([{"messages": CHATS[0][:1]}], expect=2))
        self.assertIn("mine.jsonl:1: 'prompt' is no text", self.questions([{"prompt": 1, "answer": "b"}], expect=2))
        self.assertIn("mine.jsonl:1: is no JSON", self.questions("{", expect=2))


if __name__ == "__main__":
    unittest.main(verbosity=2)
