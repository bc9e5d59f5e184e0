# SPDX-License-Identifier: Apache-2.0
"""morph-lsp-server on specs in TOML."""

import os
import subprocess
import unittest

from lsp_client import ARCH, BIN, Document, GOOD, LspTest, SOURCE


SPEC = """# Ein Beispiel: 𝄞
version = 1
seed = 3

[model]
path = "models/tiny-recall"
precision = "fp32"

[linear]
backend = "mixers/mine.morph:small(chunk = 32)"
candidates = ["kda", "gated_deltanet(conv = 4)"]

[budget]
full_layers = 2

[[task]]
name = "recall"
kind = "mqar"
space = "tokens"
background = "noise"
needles = 3
length = 64
key_tokens = [0, 8]
value_tokens = [8, 16]
noise_tokens = [16, 32]

[align]
steps = 0

[select]
steps = 1
tasks = [
  "recall", # not "other"
]

[distill]
steps = 0
"""


class Spec(LspTest):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder({"mixers/mine.morph": GOOD})
        (self.folder / "models").symlink_to(SOURCE / "specs/models")

    def open(self, text, name="spec.toml"):
        return Document(self.client, (self.folder / name).as_uri(), "toml", text)

    # Diagnostics

    def test_a_good_spec(self):
        self.assertEqual(self.open(SPEC).problems(), [])

    def test_errors_are_those_of_morph(self):
        document = self.open(SPEC)
        for old, new, words, place in [
            ('"fp32"', '"fp31"', "expected fp32, bf16", '"fp31"'),
            ('"fp32"', '"fp32', "malformed TOML", None),
            ("seed", "sead", "did you mean 'seed'?", "sead"),
            ("full_layers = 2", "full_layers = 200", "[S5]", "200"),
            ('"kda"', '"kba"', "did you mean 'kda'?", '"kba"'),
            ("mine.morph:small", "mine.morph:large", "it declares small", '"mixers/mine.morph:large(chunk = 32)"'),
            ("models/tiny", "models/other", "models/other-recall", None),
        ]:
            with self.subTest(new):
                document.change(SPEC.replace(old, new))
                problem = document.problems()[0]
                self.assertIn(words, problem["message"])
                if place:
                    self.assertEqual(document.get_text(problem["range"]), place)
                done = subprocess.run([BIN / "morph-translate", "--import-spec", "spec.toml", "-o", "/dev/null"],
                                      input=None, cwd=self.write(document.text), capture_output=True, text=True)
                self.assertIn("error: " + problem["message"].split("\n")[0], done.stderr)
        document.change(SPEC)
        self.assertEqual(document.problems(), [])

    def write(self, text):
        (self.folder / "spec.toml").write_text(text)
        return self.folder

    def test_an_error_of_a_mixer_file_is_shown_where_the_spec_names_it(self):
        (self.folder / "mixers/mine.morph").write_text(GOOD.replace("= chunk)", "= chunks)"))
        document = self.open(SPEC)
        [problem] = document.problems()
        self.assertIn("'chunks' is not declared", problem["message"])
        self.assertEqual(document.get_text(problem["range"]), "mine.morph")
        place = problem["relatedInformation"][0]["location"]
        self.assertEqual(place["uri"], (self.folder / "mixers/mine.morph").as_uri())
        self.assertEqual(GOOD.split("\n")[place["range"]["start"]["line"]].strip()[:15], "y = recurrence(")

    def test_other_toml_is_left_alone(self):
        for text in ["[package]\nname = \"a\"\nversion = \"1\"\n[dependencies]\nb = \"2\"\n", "a = [\n",
                     "version = 3\n[[package]]\nname = 7\n", "[model]\nlayers = 2\n[other]\n"]:
            with self.subTest(text):
                document = self.open(text, "Cargo.toml")
                self.assertEqual(document.problems(), [])
                self.assertEqual(document.complete_typed(text + "[|"), {})
                document.close()
                self.client.published.clear()
        document = self.open("[package]\nname = \"a\"\n", "Cargo.toml")
        self.assertIsNone(document.hover("na|me"))

    def test_a_spec_without_a_file(self):
        document = Document(self.client, "untitled:Untitled-1", "toml", "version = 1\n[align]\nstep = 3\n")
        self.assertTrue([problem for problem in document.problems() if "did you mean 'steps'?" in problem["message"]])

    # Hover

    def test_hover(self):
        document = self.open(SPEC)
        self.assert_hovers(document, {
            "[ali|gn]": ["**[align]**", "every linear branch learns", "`normalize`"],
            "[[ta|sk]]": ["**[[task]]**", "your own questions"],
            "se|ed": ["**seed**: integer", "default: `0`", "allowed: `>= 0`"],
            "precisi|on": ["**model.precision**: string", 'default: `"fp32"`', "`fp32 | bf16`"],
            "leng|th": ["**task[].length**: list of integers (tokens)"],
            "pa|th = ": ["required without [pretrain]"],
            "[select]\nste|ps": ["**select.steps**: integer (steps)"],
            "[align]\nsteps = |0": ["**align.steps**", "- required"],
            '"k|da"': ["mixer kda(", "delta rule with a decay a key element"],
            "gated_|deltanet(conv": ["mixer gated_deltanet(", "gated delta rule"],
            "mine.mo|rph": ["mixer small(chunk: 1..1024 = 64, gated: bool = true)", "an example"],
        })
        self.assertIsNone(document.hover("# Ein| Beispiel"))
        self.assertEqual(document.get_text(document.ask("hover", "precisi|on")["range"]), "precision")

    def test_a_malformed_spec_is_documented_too(self):
        document = self.open(SPEC.replace("seed = 3", "seed = [3,").replace('"fp32"', '"fp32'))
        self.assertIn("**linear.backend**", document.hover("back|end ="))

    # Completion

    def test_completion_of_sections(self):
        document = self.open(SPEC)
        for typed in ["[|", "[|]", "[ev|"]:
            items = document.complete_typed(SPEC + typed)
            self.assertTrue({"[evaluate]", "[finetune]", "[[task]]", "[pretrain.base]"} <= set(items), list(items))
            self.assertNotIn("[align]", items)
            self.assertEqual(document.get_text(items["[evaluate]"]["textEdit"]["range"]), typed.replace("|", ""))
        self.assertIn("[model]", self.open("", "new.toml").complete_typed("[|"))

    def test_completion_of_keys(self):
        document = self.open(SPEC)
        items = document.complete_typed(SPEC.replace("[budget]\n", "[budget]\n|\n"))
        self.assertEqual(list(items), ["ratio", "keep", "linear", "cache_bytes", "decode_seconds", "context", "costs"])
        self.assertEqual(items["keep"]["textEdit"]["newText"], "keep = ")
        items = document.complete_typed(SPEC.replace("seed = 3", "na|"))
        self.assertEqual(list(items), ["name", "arch", "seed"])
        self.assertEqual(document.get_text(items["name"]["textEdit"]["range"]), "na")
        items = document.complete_typed(SPEC.replace("space =", "kin| =").replace('kind = "mqar"\n', ""))
        self.assertEqual(items["kind"]["textEdit"]["newText"], "kind")

    def test_completion_of_values(self):
        document = self.open(SPEC)
        items = document.complete_typed(SPEC.replace('precision = "fp32"', "precision = |"))
        self.assertEqual({name: item["textEdit"]["newText"] for name, item in items.items()},
                         {"fp32": '"fp32"', "bf16": '"bf16"'})
        items = document.complete_typed(SPEC.replace('precision = "fp32"', 'precision = "b|"'))
        self.assertEqual(items["bf16"]["textEdit"]["newText"], "bf16")
        self.assertEqual(document.get_text(items["bf16"]["textEdit"]["range"]), "b")
        items = document.complete_typed(SPEC.replace('"kda"', '"|"'))
        self.assertTrue({"kda", "gated_deltanet", "sliding_window"} <= set(items), list(items))
        self.assertIn("mixer kda(", items["kda"]["documentation"]["value"])
        items = document.complete_typed(SPEC.replace('  "recall", #', '  "|", #'))
        self.assertEqual(list(items), ["recall"])
        items = document.complete_typed(SPEC.replace("needles = 3", "chat = |"))
        self.assertEqual(list(items), ["true", "false"])
        self.assertEqual(document.complete_typed(SPEC.replace("seed = 3", "seed = |")), {})
        self.assertEqual(document.complete_typed(SPEC.replace("# Ein", "# Ein |")), {})

    # Definition, outline

    def test_definition(self):
        document = self.open(SPEC)
        place = document.define("mixers/mi|ne.morph")
        self.assertEqual(place["uri"], (self.folder / "mixers/mine.morph").as_uri())
        self.assertEqual(place["range"], {"start": {"line": 1, "character": 6}, "end": {"line": 1, "character": 11}})
        place = document.define('"re|call", #')
        self.assertEqual(place["uri"], document.uri)
        self.assertEqual(place["range"]["start"], document.position('name = "|recall"'))
        for pattern in ['"k|da"', "models/|tiny-recall", "se|ed", '"oth|er"']:
            self.assertIsNone(document.define(pattern), pattern)
        document.change(SPEC.replace("mine.morph", "nowhere.morph"))
        self.assertIsNone(document.define("mixers/no|where"))

    def test_definition_of_an_arch(self):
        (self.folder / "half.morph").write_text(ARCH.replace("tie 0..3", "tie"))
        (self.folder / "two.morph").write_text("arch first { tie 0 }\narch second { tie 0 }\n")
        document = self.open('version = 1\narch = "half.morph"\n')
        self.assertIn("whose `arch` says", document.hover("ha|lf"))
        line = ARCH.split("\n").index("arch half {")
        for text, place in [("half.morph", (line, 5)), ("half.morph:half", (line, 5)), ("two.morph:second", (1, 5)),
                            ("two.morph", None), ("half.morph:small", None), ("three.morph:half", None)]:
            with self.subTest(text):
                document.change(f'version = 1\narch = "{text}"\n')
                found = document.define(f'"|{text}')
                self.assertEqual(found and tuple(found["range"]["start"].values())[::-1], place)
                if place:
                    self.assertEqual(found["uri"], (self.folder / text.split(":")[0]).as_uri())

    def test_outline(self):
        symbols = self.open(SPEC).ask("documentSymbol")
        self.assertEqual([symbol["name"] for symbol in symbols],
                         ["[model]", "[linear]", "[budget]", "[[task]]", "[align]", "[select]", "[distill]"])

    def test_specs_of_morph_have_no_problems_but_what_is_not_there(self):
        # Bases that may not be fetched, tokenizers that are not shipped; a recipe is run with an arch, which has the model.
        allowed = {"qwen3-1.7b.toml": "^there is no tokenizer .*\\[S7\\]", "qwen3-8b.toml": "^there is no tokenizer .*\\[S7\\]",
                   "qwen3-30b-a3b.toml": "^there is no tokenizer .*\\[S7\\]",
                   "smollm2-135m.toml": "^there is no folder .*\\[S2\\]",
                   "recall.toml": "^'model.path' is missing \\[S2\\]", "recipe.toml": "^'model.path' is missing \\[S2\\]"}
        paths = sorted((SOURCE / "specs").glob("*.toml"))
        self.assertTrue(set(allowed) < {path.name for path in paths})
        for path in paths:
            with self.subTest(path.name):
                problems = Document(self.client, path.as_uri(), "toml", path.read_text()).problems()
                if path.name not in allowed:
                    self.assertEqual(problems, [])
                self.assertLessEqual(len(problems), 1)
                for problem in problems:
                    self.assertRegex(problem["message"], allowed[path.name])

    def test_files_that_are_none(self):
        os.mkfifo(self.folder / "pipe.morph")
        document = self.open(SPEC.replace("mixers/mine.morph", "pipe.morph"))
        self.assertIn("pipe.morph", document.problems()[0]["message"])
        self.assertIsNone(document.define("pipe|.morph"))
        document.change(SPEC.replace("models/tiny-recall", "/dev/stdin"))
        self.assertTrue(document.problems())
        self.assert_alive()


if __name__ == "__main__":
    unittest.main(verbosity=2)
