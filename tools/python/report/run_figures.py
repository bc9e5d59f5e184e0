# SPDX-License-Identifier: Apache-2.0
"""The figures of a report, narrow enough for a phone; each says in words what it shows."""

import math

import numpy as np
from drawing import ACCENT, FULL_OPACITY, INK, MUTED, SERIES, shorten, spread, styled, to_svg
from formats import counted, size
from html_builder import Html
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from runs import FULL, Cache, Curve, Run

WIDTH = 4.7  # inches
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))
HATCHES = ("", "////", "....", "xxxx", "----")
# More points of a curve, and of all in a figure, are not told apart.
MOST_POINTS, MOST_POINTS_OF_ALL = 400, 20_000
# Where larger values are drawn, such as a diverged loss.
LARGEST = 1e30


def thinned(curve: Curve, curves: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of not too many points, for one of so many curves; the first and the last are among them."""
    count, most = len(curve.steps), min(MOST_POINTS, max(10, MOST_POINTS_OF_ALL // curves))
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
    return np.array(curve.steps, float)[chosen], np.clip(np.array(curve.values, float)[chosen], -LARGEST, LARGEST)


def is_drawn(curve: Curve) -> bool:
    return any(math.isfinite(value) for value in curve.values)


def add_legend(figure: Figure, axes: Axes, count: int) -> None:
    """Above the axes."""
    if count > 1:
        figure.legend(
            *axes.get_legend_handles_labels(),
            loc="upper left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=2,
            frameon=False,
            fontsize=9,
            handlelength=2.6,
            borderaxespad=0.2,
        )


def plot(height: float, legends: int) -> tuple[Figure, Axes]:
    """Axes of `height` inches below a legend of so many names; one is none."""
    lines = math.ceil(legends / 2) if legends > 1 else 0
    whole = height + 0.6 + 0.22 * lines
    figure = Figure(figsize=(WIDTH, whole))
    return figure, figure.add_axes((0.185, 0.48 / whole, 0.79, height / whole))


def is_wide(values: np.ndarray) -> bool:
    """Whether a logarithmic axis shows more of them."""
    finite = values[np.isfinite(values)]
    return bool(len(finite) and finite.min() > 0 and finite.max() > 5 * finite.min())


def style_of(place: int) -> dict:
    """Of the line at this place: 24 are told apart."""
    # Colours and dashes meet again after twelve lines, from which on each colour has another dash.
    dash = place + place // math.lcm(len(SERIES), len(DASHES))
    return {"color": SERIES[place % len(SERIES)], "linestyle": DASHES[dash % len(DASHES)], "linewidth": 1.6}


def fill_of(place: int) -> dict:
    """Of the kind of layers at this place, beside full attention: 25 are told apart."""
    colours = SERIES[1:]
    hatch = place + place // len(colours)
    return {
        "facecolor": to_rgba(colours[place % len(colours)], FULL_OPACITY),
        "hatch": HATCHES[hatch % len(HATCHES)],
        "edgecolor": INK,
        "linewidth": 0,
    }


@styled
def curves_figure(name: str, title: str, measure: str, curves: list[tuple[str, Curve]], axis: str = "step") -> Html:
    """A line a curve, over steps, or what else its axis is called. At least one has a finite value."""
    curves = [(label, curve) for label, curve in curves if is_drawn(curve)]
    figure, axes = plot(2.3, len(curves))
    points = [thinned(curve, len(curves)) for _, curve in curves]
    for place, ((label, _), (steps, values)) in enumerate(zip(curves, points, strict=True)):
        marker = {"marker": "o", "markersize": 3} if len(steps) < 12 else {}
        axes.plot(steps, values, label=shorten(label, 30), **style_of(place), **marker)
    if is_wide(np.concatenate([values for _, values in points])):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        low, high = axes.get_ylim()
        is_short = math.log10(high / low) < 1.5
        axes.yaxis.set_minor_formatter(
            lambda value, _: f"{value:g}" if is_short and f"{value:e}"[0] in "25" else ""
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel(axis)
    axes.set_ylabel(measure)
    add_legend(figure, axes, len(curves))
    ends = "; ".join(f"{label}: from {start(curve):.4g} to {end(curve):.4g}" for label, curve in curves)
    return to_svg(figure, name, f"{title} over {axis}s, a line for each of {len(curves)}. {ends}.")


def start(curve: Curve) -> float:
    return next(value for value in curve.values if math.isfinite(value))


def end(curve: Curve) -> float:
    return next(value for value in reversed(curve.values) if math.isfinite(value))


@styled
def gates_figure(name: str, run: Run) -> Html:
    """A line a layer: how far the gate of its full attention is open. Those that are kept stand out."""
    kept = [layer for layer, candidate in enumerate(run.choices.get("selected", ())) if candidate == FULL]
    figure = Figure(figsize=(WIDTH, 3.0))
    axes = figure.add_axes((0.125, 0.16, 0.78, 0.75))
    for layer, curve in run.gates.items():
        steps, values = thinned(curve, len(run.gates))
        is_kept = layer in kept
        marker = {"marker": "o", "markersize": 3} if len(steps) < 2 else {}
        axes.plot(
            steps,
            values,
            color=ACCENT if is_kept else MUTED,
            linewidth=2.0 if is_kept else 1.0,
            alpha=1 if is_kept else 0.65,
            zorder=3 if is_kept else 2,
            **marker,
        )
    axes.set_ylim(-0.03, 1.03)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel("step")
    axes.set_ylabel("gate of full attention")
    # Those that are kept, and beside them what is open at the end, as far as there is room.
    ends = {layer: end(curve) for layer, curve in run.gates.items()}
    others = [layer for layer in ends if layer not in kept and ends[layer] > 0.03]
    labelled = kept + sorted(others, key=lambda layer: -ends[layer])
    labelled = sorted((layer for layer in labelled[:16] if layer in ends), key=lambda layer: ends[layer])
    places = [(min(max(ends[layer], 0), 1) + 0.03) / 1.06 for layer in labelled]
    for layer, place in zip(labelled, spread(places, 0.06, 0.0, 1.0), strict=True):
        axes.text(
            1.02,
            place,
            str(layer),
            transform=axes.transAxes,
            va="center",
            fontsize=9,
            color=ACCENT if layer in kept else MUTED,
            fontweight="bold" if layer in kept else "normal",
        )
    axes.text(0.985, 1.03, "layer", transform=axes.transAxes, va="bottom", fontsize=8, color=MUTED)
    last = ", ".join(f"{layer}: {ends[layer]:.2f}" for layer in sorted(kept) if layer in ends)
    return to_svg(
        figure,
        name,
        f"Gates of full attention over the steps of the search, a line for each of {len(run.gates)} layers. "
        f"At the end those of the kept layers stand at {last or 'no layer'}.",
    )


@styled
def kept_figure(name: str, lines: list[tuple[str, tuple[str, ...]]]) -> Html:
    """A line a model, a field a layer: full attention where it stays, other kinds in colours and hatches of their own."""
    layers = max(len(choice) for _, choice in lines)
    kinds = list(dict.fromkeys(kind for _, choice in lines for kind in choice if kind != FULL))
    fills = {FULL: {"facecolor": ACCENT, "linewidth": 0}}
    fills |= {kind: fill_of(place) for place, kind in enumerate(kinds)}
    if len(kinds) == 1:
        fills[kinds[0]] = {"facecolor": to_rgba(MUTED, 0.18), "linewidth": 0}
    longest = max(len(shorten(label, 28)) for label, _ in lines)
    left = 0.2 + 0.085 * longest
    legend_lines = math.ceil(len(fills) / 2)
    above, below = 0.22 * legend_lines + 0.08, 0.5
    height = above + 0.26 * len(lines) + below
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((left / WIDTH, below / height, 1 - (left + 0.1) / WIDTH, 0.26 * len(lines) / height))
    axes.set_xlim(-0.5, layers - 0.5)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(False)
    gap = 0.08 if layers <= 40 else 0.0
    for row, (_, choice) in enumerate(lines):
        for layer, kind in enumerate(choice):
            axes.add_patch(Rectangle((layer - 0.5 + gap / 2, row - 0.42), 1 - gap, 0.84, **fills[kind]))
    axes.set_yticks(range(len(lines)), [shorten(label, 28) for label, _ in lines])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10 if layers <= 20 else 5, min_n_ticks=1))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("layer")
    handles = [Rectangle((0, 0), 1, 1, **fill) for fill in fills.values()]
    figure.legend(
        handles,
        ["full attention", *(shorten(kind, 30) for kind in kinds)],
        loc="upper left",
        ncols=2,
        frameon=False,
        fontsize=9,
        handlelength=1.2,
        borderaxespad=0.2,
    )
    kept = "; ".join(
        f"{label}: {' '.join(str(i) for i, kind in enumerate(choice) if kind == FULL) or 'none'}"
        for label, choice in lines
    )
    words = f"Which of {layers} layers keep full attention, a line for each of {len(lines)}. {kept}."
    return to_svg(figure, name, words)


@styled
def cache_figure(name: str, series: list[tuple[str, list[Cache]]], full: list[Cache]) -> Html:
    """Bytes of the cache of one sequence by context: of the base, and of hybrids."""
    figure, axes = plot(2.3, 1 + len(series))
    sizes = [min(c.full, LARGEST) for c in full]
    axes.plot([c.context for c in full], sizes, color=INK, linewidth=1.6, label="full attention")
    for place, (label, caches) in enumerate(series):
        sizes = [min(c.hybrid, LARGEST) for c in caches]
        axes.plot([c.context for c in caches], sizes, label=shorten(label, 30), **style_of(place))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    contexts = [c.context for c in full]
    axes.set_xticks(contexts[::2], [context_name(context) for context in contexts[::2]])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda value, _: size(value))
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.set_xlabel("context, tokens")
    add_legend(figure, axes, 1 + len(series))
    last = "; ".join(f"{label} {size(caches[-1].hybrid)}" for label, caches in series if caches)
    return to_svg(
        figure,
        name,
        f"Cache of one sequence by context, both axes logarithmic. At {full[-1].context} tokens: full attention "
        f"{size(full[-1].full)}; {last}.",
    )


def context_name(context: int) -> str:
    return f"{context // 1024}K" if context % 1024 == 0 else counted(context)
