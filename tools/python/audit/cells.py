# SPDX-License-Identifier: Apache-2.0
"""What an audit reads: cells.json, and the measures.json and selection.json files that it names, as checked values.

All files are taken to be untrusted: whatever is malformed or does not fit together is an InputError that names its
file.
"""

import collections
import dataclasses
import functools
import pathlib

import numpy as np
from checked_json import Node, read_json
from morph_data import InputError

VERSION = 1
# How layers that keep full attention are named in choices.
FULL = "full"
# What may have happened to a model before it was judged.
AFTERS = ("selection", "distill")
# What the audit itself adds beside the selectors of a spec.
EXHAUSTIVE, BEST_UNIFORM = "exhaustive", "best uniform"
# The score that is shown beside the tasks.
TEXT = "text"


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a selection took."""

    tokens: int
    flops: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a model answers, token by token after the true ones."""

    correct: float  # share of the answer tokens that are right, mean over samples
    samples: int


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """What all judged choices lose on one task."""

    kl: np.ndarray  # [choices, samples], nats an answer token
    correct: np.ndarray  # [choices, samples], share of the answer tokens that are right


@dataclasses.dataclass(frozen=True, eq=False)
class Measures:
    """The choices that were judged in a cell."""

    layers: int
    complete: bool  # these are all choices that the space allows
    tasks: tuple[str, ...]  # what the objective is the mean over
    # Of judging all on the tasks, with the teacher's run once; after distillation of distilling all, too. Text is no part
    # of the objective, so what it took to judge on it is not here.
    cost: Cost
    choices: tuple[tuple[str, ...], ...]  # a candidate's name a layer
    kept: tuple[tuple[int, ...], ...]
    scores: dict[str, Scores]
    teacher: dict[str, Answers]  # by task; empty where the file does not say

    @functools.cached_property
    def index(self) -> dict[tuple[str, ...], int]:
        """Where a choice stands."""
        return {choice: i for i, choice in enumerate(self.choices)}

    @functools.cached_property
    def objectives(self) -> np.ndarray:
        """[choices]: the mean over tasks of the mean KL over samples; smaller is better."""
        return np.mean([self.scores[task].kl.mean(axis=1) for task in self.tasks], axis=0)

    @functools.cached_property
    def best(self) -> int:
        """The first choice of least objective."""
        return int(self.objectives.argmin())


@dataclasses.dataclass(frozen=True)
class Pick:
    """What a selector chose: a judged choice."""

    index: int
    cost: Cost


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """One base, seed and budget, and what the selectors chose there."""

    base: str
    seed: int
    budget: int
    after: str
    measures: Measures
    picks: dict[str, Pick]  # in the order of the audit's selectors


@dataclasses.dataclass(frozen=True, eq=False)
class Audit:
    """A whole cells.json."""

    name: str
    confidence: float
    resamples: int
    seed: int
    reference: str
    selectors: tuple[str, ...]
    cells: tuple[Cell, ...]


def read_node(folder: pathlib.Path, name: str) -> Node:
    """A JSON file below the folder whose version is known."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f"{name}: lies outside the audit's folder", "paths in cells.json are relative to its folder")
    return read_json(path, name, "morph audit writes it").versioned(VERSION)


def check_kept(node: Node, choice: tuple[str, ...]) -> tuple[int, ...]:
    """Layers in order, which have to be those that are full in the choice."""
    kept = tuple(layer for layer, candidate in enumerate(choice) if candidate == FULL)
    if node.value != list(kept):
        raise node.error(f"is {str(node.value)[:80]}, but the layers that are '{FULL}' in the choice are {list(kept)}")
    return kept


def read_cost(node: Node) -> Cost:
    return Cost(node["tokens"].integer(), node["flops"].number(), node["seconds"].number())


def read_teacher(root: Node, tasks: tuple[str, ...]) -> dict[str, Answers]:
    """The teacher's own answers by task. Files of before it was measured have none."""
    node = root.find("teacher")
    if node is None:
        return {}
    result = {}
    for task in tasks:
        share = node[task]["correct"].number()
        if share > 1 + 1e-6:
            raise node[task]["correct"].error("is no share, 0 to 1")
        result[task] = Answers(share, node[task]["samples"].integer(1))
    return result


