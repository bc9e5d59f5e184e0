# SPDX-License-Identifier: Apache-2.0
"""The statistics of an audit: regret, paired bootstrap, additivity, agreement.

Objective of a choice: mean over tasks of the mean over held-out samples of the KL to the teacher, in nats an answer
token. Smaller is better. Means over cells are taken over budgets, then over seeds, then over bases, so that no base or
seed counts more because it has more cells.

Bootstrap: two stages (Davison and Hinkley 1997, section 3.8), paired, percentile intervals (Efron and Tibshirani 1993,
chapter 13). A resample draws, for each base, as many seeds as it has, with replacement; for each seed drawn and each
task as many held-out samples as there are, with replacement. The same draws serve all choices, budgets and selectors,
so what makes a sample or a seed hard for all of them cancels in differences. They also serve all bases of the same
seeds, tasks and numbers of samples: with one tokenizer these are judged by the same questions, so that their errors do
not cancel as those of others would. Bases and budgets are not resampled: what is said holds for them.

Which uniform pattern is best in a cell is found on the samples that it would be judged on, so it looks better than it is
(the winner's curse). Comparisons with it are cross-fitted: it is found on one half of the samples and judged on the
other.
"""

import collections
import dataclasses
import itertools
import math
import zlib

import numpy as np
from cells import AFTERS, BEST_UNIFORM, EXHAUSTIVE, FULL, TEXT, Answers, Audit, Cell, Cost, Measures

Interval = tuple[float, float]
# By task: a KL for each sample, in nats an answer token.
Samples = tuple[np.ndarray, ...]
# Splits of the samples into halves that what is cross-fitted is the mean over.
SPLITS = 32
# A teacher that gets fewer of a task's tokens right does not solve it: to be close to it says little of answers there.
WEAK_TEACHER = 0.8
# Weights of resamples that are held at a time.
WEIGHTS_AT_A_TIME = 1 << 22
NATS = "nats an answer token"


@dataclasses.dataclass(frozen=True)
class Row:
    """What a selector chose in a cell. Ranks and regrets are None where not every choice was judged."""

    base: str
    selector: str
    seed: int
    budget: int
    kept: tuple[int, ...]
    objective: float
    rank: int | None  # 1 + how many judged choices have a smaller objective
    percentile: float | None  # 100 * share of the other choices that have a larger one; 100 where there is no other
    regret: float | None  # objective - least objective
    regret_interval: Interval | None  # over samples
    regret_crossfit: float | None
    tokens: int
    flops: float
    seconds: float
    after: str
    correct: float  # share of the answer tokens that are right, mean over tasks
    by_task: dict[str, dict[str, float]]  # kl, correct
    text: dict[str, float] | None  # the same on plain text
    choices: int  # how many were judged


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The mean difference of a selector's objective and the reference's; positive: the reference is better."""

    after: str
    base: str | None  # None: over all bases
    selector: str
    reference: str
    difference: float
    interval: Interval
    verdict: str  # "reference better", "reference worse", "open"
    cells: int  # in which both stand
    seeds: int  # pairs of base and seed among these
    same: int  # cells in which both made the same choice


@dataclasses.dataclass(frozen=True)
class Pair:
    """The mean difference of two selectors' objectives over the cells in which both stand."""

    after: str
    first: str
    second: str
    difference: float  # first - second
    interval: Interval
    verdict: str  # "first better", "second better", "open"
    cells: int
    seeds: int
    same: int


@dataclasses.dataclass(frozen=True)
class TaskMeans:
    """A selector on one task, means over the cells that have it."""

    kl: float
    correct: float
    regret: float | None  # KL above the least of all choices on this task; None where not every choice was judged


@dataclasses.dataclass(frozen=True)
class Summary:
    """A selector over all cells in which it stands; regrets and ranks over those of them that are complete."""

    after: str
    selector: str
    cells: int
    objective: float
    objective_interval: Interval
    correct: float
    ranked: int  # complete cells
    regret: float | None
    regret_interval: Interval | None
    regret_crossfit: float | None
    worst_regret: float | None
    rank: float | None
    percentile: float | None
    worst_rank: int | None  # where the percentile is least
    worst_rank_of: int | None  # how many choices there were
    optimal: int | None  # cells of rank 1
    above_zero: int | None  # complete cells in which the interval of the regret lies above 0
    uniform_cells: int  # cells in which a uniform pattern stands, too
    above_uniform: int | None  # of these, in which its KL, and so its regret, is above the best uniform pattern's
    by_task: dict[str, TaskMeans]
    tokens: float | None  # None for what is known only in hindsight
    flops: float | None
    seconds: float | None


