# SPDX-License-Identifier: Apache-2.0
"""morph-run serve and generate on hybrids of several mixers: what is served together, from kept prefixes or alone, is the
same, in double and in fp32; what is drawn depends on the seed alone."""

import json
import pathlib
import random
import subprocess
import tempfile

from support import BIN, SOURCE, run

MODEL = SOURCE / "specs/models/tiny-recall"
# Rings of all positions and of a window beside states and tails.
MIXERS = ("gated_deltanet", "mamba2", "kda(chunk=16)", "sliding_window(window=24)", "windowed_deltanet(window=24)", "rwkv7")
CONTEXT = 256


def make_plan(folder, mixer, precision):
    paired, hybrid, plan = folder / "paired.mlir", folder / "hybrid.mlir", folder / f"{precision}.json"
    run("morph-translate", "--import-hf", MODEL, "-o", folder / "base.mlir")
    run("morph-opt", folder / "base.mlir", f"--morph-pair-branches=candidates={mixer}", "-o", paired)
    run("morph-opt", paired, "--morph-discretize=kept=2,7", "-o", hybrid)
    run("morph-translate", "--emit-plan", hybrid, "--program=decode", f"--program-options=precision={precision},positions=true", "-o",
        plan)
    return plan


def serve(plan, requests, *arguments, expect=0):
    """Tokens and ends by request."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    told = run("morph-run", "serve", "--plan", f"decode={plan}", "--weights", MODEL, "--context", CONTEXT, *arguments, input=lines,
               expect=expect)
    tokens, ends = {request["id"]: [] for request in requests}, {}
    for event in map(json.loads, told.stdout.splitlines()):
        if "token" in event:
            tokens[event["id"]].append(event["token"])
        elif "id" in event:
            assert "finish" in event, event
            ends[event["id"]] = event
    return tokens, ends


def read_scores(plan, requests, *arguments):
    """What is told of each request's prompt: (token, logprob, likeliest) of each but the first, and the tokens behind it."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    told = run("morph-run", "serve", "--plan", f"decode={plan}", "--weights", MODEL, "--context", CONTEXT, *arguments, input=lines)
    scores, tokens = {r["id"]: [] for r in requests}, {r["id"]: [] for r in requests}
    for event in map(json.loads, told.stdout.splitlines()):
        if "prompt_token" in event:
            scores[event["id"]].append((event["prompt_token"], event["logprob"], event["top"]))
        elif "token" in event:
            tokens[event["id"]].append(event["token"])
    return scores, tokens


def make_requests(count, **options):
    random.seed(5)
    beginnings = [[random.randrange(256) for _ in range(length)] for length in (5, 64, 130)]
    requests = []
    for i in range(count):
        prompt = random.choice(beginnings) + [random.randrange(256) for _ in range(random.randrange(1, 40))]
        requests.append({"id": str(i), "tokens": prompt, "max_tokens": random.randrange(1, 50), **options})
    return requests


def check_mixer(folder, mixer):
    plan = make_plan(folder, mixer, "fp32")
    requests = make_requests(9, keep_end=True)
    alone, _ = serve(plan, requests, "--fp64", "--slots", 1, "--prefix-cache-mb", 0)
    assert all(len(alone[r["id"]]) == r["max_tokens"] for r in requests)
    assert len({tuple(tokens) for tokens in alone.values()}) > 5, "the model says the same whatever it is asked"
    for arguments in (["--slots", 5, "--prefix-cache-mb", 0], ["--slots", 5, "--chunk", 7], ["--slots", 3, "--prefix-cache-mb", 1]):
        together, ends = serve(plan, requests, "--fp64", *arguments)
        assert together == alone, (mixer, arguments)
        cached = sum(end["cached_tokens"] for end in ends.values())
        assert (cached > 0) == ("--chunk" in arguments), (mixer, arguments, cached)
    # In fp32 what begins with a kept prefix has the bits that it has alone: prefixes end where chunks end.
    plain = [{name: value for name, value in request.items() if name != "keep_end"} for request in requests]
    kept, ends = serve(plan, plain, "--slots", 3, "--chunk", 32)
    assert sum(end["cached_tokens"] for end in ends.values()) > 0
    assert kept == serve(plan, plain, "--slots", 1, "--chunk", 32, "--prefix-cache-mb", 0)[0], mixer
    # In fp32 a step of several sequences gives each the bits that it gets alone.
    assert serve(plan, requests, "--slots", 1, "--prefix-cache-mb", 0)[0] == serve(plan, requests, "--slots", 4, "--prefix-cache-mb", 0)[0], mixer


