# SPDX-License-Identifier: Apache-2.0
"""morph-lsp-server on `.morph` files: mixers and archs."""

import unittest

from lsp_client import ARCH, Document, GOOD, LspTest, SOURCE


class Morph(LspTest):
    def open(self, text, uri="file:///mixers/small.morph"):
        return Document(self.client, uri, "morph", text)

    # Diagnostics

    def test_an_error_with_note_and_hint(self):
        document = self.open(GOOD.replace("return base_o(z)", "return base_o(y)"))
        [problem] = document.problems()
        self.assertEqual(problem["severity"], 1)
        self.assertEqual(problem["source"], "morph")
        self.assertIn("'y' of 'base_o'", problem["message"])
        self.assertEqual(document.get_text(problem["range"]), "y")
        [note] = problem["relatedInformation"]
        self.assertEqual(note["location"]["uri"], document.uri)
        self.assertEqual(note["location"]["range"]["start"]["line"], document.text[:document.text.index("y = ")].count("\n"))

    def test_errors_come_and_go(self):
        document = self.open(GOOD)
        self.assertEqual(document.problems(), [])
        document.change(GOOD.replace("= chunk)", "= chunks)"))
        [problem] = document.problems()
        self.assertIn("'chunks' is not declared", problem["message"])
        self.assertIn("did you mean 'chunk'?", problem["message"])
        document.change(GOOD)
        self.assertEqual(document.problems(), [])

    def test_closing_clears(self):
        document = self.open("mixer {")
        self.assertTrue(document.problems())
        document.close()
        self.assert_alive()
        self.assertEqual([params["diagnostics"] for params in self.client.published[document.uri]][-1], [])

    def test_malformed_lines_are_reported_alone(self):
        # The value of the malformed line is missed in the next ones, and the weight is not used.
        document = self.open(GOOD.replace("q = base_q(x)", "q = base_q(x"))
        self.assertEqual(len(document.problems()), 1)

    def test_only_the_last_of_many_changes_is_looked_at(self):
        document = self.open(GOOD)
        for _ in range(20):
            document.change(GOOD.replace("gated {", "gatet {"))
        document.change(GOOD)
        self.assertEqual(document.problems(), [])
        self.assertLess(len(self.client.published[document.uri]), 20)

    def test_columns_are_code_units_of_utf16(self):
        document = self.open("mixer a() { // 𝄞\n  doc \"𝄞é\" return x }\n")
        problem = document.problems()[0]
        self.assertEqual(document.get_text(problem["range"]), "return")
        self.assertEqual(problem["range"]["start"]["character"], 12)

    # Hover

    def test_hover(self):
        document = self.open(GOOD)
        self.assert_hovers(document, {
            "base|_q(x)": ["base_q(x [M], *, norm number = 1) -> [H, D]", "the base's query projection", "Here it gives an activation [H, D]"],
            "recur|rence(": ["chunk number = 64", "a linear attention's state"],
            "chunk| = chunk": ["chunk number = 64"],
            "merge(y|)": ["an activation [H, D]", "y = recurrence("],
            "merge(y) |+": ["This is an activation [H * D]"],
            "|q * exp": ["an activation [H, D]", "q = base_q(x)"],
            "{\n    |q =": ["an activation [H, D]", "q = q * exp"],
            "expand(ra|tes": ["weight rates [h: H] = log(1 + h) if gated", "A weight [H]", "only if `gated`"],
            "(x, co|py)": ["A weight [H * D, M], never trained"],
            "chunk = ch|unk": ["chunk: 1..1024 = 64", "An option"],
            "if ga|ted {": ["gated: bool = true"],
            "dim |K": ["a size"],
            "= |D / 2": ["elements of a head"],
            "base_q(|x)": ["an activation [M]", "The mixer's input"],
            "log(1 + |h)": ["The index along `H`"],
            "= lo|g(1": ["log(x [*] | weight [*]) -> [*]", "of each element"],
            "|require": ["what must hold of the model"],
            "fro|zen": ["never trained"],
            "base.q_pr|oj.weight": ["A weight [H * D, M] of the base"],
            "mixer sm|all": ["mixer small(chunk: 1..1024 = 64, gated: bool = true)", "an example", "From: nowhere"],
        })
        self.assertIsNone(document.hover("A mix|er."))

    def test_hover_over_facts_of_the_base(self):
        text = GOOD.replace("if gated {", "if base.qk_norm {").replace("= log(1 + h) if gated", "= 1 if base.qk_norm")
        document = self.open(text)
        self.assertIn("a condition", document.hover("if base.qk_|norm {"))
        self.assertIn("normalises queries and keys", document.hover("if base.qk_|norm {"))

    def test_hover_and_range_behind_characters_beyond_the_bmp(self):
        text = "mixer a() {\n  doc \"𝄞𝄞\" // 𝄞\n  /**/\n  return x\n}\n".replace("  /**/\n", "")
        document = self.open(text)
        result = document.ask("hover", "return |x")
        self.assertEqual(document.get_text(result["range"]), "x")
        document = self.open("mixer a() { return /* */ x }".replace("/* */", "x *"), "file:///b.morph")
        self.assertIn("[M]", document.hover("* |x"))

    def test_errors_elsewhere_do_not_matter(self):
        document = self.open(GOOD.replace("z = merge(y)", "z = merge(y"))
        self.assertTrue(document.problems())
        self.assertIn("an activation [H, D]", document.hover("recurrence(|q"))
        self.assertIn("A weight [H]", document.hover("expand(ra|tes"))

    def test_a_broken_head_falls_back_to_the_text_before(self):
        document = self.open(GOOD)
        self.assertEqual(document.problems(), [])
        document.change(GOOD.replace("chunk: 1..1024 = 64", "chunk: 1..1024 = 64, other:"))
        self.assertTrue(document.problems())
        self.assertIn("an activation [H, D]", document.hover("recurrence(|q"))
        self.assertEqual(document.get_text(document.define("recurrence(|q")["range"]), "q")
        self.assertIn("rates", document.complete("expand(|rates"))

    # Completion

    def test_completion_where_a_statement_begins(self):
        document = self.open(GOOD)
        items = document.complete_typed(GOOD.replace("  z = ", "  |\n  z = "))
        self.assertTrue({"if", "return", "weight", "q", "y"} <= set(items), list(items))
        self.assertFalse({"base_q", "chunk", "z", "x"} & set(items), list(items))
        items = document.complete_typed(GOOD + "\nmi|")
        self.assertEqual(list(items), ["mixer", "arch"])
        self.assertEqual(items["mixer"]["textEdit"]["range"]["start"]["character"], 0)

    def test_completion_in_values(self):
        document = self.open(GOOD)
        items = document.complete_typed(GOOD.replace("  z = ", "  w = ba|\n  z = "))
        self.assertTrue({"base_q", "silu", "x", "q", "y", "copy", "K", "H", "chunk", "base.layer"} <= set(items))
        self.assertFalse({"z", "w", "if", "h", "base.q_proj.weight"} & set(items), list(items))
        self.assertIn("[H, D]", items["y"]["detail"])
        self.assertEqual(items["silu"]["kind"], 3)
        self.assertEqual(document.get_text(items["base_q"]["textEdit"]["range"]), "ba")

    def test_completion_of_arguments_by_name(self):
        document = self.open(GOOD)
        items = document.complete_typed(GOOD.replace("chunk = chunk)", "chunk = chunk, |)"))
        self.assertTrue({"decay =", "beta =", "scale ="} <= set(items), list(items))
        self.assertNotIn("chunk =", items)
        self.assertEqual(items["decay ="]["textEdit"]["newText"], "decay = ")

    def test_completion_in_declarations(self):
        document = self.open(GOOD)
        items = document.complete_typed(GOOD.replace("log(1 + h)", "log(1 + |)"))
        self.assertTrue({"h", "H", "chunk", "exp", "base.q_proj.weight"} <= set(items), list(items))
        self.assertFalse({"q", "x", "base_q", "silu"} & set(items), list(items))
        items = document.complete_typed(GOOD.replace("require H >= G", "require |"))
        self.assertTrue({"G", "base.qk_norm", "not"} <= set(items), list(items))
        self.assertFalse({"q", "h", "rates"} & set(items), list(items))
        items = document.complete_typed(GOOD.replace("= log(1 + h)", "~ |"))
        self.assertIn("normal", items)
        items = document.complete_typed(GOOD.replace("frozen weight copy", "frozen |"))
        self.assertEqual(list(items), ["weight"])

    def test_no_completion_in_comments_and_strings(self):
        document = self.open(GOOD)
        self.assertEqual(document.complete_typed(GOOD.replace("// A mixer.", "// A|")), {})
        self.assertEqual(document.complete_typed(GOOD.replace('"an example"', '"an |example"')), {})
        self.assertEqual(document.complete_typed(GOOD.replace("small(chunk", "small(|chunk")), {})
        self.assertEqual(list(document.complete_typed(GOOD.replace("gated: bool", "gated: |"))), ["bool", "real"])

    # Definition, outline, format

    def test_definition(self):
        document = self.open(GOOD)
        for pattern, line in {
            "recurrence(|q": "    q = q * exp",
            "|q * exp": "  q = base_q",
            "expand(|rates": "  weight rates",
            "if |gated {": "mixer small",
            "chunk = |chunk": "mixer small",
            "merge(|y)": "  y = ",
            "(1 + |h)": "  weight rates",
        }.items():
            with self.subTest(pattern):
                place = document.define(pattern)
                self.assertEqual(place["uri"], document.uri)
                name = pattern.split("|")[1].split(" ")[0].rstrip(")")
                self.assertEqual(document.get_text(place["range"]), name)
                self.assertTrue(document.text.split("\n")[place["range"]["start"]["line"]].startswith(line))
        self.assertIsNone(document.define("base|_q"))
        self.assertIsNone(document.define("base_q(|x)"))
        document.change(GOOD.replace("[H * D, M]", "[2 * K * H, M]"))
        place = document.define("[2 * |K")
        self.assertEqual(document.text.split("\n")[place["range"]["start"]["line"]], "  dim K = D / 2")

    def test_an_else_does_not_see_the_branch_before(self):
        text = "mixer a(c: bool = true) {\n  y = x\n  if c {\n    y = x + x\n  } else {\n    y = y * 2\n  }\n  return y\n}\n"
        document = self.open(text)
        self.assertEqual(document.define("|y * 2")["range"]["start"]["line"], 1)
        self.assertEqual(document.define("return |y")["range"]["start"]["line"], 5)

    def test_outline(self):
        document = self.open(GOOD)
        [mixer] = document.ask("documentSymbol")
        self.assertEqual((mixer["name"], mixer["detail"]), ("small", "an example"))
        self.assertEqual([(weight["name"], weight["detail"]) for weight in mixer["children"]],
                         [("rates", "[H]"), ("copy", "[H * D, M]")])
        self.assertEqual(document.get_text(mixer["selectionRange"]), "small")

    def test_format(self):
        untidy = GOOD.replace("  q = base_q(x)", "q   =   base_q( x )")
        document = self.open(untidy)
        options = {"options": {"tabSize": 2, "insertSpaces": True}}
        [edit] = document.ask("formatting", **options)
        self.assertEqual(edit["newText"], GOOD)
        self.assertEqual(edit["range"]["start"], {"line": 0, "character": 0})
        self.assertEqual(edit["range"]["end"], {"line": untidy.count("\n"), "character": 0})
        document.change(GOOD)
        self.assertEqual(document.ask("formatting", **options), [])
        document.change(untidy + "mixer {")
        self.assertEqual(document.ask("formatting", **options), [])

    def test_mixers_of_morph_have_no_problems(self):
        for path in sorted((SOURCE / "dialect/mixers").glob("*.morph")):
            with self.subTest(path.name):
                document = self.open(path.read_text(), path.as_uri())
                self.assertEqual(document.problems(), [])

    def test_what_others_ask_of_every_document(self):
        document = self.open(GOOD)
        self.assertIsNone(document.ask("references", "recurrence(|q", context={"includeDeclaration": True}))


