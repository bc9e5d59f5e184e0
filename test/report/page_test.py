# SPDX-License-Identifier: Apache-2.0
"""The page that tools/python/report writes: its values are those of the files, it is whole by itself, and safe whatever
the files hold."""

import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from html_page import HOSTILE, HtmlPage
from synthetic_run import LAYERS, LINEAR, SCRIPT, SyntheticRun, answers, choice_of, run_command, run_report


class Page(HtmlPage):
    """A page with its tables by caption."""

    def __init__(self, text):
        self.tables, self.cell = {}, None
        super().__init__(text)

    def handle_starttag(self, tag, attributes):
        super().handle_starttag(tag, attributes)
        if tag == "table":
            self.lines = []
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th", "caption"):
            self.cell = ""

    def handle_endtag(self, tag):
        super().handle_endtag(tag)
        if tag in ("td", "th"):
            self.lines[-1].append(self.cell)
        if tag == "caption":
            self.caption = self.cell
        if tag == "table":
            self.tables[self.caption] = self.lines

    def handle_data(self, text):
        super().handle_data(text)
        if self.cell is not None:
            self.cell += text

    def table(self, begin):
        """The lines of the one table whose caption begins so, the header first."""
        found = [lines for caption, lines in self.tables.items() if caption.startswith(begin)]
        assert len(found) == 1, (begin, list(self.tables))
        return found[0]

    def figure(self, begin):
        """What the one figure says of itself that begins so."""
        labels = [attributes["aria-label"] for tag, attributes in self.elements if tag == "svg"]
        found = [label for label in labels if label.startswith(begin)]
        assert len(found) == 1, (begin, labels)
        return found[0]


class ReportTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name)
        self.out = self.root / "page.html"

    def page(self, *runs):
        """The page of these runs, each given as folder name and files."""
        folders = [run.write(self.root / name) for name, run in runs]
        done = run_report(self.out, *folders)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return Page(self.out.read_text())

    def refused(self, run, *expected):
        """No page is written, and the error says this."""
        folder = run if isinstance(run, pathlib.Path) else run.write(self.root / "run")
        done = run_report(self.out, folder)
        self.assertEqual(done.returncode, 2, done.stderr)
        for words in ("report: error: ", *expected):
            self.assertIn(words, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertEqual([path.name for path in self.root.iterdir() if path != folder], [])


class OneRun(ReportTest):
    def test_values_are_those_of_the_files(self):
        page = self.page(("run", SyntheticRun()))
        self.assertEqual((page.open, page.problems), ([], []))
        lines = page.table("Layers with softmax attention.")
        self.assertEqual(lines[1:], [["selected (gates+refine)", "1 4"], ["uniform", "0 3"]])
        lines = page.table("needle: share of answers right in every token, in the model's own")
        self.assertEqual(lines[0], ["Model", "After", "64 tokens", "128 tokens"])
        self.assertEqual(lines[1], ["teacher", "-"] + 2 * ["1.000 [0.938 1.000]"])
        self.assertEqual(lines[2], ["uniform", "selection"] + 2 * ["0.250 [0.188 0.312]"])
        self.assertEqual(lines[4], ["selected", "distill"] + 2 * ["0.925 [0.863 0.988]"])
        lines = page.table("needle: share of answers right in every token, each predicted")
        self.assertEqual(lines[2][2], "0.125 [0.062 0.188]")
        shares = [attributes["style"] for tag, attributes in page.elements if attributes.get("class") == "heat"]
        self.assertEqual(shares[:3], ["--share: 1.000", "--share: 1.000", "--share: 0.250"])
        # e^3.1 and e^2.1 of the teacher, later positions being easier.
        self.assertIn("teacher: from 22.2 to 8.166;", page.figure("Perplexity by position"))
        lines = page.table("On text that no other stage reads, in windows of 256 tokens")
        self.assertEqual(lines[1][2], f"{math.exp(2.1):.2f} [4.48 12.18]")
        self.assertEqual([line[4] for line in lines[3:]], ["-0.062 uniform", "-"])
        lines = page.table("The selected hybrid minus each baseline")
        self.assertEqual(lines[1], ["needle", "64", "selection", "uniform", "generated", "+0.438 [+0.250 +0.500]"])
        lines = page.table("In the order in which they ran.")
        self.assertEqual(lines[2][:4], ["align", "461 k", "3.85 T", "16 s"])
        self.assertEqual(lines[2][5:], ["28.8 k", "36.5 MB"])
        # Whoever does not see the bars has words.
        self.assertEqual([line[4].strip() for line in lines[1:]], ["11 %", "100 %", "33 %", ""])
        self.assertEqual(lines[-1][:4], ["all", "662 k", "5.17 T", "23 s"])
        lines = page.table("What was read.")
        self.assertEqual(lines[1], ["text", "corpora/books.jsonl", "1.2 k", "600 k", "300 (20.0 %)", "-"])
        self.assertEqual(lines[2], ["faq", "faq.jsonl", "40", "-", "-", "10 (25.0 %)"])
        said = [words for words in page.words if "does not read" in words]
        self.assertEqual(len(said), 1)
        self.assertIn("Stage align does not read 37.0 % of the text's tokens", said[0])
        lines = page.table("Cache of one sequence")
        self.assertEqual(lines[1], ["1K", "5.12 kB", "2.02 kB", "2.53x"])
        self.assertEqual(lines[-1], ["256K", "1.31 MB", "263 kB", "4.98x"])
        lines = page.table("Budgets of the spec")
        self.assertEqual(lines[1], ["run", "decode_seconds", "4K", "5 ms a token", "12 ms a token", "5 ms a token"])
        self.assertIn("full_layers = 2", page.text)
        self.assertIn(["select.lr", "0.05"], page.table("The spec as it was run."))
        self.assertTrue(any("agree with transformers to 2.1e-05" in words for words in page.words))

    def test_figures_say_what_they_show(self):
        page = self.page(("run", SyntheticRun()))
        self.assertEqual(page.figure("Gates of full attention").split(". ")[0],
                         f"Gates of full attention over the steps of the search, a line for each of {LAYERS} layers")
        self.assertIn("stand at 1: 1.00, 4: 1.00.", page.figure("Gates of full attention"))
        self.assertIn("selected: from 0.08 to 0.04", page.figure("Distill: loss over steps"))
        self.assertIn("from 0.016 to 0.008", page.figure("Distill: KL to the teacher on held-out recall"))
        self.assertIn(f"from {0.9 * 0.97**10:.4g} to {0.9 * 0.97**100:.4g}", page.figure("Align: "))
        self.assertIn("selected (gates+refine): 1 4; uniform: 0 3", page.figure(f"Which of {LAYERS} layers"))
        self.assertIn("full attention 1.31 MB; hybrid 263 kB", page.figure("Cache of one sequence"))
        drawings = [tag for tag, _ in page.elements if tag == "svg"]
        self.assertEqual(len(drawings), len([tag for tag, _ in page.elements if tag == "figcaption"]))

    def test_colours_are_the_page_s(self):
        run = SyntheticRun()
        run.resolved["space"]["budgets"] = []
        run.summary["choices"]["uniform"] = ["full", "kda", "sliding_window", LINEAR, "kda", "full"]
        page = self.page(("run", run))
        styles = [attributes["style"] for tag, attributes in page.elements if tag in ("path", "use", "text", "rect", "g")
                  and "style" in attributes]
        self.assertGreater(len(styles), 100)
        self.assertNotRegex(" ".join(styles), "#[0-9a-f]{6}")
        for variable in set(re.findall(r"var\((--\w+)\)", page.text)) - {"--share"}:
            self.assertEqual(page.text.count(f"{variable}: #"), 2, variable)
        self.assertEqual(page.table("Layers with softmax")[0][2:], [LINEAR, "kda", "sliding_window"])
        self.assertEqual(page.table("Layers with softmax")[2], ["uniform", "0 5", "3", "1 4", "2"])

    def test_depths_are_lines(self):
        page = self.page(("run", SyntheticRun(depths=(0.0, 0.5, 1.0))))
        lines = page.table("needle: share of answers right in every token, in the model's own")
        self.assertEqual(lines[0][:3], ["Model", "After", "Depth"])
        self.assertEqual([line[2] for line in lines[1:4]], ["0.00", "0.50", "1.00"])
        self.assertEqual(len(lines), 1 + 4 * 3)

    def test_the_headline_is_of_all_depths(self):
        run = SyntheticRun(depths=(0.0, 0.5, 1.0))
        for row in run.summary["evaluation"]:
            if row["task"] == "needle" and row["length"] == 128:
                shares = {"teacher": (1.0, 0.75, 0.5), "selected": (0.5, 1.0, 0.0) if row["after"] == "distill" else (0, 0, 0)}
                row["generated"] = answers(shares.get(row["model"], (1, 1, 1))[int(2 * row["depth"])])
        self.assertIn("needle at 128 tokens, mean over 3 depths, 0.500 (teacher 0.750)", self.page(("run", run)).words)
        page = self.page(("one", SyntheticRun(depths=(0.5,))))
        self.assertIn("needle at 128 tokens, depth 0.50, 0.925 (teacher 1.000)", page.words)
        page = self.page(("any", SyntheticRun()))
        self.assertIn("needle at 128 tokens 0.925 (teacher 1.000)", page.words)

    def test_letters_of_other_scripts(self):
        """They stay text, whether a font of this machine has them or not, and values are shown as they were written."""
        run = SyntheticRun()
        run.resolved["data"] = {"text": ["данные/日本語.txt"]}
        run.metrics += [{"stage": "finetune", "variant": "日本語", "step": step, "loss": 1 / step} for step in (1, 2)]
        run.metrics += [{"stage": "finetune", "variant": "ไทย", "step": step, "loss": 1 / step} for step in (1, 2)]
        page = self.page(("run", run))
        self.assertIn(["data.text", '["данные/日本語.txt"]'], page.table("The spec as it was run."))
        self.assertIn("日本語", page.figure("Finetune: "))

    def test_nothing_comes_from_elsewhere_and_references_have_targets(self):
        page = self.page(("run", SyntheticRun()))
        self.assertFalse({"script", "link", "iframe", "img", "image", "object", "embed", "base", "form"}
                         & {tag for tag, _ in page.elements})
        for tag, attributes in page.elements:
            for name, value in attributes.items():
                self.assertFalse(name.startswith("on") or name in ("src", "srcset", "xmlns"), (tag, attributes))
                if name.endswith("href"):
                    self.assertTrue(value.startswith("#"), value)
        self.assertNotRegex(page.text, r"https?:|@import|url\((?!#)")
        names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        self.assertEqual(len(names), len(set(names)))
        targets = [attributes["href"][1:] for _, attributes in page.elements if "href" in attributes]
        targets += re.findall(r"url\(#([^)]*)\)", page.text)
        self.assertEqual(set(targets) - set(names), set())
        boxes = [attributes for _, attributes in page.elements if attributes.get("class") == "scroll"]
        self.assertGreaterEqual(len(boxes), len(page.tables))
        for attributes in boxes:
            self.assertEqual((attributes["tabindex"], attributes["role"]), ("0", "region"))

    def test_what_is_not_there_is_left_out(self):
        """A run that made a base model: no selection, no hybrid, no gates."""
        run = SyntheticRun()
        for key in ("selection", "choices", "baselines", "differences", "cache", "check"):
            del run.summary[key]
        del run.resolved["space"]
        run.summary["evaluation"] = [row for row in run.summary["evaluation"] if row["model"] == "teacher"]
        run.metrics = [line | {"stage": "pretrain"} for line in run.metrics if line["stage"] == "align"]
        page = self.page(("run", run))
        links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
        self.assertEqual(links, ["#content", "#recall", "#text", "#losses", "#data", "#costs", "#spec"])
        page.figure("Pretrain: loss")

    def test_equal_files_give_equal_bytes(self):
        first = self.page(("run", SyntheticRun())).text
        done = run_command("--out", self.out, self.root / "run")
        self.assertEqual((done.returncode, done.stderr, self.out.read_text()), (0, "", first))
        self.assertEqual(self.page(("run", SyntheticRun())).text, first)

    def test_numbers_that_were_none(self):
        """A run that diverged: null in metrics.jsonl is what was not finite."""
        run = SyntheticRun()
        for line in run.metrics:
            if line["stage"] == "align" and line["step"] > 20:
                line["loss"] = None
            if line["stage"] == "distill":
                line["loss"] = None
        run.metrics[0]["loss"] = 1e299
        page = self.page(("run", run))
        self.assertIn(f"from 1e+299 to {0.9 * 0.97**20:.4g}", page.figure("Align: "))
        self.assertNotIn("Distill: loss over", page.text)
        self.assertNotIn("nan", page.text.lower().replace("nanos", ""))


class Styles(unittest.TestCase):
    def test_many_are_told_apart(self):
        from run_figures import fill_of, style_of

        for style, parts, count in ((style_of, ("color", "linestyle"), 24), (fill_of, ("facecolor", "hatch"), 25)):
            found = [tuple(style(place)[part] for part in parts) for place in range(count)]
            self.assertEqual(len(set(found)), count, style.__name__)
            self.assertEqual(found[0][1], ("-", "")[style is fill_of])


class Hostile(ReportTest):
    def test_names_are_shown_as_they_are(self):
        run = SyntheticRun(name=HOSTILE[0])
        run.spec += "".join(f"# {name}\n" for name in HOSTILE)
        rows = run.summary["evaluation"]
        rows += [dict(rows[0], model=name, task=name) for name in HOSTILE]
        run.summary["choices"] |= {name: choice_of((place,)) for place, name in enumerate(HOSTILE)}
        run.summary["choices"]["selected"][0] = HOSTILE[0]
        run.resolved["space"]["layers"] = [layer + [{"name": HOSTILE[0]}] for layer in run.resolved["space"]["layers"]]
        run.resolved["space"]["budgets"] = []
        run.resolved[HOSTILE[0]] = {HOSTILE[1]: HOSTILE[2]}
        run.resolved["model_info"]["architecture"] = HOSTILE[0]
        run.metrics += [{"stage": name, "variant": name, "step": step, "loss": 1 / step, "held_out": {name: 0.5}}
                        for name in HOSTILE for step in (1, 2)]
        run.summary["stages"] += [{"stage": name, "seconds": 1} for name in HOSTILE]
        run.summary["selection"]["method"] = HOSTILE[0]
        page = self.page(("<b>run", run))
        self.assertEqual((page.open, page.problems), ([], []))
        for name in HOSTILE:
            self.assertTrue(any(name in words for words in page.words), name)
        self.assertNotIn("<script", page.text)
        self.assertNotIn("<b>", page.text)
        self.assertFalse([attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)])
        self.assertIn("&lt;script&gt;", " ".join(re.findall(r"<text[^>]*>(.*?)</text>", page.text, re.S)))

    def test_many_steps(self):
        run = SyntheticRun()
        run.metrics += [{"stage": "finetune", "variant": "selected", "step": step, "loss": 1 + math.sin(step)}
                        for step in range(1, 30_001)]
        page = self.page(("run", run))
        self.assertLess(len(page.text), 300_000)
        self.assertIn(f"from {1 + math.sin(1):.4g} to {1 + math.sin(30_000):.4g}", page.figure("Finetune: "))

    def test_huge_numbers(self):
        run = SyntheticRun()
        run.summary["stages"][1] |= {"tokens": 1e300, "flops": 1e300, "seconds": 1e300, "memory_bytes": 1e300}
        run.summary["evaluation"][-1]["cross_entropy"] = 1e299
        run.summary["cache"][-1]["full_bytes"] = 1e300
        run.resolved["model_info"]["parameters"] = 10**400
        self.page(("run", run))


