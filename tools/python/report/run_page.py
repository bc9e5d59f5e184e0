# SPDX-License-Identifier: Apache-2.0
"""The page of a run, or of several side by side: the same figures with a line a run, tables with a column a run."""

import json
import math
from collections.abc import Collection
from statistics import mean

from formats import counted, duration, number, percent, size
from html_builder import Html, element, join, scrolling, table
from page import figure, make_page, navigation, section
from run_figures import cache_figure, context_name, curves_figure, gates_figure, is_drawn, kept_figure
from runs import AFTERS, FULL, SELECTED, TEACHER, TEXT, Curve, Difference, Measured, Row, Run

STYLE = """
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 1rem 0; }
.facts dt { color: var(--muted); font-weight: 400; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.runs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 2rem; }
.runs h2 { margin-top: 1rem; overflow-wrap: anywhere; }
.heat { display: block; padding: .125rem .5rem; margin: 0 -.375rem; border-radius: .25rem;
        background: color-mix(in srgb, var(--accent) calc(var(--share) * 50%), transparent); }
.bar { display: inline-block; height: .75rem; width: max(1px, calc(var(--share) * 8rem)); border-radius: .125rem;
       background: var(--accent); }
.aside { color: var(--muted); font-size: .75rem; }
.heat .aside { color: inherit; }
pre { margin: 0; padding: .75rem; border: 1px solid var(--grid); font-size: .8125rem; line-height: 1.45; }
@media (max-width: 30rem) { .facts { grid-template-columns: 1fr; gap: 0; } .facts dd { margin-bottom: .5rem; } }
"""

STAGE_TITLES = {
    "align": "Align: error of the linear branches",
    "select": "Search: loss of the gates",
    "distill": "Distill: loss",
    "finetune": "Finetune: loss",
    "pretrain": "Pretrain: loss",
}
ALIGN, SEARCH = "align", "select"


def layers_of(choice: tuple[str, ...], kind: str = FULL) -> str:
    """The layers that have this candidate."""
    return " ".join(str(layer) for layer, candidate in enumerate(choice) if candidate == kind) or "none"


def share(value: float) -> str:
    return f"{value:.3f}"


def bounded(measured: Measured | None, write=share) -> Html:
    """A value, and behind it in small letters its interval."""
    if measured is None:
        return Html("-")
    if measured.interval is None:
        return join(write(measured.value))
    low, high = measured.interval
    return join(write(measured.value), " ", element("span", f"[{write(low)} {write(high)}]", class_="aside"))


def heat(measured: Measured | None) -> Html:
    if measured is None:
        return Html("-")
    return element("span", bounded(measured), class_="heat", style=f"--share: {measured.value:.3f}")


def perplexity(nats: float) -> str:
    return f"{math.exp(nats):.2f}" if nats < 20 else f"{math.exp(min(nats, 700)):.1e}"


def stage_of(row: Row) -> str:
    return "-" if row.model == TEACHER else row.after


def order_of(row: Row) -> tuple:
    """The teacher, then the models after each stage; the selected hybrid last of a stage."""
    after = AFTERS.index(row.after) if row.after in AFTERS else len(AFTERS)
    return row.model != TEACHER, after, row.model == SELECTED


def title_of_choice(run: Run, runs: list[Run], model: str) -> str:
    chosen_by = run.method if model == SELECTED and run.method else model
    if len(runs) > 1:
        return f"{run.label}: {chosen_by}"
    return model if chosen_by == model else f"{model} ({chosen_by})"


def name_of(run: Run, runs: list[Run], rest: str = "") -> str:
    """The run's name where there are several, with what else tells a line."""
    return " ".join(part for part in (run.label if len(runs) > 1 else "", rest) if part)


def beside(*parts: Html) -> Html:
    """Figures and tables side by side where the page is wide enough."""
    return element("div", *parts, class_="figures")


