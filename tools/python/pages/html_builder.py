# SPDX-License-Identifier: Apache-2.0
"""HTML as nested calls, in which whatever is not HTML already is escaped."""

import html


class Html(str):
    """Text that is HTML."""


def escape(value: object) -> Html:
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def join(*children: object) -> Html:
    return Html("".join(map(escape, children)))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """<tag name="value">children</tag>; an underscore at a name's end is dropped (class_), others become hyphens."""
    text = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for name, value in attributes.items()
    )
    return Html(f"<{tag}{text}>{join(*children)}</{tag}>")


def table(caption: str, header: list[object], lines: list[list[object]], left: int = 1) -> Html:
    """A table whose first column names the line, in a box of its own that scrolls where the page is narrower. The first
    `left` columns are aligned left, the others right."""

    def side(place: int) -> dict[str, str]:
        return {"class_": "text"} if 0 < place < left else {}

    head = element("tr", *(element("th", name, scope="col", **side(place)) for place, name in enumerate(header)))
    body = [
        element(
            "tr",
            element("th", line[0], scope="row"),
            *(element("td", value, **side(place)) for place, value in enumerate(line[1:], 1)),
        )
        for line in lines
    ]
    return scrolling(
        caption, element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    )


def scrolling(label: str, content: Html) -> Html:
    """A box that the keyboard reaches, so that arrows scroll it."""
    return element("div", content, class_="scroll", role="region", tabindex="0", aria_label=label)
