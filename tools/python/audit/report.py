# SPDX-License-Identifier: Apache-2.0
"""The page of an audit: one file of HTML without scripts and without anything from elsewhere."""

from cells import BEST_UNIFORM, EXHAUSTIVE, Audit
from estimates import WEAK_TEACHER, Pair, Results, Summary, nested_mean
from figures import agreement_figure, cost_figure, landscape_figure
from formats import counted, duration, interval, number, percent
from html_builder import Html, element, join, table
from page import figure, make_page, marked, navigation, section

TITLES = {"selection": "After selection", "distill": "After distillation"}


def ranked_cells(lines: list[Summary]) -> str:
    """Of which cells regret and ranks are, where these are not all; else nothing."""
    cells, ranked = max(line.cells for line in lines), max(line.ranked for line in lines)
    if 0 < ranked < cells:
        return f"regret and ranks over the {ranked} of {cells} cells in which every choice was judged"
    return ""


def of_cells(count: int | None, of: int, cells: int) -> str:
    """A number of cells; where they are counted among fewer than all in which a selector stands, among how many."""
    return "-" if count is None else str(count) if of == cells else f"{count} of {of}"


def summary_table(results: Results, lines: list[Summary], reference: str) -> Html:
    against = {
        comparison.selector: comparison
        for comparison in results.comparisons
        if comparison.after == lines[0].after and comparison.base is None
    }
    is_ranked = any(line.ranked for line in lines)
    header = [
        "Selector",
        *(
            [
                "Mean regret",
                "Interval",
                "Cross-fitted",
                "Worst regret",
                "Mean rank",
                "Worst rank",
                "Percentile",
                "Optimal",
                "Above 0",
            ]
            if is_ranked
            else []
        ),
        "Above uniform",
        "Mean KL",
        "Interval",
        "Right tokens, %",
        "Tokens",
        "FLOPs",
        "Time",
        "KL above the reference",
        "Interval",
        "Verdict",
        "Cells",
    ]
    body = []
    for line in lines:
        compared = against.get(line.selector)
        ranks = [
            number(line.regret),
            interval(line.regret_interval),
            number(line.regret_crossfit),
            number(line.worst_regret),
            percent(line.rank),
            f"{line.worst_rank} of {line.worst_rank_of}" if line.ranked else "-",
            percent(line.percentile),
            f"{line.optimal} of {line.ranked}" if line.ranked else "-",
            of_cells(line.above_zero, line.ranked, line.cells),
        ]
        verdict = "(reference)" if line.selector == reference else compared.verdict if compared else "-"
        body.append(
            [
                marked(line.selector, line.selector == reference),
                *(ranks if is_ranked else []),
                of_cells(line.above_uniform, line.uniform_cells, line.cells),
                number(line.objective),
                interval(line.objective_interval),
                percent(100 * line.correct),
                counted(line.tokens),
                counted(line.flops),
                duration(line.seconds),
                number(compared.difference) if compared else "-",
                interval(compared.interval) if compared else "-",
                verdict,
                line.cells,
            ]
        )
    caption = "Selectors over all bases, seeds and budgets. KL and regret in nats an answer token."
    if of := ranked_cells(lines):
        caption += f" Here {of}."
    if len({line.cells for line in lines}) > 1:
        caption += " Means of selectors that stand in different cells are not for ranking."
    return table(caption, header, body)


def is_weak(results: Results, task: str) -> bool:
    """Whether the teacher of some base does not solve a task."""
    return any(task in tasks and tasks[task].correct < WEAK_TEACHER for tasks in results.teacher.values())