def facts(run: Run) -> Html:
    """What a run was, and what came out, in a few lines."""
    lines: list[tuple[str, object]] = []
    info = run.resolved.get("model_info")
    if isinstance(info, dict):
        parts = [info.get("architecture"), f"{info.get('layers')} layers", f"hidden {info.get('hidden')}"]
        parameters = info.get("parameters")
        if type(parameters) in (int, float) and 0 <= parameters < 1e18:
            parts.append(f"{counted(parameters)} parameters")
        lines.append(("Base", ", ".join(map(str, parts))))
    if SELECTED in run.choices:
        choice = run.choices[SELECTED]
        kept = sum(kind == FULL for kind in choice)
        words = f"in {kept} of {len(choice)} layers: {layers_of(choice)}, chosen by {run.method}"
        lines.append(("Full attention", words))
        others = dict.fromkeys(kind for kind in choice if kind != FULL)
        if others:
            counts = (f"{kind} in {choice.count(kind)}" for kind in others)
            lines.append(("Other layers", ", ".join(counts)))
    if answers := answers_of(run):
        lines.append(("Right answers", answers))
    if run.caches:
        last = run.caches[-1]
        ratio = f"{last.full / max(last.hybrid, 1):.2f}"
        words = f"{size(last.hybrid)}, {ratio} times less than full attention's {size(last.full)}"
        lines.append((f"Cache at {context_name(last.context)}", words))
    lines.append(("All stages", duration(sum(stage.seconds for stage in run.stages))))
    if run.check:
        lines.append(("The hybrid", run.check))
    return element("dl", *(join(element("dt", name), element("dd", text)) for name, text in lines), class_="facts")


def answers_of(run: Run) -> str:
    """The selected hybrid after its last stage beside the teacher, by task, at the greatest length: the mean over depths."""
    parts = []
    for task in dict.fromkeys(row.task for row in run.rows if row.task != TEXT):
        length = max(row.length for row in run.rows if row.task == task)
        rows = [row for row in run.rows if row.task == task and row.length == length]
        shares, teacher = shares_by_depth(rows, SELECTED), shares_by_depth(rows, TEACHER)
        if shares:
            where = f"{length} tokens" + of_depths(shares)
            compared = f" (teacher {share(mean(teacher.values()))})" if teacher else ""
            parts.append(f"{task} at {where} {share(mean(shares.values()))}{compared}")
    return "; ".join(parts)


def shares_by_depth(rows: list[Row], model: str) -> dict[float | None, float]:
    """Shares of right answers of a model after its last stage, from rows of one task and length."""
    own = sorted((row for row in rows if row.model == model), key=order_of)
    ends = [row for row in own if row.after == own[-1].after]
    return {row.depth: answers.value for row in ends if (answers := row.generated or row.forced)}


def of_depths(depths: Collection[float | None]) -> str:
    """What is said of the depths that a mean is over; nothing of needles that lie at any."""
    if None in depths:
        return ""
    return f", mean over {len(depths)} depths," if len(depths) > 1 else f", depth {next(iter(depths)):.2f},"


def layers_section(runs: list[Run]) -> Html | None:
    lines = [
        (title_of_choice(run, runs, model), choice) for run in runs for model, choice in run.choices.items()
    ]
    if not lines:
        return None
    kinds = dict.fromkeys(kind for _, choice in lines for kind in choice if kind != FULL)
    several = list(kinds) if len(kinds) > 1 else []
    body = [[label, *(layers_of(choice, kind) for kind in (FULL, *several))] for label, choice in lines]
    pair = [
        figure(kept_figure("kept", lines), "Layers with softmax attention, by what chose them, after selection."),
        table("Layers with softmax attention.", ["Chosen by", "Full attention", *several], body, left=2 + len(several)),
    ]
    parts = [beside(*pair)]
    scored = [run for run in runs if run.scores]
    if scored:
        count = max(len(run.scores) for run in scored)
        values = [[layer, *(score_of(run, layer) for run in scored)] for layer in range(count)]
        scores = table(
            "What the selector gave each layer: larger ones are kept.",
            ["Layer", *(name_of(run, runs, run.method) for run in scored)],
            values,
        )
        parts.append(element("details", element("summary", "Scores of all layers"), scores))
    return section("layers", "Kept layers", *parts)


