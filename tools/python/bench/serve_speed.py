# SPDX-License-Identifier: Apache-2.0
"""`morph serve` against transformers' `generate` on this machine's CPU, on the same hybrid and on the model with full
attention everywhere that it was made of: time to the first token and tokens a second, of one client and of several at once.

Four sides take turns, each in processes of its own that sleep between them: Morph and transformers, on both folders.
Morph's clients are of the `openai` package and stream; a server has as many slots as there are clients, and keeps no
prefixes. For transformers several clients are one batch of prompts of one length, the best that it can make of them. Every
turn has prompts that no other turn has; the sides of a turn have the same. No token ends an answer before its length.

  first      seconds from asking to the first token, the mean over clients
  tokens/s   of one client after its first token
  all        seconds until the last of several clients has its whole answer

Greedy tokens are compared with transformers' on the same folder. Where Morph takes another one, `behind` is how much less
likely (nats) transformers holds it than its own; more than rounding explains (--tolerance) is wrong: exit status 1.
What is expected to take longer than --limit-seconds is left out and listed."""

import argparse
import asyncio
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

PYTHON = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(PYTHON), str(PYTHON / "text")]
from data.files import check_writable, model_folder
from model_text import load_tokenizer
from serve_load import Server

SIDES = ("morph hybrid", "transformers hybrid", "morph full", "transformers full")
# Ratios of the table: how many times longer the first takes than the second.
RATIOS = (("transformers hybrid", "morph hybrid"), ("transformers full", "morph full"),
          ("transformers full", "morph hybrid"), ("morph full", "morph hybrid"))
# Nats that rounding may put a token behind another.
TOLERANCE = {"fp32": 0.01, "bf16": 0.5}
WARMING_TOKENS = 32
# What a machine is called idle at, as a share of the cores' time, and how long that is looked at.
IDLE, LOOK_SECONDS = 0.1, 2


def cpu_name():
    found = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1] if found else "CPU"


def cpu_seconds(pids=None):
    """Seconds of all cores that were busy since the start, or that these processes took."""
    if pids is None:
        # user nice system idle iowait irq softirq steal
        fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def wait_until_idle(most):
    """Waits until others leave the cores alone, so many seconds at most."""
    end = time.monotonic() + most
    while time.monotonic() < end:
        busy = cpu_seconds()
        time.sleep(LOOK_SECONDS)
        if cpu_seconds() - busy < IDLE * LOOK_SECONDS * os.cpu_count():
            return


def endless(folder, copy):
    """A copy of a model's folder, by links, in which no token ends an answer."""
    copy.mkdir()
    for path in folder.resolve().iterdir():
        if path.name != "generation_config.json":
            (copy / path.name).symlink_to(path)
    (copy / "generation_config.json").write_text('{"eos_token_id": []}')
    return copy


def make_prompts(words, tokenizer, length, count, seed):
    """Lists of so many token ids: words of a list, drawn."""
    draw, prompts = random.Random(seed), []
    for _ in range(count):
        ids = []
        while len(ids) < length:
            ids += tokenizer.encode(" ".join(draw.choices(words, k=length)), add_special_tokens=False).ids
        prompts.append(ids[:length])
    return prompts