def task_table(results: Results, lines: list[Summary]) -> Html:
    """Selectors by task; each task's additivity stands beside its name, for where it is low single layers' scores
    mislead."""
    is_ranked = any(line.ranked for line in lines)
    tasks = list(dict.fromkeys(task for line in lines for task in line.by_task))
    header: list[object] = ["Selector"]
    for task in tasks:
        fits = [
            fit
            for fit in results.additivity
            if fit.after == lines[0].after and fit.task == task and fit.log_adjusted_r2 is not None
        ]
        words = task
        if fits:
            words += f", R² {nested_mean(fits, [fit.log_adjusted_r2 for fit in fits]):.2f}"
        header.append(marked(words + (" (teacher weak)" if is_weak(results, task) else ""), is_weak(results, task)))

    def cell(line: Summary, task: str) -> str:
        means = line.by_task.get(task)
        return "-" if means is None else number(means.regret if is_ranked else means.kl)

    measure = (
        "Mean regret by task: KL above the least of all choices on that task alone. The row of exhaustive is what one "
        "choice for all tasks costs each."
        if is_ranked
        else "Mean KL by task."
    )
    if results.additivity:
        measure += " R²: adjusted, of the logarithm of the KL, mean over cells."
    if any(is_weak(results, task) for task in tasks):
        measure += f" Marked: the teacher gets less than {100 * WEAK_TEACHER:g} % of the tokens right."
    return table(measure, header, [[line.selector, *(cell(line, task) for task in tasks)] for line in lines])


def teacher_table(results: Results) -> Html:
    limit = f"{100 * WEAK_TEACHER:g}"
    return table(
        f"What the teacher itself gets right. Where that is below {limit} %, the KL to it says little of answers.",
        ["Task", "Base", "Right tokens, %", "Samples", f"Below {limit} %"],
        [
            [
                marked(task, answers.correct < WEAK_TEACHER),
                base,
                percent(100 * answers.correct),
                answers.samples,
                "yes" if answers.correct < WEAK_TEACHER else "no",
            ]
            for base, tasks in results.teacher.items()
            for task, answers in tasks.items()
        ],
    )


def comparisons_table(results: Results, after: str, reference: str) -> Html:
    return table(
        f"Each selector's KL minus that of {reference}: above 0 the reference is better.",
        ["Selector", "Base", "Difference", "Interval", "Verdict", "Cells", "Seeds", "Same choice"],
        [
            [
                comparison.selector,
                comparison.base or "all",
                number(comparison.difference),
                interval(comparison.interval),
                comparison.verdict,
                comparison.cells,
                comparison.seeds,
                comparison.same,
            ]
            for comparison in results.comparisons
            if comparison.after == after
        ],
    )


def pairs_table(pairs: list[Pair], order: list[str]) -> Html:
    """The matrix of all pairs, line minus column."""
    words = {"first better": ("better", "worse"), "second better": ("worse", "better"), "open": ("open", "open")}
    entries: dict[tuple[str, str], str] = {}
    for pair in pairs:
        first, second = words[pair.verdict]
        entries[pair.first, pair.second] = f"{number(pair.difference)} {first}"
        entries[pair.second, pair.first] = f"{number(-pair.difference)} {second}"
    named = {name for pair in entries for name in pair}
    names = [name for name in order if name in named]
    return table(
        "Mean KL of the line's selector minus that of the column's, and what the line's is.",
        ["", *names],
        [[line, *(entries.get((line, column), "-") for column in names)] for line in names],
    )