def score_of(run: Run, layer: int) -> str:
    if layer >= len(run.scores):
        return "-"
    is_kept = layer < len(run.choices.get(SELECTED, ())) and run.choices[SELECTED][layer] == FULL
    return f"{number(run.scores[layer])}{' kept' if is_kept else ''}"


def recall_table(run: Run, task: str, measure: str, caption: str) -> Html | None:
    """A line a model, stage and depth, a column a length."""
    rows = sorted((row for row in run.rows if row.task == task and getattr(row, measure)), key=order_of)
    if not rows:
        return None
    lengths = sorted({row.length for row in rows})
    has_depths = any(row.depth is not None for row in rows)
    cells = {(row.model, stage_of(row), row.depth, row.length): getattr(row, measure) for row in rows}
    body = []
    for model, after in dict.fromkeys((row.model, stage_of(row)) for row in rows):
        for depth in sorted({row.depth for row in rows}, key=lambda depth: -1 if depth is None else depth):
            values = [cells.get((model, after, depth, length)) for length in lengths]
            if any(values):
                where = ["-" if depth is None else f"{depth:.2f}"] if has_depths else []
                body.append([model, after, *where, *map(heat, values)])
    depths = ["Depth"] if has_depths else []
    return table(caption, ["Model", "After", *depths, *(f"{length} tokens" for length in lengths)], body, left=2)


def recall_beside(runs: list[Run], task: str, measure: str, caption: str) -> Html | None:
    """A line a length, depth, model and stage, a column a run."""
    cells: dict[tuple, dict[str, Measured]] = {}
    for run in runs:
        for row in sorted(run.rows, key=order_of):
            if row.task == task and getattr(row, measure):
                place = (row.length, row.depth, order_of(row), row.model, stage_of(row))
                cells.setdefault(place, {})[run.label] = getattr(row, measure)
    if not cells:
        return None
    has_depths = any(place[1] is not None for place in cells)
    body = []
    for place in sorted(cells, key=lambda place: (place[0], -1 if place[1] is None else place[1], *place[2:])):
        length, depth, _, model, after = place
        where = ["-" if depth is None else f"{depth:.2f}"] if has_depths else []
        body.append([f"{length} tokens", *where, model, after, *(heat(cells[place].get(run.label)) for run in runs)])
    depths = ["Depth"] if has_depths else []
    return table(caption, ["Length", *depths, "Model", "After", *(run.label for run in runs)], body, left=4)


MEASURES = (
    ("generated", "right in every token, in the model's own greedy tokens"),
    ("forced", "right in every token, each predicted after the true ones"),
)


def recall_section(runs: list[Run]) -> Html | None:
    parts = []
    for task in dict.fromkeys(row.task for run in runs for row in run.rows if row.task != TEXT):
        tables = []
        for measure, words in MEASURES:
            caption = f"{task}: share of answers {words}, with intervals of 95 %."
            made = (
                recall_table(runs[0], task, measure, caption)
                if len(runs) == 1
                else recall_beside(runs, task, measure, caption)
            )
            tables += [] if made is None else [made]
        if tables:
            parts += [element("h3", task), tables[0]]
        for made in tables[1:]:
            parts.append(element("details", element("summary", "After the true tokens"), made))
    differences = [(run, line) for run in runs for line in run.differences if line.measure != "cross_entropy"]
    if differences:
        parts.append(differences_table(runs, differences))
    return section("recall", "Recall", *parts) if parts else None


