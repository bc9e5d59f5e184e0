# SPDX-License-Identifier: Apache-2.0
"""The page that tools/python/audit writes: whole, by itself, and safe whatever names there are."""

import re
import tempfile
import unittest
from xml.etree import ElementTree

import numpy as np
from synthetic import Synthetic, subsets

import cells
import drawing
import estimates
import figures
import formats
import html_builder
from html_page import HOSTILE, HtmlPage
import page
import report


def make_page(audit):
    return report.make_report(audit, estimates.evaluate(audit))


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        random = np.random.default_rng(0)
        cls.selectors = ["gates+refine", "uniform:0", *HOSTILE]
        synthetic = Synthetic(cls.selectors, name="<b>audit</b>")
        for base in ("tiny", "<i>small</i>"):
            for seed in range(2):
                for budget in (2, 3):
                    every = subsets(5, budget)
                    synthetic.cell(
                        {kept: random.gamma(2, 0.1, 6).tolist() for kept in every},
                        {selector: every[random.integers(len(every))] for selector in cls.selectors},
                        base=base,
                        seed=seed,
                        budget=budget,
                        layers=5,
                        tokens=int(random.integers(2)) * 12345,
                    )
        synthetic.cell(
            {(0, 1): [0.5] * 3, (1, 2): [0.25] * 3},
            {"gates+refine": (0, 1), "uniform:0": (1, 2)},
            after="distill",
            complete=False,
            layers=5,
        )
        with tempfile.TemporaryDirectory() as folder:
            cls.audit = cells.read_audit(synthetic.write(folder))
        cls.text = make_page(cls.audit)
        cls.page = HtmlPage(cls.text)

    def test_it_parses(self):
        self.assertEqual((self.page.open, self.page.problems), ([], []))
        self.assertEqual([tag for tag, _ in self.page.elements if tag == "h1"], ["h1"])
        self.assertEqual(dict(self.page.elements)["html"], {"lang": "en"})

    def test_nothing_comes_from_elsewhere(self):
        self.assertFalse(
            {"script", "link", "iframe", "img", "image", "object", "embed", "base", "form"}
            & {tag for tag, _ in self.page.elements}
        )
        for tag, attributes in self.page.elements:
            for name, value in attributes.items():
                self.assertFalse(name.startswith("on") or name in ("src", "srcset", "xmlns"), (tag, attributes))
                if name.endswith("href"):
                    self.assertTrue(value.startswith("#"), value)
        self.assertNotRegex(self.text, r"https?:|@import|url\((?!#)")

    def test_every_reference_has_its_target(self):
        names = [attributes["id"] for _, attributes in self.page.elements if "id" in attributes]
        self.assertEqual(len(names), len(set(names)))
        targets = [
            attributes[name][1:] for _, attributes in self.page.elements for name in ("href",) if name in attributes
        ]
        targets += [
            attributes["aria-labelledby"] for _, attributes in self.page.elements if "aria-labelledby" in attributes
        ]
        targets += re.findall(
            r"url\(#([^)]*)\)",
            " ".join(value for _, attributes in self.page.elements for value in attributes.values() if value),
        )
        self.assertGreater(len(targets), 20)
        self.assertEqual(set(targets) - set(names), set())

    def test_every_figure_says_what_it_shows(self):
        drawings = [attributes for tag, attributes in self.page.elements if tag == "svg"]
        # Two of costs, four landscapes, one of agreement.
        self.assertEqual(len(drawings), 7)
        for attributes in drawings:
            self.assertEqual(attributes["role"], "img")
            self.assertGreater(len(attributes["aria-label"]), 40)
        self.assertEqual(len([tag for tag, _ in self.page.elements if tag == "figcaption"]), 7)

    def test_tables_scroll_and_the_keyboard_reaches_them(self):
        boxes = [attributes for _, attributes in self.page.elements if attributes.get("class") == "scroll"]
        tables = [tag for tag, _ in self.page.elements if tag == "table"]
        self.assertEqual(len([tag for tag, _ in self.page.elements if tag == "caption"]), len(tables))
        self.assertGreaterEqual(len(boxes), len(tables))
        for attributes in boxes:
            self.assertEqual(
                (attributes["tabindex"], attributes["role"], bool(attributes["aria-label"])), ("0", "region", True)
            )

    def test_names_are_shown_as_they_are(self):
        for name in (*HOSTILE[:-1], "<b>audit</b>", "<i>small</i>"):
            self.assertTrue(any(name in words for words in self.page.words), name)
        self.assertNotIn("<script", self.text)
        self.assertNotIn("<b>", self.text)
        # In figures, too.
        drawn = " ".join(re.findall(r"<text[^>]*>(.*?)</text>", self.text, re.S))
        for name in ("&lt;script&gt;alert(1)", "$x^{$", "a &amp; b", "ü" * 23 + "…"):
            self.assertIn(name, drawn)

    def test_colours_are_the_page_s(self):
        in_figures = " ".join(re.findall(r"<svg.*?</svg>", self.text, re.S))
        styles = " ".join(re.findall(r'style="([^"]*)"', in_figures))
        self.assertNotRegex(styles, r"#[0-9a-f]{6}")
        self.assertIn("var(--accent)", styles)
        self.assertIn("prefers-color-scheme: dark", self.text)
        for variable in set(re.findall(r"var\((--\w+)\)", self.text)):
            self.assertEqual(self.text.count(f"{variable}: #"), 2, variable)

    def test_contrast(self):
        """WCAG 2: 4.5 for letters, in both schemes, on the page and on the darkest cell of the heat map."""

        def light(colour):
            values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] if isinstance(colour, str) else colour
            linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

        def contrast(first, second):
            lights = sorted((light(first), light(second)))
            return (lights[1] + 0.05) / (lights[0] + 0.05)

        schemes = re.findall(
            r"--paper: (\S+); --ink: (\S+); --muted: (\S+); --grid: \S+; --accent: (\S+);",
            page.STYLE.replace("#fff;", "#ffffff;"),
        )
        self.assertEqual(len(schemes), 2)
        for paper, ink, muted, accent in schemes:
            for colour in (ink, muted, accent):
                self.assertGreaterEqual(contrast(colour, paper), 4.5, (colour, paper))
            share = drawing.FULL_OPACITY
            cell = [
                share * int(accent[i : i + 2], 16) / 255 + (1 - share) * int(paper[i : i + 2], 16) / 255
                for i in (1, 3, 5)
            ]
            self.assertGreaterEqual(contrast(ink, cell), 4.5)

    def test_a_figure_as_a_file(self):
        summary = list(estimates.evaluate(self.audit).summary)
        drawn = drawing.as_file(figures.cost_figure("regret", summary, "gates+refine"))
        root = ElementTree.fromstring(drawn)
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        self.assertIn("<script>alert(1)</scrip…", [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")])
        for variable in set(re.findall(r"var\((--\w+)\)", drawn)):
            self.assertEqual(drawn.count(f"{variable}: #"), 2, variable)

    def drawn(self, synthetic):
        """The figure of costs, as an element with its y axis' limits beside."""
        with tempfile.TemporaryDirectory() as folder:
            audit = cells.read_audit(synthetic.write(folder))
        summary = list(estimates.evaluate(audit).summary)
        limits = []

        def keep(figure, name, alt):
            limits.extend((figure.axes[0].get_ylim(), figure.axes[0].lines))
            return alt

        before, figures.to_svg = figures.to_svg, keep
        try:
            alt = figures.cost_figure("regret", summary, audit.reference)
        finally:
            figures.to_svg = before
        return alt, *limits, summary

    def test_means_over_some_of_the_cells_are_hollow_and_not_the_best(self):
        flat = {kept: [float(i)] * 3 for i, kept in enumerate(subsets(4, 2), 1)}
        synthetic = Synthetic(["gates", "drop", "add"])
        synthetic.cell(flat, {"gates": (0, 2), "drop": (0, 1), "add": (0, 3)})
        synthetic.cell(flat, {"gates": (0, 2), "add": (0, 3)}, seed=1)
        alt, _, lines, _ = self.drawn(synthetic)
        # drop has the least mean, of the one cell in which it stands.
        self.assertIn("The least mean regret is that of gates.", alt)
        self.assertIn("hollow", alt)
        faces = [line.get_markerfacecolor() for line in lines if line.get_marker() in ("o", "D")]
        # gates, drop, add, exhaustive.
        self.assertEqual([face == "none" for face in faces], [False, True, False, False])

    def test_lower_ends_of_intervals_are_drawn(self):
        random = np.random.default_rng(1)
        # KLs around .15 whose interval ends near .05: in the decade below.
        kl = {kept: random.gamma(0.05, 3, 24).tolist() for kept in subsets(4, 2)}
        for complete in (True, False):
            _, (low, high), _, summary = self.drawn(
                Synthetic(["gates", "drop"]).cell(kl, {"gates": (0, 1), "drop": (1, 2)}, complete=complete)
            )
            bounds = [
                bound for line in summary for bound in (line.regret_interval if complete else line.objective_interval)
            ]
            values = [line.regret if complete else line.objective for line in summary]
            self.assertLess(min(bounds), 10 ** np.floor(np.log10(min(value for value in values if value > 0))))
            self.assertTrue(low <= min(bounds) and max(bounds) <= high, (low, high, bounds))

    def test_an_audit_of_one_choice(self):
        synthetic = Synthetic(["gates"]).cell({(): [0.0]}, {"gates": ()}, budget=0, tokens=0)
        with tempfile.TemporaryDirectory() as folder:
            page = HtmlPage(make_page(cells.read_audit(synthetic.write(folder))))
        self.assertEqual((page.open, page.problems), ([], []))


class Parts(unittest.TestCase):
    def test_labels_are_spread(self):
        np.testing.assert_allclose(drawing.spread([0.5, 0.5, 0.9], 0.2, 0, 1), [0.5, 0.7, 0.9])
        np.testing.assert_allclose(drawing.spread([1, 1, 1], 0.25, 0, 1), [0.5, 0.75, 1])
        self.assertEqual(drawing.spread([], 0.2, 0, 1), [])

    def test_numbers(self):
        self.assertEqual(
            [formats.number(value) for value in (None, 0, -0.0, 0.12345, -2, 0.0005, 0.00049, -3e-7)],
            ["-", "0.0000", "0.0000", "0.1235", "-2.0000", "0.0005", "4.9e-04", "-3.0e-07"],
        )
        self.assertEqual(
            [formats.counted(value) for value in (None, 0, 999, 999.9, 12345, 999999, 1.5e9, 2e12, 3e15)],
            ["-", "0", "999", "1 k", "12.3 k", "1 M", "1.5 G", "2 T", "3.0e+15"],
        )
        self.assertEqual(
            [formats.duration(value) for value in (None, 0, 90, 600, 7200)], ["-", "0 s", "90 s", "10 min", "2 h"]
        )

    def test_what_is_no_html_is_escaped(self):
        self.assertEqual(
            html_builder.element("td", "<&>", html_builder.element("b", 1), title='"', aria_label="<"),
            '<td title="&quot;" aria-label="&lt;">&lt;&amp;&gt;<b>1</b></td>',
        )


if __name__ == "__main__":
    unittest.main()
