# SPDX-License-Identifier: Apache-2.0
"""`morph explain`: every label of the dialect and of the spec's reference has a text, an unknown one the nearest."""

import json
import os
import pathlib
import re
import subprocess
import unittest

BIN = pathlib.Path(os.environ["MORPH_BIN"])
SOURCE = pathlib.Path(os.environ["MORPH_SOURCE_DIR"])


def explain(*arguments, expect=0):
    done = subprocess.run([BIN / "morph", "explain", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == expect, (arguments, done.stdout, done.stderr)
    return done


class ExplainTest(unittest.TestCase):
    def test_of_a_spec(self):
        text = explain("S14").stdout
        self.assertTrue(text.startswith("S14: Stages name tasks of the spec; "), text)
        self.assertRegex(text, r"\n  keys: .*\balign\.tasks, select\.tasks\b")

    def test_as_it_stands_in_an_error(self):
        self.assertEqual(explain("[s7]").stdout, explain("S7").stdout)

    def test_a_key_and_an_op_of_one_label(self):
        key, op = explain("model_c3").stdout.splitlines()
        self.assertTrue(key.startswith("model_c3, the key model.memory_limit: number (GB), > 0, default none. "), key)
        self.assertEqual(op, "model_c3, morph.model of the IR: it is not within another model.")
        found = json.loads(explain("model_c3", "--json").stdout)
        self.assertEqual([entry["where"] for entry in found], ["key", "ir"])

    def test_a_key(self):
        self.assertRegex(explain("export.check").stdout, r"^export\.check: boolean, default true\. ")
        self.assertTrue(explain("model.memory_limit").stdout.startswith("model_c3, the key model.memory_limit: number"))
        self.assertTrue(explain("task[].length").stdout.count("task[].length"))
        self.assertIn("did you mean 'align.batch'?", explain("align.bach", expect=2).stderr)

    def test_every_label(self):
        reference = (SOURCE / "specs/reference.md").read_text()
        labels = set(re.findall(r"^\| (S\d+) \|", reference, re.MULTILINE))
        labels |= set(re.findall(r"\| ([a-z]\w*_c\d+) \|", reference))
        for file in (SOURCE / "dialect").glob("*.td"):
            # The parts of a description that define: test/dialect/labels.py holds each against its messages.
            for text in re.findall(r"Constraints:(.*?)(?:\n\n|}\]|\";)", file.read_text(), re.DOTALL):
                labels |= set(re.findall(r"\b[a-z]\w*_c\d+\b", text))
        self.assertGreater(len(labels), 250)
        for label in sorted(labels):
            for entry in json.loads(explain(label, "--json").stdout):
                self.assertTrue(entry["text"], entry)
                self.assertNotRegex(entry["text"], r"_c\d|^[;.]|[;]$|\n")

    def test_unknown(self):
        done = explain("modle_c3", expect=2)
        self.assertEqual(done.stdout, "")
        self.assertIn("no error has the label 'modle_c3', and no key is named so\nhint: did you mean 'model_c3'?", done.stderr)
        self.assertIn("hint: labels stand in", explain("something", expect=2).stderr)
        self.assertIn("LABEL", explain(expect=2).stderr)


unittest.main()