def check_scores(folder):
    """Prompts whose tokens are scored: the same whatever is kept and whoever runs beside, and for others it changes nothing."""
    plan = make_plan(folder, "gated_deltanet", "fp32")
    requests = make_requests(10)
    scored = [r | {"prompt_logprobs": True, "top_logprobs": 4, "max_tokens": r["max_tokens"] * (i % 2)} for i, r in enumerate(requests)]
    alone, tokens = read_scores(plan, scored, "--slots", 1, "--chunk", 32, "--prefix-cache-mb", 0)
    for request in scored:
        told = alone[request["id"]]
        assert [token for token, _, _ in told] == request["tokens"][1:]
        assert all(len(top) == 4 and top == sorted(top, key=lambda pair: -pair[1]) and top[0][1] >= logprob for _, logprob, top in told)
    plain = [r | {"id": f"plain {r['id']}"} for r in requests]
    together, _ = read_scores(plan, [r for pair in zip(plain, scored) for r in pair], "--slots", 3, "--chunk", 32)
    assert {name: together[name] for name in alone} == alone
    # Another chunk sums in another order.
    other, _ = read_scores(plan, scored, "--slots", 2, "--chunk", 7)
    assert all(abs(a[1] - b[1]) < 1e-4 for name in alone for a, b in zip(alone[name], other[name]))
    expected = serve(plan, requests, "--slots", 1, "--chunk", 32, "--prefix-cache-mb", 0)[0]
    assert tokens == {r["id"]: expected[r["id"]] * (i % 2) for i, r in enumerate(requests)}


def check_generate(folder, plan):
    """generate is one request of the same engine."""
    prompt = folder / "prompt.json"
    request = make_requests(1)[0] | {"max_tokens": 30}
    prompt.write_text(json.dumps({"tokens": request["tokens"], "eos": []}))
    for options in ({}, {"temperature": 0.8, "top_p": 0.9, "seed": 3}):
        flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
        told = run("morph-run", "generate", "--plan", f"decode={plan}", "--weights", MODEL, "--prompt", prompt, "--max-tokens", 30, *flags)
        tokens = [json.loads(line)["token"] for line in told.stdout.splitlines()]
        assert tokens == serve(plan, [request | options])[0]["0"], options


def check_sampling(plan):
    requests = make_requests(8, temperature=1, seed=7)
    once = serve(plan, requests, "--slots", 1)[0]
    assert once == serve(plan, requests, "--slots", 8, "--prefix-cache-mb", 0)[0], "what is drawn depends on the batch"
    assert once != serve(plan, [r | {"seed": 8} for r in requests], "--slots", 8)[0]
    # Alike requests of other seeds differ.
    twins = serve(plan, [requests[0] | {"id": str(i), "seed": i, "max_tokens": 20} for i in range(4)], "--slots", 4)[0]
    assert len({tuple(tokens) for tokens in twins.values()}) == 4, twins


def check_ends(plan):
    request = {"id": "a", "tokens": [1, 2, 3], "max_tokens": 12}
    tokens = serve(plan, [request])[0]["a"]
    cut, ends = serve(plan, [request | {"eos": [tokens[3]]}])
    assert cut["a"] == tokens[:tokens.index(tokens[3]) + 1] and ends["a"]["finish"] == "stop", (cut, ends)
    # A request that is cancelled frees its slot for the next one.
    process = subprocess.Popen([BIN / "morph-run", "serve", "--plan", f"decode={plan}", "--weights", MODEL, "--slots", "1", "--context",
                                "100000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    said = lambda: json.loads(process.stdout.readline())
    tell = lambda **line: (process.stdin.write(json.dumps(line) + "\n"), process.stdin.flush())
    assert said()["ready"]["slots"] == 1
    tell(id="long", tokens=[1], max_tokens=90000)
    tell(id="next", tokens=[1, 2, 3], max_tokens=12)
    assert said()["id"] == "long"
    tell(cancel="long")
    events = []
    while not events or events[-1].get("id") != "next" or "finish" not in events[-1]:
        events.append(said())
    assert {"id": "long", "finish": "cancelled"}.items() <= next(e for e in events if "finish" in e).items()
    assert [e["token"] for e in events if e["id"] == "next" and "token" in e] == tokens
    process.stdin.close()
    assert process.wait(60) == 0


def check_limits(plan):
    for arguments, message, hint in (
        (["--slots", 64, "--memory-limit", 0.01, "--context", 256], "64 slots of 256 positions take", "would fit"),
        (["--context", 1 << 30, "--slots", 4096], "are free", "--context"),
    ):
        said = run("morph-run", "serve", "--plan", f"decode={plan}", "--weights", MODEL, *arguments, input="", expect=2).stderr
        assert message in said and hint in said, said
    said = run("morph-run", "serve", "--plan", f"decode={plan}", "--weights", MODEL, input="no JSON\n", expect=2).stderr
    assert "request:1:" in said and "malformed JSON" in said, said


def main():
    with tempfile.TemporaryDirectory() as holder:
        for number, mixer in enumerate(MIXERS):
            folder = pathlib.Path(holder, str(number))
            folder.mkdir()
            check_mixer(folder, mixer)
        folder = pathlib.Path(holder)
        check_scores(folder)
        plan = make_plan(folder, "gated_deltanet", "bf16")
        check_generate(folder, plan)
        check_sampling(plan)
        check_ends(plan)
        check_limits(plan)


if __name__ == "__main__":
    main()
