#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kind qa: files as SQuAD and HotpotQA have them become paragraphs, headings and questions, or are refused by their place."""

import gzip
import json
import os
import pathlib
import sys
import tempfile
import unittest

import numpy
from morph_data_test import make_byte_level, run

ARTICLES, PARTS = 6, 3


def squad():
    """Questions about the only number of their paragraph, and of each paragraph one that nothing answers."""
    def paragraph(article, part):
        text = f"The mill of article {article}, part {part}.\nIt stood {100 * article + part} years"
        return {"context": f"  {text}. ", "qas": [
            {"id": "a", "question": f"How long stood mill {article}-{part}? ", "is_impossible": False,
             "answers": [{"text": f"{100 * article + part} years", "answer_start": 40}, {"text": "second", "answer_start": 0}]},
            {"id": "b", "question": "Who built it?", "is_impossible": True, "answers": [],
             "plausible_answers": [{"text": "It", "answer_start": 1}]}]}
    return {"version": "v2.0", "data": [{"title": f"T{a}", "paragraphs": [paragraph(a, p) for p in range(PARTS)]}
                                        for a in range(ARTICLES)]}


def hotpot():
    """Two paragraphs that the answer is found by, and three others that other questions have, too."""
    def entry(i):
        gold = [[f"River {i}", [f"It is {i} miles long. ", "It is blue."]], [f"Lake {i}", ["It is deep."]]]
        return {"_id": str(i), "type": "bridge", "level": "hard", "question": f"How long is river {i}?",
                "answer": "yes" if i == 0 else f"{i} miles", "supporting_facts": [[f"Lake {i}", 0], [f"River {i}", 1]],
                "context": [[f"Hill {(i + k) % 4}", ["A hill."]] for k in range(3)] + gold}
    return [entry(i) for i in range(8)]


class ParagraphsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.tiny, cls.byte_level = cls.folder / "tiny", cls.folder / "byte-level"
        done = run("make-tiny-tokenizer", cls.tiny)
        assert done.returncode == 0, done.stderr
        make_byte_level(cls.byte_level)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def questions(self, content, tokenizer=None, expect=0, **keys):
        """What is written of a file, or what is said where it is refused."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / "asked.json").write_bytes(text)
        task = {"name": "asked", "kind": "qa", "path": str(folder / "asked.json"), "prompt": "prompt", "answer": "answer",
                "chat": True, "length": [64], **keys}
        done = run("questions", "--tokenizer", tokenizer or self.byte_level, "--vocab", "0", "--cache", self.folder / "cache",
                   "--task", json.dumps(task), "--out", folder / "task-asked")
        self.assertEqual(done.returncode, expect, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        if expect:
            self.assertFalse(list(folder.glob("task-asked*")))
            self.assertIn("hint", done.stderr)
            return done.stderr
        tokens = numpy.fromfile(folder / "task-asked.tokens", dtype="<u2").tolist()
        begins = numpy.fromfile(folder / "task-asked.documents", dtype="<u8").astype(int).tolist() + [len(tokens)]
        described = json.loads((folder / "task-asked.json").read_text())
        documents = [tokens[begin:end] for begin, end in zip(begins, begins[1:])]
        self.assertEqual((described["documents"], described["count"]), (len(documents), len(tokens)))
        count = described["paragraphs"]
        self.assertEqual((len(documents) - count) // 2, len(described["questions"]))
        pairs = list(zip(documents[count::2], documents[count + 1::2]))
        return described, documents[:count], pairs, done.stdout

    def texts(self, pieces, tokenizer=None):
        from tokenizers import Tokenizer

        decode = Tokenizer.from_file(str((tokenizer or self.byte_level) / "tokenizer.json")).decode
        return [decode(piece, skip_special_tokens=False) for piece in pieces]

    def test_squad(self):
        described, paragraphs, pairs, said = self.questions(squad())
        written = [(a, p) for a in range(ARTICLES) for p in range(PARTS)]
        self.assertEqual(self.texts(paragraphs), [f"The mill of article {a}, part {p}.\nIt stood {100 * a + p} years.\n\n"
                                                  for a, p in written])
        self.assertEqual(described["groups"], [[PARTS * a + p for p in range(PARTS)] for a in range(ARTICLES)])
        self.assertEqual(described["questions"], [[a, PARTS * a + p] for a, p in written])
        self.assertEqual(self.texts(answer for _, answer in pairs), [f" {100 * a + p} years" for a, p in written])
        self.assertEqual(self.texts(asked for asked, _ in pairs),
                         [f"Question: How long stood mill {a}-{p}?<|end|>\n<|start|>assistant\nAnswer:" for a, p in written])
        self.assertEqual(self.texts(described["headings"]), [f"Document {i + 1}:\n" for i in range(len(written))])
        self.assertIn("18 of 36 questions have no answer in their paragraphs and are dropped (50 %)", said)
        self.assertTrue(self.texts(described["frame"])[0].startswith("<|start|>user\nAnswer the question"))

    def test_hotpot(self):
        described, paragraphs, pairs, _ = self.questions(hotpot())
        texts = self.texts(paragraphs)
        self.assertEqual(len(texts), 4 + 2 * 8, "hills are there once")
        for i, ((group, *gold), (_, answer)) in enumerate(zip(described["questions"], pairs)):
            self.assertEqual([texts[number] for number in gold],
                             [f"Lake {i}\nIt is deep.\n\n", f"River {i}\nIt is {i} miles long. It is blue.\n\n"])
            self.assertEqual([texts[number].split("\n")[0] for number in described["groups"][group]],
                             [f"Hill {(i + k) % 4}" for k in range(3)] + [f"River {i}", f"Lake {i}"])
            self.assertEqual(self.texts([answer]), [" yes" if i == 0 else f" {i} miles"])
        without = hotpot()
        for entry in without:
            del entry["supporting_facts"]
        described, *_ = self.questions(without)
        self.assertEqual(described["questions"][2], [2, *described["groups"][2]])

    def test_pieces_join_to_the_tokens_of_the_text(self):
        from tokenizers import Tokenizer

        for tokenizer in (self.tiny, self.byte_level):
            for content in (squad(), hotpot()):
                for chat in (True, False):
                    described, paragraphs, pairs, _ = self.questions(content, tokenizer, chat=chat)
                    ids = [*described["frame"][0]]
                    for number in range(4):
                        ids += described["headings"][number] + paragraphs[3 - number]
                    ids += pairs[5][0] + pairs[5][1]
                    encoder = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
                    text = encoder.decode(ids, skip_special_tokens=False)
                    self.assertEqual(encoder.encode(text, add_special_tokens=False).ids, ids)
                    self.assertIn("\n\nDocument 4:\n", text)
                    self.assertIn("\n\nQuestion: ", text)

    def test_text_cannot_steer_and_packed_files_are_read(self):
        content = squad()
        content["data"][0]["paragraphs"][0]["context"] = "<|end|> 0 years"
        content["data"][0]["paragraphs"][0]["qas"][0]["question"] = "<|start|>?"
        described, paragraphs, pairs, _ = self.questions(content)
        self.assertTrue({0, 1}.isdisjoint(paragraphs[0]))
        self.assertEqual(pairs[0][0].count(0), 1, "the assistant's turn")
        again = self.questions(gzip.compress(json.dumps(content).encode()))
        self.assertEqual(again[:3], ({**described, "path": again[0]["path"]}, paragraphs, pairs))

    def test_refused(self):
        def broken(content, change):
            change(content)
            return self.questions(content, expect=2)

        self.assertIn("is no JSON", self.questions(b"{", expect=2))
        self.assertIn("byte 1 is 0xff", self.questions(b'"\xff"', expect=2))
        self.assertIn("of neither shape", self.questions({"rows": []}, expect=2))
        self.assertIn("asked.json: [0]: is no object", self.questions([3], expect=2))
        at = lambda content: content["data"][2]["paragraphs"][1]
        self.assertIn("data[2].paragraphs[1]: 'context' is missing", broken(squad(), lambda c: at(c).pop("context")))
        self.assertIn("data[2].paragraphs[1].qas[0]: 'answers' is not an array",
                      broken(squad(), lambda c: at(c)["qas"][0].update(answers={})))
        self.assertIn("data[2].paragraphs[1].qas[0].answers[0]: 'text' is missing",
                      broken(squad(), lambda c: at(c)["qas"][0]["answers"][0].pop("text")))
        self.assertIn("[3]: 'context' is missing", broken(hotpot(), lambda c: c[3].pop("context")))
        self.assertIn("[3].context[4]: is no title with its sentences",
                      broken(hotpot(), lambda c: c[3]["context"][4].__setitem__(1, "A text.")))
        self.assertIn("[3]: 'supporting_facts' names what 'context' has not",
                      broken(hotpot(), lambda c: c[3]["supporting_facts"][0].__setitem__(0, "Sea")))

        def elsewhere(content):
            for article in content["data"]:
                for paragraph in article["paragraphs"]:
                    paragraph["qas"][0]["answers"][0]["text"] = "nowhere"
        self.assertIn("no question with an answer in its paragraphs: all 36 are dropped", broken(squad(), elsewhere))


if __name__ == "__main__":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    unittest.main(verbosity=2)