def after_section(audit: Audit, results: Results, after: str, place: int) -> Html:
    lines = [line for line in results.summary if line.after == after]
    parts = [
        summary_table(results, lines, audit.reference),
        figure(
            cost_figure(f"cost{place}", lines, audit.reference),
            f"What a selection took and what it got. Bars: {100 * audit.confidence:g} % intervals. Selectors that "
            "spend no tokens stand at the left edge. Hollow: a mean over only some of the cells, not for ranking.",
            f"Regret against tokens, {TITLES[after].lower()}",
        ),
        element("h3", "By task"),
        task_table(results, lines),
        element("h3", f"Against {audit.reference}"),
        comparisons_table(results, after, audit.reference),
    ]
    pairs = [pair for pair in results.pairs if pair.after == after]
    if pairs:
        parts.append(
            element(
                "details",
                element("summary", "Every two selectors"),
                pairs_table(pairs, [*audit.selectors, BEST_UNIFORM]),
            )
        )
    landscapes = []
    for base, budget in dict.fromkeys((cell.base, cell.budget) for cell in audit.cells if cell.after == after):
        cells = [
            cell
            for cell in audit.cells
            if (cell.after, cell.base, cell.budget) == (after, base, budget) and cell.measures.complete
        ]
        if cells:
            rows = [
                row
                for row in results.rows
                if (row.after, row.base, row.budget) == (after, base, budget) and row.rank is not None
            ]
            landscapes.append(
                figure(
                    landscape_figure(
                        f"landscape{place}-{len(landscapes)}", cells, rows, list(audit.selectors), audit.reference
                    ),
                    f"{base}, {budget} kept",
                )
            )
    if landscapes:
        parts += [element("h3", "All choices"), element("div", *landscapes, class_="figures")]
    return section(after, TITLES[after], *parts)


def rows_table(results: Results) -> Html:
    return table(
        "Every selection. KL and regret in nats an answer token.",
        [
            "Selector",
            "Base",
            "Seed",
            "Budget",
            "After",
            "Kept layers",
            "KL",
            "Rank",
            "Percentile",
            "Regret",
            "Interval",
            "Cross-fitted",
            "Right tokens, %",
            "KL by task",
            "KL of text",
            "Tokens",
            "FLOPs",
            "Time",
        ],
        [
            [
                row.selector,
                row.base,
                row.seed,
                row.budget,
                row.after,
                " ".join(map(str, row.kept)) or "none",
                number(row.objective),
                "-" if row.rank is None else f"{row.rank} of {row.choices}",
                percent(row.percentile),
                number(row.regret),
                interval(row.regret_interval),
                number(row.regret_crossfit),
                percent(100 * row.correct),
                ", ".join(f"{task} {number(scores['kl'])}" for task, scores in row.by_task.items()),
                number(row.text["kl"]) if row.text else "-",
                counted(row.tokens),
                counted(row.flops),
                duration(row.seconds),
            ]
            for row in results.rows
        ],
    )


def additivity_table(results: Results) -> Html:
    return table(
        "Share of the variance of all choices' KL that effects of single layers explain.",
        [
            "Base",
            "Seed",
            "Budget",
            "After",
            "Task",
            "R²",
            "Adjusted",
            "R² of log KL",
            "Adjusted",
            "Choices",
            "Parameters",
        ],
        [
            [
                fit.base,
                fit.seed,
                fit.budget,
                fit.after,
                fit.task,
                number(fit.r2),
                number(fit.adjusted_r2),
                number(fit.log_r2),
                number(fit.log_adjusted_r2),
                fit.choices,
                fit.parameters,
            ]
            for fit in results.additivity
        ],
    )


def persistence_table(results: Results) -> Html:
    sizes = sorted({size for line in results.persistence for size in line.finalists})
    return table(
        "How far choices keep their order, and what the best after distillation, among the n that are best before it, "
        "lose to the best of all: what n finalists that are all distilled to the end would reach.",
        ["Base", "Seed", "Budget", "Spearman", "Best quarter", *(f"n = {size}" for size in sizes), "Choices"],
        [
            [
                line.base,
                line.seed,
                line.budget,
                number(line.spearman),
                number(line.spearman_best),
                *(number(line.finalists.get(size)) for size in sizes),
                line.choices,
            ]
            for line in results.persistence
        ],
    )