def differences_table(runs: list[Run], lines: list[tuple[Run, Difference]]) -> Html:
    words = {"generated": "generated", "teacher_forced": "after true tokens"}
    body = [
        [
            *([run.label] if len(runs) > 1 else []),
            line.task,
            f"{line.length}" if line.depth is None else f"{line.length} at {line.depth:.2f}",
            line.after,
            line.baseline,
            words.get(line.measure, line.measure),
            bounded(line.measured, lambda value: f"{value:+.3f}"),
        ]
        for run, line in lines
    ]
    header = ["Task", "Length", "After", "Baseline", "Measure", "Selected minus baseline"]
    content = table(
        "The selected hybrid minus each baseline, paired by sample, with intervals of 95 %.",
        ["Run", *header] if len(runs) > 1 else header,
        body,
        left=len(header) + (len(runs) > 1) - 1,
    )
    return element("details", element("summary", "The selected hybrid against the baselines"), content)


def text_section(runs: list[Run]) -> Html | None:
    lines: dict[tuple, dict[str, Row]] = {}
    for run in runs:
        for row in run.rows:
            if row.task == TEXT and row.cross_entropy:
                lines.setdefault((order_of(row), row.model, stage_of(row)), {})[run.label] = row
    if not lines:
        return None
    body = []
    for place in sorted(lines):
        _, model, after = place
        cells: list[object] = []
        for run in runs:
            row = lines[place].get(run.label)
            cells.append(bounded(row and row.cross_entropy, perplexity))
            if len(runs) == 1:
                cells += [bounded(row and row.cross_entropy), above_baseline(run, row)]
        body.append([model, after, *cells])
    single = ["Perplexity", "Nats a token", "Nats above the baseline"]
    # In longer windows perplexity is lower: what is not of the same length is not comparable.
    windows = {run.label: windows_of(run) for run in runs}
    several = [", ".join(filter(None, (run.label, windows[run.label]))) for run in runs]
    caption = "On text that no other stage reads, "
    if len(set(windows.values()) - {""}) == 1:
        caption += f"in {next(filter(None, windows.values()))}, with intervals of 95 %."
        several = [run.label for run in runs]
    else:
        caption += "with intervals of 95 %. Windows of other lengths have other perplexities."
    return section(
        "text",
        "Perplexity",
        *position_figures(runs, lines),
        table(caption, ["Model", "After", *(single if len(runs) == 1 else several)], body, left=2),
    )


def windows_of(run: Run) -> str:
    """The windows of text that a run's perplexities are of; nothing where it has none."""
    lengths = sorted({row.length for row in run.rows if row.task == TEXT and row.cross_entropy})
    return f"windows of {', '.join(map(str, lengths))} tokens" if lengths else ""


def position_figures(runs: list[Run], lines: dict[tuple, dict[str, Row]]) -> list[Html]:
    """Perplexity by the place in a window: of all models of one run, of several runs their hybrids at the end."""
    curves: list[tuple[str, Curve]] = []
    last = {run.label: max((line for line in lines if run.label in lines[line]), default=None) for run in runs}
    for place in sorted(lines):
        _, model, after = place
        for run in runs:
            row = lines[place].get(run.label)
            if row is None or not row.by_position or (len(runs) > 1 and last[run.label] != place):
                continue
            label = name_of(run, runs, "") or (model if model == TEACHER else f"{model} after {after}")
            ends = [end for end, _ in row.by_position]
            curves.append((label, Curve(TEXT, model, ends, [math.exp(min(nats, 700)) for _, nats in row.by_position])))
    if not any(is_drawn(curve) for _, curve in curves):
        return []
    title = "Perplexity by position in the window: what comes later has more context"
    return [figure(curves_figure("positions", title, "perplexity", curves, "position"), f"{title}.")]


def above_baseline(run: Run, row: Row | None) -> Html:
    """The selected hybrid's cross-entropy above that of the first baseline."""
    if row is None or row.model != SELECTED:
        return Html("-")
    place = (row.after, row.task, row.length, row.depth)
    for line in run.differences:
        if line.measure == "cross_entropy" and (line.after, line.task, line.length, line.depth) == place:
            return join(bounded(line.measured, lambda value: f"{value:+.3f}"), f" {line.baseline}")
    return Html("-")


