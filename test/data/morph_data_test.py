#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/python/morph_data.py with the tiny tokenizer and with a byte-level one: what it writes, and what it refuses."""

import contextlib
import gzip
import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import numpy

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
SCRIPT = SOURCE / "tools" / "python" / "morph_data.py"
sys.path.insert(0, str(SCRIPT.parent))
import morph_data  # noqa: E402
import morph_lexicon  # noqa: E402

KINDS = morph_lexicon.KINDS
CHAT = ("{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}")


# What tokenize reads of a spec; a later word of the same name takes an earlier one's place.
DATA = ["tokenize", "--field", "text", "--field", "messages", "--separator", "\f", "--holdout", 0.1, "--vocab", 0]


def make_task(**keys):
    """A [[task]] of niah_single as a resolved spec has it, but for these keys."""
    return {"name": "t", "kind": "niah_single", "keys": "words", "values": "number", "value_length": 7, "needles": 4,
            "chat": True, "length": [512], "repeats": [30, 3], **keys}


def run(*arguments):
    """morph_data.py with arguments, in this process: a program of its own would load transformers each time."""
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            code = morph_data.main(list(map(str, arguments)))
        except SystemExit as end:
            code = end.code
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), said.getvalue())


def make_byte_level(folder):
    """A byte-level BPE tokenizer with merges and a chat template, trained on made-up text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    generator = random.Random(0)
    words = morph_lexicon.CITIES + morph_lexicon.THINGS + "the special magic number for is what in text above".split()
    text = [" ".join(generator.choices(words, k=12)) + "." for _ in range(400)]
    tokenizer.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<|start|>", "<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT, "eos_token": "<|end|>"}))


class MorphDataTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.tiny = cls.folder / "tiny"
        done = run("make-tiny-tokenizer", cls.tiny)
        assert done.returncode == 0, done.stderr
        cls.byte_level = cls.folder / "byte-level"
        make_byte_level(cls.byte_level)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def refused(self, done, *parts):
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)

    def test_tiny_tokenizer_in_transformers(self):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.tiny)
        self.assertEqual(len(tokenizer), 256)
        text = "Hello,\n\n world\t<k0><v63> end"
        ids = tokenizer(text)["input_ids"]
        self.assertEqual(ids[:8], [72, 101, 108, 108, 111, 44, 10, 10])
        self.assertIn(128, ids)
        self.assertIn(255, ids)
        self.assertEqual(tokenizer.decode(ids), text)
        self.assertEqual(tokenizer.decode(tokenizer.encode("“naïve” — \u4e2d")), '"naive" - ?')
        for i in (0, 1, 9, 10, 13, 31, 32, 63, 127):
            self.assertEqual(tokenizer.encode(chr(i)), [i])

    def test_tokenize_keeps_documents(self):
        plain, packed, out = self.folder / "a.txt", self.folder / "b.txt.gz", self.folder / "tokens"
        plain.write_text("one\ftwo two\f\f\n", encoding="utf-8")
        packed.write_bytes(gzip.compress("three".encode()))
        done = run(*DATA, "--tokenizer", self.tiny, "--text", plain, packed, "--out", out, "--holdout", 0.25,
                   "--vocab", 256)
        self.assertEqual(done.returncode, 0, done.stderr)
        tokens = numpy.fromfile(out / "text.tokens", dtype="<u2")
        info = json.loads((out / "text.json").read_text())
        self.assertEqual(bytes(tokens.astype("u1")), b"onetwo twothree")
        self.assertEqual(numpy.fromfile(out / "text.documents", dtype="<u8").tolist(), [0, 3, 10])
        self.assertEqual(info["documents"], 3)
        self.assertEqual((info["dtype"], info["count"], info["holdout"]), ("u16", 15, 0.25))
        self.assertEqual([source["documents"] for source in info["sources"]], [2, 1])
        self.assertEqual(sorted(p.name for p in out.iterdir()), ["text.documents", "text.json", "text.tokens"])

        done = run(*DATA, "--tokenizer", self.tiny, "--text", packed, "--out", out, "--vocab", 70000)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(numpy.fromfile(out / "text.tokens", dtype="<u4").tolist(), list(b"three"))

    def test_tokenize_takes_special_tokens_for_text(self):
        path, out = self.folder / "special.txt", self.folder / "special"
        path.write_text("a <|end|> b", encoding="utf-8")
        done = run(*DATA, "--tokenizer", self.byte_level, "--text", path, "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(1, numpy.fromfile(out / "text.tokens", dtype="<u2").tolist())

    def test_tokenize_refuses(self):
        binary, empty, cut = self.folder / "bad.txt", self.folder / "empty.txt", self.folder / "cut.gz"
        binary.write_bytes(b"ab\xffcd")
        empty.write_text(" \n")
        cut.write_bytes(gzip.compress(b"some text" * 50)[:-20])
        base = [*DATA, "--tokenizer", self.tiny, "--out", self.folder / "refused", "--text"]
        self.refused(run(*base, binary), "bad.txt", "byte 2 is 0xff")
        self.refused(run(*base, empty), "empty.txt", "no text")
        self.refused(run(*base, cut), "cut.gz")
        self.refused(run(*base, self.folder / "none.txt"), "none.txt", "No such file")
        self.refused(run(*base, empty, "--vocab", 100), "256 ids")
        self.refused(run(*base, empty, "--holdout", 1), "--holdout")
        self.refused(run(*DATA, "--tokenizer", self.folder, "--out", "x", "--text", empty), "no tokenizer")
        self.assertFalse((self.folder / "refused").exists())

    def lexicon(self, tokenizer, task):
        out = self.folder / "lexicon.json"
        done = run("lexicon", "--tokenizer", tokenizer, "--task", json.dumps(task), "--out", out, "--seed", 3, "--cache",
                   self.folder / "lexicons")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(out.read_text())

    def test_lexicon_of_every_kind(self):
        from transformers import AutoTokenizer

        for folder in (self.tiny, self.byte_level):
            tokenizer = AutoTokenizer.from_pretrained(folder)
            for kind in KINDS:
                task = make_task(kind=kind, values="words" if kind == "passkeys" else "number")
                lexicon = morph_lexicon.make_lexicon(str(folder), task, 0)
                for wordings in lexicon["wordings"].values():
                    for wording in wordings:
                        ids = morph_lexicon.compose(lexicon, wording, random.Random(5), tokens=True)
                        text = tokenizer.decode(ids)
                        self.assertEqual(tokenizer.encode(text, add_special_tokens=False), ids)
                        self.assertEqual("<|start|>assistant" in text, folder == self.byte_level)

    def test_wordings_of_splits_differ(self):
        for kind in KINDS:
            task = make_task(kind=kind, values="words" if kind == "passkeys" else "number")
            wordings = morph_lexicon.make_lexicon(str(self.byte_level), task, 0)["wordings"]
            self.assertEqual(sorted(wordings), ["evaluation", "selection", "training"])
            links = ("link",) if kind in ("variable_tracking", "two_hop") else ()
            for part in ("prefix", "needle", "question", "lead", *links):
                if (kind, part) == ("frequent_words", "needle"):  # A coded word, and nothing around it.
                    continue
                texts = [{json.dumps(wording[part]) for wording in wordings[split]} for split in wordings]
                self.assertEqual(len(set.union(*texts)), sum(map(len, texts)), f"{kind}: {part}")

    def test_values_whole_where_digits_do_not_come_apart(self):
        # A tokenizer that joins digits in pairs: a number is neither its digits nor groups of three.
        folder = self.folder / "pairs"
        folder.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_text((self.byte_level / name).read_text())
        text = json.loads((folder / "tokenizer.json").read_text())
        text["pre_tokenizer"]["pretokenizers"] = [
            {"type": "Split", "pattern": {"Regex": "[0-9]{1,2}"}, "behavior": "Isolated", "invert": False},
            text["pre_tokenizer"]["pretokenizers"][1]]
        names = [f"{i}{j}" for i in range(10) for j in range(10)]
        text["model"]["vocab"].update({name: 700 + i for i, name in enumerate(names)})
        text["model"]["merges"] += [list(name) for name in names]
        (folder / "tokenizer.json").write_text(json.dumps(text))
        lexicon = morph_lexicon.make_lexicon(str(folder), make_task(), 0)
        self.assertEqual((len(lexicon["alphabets"]), lexicon["value"]), (1, [0]))
        self.assertEqual(len(lexicon["alphabets"][0]), morph_lexicon.WHOLE_NUMBERS)

    def test_counting_has_a_number_for_each_mark(self):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.byte_level)
        lexicon = morph_lexicon.make_lexicon(str(self.byte_level), make_task(kind="counting", needles=12), 0)
        self.assertEqual(lexicon["value"], [0])
        self.assertEqual([tokenizer.decode(piece) for piece in lexicon["alphabets"][0]],
                         [f" {count}" for count in range(1, 13)])

    def test_words_of_lists_and_coded_texts(self):
        from transformers import AutoTokenizer

        for folder, has_words in ((self.tiny, False), (self.byte_level, True)):
            decode = AutoTokenizer.from_pretrained(folder).decode
            task = make_task(kind="common_words", needles=10, length=[512, 30000], repeats=[30, 3])
            lexicon = morph_lexicon.make_lexicon(str(folder), task, 0)
            numbers = [decode(piece) for piece in lexicon["alphabets"][0]]
            # Items of three tokens, a number, a point and a word: as many numbers as the longest sample can take.
            self.assertEqual(numbers, [f" {number}" for number in range(1, 10002)])
            words = [decode(piece) for piece in lexicon["keys"]]
            self.assertEqual(len(set(words)), len(words))
            self.assertGreaterEqual(len(words), 10 + 10000 // 3)
            for word in words:
                self.assertRegex(word, "^ [a-z]{4,12}$")
            whole = [word for word, piece in zip(words, lexicon["keys"]) if len(piece) == 1]
            self.assertEqual(bool(set(whole) & {" " + word.lower() for word in morph_lexicon.THINGS}), has_words)
            for wordings in lexicon["wordings"].values():
                for wording in wordings:
                    self.assertIn("10", decode([i for part in wording["question"] for i in part["tokens"]]))
                    self.assertTrue(all("tokens" in part for part in wording["lead"]), "the lead tells no word")
            lexicon = morph_lexicon.make_lexicon(str(folder), make_task(kind="frequent_words", needles=3), 0)
            coded = {decode(piece) for piece in lexicon["keys"]}
            self.assertEqual(len(coded), morph_lexicon.WHOLE_KEYS)
            self.assertTrue(all(len(word) == 7 and word[0] == " " and word[1:].islower() for word in coded))
            self.assertEqual([decode(piece) for piece in lexicon["alphabets"][0]], [" ..."])
            self.assertEqual(decode(lexicon["repeat"]), " ...")

    def test_lexicon_file(self):
        task = make_task(value_length=5)
        lexicon = self.lexicon(self.byte_level, task)
        self.assertEqual((lexicon["format"], lexicon["version"]), ("morph-lexicon", 2))
        # A space and the first of five digits, which is not 0; then any digit.
        self.assertEqual(([len(alphabet) for alphabet in lexicon["alphabets"]], lexicon["value"]), ([9, 10], [0, 1, 1, 1, 1]))
        self.assertTrue(all(len(piece) == 2 for piece in lexicon["alphabets"][0]))
        self.assertTrue(lexicon["break_after"])
        again = self.lexicon(self.byte_level, task)
        self.assertEqual(lexicon, again)
        self.assertEqual(lexicon, self.lexicon(self.byte_level / "tokenizer.json", task), "the tokenizer is the folder's or its file")
        plain = self.lexicon(self.byte_level, make_task(chat=False))
        self.assertNotEqual(plain["wordings"]["training"][0]["prefix"], lexicon["wordings"]["training"][0]["prefix"])

    def test_lexicons_are_kept(self):
        """What was made before is read, also by a reader who cannot write; what it depends on makes another; a broken one is
        made anew."""
        task, cache = make_task(), self.folder / "kept-lexicons"

        def make(folder, **keys):
            out = self.folder / "kept.json"
            with unittest.mock.patch.object(morph_lexicon, "make_lexicon", wraps=morph_lexicon.make_lexicon) as made:
                done = run("lexicon", "--tokenizer", folder, "--task", json.dumps(task | keys), "--out", out, "--seed", 3, "--cache",
                           cache)
            self.assertEqual(done.returncode, 0, done.stderr)
            return out.read_bytes(), made.call_count

        first, made = make(self.byte_level)
        self.assertEqual(made, 1)
        self.assertEqual(make(self.byte_level), (first, 0))
        self.assertEqual(make(self.byte_level, needles=3)[1], 1)
        other = self.folder / "other-template"
        shutil.copytree(self.byte_level, other)
        self.assertEqual(make(other), (first, 0))
        (other / "chat_template.jinja").write_text(CHAT.replace("assistant", "helper"))
        self.assertEqual(make(other)[1], 1)
        for file in cache.iterdir():
            file.write_text("{")
        self.assertEqual(make(self.byte_level), (first, 1))
        shutil.rmtree(cache)
        cache.write_text("no folder")
        self.assertEqual(make(self.byte_level), (first, 1))

    def test_lexicon_refuses(self):
        base = ["lexicon", "--tokenizer", self.tiny, "--out", self.folder / "none.json", "--seed", 0, "--task"]
        self.refused(run(*base, "{"), "no JSON")
        self.refused(run(*base, json.dumps(make_task(kind="riddle"))), "variable_tracking")
        self.refused(run(*base, json.dumps(make_task(values="colours"))), "'values'", "colours")
        self.refused(run(*base, json.dumps(make_task(value_length=0))), "'value_length'")
        self.refused(run(*base, json.dumps(make_task(kind="counting", needles=0))), "'needles'")
        self.refused(run(*base, json.dumps(make_task(kind="near_keys"))), "counting")
        self.refused(run(*base, json.dumps(make_task(kind="frequent_words", needles=0))), "'needles'")
        self.refused(run(*base, json.dumps(make_task(kind="common_words", repeats=[3]))), "'repeats' must be two numbers")
        self.refused(run(*base, json.dumps(make_task(kind="common_words", length=[]))), "'length' must be a list")
        self.refused(run(*base, '{"name": "t", "kind": "mqar", "keys": "words"}'), "'values' is missing")
        self.refused(run(*base, self.folder / "none"), "none", "No such file")
        self.assertFalse((self.folder / "none.json").exists())

    def test_lexicon_fails_where_pieces_do_not_join(self):
        # Text cut every seven characters: what a piece becomes depends on where it stands.
        folder = self.folder / "joined"
        folder.mkdir()
        text = json.loads((self.byte_level / "tokenizer.json").read_text())
        tiny = json.loads((self.tiny / "tokenizer.json").read_text())
        text["pre_tokenizer"] = tiny["pre_tokenizer"]
        text["pre_tokenizer"]["pattern"] = {"Regex": "[\\s\\S]{1,7}"}
        text["model"]["merges"] = [["a", "t"], ["t", "h"], ["i", "s"]]
        (folder / "tokenizer.json").write_text(json.dumps(text))
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
        done = run("lexicon", "--tokenizer", folder, "--task", json.dumps(make_task()), "--seed", 0, "--out",
                   self.folder / "none.json")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("not what the tokenizer", done.stderr)
        self.assertFalse((self.folder / "none.json").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