class MorphSide:
    """`morph serve` and its clients. A token of an answer is (text, logarithm of its probability)."""

    def __init__(self, folder, context, options, morph):
        self.server = Server(
            morph, folder, "--slots", options.clients, "--context", context + options.tokens, "--prefix-cache-mb", 0,
            "--precision", options.precision, "--threads", options.threads, "--timeout-s", 1e6, "--max-tokens",
            options.tokens, "--max-body-kb", 64 + context // 50)

    def processes(self):
        return self.server.processes()

    def run(self, prompts, count):
        """The seconds of each client's tokens, and the answers."""
        return asyncio.run(self.ask_all(prompts, count))

    async def ask_all(self, prompts, count):
        import openai

        async with openai.AsyncOpenAI(base_url=self.server.url, api_key="none", timeout=1e6, max_retries=0) as client:
            begin = time.perf_counter()

            async def ask(prompt):
                seconds, answer = [], []
                stream = await client.completions.create(model="model", prompt=prompt, max_tokens=count, temperature=0,
                                                         logprobs=0, stream=True)
                async for piece in stream:
                    told = piece.choices[0].logprobs if piece.choices else None
                    if told and told.tokens:
                        seconds += [time.perf_counter() - begin] * len(told.tokens)
                        answer += zip(told.tokens, told.token_logprobs)
                return seconds, answer

            seconds, answers = zip(*await asyncio.gather(*(ask(prompt) for prompt in prompts)))
        return list(seconds), list(answers)

    def stop(self):
        self.server.stop()


class TransformersSide:
    """`generate`. A token of an answer is the likeliest ids with the logarithms of their probabilities."""

    def __init__(self, folder, modules, options):
        job = {"folder": str(folder), "precision": options.precision, "threads": options.threads}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
        if options.passive:
            environment |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}  # what `morph` sets for itself
        self.process = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).with_name("generate_worker.py"), json.dumps(job)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=environment | {"HF_MODULES_CACHE": str(modules), "HF_HUB_OFFLINE": "1"})
        self.versions = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: error: transformers' side ended with exit code {self.process.wait()}")
        return json.loads(line)

    def processes(self):
        return [self.process.pid]

    def run(self, prompts, count):
        print(json.dumps({"prompts": prompts, "tokens": count}), file=self.process.stdin, flush=True)
        told = self.read()
        return [told["seconds"]] * len(prompts), told["answers"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def compare(ours, theirs, tokenizer):
    """Two answers to one prompt: how many tokens are the same from the beginning, the largest difference of their
    logarithms, and how far behind its own transformers holds Morph's token where they part (None where they do not, -1: not
    among its candidates)."""
    difference = 0.0
    for place, ((text, logprob), candidates) in enumerate(zip(ours, theirs)):
        logprobs = {tokenizer.decode([token], skip_special_tokens=False): value for token, value in reversed(candidates)}
        best = candidates[0][1]
        if logprobs.get(text) != best:
            behind = best - logprobs[text] if text in logprobs else -1
            return {"same": place, "difference": difference, "behind": behind}
        difference = max(difference, abs(logprob - best))
    return {"same": len(ours), "difference": difference, "behind": None}


class Benchmark:
    """All turns and what they gave: samples by (context, clients, side), answers compared by (context, clients, model)."""

    def __init__(self, options, morph, folder):
        self.options, self.morph, self.folder = options, morph, folder
        self.folders = {"hybrid": endless(options.hybrid, folder / "hybrid"),
                        "full": endless(options.base, folder / "full")}
        self.tokenizer = load_tokenizer(options.base)
        self.words = pathlib.Path(__file__).read_text().split()
        self.samples, self.answers, self.left_out, self.versions = {}, {}, [], {}

    def start(self, side, context):
        maker, model = side.split()
        if maker == "morph":
            return MorphSide(self.folders[model], context, self.options, self.morph)
        started = TransformersSide(self.folders[model], self.folder / "modules", self.options)
        self.versions = started.versions
        return started

    def is_too_long(self, context, clients, side):
        """Whether a turn is expected to take longer than the limit: by the last one, else in proportion to the clients, or
        to the tokens, of those that were."""
        last = {(length, others): samples[-1]["seconds"] * (clients / others) * (context / length)
                for (length, others, name), samples in self.samples.items() if name == side}
        shorter = [(length, clients) for length in sorted(self.options.contexts, reverse=True)]
        nearest = [(context, clients), (context, 1), *shorter]
        expected = next((last[cell] for cell in nearest if cell in last), 0)
        if expected > self.options.limit_seconds:
            cell = {"context": context, "clients": clients, "side": side, "expected_seconds": round(expected),
                    "turns": len(self.samples.get((context, clients, side), []))}
            print(f"bench: left out: {cell}", file=sys.stderr, flush=True)
            self.left_out.append(cell)
        return expected > self.options.limit_seconds

    def measure(self, side, prompts, started):
        """A side's answers and its figures, once."""
        wait_until_idle(self.options.wait_seconds)
        busy, own = cpu_seconds(), cpu_seconds(started.processes()) + time.process_time()
        begin = time.perf_counter()
        seconds, answers = started.run(prompts, self.options.tokens)
        wall = time.perf_counter() - begin
        others = cpu_seconds() - busy - (cpu_seconds(started.processes()) + time.process_time() - own)
        if any(len(answer) != self.options.tokens for answer in answers):
            raise SystemExit(f"bench: error: {side}: answers of {[len(answer) for answer in answers]} tokens")
        sample = {"seconds": wall, "first": statistics.mean(times[0] for times in seconds),
                  "all": max(times[-1] for times in seconds), "others": min(1, max(0, others / wall / os.cpu_count()))}
        if len(prompts) == 1:
            sample["token"] = (seconds[0][-1] - seconds[0][0]) / (self.options.tokens - 1)
        figures = ", ".join(f"{name} {value:.4g}" for name, value in sample.items())
        print(f"bench: {len(prompts[0])} tokens, {len(prompts)} clients, {side}: {figures}", file=sys.stderr, flush=True)
        return answers, sample

    def measure_calmly(self, side, prompts, started):
        """The same, again while others disturb it, as often as is allowed; what was least disturbed counts."""
        tried = []
        for _ in range(1 + self.options.retries):
            tried.append(self.measure(side, prompts, started))
            if tried[-1][1]["others"] < IDLE:
                break
        answers, sample = min(tried, key=lambda one: one[1]["others"])
        self.samples.setdefault((len(prompts[0]), len(prompts), side), []).append(sample)
        return answers

    def take_turn(self, context, clients, sides, turn):
        """All sides on the same prompts."""
        prompts = make_prompts(self.words, self.tokenizer, context, clients, f"{context} {clients} {turn}")
        answers = {}
        left_out = {(cell["context"], cell["clients"], cell["side"]) for cell in self.left_out}
        for side, started in sides.items():
            if (context, clients, side) not in left_out and not self.is_too_long(context, clients, side):
                answers[side] = self.measure_calmly(side, prompts, started)
        for model in self.folders:
            pair = [answers.get(f"{maker} {model}") for maker in ("morph", "transformers")]
            if None not in pair:
                self.answers.setdefault((context, clients, model), []).extend(
                    compare(*both, self.tokenizer) for both in zip(*pair))

    def run_context(self, context):
        """Turns of all sides, which live as long as one length is measured."""
        warming = make_prompts(self.words, self.tokenizer, WARMING_TOKENS, self.options.clients, "warming")
        sides = {}
        try:
            for side in SIDES:
                sides[side] = self.start(side, context)
                sides[side].run(warming, 2)
            for turn in range(self.options.turns):
                for clients in sorted({1, self.options.clients}):
                    self.take_turn(context, clients, sides, turn)
        finally:
            for started in sides.values():
                started.stop()

    def result(self):
        """Everything, for JSON."""
        keyed = lambda key, **more: dict(zip(("context", "clients"), key), **more)
        return {
            "cpu": cpu_name(), "threads": self.options.threads, "precision": self.options.precision,
            "tokens": self.options.tokens, "hybrid": str(self.options.hybrid), "base": str(self.options.base),
            **self.versions, "left_out": self.left_out,
            "samples": [keyed(key, side=key[2], turns=samples) for key, samples in self.samples.items()],
            "answers": [keyed(key, model=key[2], prompts=prompts) for key, prompts in self.answers.items()]}


def middle(samples, name):
    """The median of a figure, None where it was not taken."""
    values = [sample[name] for sample in samples or () if name in sample]
    return statistics.median(values) if values else None


def digits(value):
    """Three digits, and no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def spread(samples, name, convert=lambda value: value):
    """A figure's median with the least and the most."""
    values = sorted(convert(sample[name]) for sample in samples or () if name in sample)
    return f"{digits(statistics.median(values))} [{digits(values[0])} {digits(values[-1])}]" if values else "-"


def print_table(header, lines):
    """A table in Markdown."""
    lines = [header, *lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")
    print()


def print_report(benchmark, wrong):
    """Speeds, ratios, agreement, what was left out."""
    options, samples = benchmark.options, benchmark.samples
    several = options.clients
    versions = ", ".join(f"{name} {version}" for name, version in benchmark.versions.items())
    print(f"{cpu_name()}, {options.threads} threads, {options.precision}; answers of {options.tokens} tokens, medians of "
          f"{options.turns} turns [least most]; {versions}\n")
    lines = []
    for context in options.contexts:
        for side in SIDES:
            one, many = samples.get((context, 1, side)), samples.get((context, several, side))
            lines.append([str(context), side, spread(one, "first"), spread(one, "token", lambda seconds: 1 / seconds),
                          spread(many, "first"), spread(many, "all")])
    print_table(["context", "side", "first, s", "tokens/s", f"first of {several}, s", f"all of {several}, s"], lines)
    lines = []
    for context in options.contexts:
        for name, clients, key in (("first", 1, "first"), ("a token", 1, "token"),
                                   (f"first of {several}", several, "first"), (f"all of {several}", several, "all")):
            pairs = [[middle(samples.get((context, clients, side)), key) for side in pair] for pair in RATIOS]
            lines.append([str(context), name, *("-" if None in pair else f"{pair[0] / pair[1]:.2f}x" for pair in pairs)])
    print_table(["context", "time", *(f"{slow} / {fast}" for slow, fast in RATIOS)], lines)
    lines = []
    for (context, clients, model), prompts in benchmark.answers.items():
        behind = [prompt["behind"] for prompt in prompts if prompt["behind"] is not None]
        lines.append([str(context), str(clients), model,
                      f"{sum(p['behind'] is None for p in prompts)} of {len(prompts)}",
                      f"{sum(p['same'] for p in prompts)} of {len(prompts) * options.tokens}",
                      f"{max(p['difference'] for p in prompts):.2g}",
                      "-" if not behind else "no candidate" if min(behind) < 0 else f"{max(behind):.2g}"])
    print_table(["context", "clients", "model", "same answers", "same tokens before they part", "logarithms differ by",
                 "behind"], lines)
    others = statistics.quantiles([sample["others"] for turns in samples.values() for sample in turns], n=4)
    print(f"Other processes took {', '.join(f'{share:.0%}' for share in others)} of the cores' time (quartiles over turns)")
    for cell in benchmark.left_out:
        print(f"Left out: {cell['side']}, {cell['context']} tokens, {cell['clients']} clients after {cell['turns']} turns: "
              f"it would take about {cell['expected_seconds']} s (--limit-seconds {options.limit_seconds:g})")
    if wrong:
        print(f"Wrong: {len(wrong)} answers leave transformers' tokens by more than {options.tolerance:g}")


def lengths(text):
    """Numbers of tokens with commas between them."""
    try:
        return [int(length) for length in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of numbers with commas between, as 1024,8192") from error


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="tools/bench --serve", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hybrid", type=pathlib.Path, required=True, help="the folder of a hybrid that Morph has exported")
    parser.add_argument("--base", type=pathlib.Path, required=True, help="the folder of the model that it was made of")
    parser.add_argument("--contexts", default="1024,8192,32768", type=lengths,
                        help="tokens of a prompt, with commas between (default: 1024,8192,32768)")
    parser.add_argument("--clients", type=int, default=4, help="clients at once, beside one (default: 4)")
    parser.add_argument("--tokens", type=int, default=32, help="of an answer (default: 32)")
    parser.add_argument("--turns", type=int, default=3, help="of each side (default: 3)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of both (default: fp32)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each side (default: all cores)")
    parser.add_argument("--limit-seconds", type=float, default=1800, help="of a turn of one side (default: 1800)")
    parser.add_argument("--wait-seconds", type=float, default=0,
                        help="wait so long at most before each turn until others leave the cores alone (default: 0)")
    parser.add_argument("--retries", type=int, default=0, help="how often a turn during which others took over a tenth of "
                        "the cores' time is repeated; the least disturbed counts (default: 0)")
    parser.add_argument("--passive", action="store_true", help="let PyTorch's threads sleep when they wait, as Morph's do: "
                        "slower on an idle machine, many times as fast on one that others use")
    parser.add_argument("--tolerance", type=float, help="nats that rounding explains (default: .01 in fp32, .5 in bf16)")
    parser.add_argument("--json", type=pathlib.Path, help="file of the results, written after each length")
    options = parser.parse_args(arguments)
    if (min(options.contexts) < WARMING_TOKENS or options.tokens < 2
            or min(options.clients, options.turns, options.threads) < 1):
        parser.error(f"--contexts are {WARMING_TOKENS} or more, --tokens 2 or more, --clients, --turns, --threads 1 or more")
    if options.tolerance is None:
        options.tolerance = TOLERANCE[options.precision]
    return options


def main(arguments, binaries, _):
    """What tools/bench --serve runs."""
    options = parse_arguments(arguments)
    for folder in (options.hybrid, options.base):
        model_folder(folder)
    if options.json:
        check_writable(options.json, "--json")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # The servers are stopped then, too.
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Benchmark(options, binaries / "morph", pathlib.Path(folder))
        for context in options.contexts:
            benchmark.run_context(context)
            if options.json:
                options.json.write_text(json.dumps(benchmark.result(), indent=1))
    wrong = [prompt for prompts in benchmark.answers.values() for prompt in prompts
             if prompt["behind"] is not None and not 0 <= prompt["behind"] <= options.tolerance]
    print_report(benchmark, wrong)
    sys.exit(1 if wrong else 0)
