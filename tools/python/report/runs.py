# SPDX-License-Identifier: Apache-2.0
"""What a report reads of a run's folder, as checked values: resolved.json, the spec, metrics.jsonl, summary.json.

All files are taken to be untrusted: whatever is malformed is an InputError that names its file.
"""

import dataclasses
import math
import pathlib

from checked_json import Node, parse_json, read_bytes
from data.files import distinct_names
from morph_data import InputError

VERSION = 1
# How layers that keep full attention are named in choices, and the models that every run evaluates.
FULL, TEACHER, SELECTED = "full", "teacher", "selected"
# The task of rows that measure text.
TEXT = "text"
# In the order in which a model goes through them.
AFTERS = ("selection", "distill", "finetune")
HINT = "the same morph run line again writes it at its end"
# What a page can show: larger files are another program's.
MOST_BYTES = 512 << 20


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage took; 0 where it does not count."""

    name: str
    seconds: float
    tokens: float
    flops: float
    memory_bytes: float
    unread_share: float  # of the text's tokens, in documents that are too short for its windows


@dataclasses.dataclass(frozen=True)
class Source:
    """A text, or a task's file: documents or questions, empty ones that were dropped, and those of a task that are too long."""

    name: str
    path: str
    documents: float
    tokens: float  # 0 of a task
    dropped: float
    long: float = 0


@dataclasses.dataclass(frozen=True)
class Measured:
    """A mean with its interval of 95 %, where there is one."""

    value: float
    interval: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """What a model was measured at: answers of a task, or a text's cross-entropy."""

    model: str
    after: str
    task: str
    length: int
    depth: float | None
    generated: Measured | None  # share of answers that are right in every token, written by the model itself
    forced: Measured | None  # the same, each token predicted after the true ones
    cross_entropy: Measured | None  # nats a token of text
    by_position: list[tuple[int, float]]  # the same of parts of the windows: the last target's position, nats


@dataclasses.dataclass(frozen=True)
class Difference:
    """The selected hybrid minus a baseline, paired by sample."""

    baseline: str
    measure: str
    after: str
    task: str
    length: int
    depth: float | None
    measured: Measured


@dataclasses.dataclass(frozen=True)
class Curve:
    """A value over the steps of a stage, of one model; not a number where it was none."""

    stage: str
    variant: str
    steps: list[int]
    values: list[float]


@dataclasses.dataclass(frozen=True)
class Cache:
    """Bytes that decoding keeps of one sequence after `context` tokens."""

    context: int
    full: float
    hybrid: float


@dataclasses.dataclass(frozen=True)
class Budget:
    """Costs of the layers' mixers in one of the spec's budgets, in its unit; `limit` is what they may be."""

    measure: str
    unit: str
    context: int
    limit: float
    full: float
    chosen: float


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A whole run's folder."""

    label: str  # tells it from the page's other runs
    name: str  # the spec's
    resolved: dict
    spec_file: str
    spec: str
    layers: int
    method: str  # how the layers were chosen; "" where none were
    choices: dict[str, tuple[str, ...]]  # each layer's candidate, by model; the selected one first
    scores: list[float] | None  # of the layers, by the method
    stages: list[Stage]
    sources: list[Source]
    rows: list[Row]
    differences: list[Difference]
    losses: list[Curve]
    held_out: dict[str, list[Curve]]  # by what was measured: a task, or text
    gates: dict[int, Curve]  # by layer: how far full attention's gate is open
    caches: list[Cache]
    budgets: list[Budget]
    check: str  # what the comparison with transformers found


