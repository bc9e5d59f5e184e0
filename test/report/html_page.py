# SPDX-License-Identifier: Apache-2.0
"""What the tests of pages read them with."""

import html.parser

# Names that a page may be given; none may become part of it.
HOSTILE = ["<script>alert(1)</script>", '"onmouseover="x', "$x^{$", "a & b", 'id="x" url(#y) #010101', "ü" * 60]
VOID = {"meta"}


class HtmlPage(html.parser.HTMLParser):
    """Elements with attributes, words, and whether all that opens is closed."""

    def __init__(self, text):
        super().__init__()
        self.text, self.elements, self.open, self.words, self.problems = text, [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, text):
        self.words.append(text)