def read_measures(folder: pathlib.Path, name: str) -> Measures:
    root = read_node(folder, name)
    layers = root["layers"].integer(1, 100_000)
    tasks = root["tasks"].unique_names()
    choices, kept = [], []
    kl, correct = collections.defaultdict(list), collections.defaultdict(list)
    for entry in root["choices"].items():
        choice = entry["choice"].names()
        if len(choice) != layers:
            raise entry["choice"].error(f"names {len(choice)} candidates, but there are {layers} layers")
        choices.append(choice)
        kept.append(check_kept(entry["kept"], choice))
        scores = entry["scores"].fields()
        if missing := set(tasks) - set(scores):
            raise entry["scores"].error(f"has no '{min(missing)}', which the objective is the mean over")
        if len(choices) > 1 and set(scores) != set(kl):
            raise entry["scores"].error("has other names than those of the choices before")
        for task, score in scores.items():
            Node(task, name, f"{entry.where}.scores: a name").text()
            kl[task].append(score["kl"].numbers())
            correct[task].append(shares := score["correct"].numbers())
            if shares.min() < 0 or shares.max() > 1 + 1e-6:
                raise score["correct"].error("has values that are no shares, 0 to 1")
            for field, values in (("kl", kl), ("correct", correct)):
                if len(values[task][-1]) != len(kl[task][0]):
                    raise score[field].error(
                        f"has {len(values[task][-1])} samples, where there were {len(kl[task][0])} before",
                        "all choices are judged on the same samples",
                    )
    if len(set(choices)) != len(choices):
        raise root["choices"].error("holds a choice twice")
    # The cost of what has been judged on text is that of the tasks alone only where that of text stands apart.
    if TEXT in set(kl) - set(tasks) and root.find("text_cost") is None:
        raise root.error("has no 'text_cost'", "let this version of Morph write it again")
    return Measures(
        layers,
        root["complete"].boolean(),
        tasks,
        read_cost(root["cost"]),
        tuple(choices),
        tuple(kept),
        {task: Scores(np.array(kl[task]), np.array(correct[task])) for task in kl},
        read_teacher(root, tasks),
    )


def read_pick(folder: pathlib.Path, name: str, measures: Measures, measured_in: str) -> Pick:
    root = read_node(folder, name)
    choice = root["choice"].names()
    check_kept(root["kept"], choice)
    if choice not in measures.index:
        raise root["choice"].error(
            f"is not among the {len(measures.choices)} that {measured_in} judges",
            "the selection is of another model, space or budget",
        )
    return Pick(measures.index[choice], read_cost(root["cost"]))


def check_same_samples(cells: list[tuple[str, Cell]]) -> None:
    """All budgets of a base and seed share samples, all cells of a base its tasks and layers."""
    samples, bases = {}, {}
    for file, cell in cells:
        measures = cell.measures
        counts = {task: measures.scores[task].kl.shape[1] for task in measures.tasks}
        first, expected = bases.setdefault(cell.base, (file, (measures.tasks, measures.layers)))
        if expected != (measures.tasks, measures.layers):
            raise InputError(
                f"{file}: other tasks or layers than in {first}, of the same base '{cell.base}'",
                "cells of a base are of one model and one objective",
            )
        first, expected = samples.setdefault((cell.base, cell.seed, cell.after), (file, counts))
        if expected != counts:
            raise InputError(
                f"{file}: judges {counts} samples, {first} {expected}",
                "all budgets of a base and seed are judged on the same samples",
            )


def read_audit(folder: pathlib.Path, name: str = "cells.json") -> Audit:
    """Everything that cells.json in the folder names."""
    root = read_node(folder, name)
    selectors = root["selectors"].unique_names()
    if reserved := {EXHAUSTIVE, BEST_UNIFORM} & set(selectors):
        raise root["selectors"].error(f"names '{min(reserved)}'", "the audit adds that row itself")
    reference = root["reference"].text()
    if reference not in selectors:
        raise root["reference"].error(f"is '{reference}', which is not among the selectors")
    confidence = root["confidence"].number()
    if not 0 < confidence < 1:
        raise root["confidence"].error("is not between 0 and 1")
    cells, seen = [], set()
    for entry in root["cells"].items():
        after = entry["after"].text()
        if after not in AFTERS:
            raise entry["after"].error(f"is '{after}', expected one of {', '.join(AFTERS)}")
        base, seed, budget = entry["base"].text(), entry["seed"].integer(), entry["budget"].integer()
        if (base, seed, budget, after) in seen:
            raise entry.error(
                f"is base '{base}', seed {seed}, budget {budget}, after {after}, which stands there already"
            )
        seen.add((base, seed, budget, after))
        measured_in = entry["measures"].text()
        measures = read_measures(folder, measured_in)
        selections = entry["selections"].fields()
        if unknown := set(selections) - set(selectors):
            raise entry["selections"].error(f"has {ascii(min(unknown))[:100]}, which is not among the selectors")
        picks = {
            selector: read_pick(folder, selections[selector].text(), measures, measured_in)
            for selector in selectors
            if selector in selections
        }
        cells.append((measured_in, Cell(base, seed, budget, after, measures, picks)))
    check_same_samples(cells)
    return Audit(
        root["name"].text(),
        confidence,
        root["resamples"].integer(100, 1_000_000),
        root["seed"].integer(),
        reference,
        selectors,
        tuple(cell for _, cell in cells),
    )