class Damaged(ReportTest):
    def test_files_that_are_missing(self):
        self.refused(self.root / "run", "run: is no run's folder, it has no resolved.json", "morph run SPEC --out DIR")
        for name in ("summary.json", "spec.toml"):
            folder = SyntheticRun().write(self.root / "run")
            (folder / name).unlink()
            self.refused(folder, f"{name}: cannot be read: No such file or directory", "hint: the same morph run line again")

    def test_files_that_are_cut(self):
        for name in ("resolved.json", "summary.json", "metrics.jsonl"):
            folder = SyntheticRun().write(self.root / "run")
            text = (folder / name).read_text()
            (folder / name).write_text(text[: len(text) * 2 // 3 + 1])
            self.refused(folder, name, "is no JSON")
        (SyntheticRun().write(folder) / "metrics.jsonl").write_bytes(b'{"stage": "\xff"}\n')
        self.refused(folder, "metrics.jsonl: is no UTF-8 text: byte 11 is 0xff")
        (SyntheticRun().write(folder) / "summary.json").write_text("[" * 100_000)
        self.refused(folder, "summary.json: is no JSON")

    def test_files_that_are_others(self):
        folder = SyntheticRun().write(self.root / "run")
        (folder / "spec.toml").unlink()
        (folder / "spec.toml").symlink_to("/etc/passwd")
        self.refused(folder, "spec.toml: lies outside the run's folder")
        (folder / "spec.toml").unlink()
        os.mkfifo(folder / "spec.toml")
        self.refused(folder, "spec.toml: is no file")
        with open(SyntheticRun().write(self.root / "run2") / "metrics.jsonl", "wb") as stream:
            stream.truncate(2**40)
        done = run_report(self.out, self.root / "run2")
        self.assertIn("metrics.jsonl: has 1099511627776 bytes, expected at most 536870912", done.stderr)

    def test_without_packages(self):
        """An environment without what pages are made with."""
        command = [sys.executable, "-S", "-E", SCRIPT, "--out", self.out, self.root]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^report: error: No module named '\w+'\nreport: hint: tools/setup")

    def test_values_that_are_wrong(self):
        def changed(path, value):
            run = SyntheticRun()
            *way, last = path
            place = {"resolved": run.resolved, "summary": run.summary, "metrics": run.metrics}
            for key in way:
                place = place[key]
            place[last] = value
            return run

        for path, value, expected in (
            (("summary", "version"), 2, "summary.json: has version 2, expected 1"),
            (("summary", "stages"), {}, "stages is not a list"),
            (("summary", "stages", 0, "seconds"), math.nan, "stages[0].seconds is not a finite number"),
            (("summary", "stages", 0, "stage"), "a\nb", "stages[0].stage is not a text"),
            (("summary", "data", "texts", 0, "tokens"), "many", "data.texts[0].tokens is not a finite number"),
            (("summary", "evaluation", 0, "generated"), answers(2) | {"interval": None}, "generated.answers is no share, 0 to 1"),
            (("summary", "evaluation", 0, "generated", "interval"), [1, 0], "interval is no interval of two numbers"),
            (("summary", "evaluation", 0, "length"), -1, "length is not an integer"),
            (("summary", "choices", "selected"), [LINEAR], "choices.selected has 1 layers, expected 6"),
            (("summary", "choices", "selected"), ["other"] * LAYERS, "has no candidate 'other'"),
            (("summary", "cache", 0, "context"), 0, "cache[0].context is not an integer from 1"),
            (("resolved", "space", "layers"), [], "space.layers is not a list with something in it"),
            (("resolved", "name"), None, "resolved.json: name is not a text"),
            (("metrics", 0, "loss"), "0.5", "metrics.jsonl, line 1: loss is not a finite number"),
            (("metrics", 0, "loss"), math.inf, "metrics.jsonl, line 1: loss is not a finite number"),
            (("metrics", 0, "step"), 1.5, "metrics.jsonl, line 1: step is not an integer"),
            (("metrics", 0), [], "metrics.jsonl, line 1: is not an object"),
            (("metrics", 10, "gates"), [[1, 0]], "gates has 1 layers, the spec 6"),
            (("metrics", 10, "gates", 0), [], "line 11: gates[0] is not a list with something in it"),
        ):
            with self.subTest(path=path, value=value):
                self.refused(changed(path, value), expected)

    def test_a_page_that_is_there_stays(self):
        run = SyntheticRun()
        before = self.page(("run", run)).text
        folder = run.write(self.root / "run")
        (folder / "summary.json").write_text("{")
        self.assertEqual(run_report(self.out, folder).returncode, 2)
        self.assertEqual(self.out.read_text(), before)
        self.assertEqual(sorted(path.name for path in self.root.iterdir()), ["page.html", "run"])


class SeveralRuns(ReportTest):
    def test_a_column_a_run(self):
        other = SyntheticRun(kept=(2, 5), lr=0.1, name="other", lengths=(64, 256))
        del other.resolved["select"]["steps"]
        page = self.page(("first", SyntheticRun()), ("second", other))
        self.assertEqual((page.open, page.problems), ([], []))
        lines = page.table("Keys of the specs")
        self.assertEqual(lines[0], ["Key", "first", "second"])
        self.assertEqual(lines[1:], [["name", '"synthetic"', '"other"'], ["select.lr", "0.05", "0.1"],
                                     ["select.steps", "40", "-"]])
        lines = page.table("Layers with softmax attention.")
        self.assertEqual(lines[1:], [["first: gates+refine", "1 4"], ["first: uniform", "0 3"],
                                     ["second: gates+refine", "2 5"], ["second: uniform", "0 3"]])
        lines = page.table("needle: share of answers right in every token, in the model's own")
        self.assertEqual(lines[0], ["Length", "Model", "After", "first", "second"])
        self.assertIn(["64 tokens", "selected", "distill", "0.925 [0.863 0.988]", "0.945 [0.883 1.000]"], lines)
        self.assertIn(["128 tokens", "teacher", "-", "1.000 [0.938 1.000]", "-"], lines)
        self.assertIn(["256 tokens", "teacher", "-", "-", "1.000 [0.938 1.000]"], lines)
        self.assertEqual(page.table("On text that no other")[0], ["Model", "After", "first", "second"])
        self.assertEqual(page.table("Time, tokens and FLOPs")[2][0], "align")
        self.assertIn("16 s 461 k tokens, 3.85 T FLOPs", page.table("Time, tokens and FLOPs")[2])
        self.assertIn("a line for each of 2. first: from 0.08 to 0.04; second:", page.figure("Distill: loss over"))
        gates = [a["aria-label"] for tag, a in page.elements if tag == "svg" and a["aria-label"].startswith("Gates")]
        self.assertEqual(len(gates), 2)

    def test_windows_of_other_lengths(self):
        other = SyntheticRun()
        for row in other.summary["evaluation"]:
            row["length"] = 512 if row["task"] == "text" else row["length"]
        page = self.page(("first", SyntheticRun()), ("second", other))
        self.assertEqual(page.table("On text that no other stage reads, with intervals of 95 %. Windows of other")[0],
                         ["Model", "After", "first, windows of 256 tokens", "second, windows of 512 tokens"])
        # What has no text has no windows.
        other.summary["evaluation"] = [row for row in other.summary["evaluation"] if row["task"] != "text"]
        page = self.page(("first", SyntheticRun()), ("second", other))
        self.assertEqual(page.table("On text that no other stage reads, in windows of 256 tokens")[0],
                         ["Model", "After", "first", "second"])

    def test_alignment_in_waves(self):
        """Every wave of layers has a line; of distilled variants the selected one alone."""
        other = SyntheticRun()
        waves = [line | {"variant": f"wave {wave} of 2", "loss": line["loss"] / wave} for line in other.metrics
                 if line["stage"] == "align" for wave in (1, 2)]
        other.metrics = waves + [line for line in other.metrics if line["stage"] != "align"]
        label = self.page(("first", SyntheticRun()), ("second", other)).figure("Align: ")
        for words in ("a line for each of 3.", "first: from", "second wave 1 of 2: from", "second wave 2 of 2: from"):
            self.assertIn(words, label)

    def test_equal_specs(self):
        page = self.page(("first", SyntheticRun()), ("second", SyntheticRun()))
        self.assertTrue(any("the specs are the same" in words for words in page.words))

    def test_names_tell_runs_apart(self):
        page = self.page(("x/run", SyntheticRun()), ("y/run", SyntheticRun()))
        self.assertIn(["Stage", "x/run", "y/run"], page.tables["Time, tokens and FLOPs of each stage."])
        done = run_report(self.out, self.root / "x/run", self.root / "x/../x/run")
        self.assertEqual(done.returncode, 2)
        self.assertIn("a run is named twice", done.stderr)

    def test_other_numbers_of_layers(self):
        other = SyntheticRun()
        other.resolved["space"]["layers"] = other.resolved["space"]["layers"][:3]
        other.resolved["space"]["budgets"] = []
        other.summary["choices"] = {"selected": ["full", LINEAR, "full"]}
        other.summary["selection"]["scores"] = [0.5, 0.25, 0.125]
        other.metrics = []
        page = self.page(("first", SyntheticRun()), ("second", other))
        self.assertIn(["second: gates+refine", "0 2"], page.table("Layers with softmax attention."))
        self.assertEqual(page.table("What the selector gave")[6], ["5", "0.1250", "-"])


if __name__ == "__main__":
    unittest.main()