def search_section(runs: list[Run]) -> Html | None:
    """Gates of the searches that have some, and their loss."""
    figures = [
        figure(
            gates_figure(f"gates{place}", run),
            (f"{run.label}. " if len(runs) > 1 else "")
            + "A line a layer: 1 is full attention, 0 none of it. Kept layers are bold.",
        )
        for place, run in enumerate(runs)
        if any(is_drawn(curve) for curve in run.gates.values())
    ]
    if not figures:
        return None
    return section("gates", "Gates over the search", beside(*figures, *loss_figures(runs, "search", True)))


def losses_section(runs: list[Run]) -> Html | None:
    has_gates = any(run.gates for run in runs)
    figures = loss_figures(runs, "loss", False) + ([] if has_gates else loss_figures(runs, "search", True))
    return section("losses", "Losses", beside(*figures)) if figures else None


def loss_figures(runs: list[Run], name: str, of_search: bool) -> list[Html]:
    """Of the search, or of all other stages, a figure a loss; their names begin with `name`."""
    groups: dict[str, list[tuple[str, Curve]]] = {}

    def add(title: str, run: Run, curve: Curve) -> None:
        # Side by side what is compared are the runs: of each its hybrid. Alignment's variants are its waves of layers.
        is_aligned = curve.stage == ALIGN
        is_shown = len(runs) == 1 or curve.variant in ("", SELECTED) or is_aligned
        if is_shown and is_drawn(curve) and (curve.stage == SEARCH) == of_search:
            label = name_of(run, runs, curve.variant if len(runs) == 1 or is_aligned else "")
            groups.setdefault(title, []).append((label or curve.stage, curve))

    for run in runs:
        for curve in run.losses:
            add(STAGE_TITLES.get(curve.stage, curve.stage), run, curve)
    for measured in dict.fromkeys(measured for run in runs for measured in run.held_out):
        for run in runs:
            for curve in run.held_out.get(measured, []):
                add(f"{curve.stage.capitalize()}: KL to the teacher on held-out {measured}", run, curve)
    return [
        figure(curves_figure(f"{name}{place}", title, "KL, nats" if " KL " in title else "loss", curves), title)
        for place, (title, curves) in enumerate(groups.items())
    ]


def cache_section(runs: list[Run]) -> Html | None:
    drawn = [run for run in runs if run.caches]
    parts = []
    if drawn:
        # The runs' bases may differ: full attention's line is the first one's.
        series = [(name_of(run, runs) or "hybrid", run.caches) for run in drawn]
        contexts = list(dict.fromkeys(cache.context for run in drawn for cache in run.caches))
        columns = [{cache.context: cache for cache in run.caches} for run in drawn]
        header = [
            name_of(run, runs, part) for run in drawn for part in ("full attention", "hybrid", "ratio")
        ]
        body = [
            [context_name(context), *(cell for column in columns for cell in cache_cells(column.get(context)))]
            for context in contexts
        ]
        pair = [
            figure(
                cache_figure("cache", series, drawn[0].caches),
                "Bytes that decoding keeps of one sequence."
                + (f" Full attention's are those of {drawn[0].label}." if len(runs) > 1 else ""),
            ),
            table("Cache of one sequence while decoding, by context.", ["Context", *header], body),
        ]
        parts.append(beside(*pair))
    budgets = [(run, budget) for run in runs for budget in run.budgets]
    if budgets:
        parts.append(
            table(
                "Budgets of the spec: costs of the layers' mixers, by the spec's table of costs where they are times.",
                ["Run", "Budget", "Context", "Limit", "Full attention", "Hybrid"],
                [
                    [
                        run.label,
                        budget.measure,
                        context_name(budget.context),
                        *(cost_of(value, budget.unit) for value in (budget.limit, budget.full, budget.chosen)),
                    ]
                    for run, budget in budgets
                ],
                left=2,
            )
        )
    title = "Cache and speed by context" if any(b.unit == "picoseconds" for _, b in budgets) else "Cache by context"
    return section("cache", title, *parts) if parts else None