@dataclasses.dataclass(frozen=True)
class Additivity:
    """How much of the variance of all choices' KL a sum of effects of single layers explains."""

    base: str
    seed: int
    budget: int
    after: str
    task: str
    choices: int
    parameters: int  # beside the intercept
    r2: float | None  # None where all choices are equal
    adjusted_r2: float | None  # None also where there are no more choices than parameters
    log_r2: float | None  # the same of the logarithm of the KL; None also where a KL is not above 0
    log_adjusted_r2: float | None


@dataclasses.dataclass(frozen=True)
class Persistence:
    """Whether choices that are good before distillation are good after it, where all were distilled.

    `finalists` picks by the final result: it is what distilling n choices to the end and keeping the best would reach.
    What a shorter distillation would pick among them is not known from it."""

    base: str
    seed: int
    budget: int
    choices: int
    spearman: float | None  # of the objectives before and after; None where all are equal
    spearman_best: float | None  # the same of the quarter of the choices that is best before
    finalists: dict[int, float]  # by n: regret after of the one that is best after, among the n that are best before


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Mean Jaccard index of the kept layers of two selectors over the cells in which both stand; None where none is."""

    selectors: tuple[str, ...]
    jaccard: tuple[tuple[float | None, ...], ...]
    cells: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything that audit.json holds."""

    version: int
    name: str
    rule: str
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    pairs: tuple[Pair, ...]
    additivity: tuple[Additivity, ...]
    persistence: tuple[Persistence, ...]
    agreement: Agreement
    summary: tuple[Summary, ...]
    teacher: dict[str, dict[str, Answers]]  # by base and task; a base without is left out


@dataclasses.dataclass(frozen=True, eq=False)
class Quantity:
    """A mean over cells of something that is linear in the samples: of the KL of one choice, or of a difference."""

    cells: tuple[Cell, ...]
    plus: tuple[Samples, ...]  # a cell
    minus: tuple[Samples, ...] | None = None  # what is subtracted


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A quantity's value on all samples and where its resamples lie."""

    value: float
    interval: Interval


def is_uniform(selector: str) -> bool:
    """Whether a selector is a pattern of evenly spaced layers; one that a search then changes ("uniform:0+refine") is
    not."""
    return (selector == "uniform" or selector.startswith("uniform:")) and "+" not in selector


def generator(audit: Audit, *about: object) -> np.random.Generator:
    """The random numbers of one purpose: those of others, and which others there are, make no difference."""
    return np.random.default_rng([audit.seed, zlib.crc32(repr(about).encode())])


def nested_mean(cells: list[Cell], values: list[float]) -> float:
    """The mean over bases of means over seeds of means over cells; one value a cell."""
    bases: dict[str, dict[int, list[float]]] = {}
    for cell, value in zip(cells, values, strict=True):
        bases.setdefault(cell.base, {}).setdefault(cell.seed, []).append(value)

    def mean(items: list[float]) -> float:
        return math.fsum(items) / len(items)

    return mean([mean([mean(seed) for seed in seeds.values()]) for seeds in bases.values()])