OTHER = """mixer theirs() { return x }
mixer mine(rank: 1..8 = 4, rate: real 0..1 = 0.5, gated: bool = true) {
  doc "of another file"
  return x
}
"""


class Arch(LspTest):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder({"mixers/other.morph": OTHER, "runs/recipe.toml": "version = 1\n",
                                        "runs/costs.json": "{}"})

    def open(self, text=ARCH, name="half.morph"):
        return Document(self.client, (self.folder / name).as_uri(), "morph", text)

    def test_what_the_model_does_not_have(self):
        """As in a spec: options, layers, and lines that exclude each other; of the text, and not of what is on disk."""
        text = ARCH.replace('"models/tiny"', f'"{SOURCE}/specs/models/tiny-recall"').replace(
            '  budget decode_seconds = 0.02 at 4096 by "runs/costs.json"\n', "").replace("0..3, 7", "0..3, 7..9").replace(
                "every 4", "every 10")
        (self.folder / "runs/recipe.toml").write_text('version = 1\nselect.method = "uniform"\n')
        self.assertEqual(self.open(text).problems(), [])
        for name, before, after, words, place in (
                ("a", "| gla\n", "| gla(rank = 0)\n", "option 'rank'", "gla(rank = 0)"),
                ("b", "rank = 2", "rank = 9", "option 'rank'", '"mixers/other.morph:mine(rank = 9)"'),
                ("c", "chunk = 16", "chunk = 0", "option 'chunk'", "small(chunk = 0)"),
                ("d", "tie 0..3", "tie 0..13", "there is no layer 13", "13"),
                ("e", "full_layers = 2", "full_layers = 9", "no choice of layers satisfies", None)):
            with self.subTest(after):
                document = self.open(text.replace(before, after), f"{name}.morph")
                [problem] = document.problems()
                self.assertIn(words, problem["message"])
                if place:
                    self.assertEqual(document.get_text(problem["range"]), place)

    def test_hover(self):
        document = self.open()
        self.assertIn("models/tiny", document.problems()[0]["message"])
        self.assert_hovers(document, {
            "ar|ch half": ["what may stand in the layers"],
            "|doc \"half": ["what the arch is"],
            "mod|el \"": ["the base model"],
            "|recipe \"": ["data, tasks and stages"],
            "lay|ers 0": ["The last line that names a layer counts"],
            "tie| 0": ["take the same one"],
            "pin| 7": ["of their candidates these layers take one"],
            "patt|ern": ["exactly so many take the candidate"],
            "  |budget full": ["what the hybrid may cost"],
            "7 = |full | small": ["keeps the base's attention"],
            "pin 7 = fu|ll": ["keeps the base's attention"],
            "sma|ll(chunk = 16": ["mixer small(chunk: 1..1024 = 64, gated: bool = true)", "an example"],
            "gl|a(rank": ["mixer gla(chunk: 1..1024 = 64, rank: 1..256 = 16)", "arXiv 2312.06635"],
            "gla|\n": ["mixer gla("],
            "mixers/oth|er.morph": ["mixer mine(rank: 1..8 = 4", "of another file"],
            '"k|da"': ["mixer kda("],
            "small(chu|nk = 16": ["chunk: 1..1024 = 64", "whole numbers of `1..1024`. Default: `64`"],
            "gla(ra|nk = 8": ["rank: 1..256 = 16"],
            "chunk| = 32": ["chunk: 1..1024 = 64"],
            "mine(ra|nk = 2": ["rank: 1..8 = 4"],
            "gla_|2": ["The candidate `gla`.", "mixer gla("],
            "one mi|ne in": ["The candidate `mixers/other.morph:mine(rank = 2)`.", "of another file"],
            "full_|layers = 2": ["**full_layers**: layers", "Exactly so many layers"],
            "decode_sec|onds": ["**decode_seconds**: seconds", "morph bench mixers"],
        })
        for pattern in ["mine in| every", "at| 4096", "by| \"", "chunk = 1|6", "// Cand|idates", "half of| it"]:
            self.assertIsNone(document.hover(pattern), pattern)
        self.assertEqual(document.get_text(document.ask("hover", "gla(ra|nk = 8")["range"]), "rank")
        self.assertEqual(document.get_text(document.ask("hover", "mine(ra|nk = 2")["range"]), "rank")
        document.change(ARCH.replace("tie 0..3", "tie all").replace("rank = 2", "rate = 0.1, gated = false"))
        self.assertIn("every layer", document.hover("tie al|l"))
        self.assertIn("any number of `0..1`. Default: `0.5`", document.hover("mine(ra|te"))
        self.assertIn("`true` or `false`. Default: `true`", document.hover("ga|ted = false"))

    def test_lines_with_errors_do_not_matter(self):
        for name, text in [("a.morph", ARCH.replace("tie 0..3", "tie 0..")),
                           ("b.morph", ARCH.replace("layers 4..6", "layerz 4..6 = gla(\n  layers 4..6")),
                           ("c.morph", ARCH.replace("  doc \"half", "  ) ( doc \"half"))]:
            with self.subTest(name):
                document = self.open(text, name)
                self.assertTrue(document.problems())
                self.assertIn("rank: 1..256", document.hover("gla(ra|nk = 8"))
                self.assertIn("**full_layers**", document.hover("full_|layers = 2"))
                self.assertIn("The candidate `gla`.", document.hover("gla_|2"))
                self.assertIn("an example", document.hover("sma|ll(chunk = 16"))
                self.assertEqual([symbol["name"] for symbol in document.ask("documentSymbol")], ["small", "half"])
        document = self.open(ARCH.rstrip().rstrip("}"))
        self.assertTrue(document.problems())
        self.assertIn("**decode_seconds**", document.hover("decode_|seconds"))

    def test_what_follows_an_arch_is_no_part_of_it(self):
        for name, end in [("a.morph", "}"), ("b.morph", "")]:
            document = self.open("arch a {\n  tie 0..1\n" + end + "\n" + GOOD, name)
            self.assertIn("an activation [H, D]", document.hover("recurrence(|q"))
            self.assertIn("take the same one", document.hover("ti|e 0"))
            self.assertIn("an example", document.hover("mixer |small"))

    def complete(self, old, new):
        self.assertIn(old, ARCH)
        return self.document.complete_typed(ARCH.replace(old, new), "@")

    def test_completion_where_a_line_begins(self):
        self.document = self.open()
        words = ["doc", "model", "recipe", "layers", "tie", "pin", "pattern", "budget"]
        self.assertEqual(list(self.complete("  tie", "  @\n  tie")), words)
        self.assertEqual(list(self.complete("  tie 0..3", "  ti@")), words)
        self.assertEqual(list(self.complete("  tie 0..3", "  ti@e 0..3")), words)
        self.assertEqual(list(self.complete("arch half {", "arch half { @")), words)
        self.assertEqual(list(self.document.complete_typed("arch a {|")), words)
        self.assertEqual(self.document.complete_typed("arch |"), {})

    def test_completion_of_candidates(self):
        self.document = self.open()
        for old, new in [("| gla\n", "| @\n"), ("| gla\n", "| gl@\n"), ("= full | small", "= @ | small"),
                         ("tie 0..3", "layers all = @"), ("tie 0..3", "layers all = gla(rank = 8) | @"),
                         ("| gla\n", "|\n    @\n"), ("| gla\n", "|\n    gl@\n")]:
            with self.subTest(new):
                items = self.complete(old, new)
                self.assertTrue({"full", "small", "gla", "kda", "none"} <= set(items), list(items))
                self.assertFalse({"layers", "all"} & set(items), list(items))
                self.assertIn("mixer gla(", items["gla"]["documentation"]["value"])
                self.assertIn("an example", items["small"]["documentation"]["value"])
        for new in ['doc "@"', "layers 3, @", "layers 3 = gla @", 'layers 3 = "@"', "tie 0 = @", "// = @"]:
            self.assertEqual(self.complete("tie 0..3", new), {}, new)

    def test_completion_of_all_layers(self):
        self.document = self.open()
        for word in ["layers", "tie", "pin"]:
            self.assertEqual(list(self.complete("tie 0..3", word + " @")), ["all"])
        self.assertEqual(self.complete("tie 0..3", "tie 0, @"), {})
        self.assertEqual(self.complete("tie 0..3", "budget ratio @"), {})

    def test_completion_of_options(self):
        self.document = self.open()
        items = self.complete("gla(rank = 8, chunk = 32)", "gla(@")
        self.assertEqual({name: item["textEdit"]["newText"] for name, item in items.items()},
                         {"chunk =": "chunk = ", "rank =": "rank = "})
        self.assertIn("rank: 1..256 = 16", items["rank ="]["documentation"]["value"])
        self.assertEqual(list(self.complete("gla(rank = 8, chunk = 32)", "gla(rank = 8, @)")), ["chunk ="])
        self.assertEqual(list(self.complete("gla(rank = 8, chunk = 32)", "gla(@, chunk = 32)")), ["rank ="])
        self.assertEqual(list(self.complete("gla(rank = 8, chunk = 32)", "gla(\n  @\n  )")), ["chunk =", "rank ="])
        items = self.complete("gla(rank = 8, chunk = 32)", "gla(ra@ = 8, chunk = 32)")
        self.assertEqual(items["rank ="]["textEdit"]["newText"], "rank")
        self.assertEqual(self.document.get_text(items["rank ="]["textEdit"]["range"]), "ra")
        self.assertEqual(self.complete("gla(rank = 8, chunk = 32)", "gla(rank = @)"), {})
        self.assertEqual(list(self.complete("small(chunk = 16)", "small(chunk = 16, @)")), ["gated ="])
        self.assertEqual(list(self.complete("mine(rank = 2)", "mine(rank = 2, @)")), ["rate =", "gated ="])
        self.assertEqual(list(self.complete("mine(rank = 2)", "mine(ra@")), ["rank =", "rate =", "gated ="])
        self.assertEqual(self.complete("gla(rank = 8, chunk = 32)", "nothing(@)"), {})

    def test_completion_of_names(self):
        self.document = self.open()
        names = ["full", "small", "gla", "gla_2", "mine", "kda", "none"]
        self.assertEqual(list(self.complete("pin 7 = full | gla_2", "pin 7 = @")), names)
        self.assertEqual(list(self.complete("one mine", "one @")), names)
        self.assertEqual(list(self.complete("one mine", "2 m@")), names)
        self.assertEqual(self.complete("one mine in every", "one mine @"), {})
        self.assertIn("mine(rank = 2)", self.complete("one mine", "one @")["mine"]["documentation"]["value"])

    def test_completion_of_budgets(self):
        self.document = self.open()
        items = self.complete("budget full_layers = 2", "budget @")
        self.assertEqual({name: item["textEdit"]["newText"] for name, item in items.items()},
                         {name + " =": name + " = " for name in ["full_layers", "ratio", "cache_bytes", "decode_seconds"]})
        self.assertEqual(self.complete("full_layers = 2", "ra@ = 2")["ratio ="]["textEdit"]["newText"], "ratio")
        self.assertEqual(self.complete("full_layers = 2", "full_layers = @"), {})

    def test_definition(self):
        document = self.open()
        for pattern, text, line in [("sma|ll(chunk = 16", "small", "mixer small"),
                                    ("gla_|2", "gla", "  layers 0..3"),
                                    ("one mi|ne in", '"mixers/other.morph:mine(rank = 2)"', "  layers 4..6")]:
            with self.subTest(pattern):
                place = document.define(pattern)
                self.assertEqual(place["uri"], document.uri)
                self.assertEqual(document.get_text(place["range"]), text)
                self.assertTrue(ARCH.split("\n")[place["range"]["start"]["line"]].startswith(line))
        place = document.define("mixers/oth|er.morph")
        self.assertEqual(place["uri"], (self.folder / "mixers/other.morph").as_uri())
        self.assertEqual(place["range"], {"start": {"line": 1, "character": 6}, "end": {"line": 1, "character": 10}})
        for pattern, name in [("runs/rec|ipe.toml", "runs/recipe.toml"), ("runs/co|sts.json", "runs/costs.json")]:
            place = document.define(pattern)
            self.assertEqual(place["uri"], (self.folder / name).as_uri())
            self.assertEqual(place["range"]["start"], {"line": 0, "character": 0})
        for pattern in ["models/ti|ny", "half o|f it", '"k|da"', "7 = fu|ll | small", "gl|a(rank", "lay|ers 0"]:
            self.assertIsNone(document.define(pattern), pattern)
        document.change(ARCH.replace("recipe.toml", "nothing.toml").replace("other.morph", "nothing.morph"))
        self.assertIsNone(document.define("runs/no|thing.toml"))
        self.assertIsNone(document.define("mixers/no|thing.morph"))

    def test_outline(self):
        mixer, arch = self.open().ask("documentSymbol")
        self.assertEqual((mixer["name"], arch["name"], arch["detail"]), ("small", "half", "half of it"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