def cache_cells(cache) -> list[str]:
    if cache is None:
        return ["-"] * 3
    return [size(cache.full), size(cache.hybrid), f"{cache.full / max(cache.hybrid, 1):.2f}x"]


def cost_of(value: float, unit: str) -> str:
    if unit == "bytes":
        return size(value)
    return f"{value / 1e9:.3g} ms a token" if unit == "picoseconds" else f"{counted(value)} {unit}"


def costs_section(runs: list[Run]) -> Html | None:
    names = list(dict.fromkeys(stage.name for run in runs for stage in run.stages))
    if not names:
        return None
    if len(runs) == 1:
        most = max(stage.seconds for stage in runs[0].stages)
        body = [
            [
                stage.name,
                some(stage.tokens, counted),
                some(stage.flops, counted),
                duration(stage.seconds),
                bar(stage.seconds / most if most else 0),
                some(stage.tokens / stage.seconds if stage.seconds else 0, counted),
                some(stage.memory_bytes, size),
            ]
            for stage in runs[0].stages
        ]
        body.append(
            [
                element("strong", "all"),
                some(sum(stage.tokens for stage in runs[0].stages), counted),
                some(sum(stage.flops for stage in runs[0].stages), counted),
                duration(sum(stage.seconds for stage in runs[0].stages)),
                "",
                "",
                some(max(stage.memory_bytes for stage in runs[0].stages), size),
            ]
        )
        header = ["Stage", "Tokens", "FLOPs", "Time", "Share of the longest", "Tokens a second", "Peak memory"]
        return section("costs", "Stages and their costs", table("In the order in which they ran.", header, body))
    columns = [{stage.name: stage for stage in run.stages} for run in runs]
    body = [[name, *(beside_cost(column.get(name)) for column in columns)] for name in names]
    body.append(
        [element("strong", "all"), *(duration(sum(stage.seconds for stage in run.stages)) for run in runs)]
    )
    header = ["Stage", *(run.label for run in runs)]
    return section("costs", "Stages and their costs", table("Time, tokens and FLOPs of each stage.", header, body))


def bar(part: float) -> Html:
    """A share as a bar, and in words for whoever does not see it."""
    drawn = element("span", class_="bar", style=f"--share: {part:.3f}")
    return join(drawn, " ", element("span", f"{100 * part:.0f} %", class_="aside"))


def of_all(count: float, everything: float) -> str:
    """A count with its share."""
    return f"{counted(count)} ({percent(100 * count / max(1, everything))} %)" if count else "-"


def data_section(runs: list[Run]) -> Html | None:
    """What was read, what of it was dropped for being empty, and what stages leave out."""
    parts = []
    for run in runs:
        if not run.sources:
            continue
        body = [
            [source.name, source.path, counted(source.documents), some(source.tokens, counted),
             of_all(source.dropped, source.documents + source.dropped), of_all(source.long, source.documents)]
            for source in run.sources
        ]
        header = ["Of", "File or folder", "Documents or questions", "Tokens", "Dropped, being empty", "Dropped, being too long"]
        parts.append(table("What was read" + (f" by {run.label}." if len(runs) > 1 else "."), header, body))
        parts += [
            element("p", f"Stage {stage.name} does not read {percent(100 * stage.unread_share)} % of the text's tokens: they are in "
                         "documents that are shorter than its windows.")
            for stage in run.stages if stage.unread_share >= 0.01
        ]
    return section("data", "Data", *parts) if parts else None


def some(value: float, write) -> str:
    return write(value) if value > 0 else "-"


def beside_cost(stage) -> Html:
    if stage is None:
        return Html("-")
    more = [f"{counted(stage.tokens)} tokens"] if stage.tokens else []
    more += [f"{counted(stage.flops)} FLOPs"] if stage.flops else []
    return join(duration(stage.seconds), " ", element("span", ", ".join(more), class_="aside"))