def sample_means(vectors: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    """[resamples, quantities]: means of vectors [quantities, samples] over samples drawn with replacement, the same for
    all quantities."""
    samples = vectors.shape[1]
    result = np.empty((resamples, len(vectors)))
    at_a_time = max(1, WEIGHTS_AT_A_TIME // samples)
    for begin in range(0, resamples, at_a_time):
        count = min(at_a_time, resamples - begin)
        drawn = random.integers(samples, size=(count, samples)) + samples * np.arange(count)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * samples).reshape(count, samples) / samples
        result[begin : begin + count] = weights @ vectors.T
    return result


def two_stage_means(seeds: list[list[np.ndarray]], resamples: int, random: np.random.Generator) -> np.ndarray:
    """[resamples, quantities]: means over seeds drawn with replacement of means over tasks of means over samples drawn
    with replacement. `seeds` has [quantities, samples] a seed and task."""
    drawn = random.integers(len(seeds), size=(resamples, len(seeds)))
    result = np.zeros((resamples, len(seeds[0][0])))
    for place in range(len(seeds)):
        for which, tasks in enumerate(seeds):
            here = np.flatnonzero(drawn[:, place] == which)
            for vectors in tasks:
                result[here] += sample_means(vectors, len(here), random) / (len(tasks) * len(seeds))
    return result


def interval_of(resampled: np.ndarray, confidence: float) -> list[Interval]:
    """The percentile interval of each column."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def samples_of(cell: Cell, index: int) -> Samples:
    """What a choice loses."""
    return tuple(cell.measures.scores[task].kl[index] for task in cell.measures.tasks)


def seed_vectors(quantity: Quantity, base: str) -> dict[int, list[np.ndarray]]:
    """By seed of the base: a vector over samples for each task, the mean over the quantity's cells."""
    parts: dict[int, list[Samples]] = {}
    for i, cell in enumerate(quantity.cells):
        if cell.base == base:
            plus, minus = quantity.plus[i], quantity.minus[i] if quantity.minus else None
            vectors = plus if minus is None else tuple(a - b for a, b in zip(plus, minus, strict=True))
            parts.setdefault(cell.seed, []).append(vectors)
    return {seed: [np.mean(task, axis=0) for task in zip(*cells, strict=True)] for seed, cells in parts.items()}


def estimate(audit: Audit, after: str, quantities: list[Quantity]) -> list[dict[str | None, Estimate]]:
    """Each quantity's estimates by base in which it has cells, and under None over all of these."""
    if not quantities:
        return []
    results: list[dict[str | None, Estimate]] = [{} for _ in quantities]
    totals = np.zeros((audit.resamples, len(quantities)))
    values: list[list[float]] = [[] for _ in quantities]
    tasks = {cell.base: cell.measures.tasks for quantity in quantities for cell in quantity.cells}
    for base in tasks:
        # Quantities of the same seeds see the same draws.
        groups = collections.defaultdict(list)
        for i, quantity in enumerate(quantities):
            if vectors := seed_vectors(quantity, base):
                groups[tuple(vectors)].append((i, vectors))
        for seeds, members in groups.items():
            stacked = [
                [np.stack(task) for task in zip(*(vectors[seed] for _, vectors in members), strict=True)]
                for seed in seeds
            ]
            # Not of the base: others with the same questions see the same draws.
            shape = [[vectors.shape[1] for vectors in of_seed] for of_seed in stacked]
            random = generator(audit, "resamples", after, seeds, tasks[base], shape)
            resampled = two_stage_means(stacked, audit.resamples, random)
            for column, ((i, vectors), interval) in enumerate(
                zip(members, interval_of(resampled, audit.confidence), strict=True)
            ):
                value = float(np.mean([np.mean([task.mean() for task in tasks]) for tasks in vectors.values()]))
                results[i][base] = Estimate(value, interval)
                values[i].append(value)
                totals[:, i] += resampled[:, column]
    bases = np.array([len(of_bases) for of_bases in values])
    for i, interval in enumerate(interval_of(totals / bases, audit.confidence)):
        results[i][None] = Estimate(float(np.mean(values[i])), interval)
    return results


def verdict(interval: Interval, below: str, above: str) -> str:
    """Which of two an interval of their difference speaks for, if it does not hold 0."""
    low, high = interval
    return above if low > 0 else below if high < 0 else "open"


def standings(cell: Cell, objective: float) -> tuple[int, float]:
    """Rank and percentile of an objective among a cell's choices, of which one has it."""
    objectives = cell.measures.objectives
    others = len(objectives) - 1
    return (
        1 + int((objectives < objective).sum()),
        100 * int((objectives > objective).sum()) / others if others else 100.0,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Halves:
    """Random splits of a cell's samples into two halves, and what choices lose on each."""

    masks: tuple[np.ndarray, ...]  # by task [SPLITS, samples]: whether a sample is in the first half
    objectives: np.ndarray  # [2, SPLITS, choices]


def split(audit: Audit, cell: Cell) -> Halves | None:
    """None where a task has a single sample."""
    measures = cell.measures
    random = generator(audit, "halves", cell.after, cell.base, cell.seed)
    objectives = np.zeros((2, SPLITS, len(measures.choices)))
    masks = []
    for task in measures.tasks:
        kl = measures.scores[task].kl
        samples = kl.shape[1]
        if samples < 2:
            return None
        order = random.permuted(np.tile(np.arange(samples), (SPLITS, 1)), axis=1)
        masks.append(first := order < samples // 2)
        for half, mask in enumerate((first, ~first)):
            objectives[half] += (kl @ (mask / mask.sum(axis=1, keepdims=True)).T).T / len(measures.tasks)
    return Halves(tuple(masks), objectives)


def crossfit_best(audit: Audit, cell: Cell, indices: list[int]) -> Samples | None:
    """For each sample the KL of the choice, of these, that is best on the half of the samples that this one is not in,
    the mean over random halves. None where a task has a single sample.

    A choice that is found on the samples that it is judged on looks better than it is; here none is judged on a sample
    that it was found on."""
    if (halves := split(audit, cell)) is None:
        return None
    best = halves.objectives[:, :, indices].argmin(axis=2)  # [2, SPLITS]
    result = []
    for task, mask in zip(cell.measures.tasks, halves.masks, strict=True):
        kl = cell.measures.scores[task].kl[indices]
        # Found on the other half than the sample's.
        found = np.where(mask, best[1][:, None], best[0][:, None])
        result.append(kl[found, np.arange(kl.shape[1])].mean(axis=0))
    return tuple(result)


def crossfit_regrets(audit: Audit, cell: Cell) -> np.ndarray | None:
    """[choices]: the regret against the choice that is best on one half of the samples, judged on the other half; the
    mean over both ways and over random halves. None where a task has a single sample.

    The least of many noisy means lies below the mean of the truly best choice (the winner's curse), so `regret`, whose
    optimum was found on the samples that it is judged on, is too large on average. Here the optimum is judged on
    samples that it was not found on, and half the samples find a worse one: too small on average."""
    if (halves := split(audit, cell)) is None:
        return None
    regrets = np.zeros(len(cell.measures.choices))
    for finds, judges in (halves.objectives, halves.objectives[::-1]):
        best = judges[np.arange(SPLITS), finds.argmin(axis=1)]
        regrets += (judges - best[:, None]).mean(axis=0) / 2
    return regrets


def scores_of(measures: Measures, index: int, task: str) -> dict[str, float]:
    scores = measures.scores[task]
    return {"kl": float(scores.kl[index].mean()), "correct": float(scores.correct[index].mean())}


def cell_rows(audit: Audit, cell: Cell) -> list[Row]:
    """A row a selector, and where every choice was judged that of the best one."""
    measures = cell.measures
    picks = [(selector, pick.index, pick.cost) for selector, pick in cell.picks.items()]
    best = measures.best
    if measures.complete:
        picks.append((EXHAUSTIVE, best, measures.cost))
    intervals: list[Interval | None] = [None] * len(picks)
    crossfit = None
    if measures.complete:
        indices = [index for _, index, _ in picks]
        differences = [measures.scores[task].kl[indices] - measures.scores[task].kl[best] for task in measures.tasks]
        random = generator(audit, "samples", cell.after, cell.base, cell.seed)
        intervals = list(interval_of(two_stage_means([differences], audit.resamples, random), audit.confidence))
        crossfit = crossfit_regrets(audit, cell)

    def row(selector: str, index: int, cost: Cost, interval: Interval | None) -> Row:
        objective = float(measures.objectives[index])
        rank, percentile = standings(cell, objective) if measures.complete else (None, None)
        by_task = {
            task: scores_of(measures, index, task) for task in measures.scores if task in measures.tasks or task != TEXT
        }
        return Row(
            base=cell.base,
            selector=selector,
            seed=cell.seed,
            budget=cell.budget,
            kept=measures.kept[index],
            objective=objective,
            rank=rank,
            percentile=percentile,
            regret=objective - float(measures.objectives[best]) if measures.complete else None,
            regret_interval=interval,
            # The exhaustive choice was found on both halves.
            regret_crossfit=float(crossfit[index]) if crossfit is not None and selector != EXHAUSTIVE else None,
            tokens=cost.tokens,
            flops=cost.flops,
            seconds=cost.seconds,
            after=cell.after,
            correct=float(np.mean([by_task[task]["correct"] for task in measures.tasks])),
            by_task=by_task,
            text=scores_of(measures, index, TEXT) if TEXT in measures.scores else None,
            choices=len(measures.choices),
        )

    return [row(*pick, interval) for pick, interval in zip(picks, intervals, strict=True)]


def uniform_choices(cell: Cell) -> list[int]:
    """Of all uniform patterns of a cell."""
    return [pick.index for selector, pick in cell.picks.items() if is_uniform(selector)]


def contestants(cell: Cell) -> dict[str, int]:
    """The choice of each selector of a cell and, in hindsight, the best of the uniform ones."""
    choices = {selector: pick.index for selector, pick in cell.picks.items()}
    if uniform := uniform_choices(cell):
        choices[BEST_UNIFORM] = min(uniform, key=lambda index: cell.measures.objectives[index])
    return choices


def compared_samples(audit: Audit, cell: Cell) -> dict[str, Samples]:
    """What each selector of a cell is compared by. The best uniform pattern is cross-fitted: in hindsight it would be
    better than others of the same worth."""
    result = {selector: samples_of(cell, pick.index) for selector, pick in cell.picks.items()}
    uniform = uniform_choices(cell)
    if uniform and (best := crossfit_best(audit, cell, uniform)) is not None:
        result[BEST_UNIFORM] = best
    return result


def compare(audit: Audit, after: str, cells: list[Cell]) -> tuple[list[Comparison], list[Pair]]:
    """Every selector against the reference, by base and over all, and every two of them over all."""
    chosen = [(cell, contestants(cell), compared_samples(audit, cell)) for cell in cells]
    names = [name for name in (*audit.selectors, BEST_UNIFORM) if any(name in samples for _, _, samples in chosen)]
    pairs, quantities, equal = [], [], []
    for first, second in itertools.combinations(names, 2):
        # The reference is subtracted in whatever it takes part.
        plus, minus = (second, first) if first == audit.reference else (first, second)
        if common := [
            (cell, samples[plus], samples[minus], choices[plus] == choices[minus])
            for cell, choices, samples in chosen
            if plus in samples and minus in samples
        ]:
            pairs.append((plus, minus))
            *quantity, same = zip(*common, strict=True)
            quantities.append(Quantity(*quantity))
            equal.append(same)
    comparisons, matrix = [], []
    for (plus, minus), quantity, same, estimates in zip(
        pairs, quantities, equal, estimate(audit, after, quantities), strict=True
    ):
        for base, found in [(None, estimates.pop(None)), *estimates.items()]:
            here = [i for i, cell in enumerate(quantity.cells) if base in (None, cell.base)]
            counts = {
                "cells": len(here),
                "seeds": len({(quantity.cells[i].base, quantity.cells[i].seed) for i in here}),
                "same": sum(same[i] for i in here),
            }
            if base is None:
                matrix.append(
                    Pair(
                        after,
                        plus,
                        minus,
                        found.value,
                        found.interval,
                        verdict(found.interval, "first better", "second better"),
                        **counts,
                    )
                )
            if minus == audit.reference:
                comparisons.append(
                    Comparison(
                        after,
                        base,
                        plus,
                        minus,
                        found.value,
                        found.interval,
                        verdict(found.interval, "reference worse", "reference better"),
                        **counts,
                    )
                )
    return comparisons, matrix


@dataclasses.dataclass(frozen=True)
class Standing:
    """A row in its cell."""

    cell: Cell
    row: Row
    index: int  # the choice


def standings_by_name(audit: Audit, cells: list[Cell], rows: list[list[Row]]) -> dict[str, list[Standing]]:
    """By selector, in the order of tables, with the best uniform and the exhaustive choice last."""
    found: dict[str, list[Standing]] = {name: [] for name in (*audit.selectors, BEST_UNIFORM, EXHAUSTIVE)}
    for cell, of_cell in zip(cells, rows, strict=True):
        choices = contestants(cell)
        for row in of_cell:
            found[row.selector].append(Standing(cell, row, choices.get(row.selector, cell.measures.best)))
        if uniform := [row for row in of_cell if is_uniform(row.selector)]:
            best = next(row for row in uniform if choices[row.selector] == choices[BEST_UNIFORM])
            found[BEST_UNIFORM].append(Standing(cell, best, choices[BEST_UNIFORM]))
    return {name: standings for name, standings in found.items() if standings}


def mean_of(standings: list[Standing], field: str) -> float | None:
    """Of a field of the rows; None where one of them has no value, or there is none."""
    values = [getattr(standing.row, field) for standing in standings]
    return nested_mean([standing.cell for standing in standings], values) if values and None not in values else None


def task_means(standings: list[Standing]) -> dict[str, TaskMeans]:
    """By task of any cell in which a selector stands."""
    result = {}
    for task in dict.fromkeys(task for standing in standings for task in standing.cell.measures.tasks):
        own = [standing for standing in standings if task in standing.cell.measures.tasks]
        kls, regrets = [], []
        for standing in own:
            means = standing.cell.measures.scores[task].kl.mean(axis=1)
            kls.append(float(means[standing.index]))
            regrets.append(float(means[standing.index] - means.min()) if standing.cell.measures.complete else None)
        cells = [standing.cell for standing in own]
        ranked = [(cell, regret) for cell, regret in zip(cells, regrets, strict=True) if regret is not None]
        result[task] = TaskMeans(
            nested_mean(cells, kls),
            nested_mean(cells, [standing.row.by_task[task]["correct"] for standing in own]),
            nested_mean(*map(list, zip(*ranked, strict=True))) if ranked else None,
        )
    return result


def above_uniform(standings: list[Standing]) -> tuple[int, int]:
    """Cells in which a uniform pattern stands, and those of them in which the best one's KL is less than the own."""
    pairs = [
        (standing.row.objective, standing.cell.measures.objectives[uniform].min())
        for standing in standings
        if (uniform := uniform_choices(standing.cell))
    ]
    return len(pairs), sum(bool(own > best) for own, best in pairs)


def summarize(audit: Audit, after: str, cells: list[Cell], rows: list[list[Row]]) -> list[Summary]:
    """A selector a line, in the order of tables."""
    by_name = standings_by_name(audit, cells, rows)
    ranked = {
        name: [standing for standing in standings if standing.row.rank is not None]
        for name, standings in by_name.items()
    }
    objectives = estimate(
        audit,
        after,
        [
            Quantity(
                tuple(standing.cell for standing in standings),
                tuple(samples_of(standing.cell, standing.index) for standing in standings),
            )
            for standings in by_name.values()
        ],
    )
    with_ranks = {name: standings for name, standings in ranked.items() if standings}
    regrets = dict(
        zip(
            with_ranks,
            estimate(
                audit,
                after,
                [
                    Quantity(
                        tuple(standing.cell for standing in standings),
                        tuple(samples_of(standing.cell, standing.index) for standing in standings),
                        tuple(samples_of(standing.cell, standing.cell.measures.best) for standing in standings),
                    )
                    for standings in with_ranks.values()
                ],
            ),
            strict=True,
        )
    )
    result = []
    for (name, standings), objective in zip(by_name.items(), objectives, strict=True):
        own = ranked[name]
        worst = min((standing.row for standing in own), key=lambda row: (row.percentile, -row.rank), default=None)
        uniform_cells, above = above_uniform(standings)
        # Which uniform choice is best is known once all were judged: what that took is no cost of a selector.
        costs = {
            field: None if name == BEST_UNIFORM else mean_of(standings, field)
            for field in ("tokens", "flops", "seconds")
        }
        result.append(
            Summary(
                after=after,
                selector=name,
                cells=len(standings),
                objective=objective[None].value,
                objective_interval=objective[None].interval,
                correct=mean_of(standings, "correct"),
                ranked=len(own),
                regret=regrets[name][None].value if own else None,
                regret_interval=regrets[name][None].interval if own else None,
                regret_crossfit=mean_of(own, "regret_crossfit"),
                worst_regret=max((standing.row.regret for standing in own), default=None),
                rank=mean_of(own, "rank"),
                percentile=mean_of(own, "percentile"),
                worst_rank=worst.rank if worst else None,
                worst_rank_of=worst.choices if worst else None,
                optimal=sum(standing.row.rank == 1 for standing in own) if own else None,
                above_zero=sum(standing.row.regret_interval[0] > 0 for standing in own) if own else None,
                uniform_cells=uniform_cells,
                above_uniform=above if uniform_cells and name != BEST_UNIFORM else None,
                by_task=task_means(standings),
                **costs,
            )
        )
    return result


def explained(values: np.ndarray, design: np.ndarray) -> tuple[float | None, float | None, int]:
    """R^2 = 1 - SSE / SST and adjusted R^2 = 1 - (1 - R^2) (n - 1) / (n - 1 - p) (Theil 1961) of the least-squares
    regression of values [n] on an intercept and the centred columns of design, and p, the columns' rank."""
    centred = values - values.mean()
    total = float(centred @ centred)
    coefficients, _, rank, _ = np.linalg.lstsq(design, centred)
    residuals = centred - design @ coefficients
    parameters, spare = int(rank), len(values) - 1 - int(rank)
    # Equal up to rounding.
    if total <= len(values) * (1e-12 * float(np.abs(values).max())) ** 2:
        return None, None, parameters
    r2 = 1 - float(residuals @ residuals) / total
    return r2, 1 - (1 - r2) * (len(values) - 1) / spare if spare > 0 else None, parameters


def additivity(cell: Cell) -> list[Additivity]:
    """For each task how well an indicator for each candidate of a layer but one explains the choices' mean KL. With a
    fixed number of kept layers one indicator is given by the others, so there is one parameter less. What is left is
    the layers' interactions and the noise of the samples.

    The KLs of a landscape can span four orders of magnitude: then the largest decide R^2 alone, and a product of the
    layers' effects counts as an interaction. Of the logarithm neither holds."""
    choices = np.array(cell.measures.choices)
    columns = []
    for layer in choices.T:
        names = sorted(set(layer.tolist()), key=lambda name: (name != FULL, name))
        columns += [(layer == name).astype(float) for name in names[:-1]]
    design = np.array(columns).reshape(len(columns), len(choices)).T
    design = design - design.mean(axis=0) if columns else design
    result = []
    for task in cell.measures.tasks:
        kl = cell.measures.scores[task].kl.mean(axis=1)
        r2, adjusted, parameters = explained(kl, design)
        log_r2, log_adjusted, _ = explained(np.log(kl), design) if kl.min() > 0 else (None, None, parameters)
        place = (cell.base, cell.seed, cell.budget, cell.after, task)
        result.append(Additivity(*place, len(kl), parameters, r2, adjusted, log_r2, log_adjusted))
    return result


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[where]


def spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rank correlation; None where one of them has one value alone."""
    if len(np.unique(first)) < 2 or len(np.unique(second)) < 2:
        return None
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def persistence(before: Cell, after: Cell) -> Persistence:
    """Of two cells of the same base, seed and budget, in both of which every choice was judged."""
    first = before.measures.objectives
    second = np.array([after.measures.objectives[after.measures.index[choice]] for choice in before.measures.choices])
    order = np.argsort(first, kind="stable")
    best = order[: -(-len(order) // 4)]
    sizes = [2**power for power in range(len(order).bit_length()) if 2**power <= len(order)]
    return Persistence(
        base=before.base,
        seed=before.seed,
        budget=before.budget,
        choices=len(order),
        spearman=spearman(first, second),
        spearman_best=spearman(first[best], second[best]),
        finalists={size: float(second[order[:size]].min() - second.min()) for size in sizes},
    )


def persistences(audit: Audit) -> list[Persistence]:
    """Of all bases, seeds and budgets whose choices were all judged before distillation and after it."""
    found: dict[tuple[str, int, int], dict[str, Cell]] = collections.defaultdict(dict)
    for cell in audit.cells:
        if cell.measures.complete:
            found[cell.base, cell.seed, cell.budget][cell.after] = cell
    pairs = [tuple(cells[after] for after in AFTERS) for cells in found.values() if len(cells) == len(AFTERS)]
    return [
        persistence(before, after)
        for before, after in pairs
        if before.measures.index.keys() == after.measures.index.keys()
    ]


def teacher_answers(audit: Audit) -> dict[str, dict[str, Answers]]:
    """By base and task, over seeds. All budgets of a seed are judged on the same samples, so each seed counts once."""
    seeds: dict[tuple[str, int], dict[str, Answers]] = {}
    for cell in audit.cells:
        if cell.measures.teacher:
            seeds.setdefault((cell.base, cell.seed), cell.measures.teacher)
    found: dict[str, dict[str, list[Answers]]] = {}
    for (base, _), teacher in seeds.items():
        for task, answers in teacher.items():
            found.setdefault(base, {}).setdefault(task, []).append(answers)
    return {
        base: {
            task: Answers(
                math.fsum(answers.correct for answers in of_task) / len(of_task),
                sum(answers.samples for answers in of_task),
            )
            for task, of_task in tasks.items()
        }
        for base, tasks in found.items()
    }


def jaccard(first: tuple[int, ...], second: tuple[int, ...]) -> float:
    """|A and B| / |A or B|; 1 for two empty sets."""
    union = set(first) | set(second)
    return len(set(first) & set(second)) / len(union) if union else 1.0


def agree(audit: Audit, rows: list[Row]) -> Agreement:
    """Over bases, seeds and budgets, each once, whatever came after the selection."""
    kept: dict[tuple[str, int, int], dict[str, tuple[int, ...]]] = collections.defaultdict(dict)
    for row in rows:
        kept[row.base, row.seed, row.budget].setdefault(row.selector, row.kept)
    names = tuple(name for name in (*audit.selectors, EXHAUSTIVE) if any(name in cell for cell in kept.values()))
    values = [
        [[jaccard(cell[a], cell[b]) for cell in kept.values() if a in cell and b in cell] for b in names] for a in names
    ]
    return Agreement(
        names,
        tuple(tuple(float(np.mean(found)) if found else None for found in line) for line in values),
        tuple(tuple(len(found) for found in line) for line in values),
    )


def rule_of(audit: Audit) -> str:
    """What decides, in words, from what was fixed before the run."""
    percent = f"{100 * audit.confidence:g} %"
    return (
        "Of two selectors the one with the smaller objective (mean KL to the teacher over tasks and held-out "
        f"samples, {NATS}) is called better where the {percent} interval of the mean paired difference over bases, "
        "seeds and budgets does not hold 0, otherwise the comparison is open. The interval lies between percentiles "
        f"of {audit.resamples} bootstrap resamples (random seed {audit.seed}) of the seeds of each base and of the "
        f"held-out samples of each seed, the same for bases of the same seeds and numbers of samples. The reference is "
        f"{audit.reference}. The best uniform pattern of a cell is found on one half of its samples and compared on the "
        "other, both ways. Each comparison stands alone: none is corrected for their number."
    )


def evaluate(audit: Audit) -> Results:
    """All results; the same for the same files."""
    rows = [cell_rows(audit, cell) for cell in audit.cells]
    comparisons, pairs, summary = [], [], []
    for after in dict.fromkeys(cell.after for cell in audit.cells):
        places = [i for i, cell in enumerate(audit.cells) if cell.after == after]
        cells = [audit.cells[i] for i in places]
        of_reference, of_all = compare(audit, after, cells)
        # First what holds over all bases.
        comparisons += sorted(of_reference, key=lambda comparison: comparison.base is not None)
        pairs += of_all
        summary += summarize(audit, after, cells, [rows[i] for i in places])
    every = list(itertools.chain.from_iterable(rows))
    return Results(
        1,
        audit.name,
        rule_of(audit),
        tuple(every),
        tuple(comparisons),
        tuple(pairs),
        tuple(itertools.chain.from_iterable(additivity(cell) for cell in audit.cells if cell.measures.complete)),
        tuple(persistences(audit)),
        agree(audit, every),
        tuple(summary),
        teacher_answers(audit),
    )
