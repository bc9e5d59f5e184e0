# SPDX-License-Identifier: Apache-2.0
"""How figures are drawn: matplotlib to SVG elements whose colours are the page's, light or dark."""

import functools
import io
import warnings
from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib
from html_builder import Html, element
from matplotlib.figure import Figure

# The page's colours.
PALETTE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --muted: #5d6772; --grid: #d9dee3; --accent: #1a62c4;
        --blue: #1a62c4; --orange: #b8500b; --green: #1d7d4d; --purple: #9240a8; --red: #c0343c; --ochre: #806600; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171b; --ink: #e6e9ec; --muted: #9aa5b0; --grid: #353c44; --accent: #6fabff;
          --blue: #6fabff; --orange: #ff9f5c; --green: #55cf93; --purple: #d993ec; --red: #ff8a8f; --ochre: #dcc04a; }
}
"""
# What figures are drawn in, and what the page's style says instead.
INK, MUTED, GRID, ACCENT = "#010101", "#020202", "#030303", "#040404"
# Of several lines or kinds; what is drawn with them is told apart without colours, too.
SERIES = ("#050505", "#060606", "#070707", "#080808", "#090909", "#0a0a0a")
COLOURS = {INK: "currentColor", MUTED: "var(--muted)", GRID: "var(--grid)", ACCENT: "var(--accent)"} | {
    colour: f"var(--{name})"
    for colour, name in zip(SERIES, ("blue", "orange", "green", "purple", "red", "ochre"), strict=True)
}
STYLE = {
    # Names are shown as they are, whatever they hold.
    "text.parse_math": False,
    # Text stays text, and two runs write the same identifiers.
    "svg.fonttype": "none",
    "svg.hashsalt": "morph",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
}
# Opacity of a full cell of the heat map: the letters on it keep their contrast on light and dark pages.
FULL_OPACITY = 0.5


def styled(draw: Callable[..., Html]) -> Callable[..., Html]:
    """Draws under the figures' style, whatever matplotlib's settings of this machine are."""

    @functools.wraps(draw)
    def wrapped(*arguments, **options):
        with matplotlib.rc_context(), warnings.catch_warnings():
            # Text stays text: whether this machine's font has a letter does not matter.
            warnings.filterwarnings("ignore", "Glyph .* missing")
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            return draw(*arguments, **options)

    return wrapped


def to_svg(figure: Figure, name: str, alt: str) -> Html:
    """The figure as an element of a page: no address in it, identifiers that begin with `name`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
        parent.tag = parent.tag.rpartition("}")[2]
        parent.attrib = {
            key.rpartition("}")[2]: on_page(key.rpartition("}")[2], value, name) for key, value in parent.attrib.items()
        }
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    content = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    # 96 pixels an inch of 72 points; narrower pages shrink it.
    return element(
        "svg",
        element("title", alt),
        Html(content),
        viewBox=root.attrib["viewBox"],
        role="img",
        aria_label=alt,
        style=f"width: {width / 72:.2f}in; aspect-ratio: {width / height:.3f}",
    )


def as_file(figure: Html) -> str:
    """The element of a figure as a file of its own, in the page's colours."""
    style = PALETTE + "svg { color: var(--ink); background: var(--paper); }\n"
    begin, rest = figure.split(">", 1)
    return f'{begin} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}\n'


def on_page(key: str, value: str, name: str) -> str:
    """The value of an attribute as it stands on the page, where other figures are and colours are the page's."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return value.replace("#", f"#{name}-", 1)
    for colour, variable in COLOURS.items():
        value = value.replace(colour, variable)
    return value.replace("url(#", f"url(#{name}-")


def spread(places: list[float], gap: float, low: float, high: float) -> list[float]:
    """Sorted places moved until they are `gap` apart, between `low` and `high` where they fit."""
    result: list[float] = []
    for place in places:
        result.append(max(place, result[-1] + gap if result else low))
    limit = high
    for i in reversed(range(len(result))):
        result[i] = min(result[i], limit)
        limit = result[i] - gap
    return result


def shorten(name: str, most: int = 24) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
