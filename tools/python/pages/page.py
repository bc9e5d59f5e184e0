# SPDX-License-Identifier: Apache-2.0
"""A page: one file of HTML without scripts and without anything from elsewhere, light or dark as the reader likes."""

from drawing import PALETTE
from html_builder import Html, element, join, scrolling

STYLE = PALETTE + """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--paper); color: var(--ink);
       font: 1rem/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 .5rem; }
h1 { margin-top: .5rem; overflow-wrap: anywhere; }
p, li, dd { max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none; }
.scroll { overflow-x: auto; margin: 1rem 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; min-width: min(100%, 28rem); font-variant-numeric: tabular-nums;
        font-size: .875rem; }
caption { text-align: left; color: var(--muted); padding-bottom: .25rem; }
th, td { padding: .25rem .625rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid); }
thead th { vertical-align: bottom; border-bottom-color: var(--muted); }
th:first-child, .text { text-align: left; }
.marked { color: var(--accent); font-weight: 600; }
figure { margin: 0; }
figcaption { color: var(--muted); font-size: .875rem; max-width: 46rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: .5rem; padding: .25rem .5rem; background: var(--paper); }
figure > svg { max-width: 100%; }
svg { display: block; height: auto; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
summary { cursor: pointer; margin: 1rem 0 0; }
dt { font-weight: 600; }
dd { margin: 0 0 .5rem; }
"""


def marked(text: object, is_marked: bool) -> Html:
    return element("span", text, class_="marked") if is_marked else join(text)


def figure(content: Html, caption: str, scrolls: str = "") -> Html:
    """With the name `scrolls`, in a box of its own that scrolls where the page is narrower."""
    return element("figure", scrolling(scrolls, content) if scrolls else content, element("figcaption", caption))


def section(name: str, title: str, *parts: object) -> Html:
    """What a link of the page's navigation leads to."""
    return element("section", element("h2", title, id=name), *parts, aria_labelledby=name)


def navigation(links: list[tuple[str, str]]) -> Html:
    """Links to the sections of these names, with their titles."""
    return element(
        "nav",
        element("ul", *(element("li", element("a", title, href=f"#{name}")) for name, title in links)),
        aria_label="Sections",
    )


def make_page(title: str, header: Html, main: list[Html], style: str = "") -> str:
    """The whole page; `style` has rules beside those of all pages."""
    head = join(
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        element("style", Html(STYLE + style)),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        header,
        element("main", *main, id="content", tabindex="-1"),
    )
    return "<!DOCTYPE html>\n" + element("html", element("head", head), body, lang="en") + "\n"