def text_of(folder: pathlib.Path, name: str) -> str:
    """The text of a file of the folder."""
    path, shown = folder / name, f"{folder}/{name}"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{shown}: lies outside the run's folder")
    if path.exists() and not path.is_file():
        raise InputError(f"{shown}: is no file")
    if path.exists() and path.stat().st_size > MOST_BYTES:
        raise InputError(f"{shown}: has {path.stat().st_size} bytes, expected at most {MOST_BYTES}")
    try:
        return read_bytes(path, shown, HINT).decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is {error.object[error.start]:#04x}"
        raise InputError(f"{shown}: is no UTF-8 text: {byte}") from error


def object_of(folder: pathlib.Path, name: str) -> Node:
    """The object in a JSON file of the folder, whose version is known."""
    return parse_json(text_of(folder, name), f"{folder}/{name}", HINT).versioned(VERSION)


def interval_of(node: Node | None) -> tuple[float, float] | None:
    if node is None:
        return None
    low, high = (*node.numbers(), math.nan, math.nan)[:2]
    if not low <= high or len(node.value) != 2:
        raise node.error("is no interval of two numbers, the smaller one first")
    return float(low), float(high)


def measured_of(node: Node | None, value: str, interval: str) -> Measured | None:
    """The members `value` and `interval` of an object; nothing where there is no value."""
    found = None if node is None else node.find(value)
    return None if found is None else Measured(found.number(-1e300), interval_of(node.find(interval)))


def place_of(node: Node) -> tuple[str, str, int, float | None]:
    depth = node.find("depth")
    return node["after"].text(), node["task"].text(), node["length"].integer(), depth and depth.number()


def read_row(node: Node) -> Row:
    after, task, length, depth = place_of(node)
    shares = [measured_of(node.find(part), "answers", "interval") for part in ("generated", "teacher_forced")]
    for part, share in zip(("generated", "teacher_forced"), shares, strict=True):
        if share and not 0 <= share.value <= 1:
            raise node[part]["answers"].error("is no share, 0 to 1")
    entropy = measured_of(node, "cross_entropy", "cross_entropy_interval")
    parts = node.find("by_position")
    by_position = [] if parts is None else [
        (part["end"].integer(1), part["cross_entropy"].number()) for part in parts.entries()
    ]
    return Row(node["model"].text(), after, task, length, depth, *shares, entropy, by_position)


def read_stage(node: Node) -> Stage:
    def amount(key: str) -> float:
        found = node.find(key)
        return 0.0 if found is None else found.number()

    return Stage(node["stage"].text(), *(amount(key) for key in ("seconds", "tokens", "flops", "memory_bytes", "unread_share")))


def read_sources(data: Node | None) -> list[Source]:
    """What the data stage read."""
    if data is None:
        return []
    texts = [Source("text", node["path"].text(), node["documents"].number(), node["tokens"].number(), node["dropped"].number())
             for node in data["texts"].entries()]
    tasks = [Source(node["name"].text(), node["path"].text(), node["rows"].number(), 0, node["dropped"].number(), node["long"].number())
             for node in data["tasks"].entries()]
    return texts + tasks


def value_of(node: Node | None) -> float:
    """A logged number; one that was not finite stands as null."""
    return math.nan if node is None else node.number(-1e300)


class Metrics:
    """The curves of metrics.jsonl, line by line."""

    def __init__(self, text: str, name: str, full: list[int | None]):
        self.losses: dict[tuple[str, str], Curve] = {}
        self.held_out: dict[str, dict[tuple[str, str], Curve]] = {}
        self.gates: dict[int, Curve] = {}
        for number, line in enumerate(text.splitlines(), 1):
            self.add(parse_json(line, f"{name}, line {number}", HINT), full)

    def add(self, node: Node, full: list[int | None]) -> None:
        """`full` has the place of full attention among each layer's candidates."""
        variant = node.find("variant")
        key = (node["stage"].text(), "" if variant is None else variant.text())
        if node.find("step") is None:
            return
        step = node["step"].integer()

        def append(curves: dict, place: object, value: float) -> None:
            curve = curves.setdefault(place, Curve(*key, [], []))
            curve.steps.append(step)
            curve.values.append(value)

        if "loss" in node.fields():
            append(self.losses, key, value_of(node.find("loss")))
        held_out = node.find("held_out")
        for name in [] if held_out is None else held_out.fields():
            Node(name, node.file, "held_out: a name").text()
            append(self.held_out.setdefault(name, {}), key, value_of(held_out.find(name)))
        gates = node.find("gates")
        if gates is None:
            return
        layers = gates.items()
        if len(layers) != len(full):
            raise gates.error(f"has {len(layers)} layers, the spec {len(full)}")
        for layer, (values, place) in enumerate(zip(layers, full, strict=True)):
            if place is not None and values.value is not None:
                weights = values.numbers()
                if place >= len(weights):
                    raise values.error(f"has {len(weights)} gates, one of them should be full attention's")
                append(self.gates, layer, float(weights[place]))


def read_budgets(space: Node, choice: tuple[str, ...]) -> list[Budget]:
    """Costs of a choice, and of full attention in every layer."""
    names = [[candidate["name"].text() for candidate in layer.items()] for layer in space["layers"].items()]
    result = []
    for budget in space["budgets"].entries():
        costs = budget["costs"].items()
        if len(costs) != len(names) or len(choice) != len(names):
            raise budget["costs"].error(f"has {len(costs)} layers, the space {len(names)}, the choice {len(choice)}")
        full = chosen = 0.0
        for layer, candidates, taken in zip(costs, names, choice, strict=True):
            numbers = layer.numbers()
            if len(numbers) != len(candidates):
                raise layer.error(f"has {len(numbers)} costs for {len(candidates)} candidates")
            if taken not in candidates:
                raise InputError(f"{space.file}: has no candidate {taken!r} in a layer where the selection has it")
            full += numbers[candidates.index(FULL) if FULL in candidates else 0]
            chosen += numbers[candidates.index(taken)]
        measure, unit, context = budget["measure"].text(), budget["unit"].text(), budget["context"].integer()
        result.append(Budget(measure, unit, context, budget["limit"].number(), full, chosen))
    return result


def describe_check(check: Node | None) -> str:
    """What the comparison of log-probabilities with transformers found (check_export.py)."""
    if check is None or check.find("verdict") is None:
        return ""
    verdict = check["verdict"].text()

    def largest(key: str) -> str:
        node = check.find(key)
        values = [] if node is None else [value.value for value in node.fields().values()]
        finite = [float(value) for value in values if type(value) in (int, float) and abs(value) < 1e300]
        return f"{max(finite):.1e}" if finite else "no number"

    if verdict == "agreement":
        return f"Its log-probabilities agree with transformers to {largest('fp32')}."
    if verdict == "rounding":
        return (
            f"Its log-probabilities agree with transformers to {largest('fp64')} in fp64; "
            f"fp32 rounds by {largest('noise')}."
        )
    return f"It differs from what transformers computes: {verdict}."


def read_run(folder: pathlib.Path, label: str) -> Run:
    """The run in a folder. Errors: InputError, with the file and what is wrong with it."""
    if not (folder / "resolved.json").exists():
        raise InputError(
            f"{folder}: is no run's folder, it has no resolved.json", "'morph run SPEC --out DIR' makes one"
        )
    resolved, summary = object_of(folder, "resolved.json"), object_of(folder, "summary.json")
    spec_file = next((name for name in ("spec.morph", "spec.toml") if (folder / name).exists()), "spec.toml")
    space = resolved.find("space")
    candidates = [] if space is None else [
        [candidate["name"].text() for candidate in layer.items()] for layer in space["layers"].items()
    ]
    metrics = Metrics("", "", [])
    if (folder / "metrics.jsonl").exists():
        full = [names.index(FULL) if FULL in names else None for names in candidates]
        metrics = Metrics(text_of(folder, "metrics.jsonl"), f"{folder}/metrics.jsonl", full)

    selection, chosen = summary.find("selection"), summary.find("choices")
    choices = {} if chosen is None else {
        Node(model, summary.file, "choices: a name").text(): node.names() for model, node in chosen.fields().items()
    }
    layers = max([len(candidates), *map(len, choices.values())])
    for model, choice in choices.items():
        if len(choice) != layers:
            raise chosen[model].error(f"has {len(choice)} layers, expected {layers}")
    if SELECTED in choices:
        choices = {SELECTED: choices[SELECTED]} | choices
    scores = None if selection is None else selection.find("scores")

    def several(key: str) -> list[Node]:
        found = summary.find(key)
        return [] if found is None else found.entries()

    return Run(
        label=label,
        name=resolved["name"].text(),
        resolved=resolved.value,
        spec_file=spec_file,
        spec=text_of(folder, spec_file),
        layers=layers,
        method="" if selection is None else selection["method"].text(),
        choices=choices,
        scores=None if scores is None or scores.value == [] else scores.numbers().tolist(),
        stages=[read_stage(node) for node in several("stages")],
        sources=read_sources(summary.find("data")),
        rows=[read_row(node) for node in several("evaluation")],
        differences=[
            Difference(
                node["baseline"].text(),
                node["measure"].text(),
                *place_of(node),
                Measured(node["difference"].number(-1e300), interval_of(node.find("interval"))),
            )
            for node in several("differences")
        ],
        losses=list(metrics.losses.values()),
        held_out={name: list(curves.values()) for name, curves in metrics.held_out.items()},
        gates=dict(sorted(metrics.gates.items())),
        caches=[
            Cache(node["context"].integer(1), node["full_bytes"].number(), node["hybrid_bytes"].number())
            for node in several("cache")
        ],
        budgets=[] if space is None or SELECTED not in choices else read_budgets(space, choices[SELECTED]),
        check=describe_check(summary.find("check")),
    )


def read_runs(folders: list[pathlib.Path]) -> list[Run]:
    """Runs under names that tell them apart: the folders', with as much of their paths as that takes."""
    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) != len(paths):
        raise InputError("a run is named twice", "name each folder once")
    return [read_run(folder, label) for folder, label in zip(folders, distinct_names(folders), strict=True)]