def flattened(value: object, path: str = "") -> dict[str, str]:
    """The keys of a resolved spec, dotted, with their values as text."""
    if isinstance(value, dict) and value:
        result = {}
        for key, inner in value.items():
            # People know a space by the lines that it was made of.
            if path == "" and key == "space" and isinstance(inner, dict):
                result |= described_space(inner)
            else:
                result |= flattened(inner, f"{path}.{key}" if path else str(key))
        return result
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        result = {}
        for place, item in enumerate(value):
            result |= flattened(item, f"{path}[{place}]")
        return result
    return {path: json.dumps(value, ensure_ascii=False)}


def described_space(space: dict) -> dict[str, str]:
    lines = []
    for kind in ("allowed", "ties", "counts", "budgets"):
        constraints = space.get(kind)
        for constraint in constraints if isinstance(constraints, list) else []:
            source = constraint.get("source") if isinstance(constraint, dict) else None
            lines.append(str(source.get("text", "")) if isinstance(source, dict) else "")
    layers = space.get("layers")
    layers = layers if isinstance(layers, list) else []
    candidates: dict[str, None] = {}
    for layer in layers:
        # Each has been read as an object with a name.
        candidates[" | ".join(str(candidate.get("reference") or candidate["name"]) for candidate in layer)] = None
    return {
        "space.layers": str(len(layers)),
        "space.candidates": "; ".join(candidates),
        "space.constraints": "; ".join(lines),
    }


def differing_section(runs: list[Run]) -> Html | None:
    if len(runs) == 1:
        return None
    specs = [flattened(run.resolved) for run in runs]
    keys = [key for key in dict.fromkeys(key for spec in specs for key in spec)]
    differing = [key for key in keys if len({spec.get(key) for spec in specs}) > 1]
    if not differing:
        return section("differing", "What differs", element("p", "Nothing: the specs are the same, with all defaults."))
    return section(
        "differing",
        "What differs",
        table(
            f"Keys of the specs, with all defaults filled in, that are not the same in all {len(runs)} runs.",
            ["Key", *(run.label for run in runs)],
            [[key, *(shortened(spec.get(key, "-")) for spec in specs)] for key in differing],
            left=1 + len(runs),
        ),
    )


def shortened(text: str, most: int = 120) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def spec_section(runs: list[Run]) -> Html:
    parts = []
    for run in runs:
        if len(runs) > 1:
            parts.append(element("h3", run.label))
        parts.append(scrolling(f"The spec of {run.label}", element("pre", run.spec)))
        lines = [[key, shortened(value)] for key, value in flattened(run.resolved).items()]
        parts.append(
            element(
                "details",
                element("summary", "Every key as it was run, after --set and with the defaults"),
                table("The spec as it was run.", ["Key", "Value"], lines, left=2),
            )
        )
    return section("spec", "The spec" if len(runs) == 1 else "The specs", *parts)


def make_report(runs: list[Run]) -> str:
    """The whole page of one run or more."""
    found = (
        ("differing", "What differs", differing_section(runs)),
        ("layers", "Kept layers", layers_section(runs)),
        ("gates", "Gates", search_section(runs)),
        ("recall", "Recall", recall_section(runs)),
        ("text", "Perplexity", text_section(runs)),
        ("losses", "Losses", losses_section(runs)),
        ("data", "Data", data_section(runs)),
        ("cache", "Cache", cache_section(runs)),
        ("costs", "Costs", costs_section(runs)),
        ("spec", "Spec", spec_section(runs)),
    )
    sections = [(name, title, content) for name, title, content in found if content is not None]
    names = ", ".join(run.label for run in runs)
    title = f"Morph run: {runs[0].name}" if len(runs) == 1 else f"Morph runs: {names}"
    header = element(
        "header",
        element("h1", title),
        facts(runs[0])
        if len(runs) == 1
        else element("div", *(element("div", element("h2", run.label), facts(run)) for run in runs), class_="runs"),
        navigation([(name, title) for name, title, _ in sections]),
    )
    return make_page(title, header, [content for _, _, content in sections], STYLE)
