# SPDX-License-Identifier: Apache-2.0
"""The figures of an audit's page, as SVG elements whose colours are the page's, light or dark."""

import math

import numpy as np
from cells import EXHAUSTIVE, Cell
from drawing import ACCENT, FULL_OPACITY, INK, MUTED, shorten, spread, styled, to_svg
from estimates import Agreement, Row, Summary
from formats import counted
from html_builder import Html
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import SymmetricalLogLocator


@styled
def cost_figure(name: str, summary: list[Summary], reference: str) -> Html:
    """Mean regret (mean objective where there is none) against tokens spent, a marker a selector. Means over other cells
    than the others' are not for ranking: their markers are hollow."""
    is_ranked = any(line.ranked for line in summary)
    lines = [line for line in summary if line.tokens is not None and (line.ranked or not is_ranked)]
    measure = "mean regret" if is_ranked else "mean KL"
    values = [line.regret if is_ranked else line.objective for line in lines]
    bounds = [line.regret_interval if is_ranked else line.objective_interval for line in lines]
    cells = [line.ranked if is_ranked else line.cells for line in lines]
    in_all = [count == max(cells) for count in cells]
    spent = [line.tokens for line in lines if line.tokens > 0]
    first = math.floor(math.log10(min(spent))) if spent else 3
    last = max(math.ceil(math.log10(max(spent))), first + 1) if spent else 4
    # Side by side in a lane of their own, so that their bars can be told apart.
    zero = first - 0.7
    free = sorted((i for i, line in enumerate(lines) if line.tokens == 0), key=lambda i: values[i])
    beside = {i: zero + 0.6 * ((rank + 0.5) / len(free) - 0.5) for rank, i in enumerate(free)}
    places = [beside[i] if i in beside else math.log10(line.tokens) for i, line in enumerate(lines)]

    height = max(3.4, 0.21 * len(lines) + 0.9)
    figure = Figure(figsize=(6.6, height))
    axes = figure.add_axes((0.14, 0.6 / height, 0.52, 1 - 0.75 / height))
    axes.set_xlim(zero - 0.4, last + 0.15)
    axes.set_xticks([zero, *range(first, last + 1)], ["0", *(counted(10.0**power) for power in range(first, last + 1))])
    axes.set_xlabel("tokens that the selection took")
    axes.set_ylabel(f"{measure}, nats an answer token")
    largest = max((bound for pair in bounds for bound in pair), default=0)
    if largest > 0:
        # Linear from 0 to the decade of the least value or end of an interval, so that 0 and intervals that hold it can
        # be drawn.
        lows = [low for low, _ in bounds]
        least = min(value for value in (*values, *lows, largest) if value > 0)
        linear = 10.0 ** math.floor(math.log10(max(least, 1e-5 * largest)))
        ticks = (1, 2, 5) if largest < 1e3 * linear else (1,)
        axes.set_yscale("symlog", linthresh=linear, linscale=0.6)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=linear, subs=ticks))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        # All of the lowest interval is drawn. A KL is not below 0.
        bottom = -0.5 * linear if is_ranked else linear if min(lows) >= linear else 0.0
        axes.set_ylim(min(bottom, 1.3 * min(lows)), 1.3 * largest)
    for line, place, value, (low, high), is_whole in zip(lines, places, values, bounds, in_all, strict=True):
        colour = ACCENT if line.selector == reference else INK
        axes.plot([place, place], [low, high], color=colour, linewidth=1.2, alpha=0.7)
        axes.plot(
            [place],
            [value],
            color=colour,
            marker="D" if line.selector == reference else "o",
            markersize=6,
            markerfacecolor=colour if is_whole else "none",
        )
    axes.axvline(first - 0.3, color=MUTED, linewidth=0.6, linestyle=":")
    # Labels stand beside the axes, each joined to its marker.
    figure.draw_without_rendering()
    to_axes = axes.transData + axes.transAxes.inverted()
    points = sorted(
        (
            (*to_axes.transform((place, value)), line.selector)
            for line, place, value in zip(lines, places, values, strict=True)
        ),
        key=lambda point: point[1],
    )
    heights = spread([y for _, y, _ in points], 0.21 / (height - 0.75), 0.0, 1.0)
    for (x, y, selector), label in zip(points, heights, strict=True):
        colour = ACCENT if selector == reference else INK
        axes.plot(
            [x, 1.02],
            [y, label],
            transform=axes.transAxes,
            color=MUTED,
            linewidth=0.5,
            alpha=0.6,
            clip_on=False,
            zorder=1,
        )
        axes.text(1.03, label, shorten(selector), transform=axes.transAxes, va="center", color=colour)
    # The best of all choices has none by definition.
    ranked = [
        (value, line.selector)
        for line, value, is_whole in zip(lines, values, in_all, strict=True)
        if is_whole and line.selector != EXHAUSTIVE
    ]
    best = min(ranked, key=lambda pair: pair[0])[1] if ranked else "none"
    hollow = "" if all(in_all) else " Markers of selectors that stand only in some of the cells are hollow."
    return to_svg(
        figure,
        name,
        f"Scatter plot of {measure} against the tokens that selections took, one marker for each of "
        f"{len(lines)} selectors. The least {measure} is that of {best}.{hollow} The figures are in the table above.",
    )


