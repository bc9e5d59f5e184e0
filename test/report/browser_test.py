# SPDX-License-Identifier: Apache-2.0
"""The report's page in a browser, at the widths of a desktop and a phone, light and dark: no error on the console, no
request, no part wider than the page, no empty figure, and all of it in reach of the keyboard."""

import pathlib
import sys
import tempfile

import browser
from synthetic_run import SyntheticRun, run_report

# Of each figure: its size, and the boxes of what it draws and writes, from its left upper corner.
FIGURES = """[...document.querySelectorAll("svg")].map(svg => {
  const place = svg.getBoundingClientRect();
  const boxes = [...svg.querySelectorAll("path, use, text")].map(part => part.getBoundingClientRect());
  return {
    label: svg.getAttribute("aria-label"), width: place.width, height: place.height,
    right: document.documentElement.clientWidth - place.right,
    drawn: boxes.filter(box => box.width > 0 || box.height > 0).length,
    texts: [...svg.querySelectorAll("text")].map(text => parseFloat(getComputedStyle(text).fontSize) * place.width /
      svg.viewBox.baseVal.width),
    outside: [...svg.querySelectorAll("text")].filter(text => {
      const box = text.getBoundingClientRect();
      return box.left < place.left - 1 || box.right > place.right + 1 || box.top < place.top - 1 ||
        box.bottom > place.bottom + 1;
    }).map(text => text.textContent),
  };
})"""
COLOURS = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth, innerWidth]"
FOCUSED = """(() => {
  const found = document.activeElement, style = getComputedStyle(found), place = found.getBoundingClientRect();
  return [found.tagName, found.className, found.textContent.slice(0, 30), style.outlineStyle, parseFloat(style.outlineWidth),
    place.left >= 0 && place.width > 0];
})()"""
REACHABLE = """[...document.querySelectorAll("a, summary, .scroll")].filter(part => part.checkVisibility()).map(
  part => [part.tagName, part.className, part.textContent.slice(0, 30)])"""
# Boxes that are narrower than what they hold, and whether the keyboard gets there.
SCROLLED = """[...document.querySelectorAll("*")].filter(part => part.scrollWidth > part.clientWidth + 1 &&
  getComputedStyle(part).overflowX === "auto").map(part => part.tabIndex)"""


def check(tab, page, width, scheme, figures):
    where = f"{page.name} at {width}, {scheme}"
    url = tab.open(page, width, scheme)
    tab.evaluate('document.querySelectorAll("details").forEach(part => part.open = true)')
    assert not (problems := tab.problems(url)), (where, problems)
    whole, shown, window = tab.evaluate(WIDTHS)
    assert window == width and whole <= shown, f"{where}: {whole} pixels wide, of which {shown} are shown"
    background, ink = (list(map(int, colour[4:-1].split(", "))) for colour in tab.evaluate(COLOURS))
    assert (sum(background) > sum(ink)) == (scheme == "light"), (where, background, ink)
    found = tab.evaluate(FIGURES)
    assert len(found) == figures, (where, [figure["label"] for figure in found])
    for figure in found:
        assert figure["width"] > 200 and figure["height"] > 60 and figure["right"] >= 0, (where, figure)
        assert figure["drawn"] >= 8 and len(figure["texts"]) >= 3, f"{where}: an empty figure: {figure['label']}"
        assert min(figure["texts"]) >= 7, f"{where}: letters of {min(figure['texts'])} pixels: {figure['label']}"
        assert not figure["outside"], f"{where}: cut off: {figure['outside']}: {figure['label']}"
    scrolled = tab.evaluate(SCROLLED)
    assert all(index == 0 for index in scrolled), where
    assert scrolled or width > 1000, f"{where}: no table is wider than a phone: the test did not test"


def check_keyboard(tab, page):
    """Tab reaches the skip link first, then every link, box and detail, each of which shows that it has the focus."""
    tab.open(page, 390, "light")
    # What is inside closed details cannot be reached. A press more than this would leave the page, and the browser then
    # takes the focus from it at a time of its own.
    expected = tab.evaluate(REACHABLE)
    reached = []
    for _ in expected:
        tab.press("Tab")
        reached.append(tab.evaluate(FOCUSED))
    assert reached[0][2] == "Skip to the content", reached[0]
    assert [found[:3] for found in reached] == expected, (reached, expected)
    for tag, name, words, style, width, seen in reached:
        assert style != "none" and width >= 1 and seen, (tag, name, words, style, width, seen)
    kinds = {(tag, name) for tag, name, *_ in reached}
    assert {("A", ""), ("A", "skip"), ("SUMMARY", ""), ("DIV", "scroll")} <= kinds, kinds


def check_the_check(tab, folder):
    """What is looked for is found in a page that is wrong."""
    page = folder / "wrong.html"
    page.write_text('<!DOCTYPE html><body style="background: #fff; color: #000"><div style="width: 2000px">wide</div>'
                    '<svg aria-label="empty"></svg><script>console.error("wrong"); missing()</script>')
    url = tab.open(page, 390, "light")
    problems = tab.problems(url)
    assert len(problems) == 2 and "console: error" in problems, problems
    whole, shown, _ = tab.evaluate(WIDTHS)
    assert whole > shown, (whole, shown)
    assert tab.evaluate(FIGURES)[0]["drawn"] == 0


def main():
    program = browser.find()
    if not program:
        print("skipped: no Chromium is here")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        runs = [SyntheticRun(depths=(0.0, 0.5), lengths=(64, 128, 256, 512)).write(folder / "a-run-with-a-long-name-of-its-own"),
                SyntheticRun(kept=(2, 5), lr=0.1).write(folder / "other")]
        # Names that browsers would take for something else.
        hostile = SyntheticRun(name="<script>alert(1)</script>")
        hostile.metrics.append({"stage": "<img src=x onerror=alert(1)>", "step": 1, "loss": 1.0})
        pages = {"one": (runs[:1], 9), "two": (runs, 10), "hostile": ([hostile.write(folder / "hostile")], 10)}
        tab = browser.Browser(program)
        try:
            check_the_check(tab, folder)
            for name, (folders, figures) in pages.items():
                page = folder / f"{name}.html"
                done = run_report(page, *folders)
                assert done.returncode == 0, done.stderr
                for width in (1280, 390):
                    for scheme in ("light", "dark"):
                        check(tab, page, width, scheme, figures)
                        print(f"{name}: {width} pixels, {scheme}: {figures} figures")
            check_keyboard(tab, folder / "one.html")
        finally:
            tab.close()


main()