GLOSSARY = (
    (
        "KL, the objective",
        "Mean over tasks of the mean over held-out samples of the KL of the hybrid to the teacher, in nats an answer "
        "token. Smaller is better. The samples are the same for all choices of a base and seed. Means over cells are "
        "taken over budgets, then seeds, then bases.",
    ),
    (
        "Regret",
        "KL above the least of all choices, where every choice was judged. That least one was found on the very "
        "samples that it is judged on, so it looks better than it is (the winner's curse), and regret is too large "
        "on average.",
    ),
    (
        "Cross-fitted regret",
        "The best choice is found on one half of the samples and judged on the other half, both ways, over random "
        "halves. Half the samples find a worse choice, so this is too small on average, and may be below 0. On "
        "average the two enclose the regret that endless samples would show.",
    ),
    (
        "Rank, percentile",
        "1 is the best of all choices; equal ones share the best rank. Percentile: share of the other choices that "
        "are worse, in percent.",
    ),
    (
        "Interval, verdict",
        "As the rule says. Few seeds make intervals too short where seeds differ by more than samples do: an "
        "interval of 95 % then holds the truth in about 75 % of studies of three seeds, 83 % of five, 90 % of ten. "
        "With one seed an interval speaks of that seed alone. Intervals of regret hold the best choice fixed.",
    ),
    (
        "Above 0, above uniform",
        "In how many cells the interval of the regret lies above 0, so that the best choice is told from the own; and "
        "in how many a uniform pattern turns out better.",
    ),
    (
        BEST_UNIFORM,
        "The evenly spaced pattern that turns out best in each cell: known in hindsight only, so its regret is too "
        "small on average. Where others are compared with it, it is found on one half of the samples and judged on "
        "the other, both ways, over random halves.",
    ),
    (
        EXHAUSTIVE,
        "The best of all choices in each cell, with what judging all of them on the tasks took, and after distillation "
        "what distilling all of them took. The teacher runs once.",
    ),
    (
        "R²",
        "Of a least-squares regression of the KL of all choices on which mixer each layer has. What is left are "
        "interactions of layers, which no sum of scores of single layers sees, and noise of the samples. Of the KL "
        "itself the worst choices decide; of its logarithm all count alike, and effects that multiply are no "
        "interaction.",
    ),
    (
        "Agreement",
        "Mean over cells of the Jaccard index of the kept layers: how many both keep, over how many either keeps.",
    ),
)


def make_report(audit: Audit, results: Results) -> str:
    """The whole page."""
    afters = list(dict.fromkeys(line.after for line in results.summary))
    bases = list(dict.fromkeys(cell.base for cell in audit.cells))
    links = [(after, TITLES[after]) for after in afters]
    if results.teacher:
        links.append(("teacher", "The teacher"))
    links.append(("agreement", "Agreement"))
    if results.additivity:
        links.append(("additivity", "Additivity"))
    if results.persistence:
        links.append(("persistence", "Before and after distillation"))
    links += [("rows", "Every selection"), ("words", "What words mean")]
    main = [after_section(audit, results, after, place) for place, after in enumerate(afters)]
    if results.teacher:
        main.append(section("teacher", "The teacher", teacher_table(results)))
    main.append(
        section(
            "agreement",
            "Agreement",
            figure(
                agreement_figure("agreement-map", results.agreement),
                "How alike the layers are that two selectors keep: mean Jaccard index over cells.",
                "Agreement of selectors",
            ),
        )
    )
    if results.additivity:
        main.append(section("additivity", "Additivity", additivity_table(results)))
    if results.persistence:
        main.append(section("persistence", "Before and after distillation", persistence_table(results)))
    main.append(section("rows", "Every selection", rows_table(results)))
    words = (join(element("dt", word), element("dd", meaning)) for word, meaning in GLOSSARY)
    main.append(section("words", "What words mean", element("dl", *words)))
    title = f"Audit of selectors: {audit.name}"
    header = element(
        "header",
        element("h1", title),
        element(
            "p",
            f"{len(audit.cells)} cells of {len(bases)} base{'' if len(bases) == 1 else 's'} ({', '.join(bases)}); "
            f"seeds {listed({cell.seed for cell in audit.cells})}; {listed({cell.budget for cell in audit.cells})} "
            "kept layers.",
        ),
        element("p", element("strong", "The rule, written before the run. "), results.rule),
        navigation(links),
    )
    return make_page(title, header, main)


def listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