@styled
def landscape_figure(name: str, cells: list[Cell], rows: list[Row], selectors: list[str], reference: str) -> Html:
    """All choices of the complete cells of one base and budget, sorted by objective, a line a seed; below, in a lane a
    selector, the ranks of what it chose."""
    lanes = [
        selector for selector in selectors if selector != EXHAUSTIVE and any(row.selector == selector for row in rows)
    ]
    above, below = 2.3, 0.2 * max(1, len(lanes)) + 0.15
    height = above + below + 0.75
    figure = Figure(figsize=(4.7, height))
    top = figure.add_axes((0.39, 1 - (above + 0.1) / height, 0.58, above / height))
    bottom = figure.add_axes((0.39, 0.55 / height, 0.58, below / height), sharex=top)
    most = max(len(cell.measures.choices) for cell in cells)
    is_positive = all(cell.measures.objectives.min() > 0 for cell in cells)
    for cell in cells:
        values = np.sort(cell.measures.objectives)
        top.plot(np.arange(1, len(values) + 1), values, color=MUTED, linewidth=1.2)
    for row in rows:
        if row.selector in lanes:
            is_reference = row.selector == reference
            colour, size, alpha = (ACCENT, 7, 1) if is_reference else (INK, 4, 0.5)
            marker = "D" if is_reference else "o"
            top.plot(
                [row.rank], [row.objective], marker, color=colour, markersize=size, alpha=alpha, zorder=3 + is_reference
            )
            bottom.plot([row.rank], [lanes.index(row.selector)], marker, color=colour, markersize=size, alpha=alpha)
    top.set_xscale("log")
    top.set_xlim(0.85, most * 1.18 + 0.1)
    powers = [1, *(10**power for power in range(1, 6) if 10**power < 0.6 * most), most]
    top.set_xticks(sorted(set(powers)), [str(power) for power in sorted(set(powers))])
    top.set_xticks([], minor=True)
    top.tick_params(labelbottom=False)
    if is_positive:
        top.set_yscale("log")
        top.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        top.yaxis.set_minor_formatter(lambda value, _: "")
        low, high = top.get_ylim()
        if math.log10(high / low) < 1.5:
            top.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    top.set_ylabel("KL, nats")
    bottom.set_ylim(len(lanes) - 0.4, -0.6)
    bottom.set_yticks(range(len(lanes)), [shorten(lane) for lane in lanes])
    for label, lane in zip(bottom.get_yticklabels(), lanes, strict=True):
        label.set_color(ACCENT if lane == reference else INK)
    bottom.set_xlabel(f"rank among all choices (1 = best of {most})")
    chosen = [row.rank for row in rows if row.selector == reference]
    return to_svg(
        figure,
        name,
        f"All {most} choices of {cells[0].base} with {cells[0].budget} kept layers sorted by KL, a line for "
        f"each of {len(cells)} seeds, and the ranks of what {len(lanes)} selectors chose. "
        f"{reference}: rank {', '.join(map(str, chosen)) if chosen else 'none'}.",
    )


@styled
def agreement_figure(name: str, agreement: Agreement) -> Html:
    """The heat map of mean Jaccard indices."""
    names, size = agreement.selectors, len(agreement.selectors)
    side = 0.36 * size
    figure = Figure(figsize=(side + 2.7, side + 1.9))
    width, height = figure.get_size_inches()
    axes = figure.add_axes((1.95 / width, 0.1 / height, side / width, side / height))
    axes.set_xlim(0, size)
    axes.set_ylim(size, 0)
    axes.grid(False)
    for i, line in enumerate(agreement.jaccard):
        for j, value in enumerate(line):
            if value is None:
                continue
            axes.add_patch(
                Rectangle((j, i), 1, 1, facecolor=ACCENT, alpha=FULL_OPACITY * value, linewidth=0, clip_on=False)
            )
            axes.text(
                j + 0.5,
                i + 0.5,
                f"{value:.2f}".removeprefix("0") if value < 0.995 else "1",
                ha="center",
                va="center",
                fontsize=8,
            )
    ticks = np.arange(size) + 0.5
    axes.set_yticks(ticks, [shorten(selector) for selector in names])
    axes.set_xticks(ticks, [shorten(selector) for selector in names], rotation=60, ha="left", rotation_mode="anchor")
    axes.tick_params(length=0, bottom=False, labelbottom=False, top=True, labeltop=True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    others = [
        (value, names[i], names[j])
        for i, line in enumerate(agreement.jaccard)
        for j, value in enumerate(line)
        if j > i and value is not None
    ]
    extremes = (
        ""
        if not others
        else (
            f" Most alike are {max(others)[1]} and {max(others)[2]} ({max(others)[0]:.2f}), least "
            f"{min(others)[1]} and {min(others)[2]} ({min(others)[0]:.2f})."
        )
    )
    return to_svg(
        figure, name, f"Heat map of the mean Jaccard index of the layers that {size} selectors keep.{extremes}"
    )
