# SPDX-License-Identifier: Apache-2.0
"""`morph bench` prints every figure for every mode, refuses wrong shapes, and its steps have the losses that the same
steps written in PyTorch have: what tools/bench times is the same work."""

import json
import math
import pathlib
import sys
import tempfile

from support import SOURCE, read_json, run

sys.path.insert(0, str(SOURCE / "tools/python/bench"))
from steps import make_step  # noqa: E402

SHAPE = "4,64,4,2,128,256"
BATCH, LENGTH = 2, 96
KEYS = ("median_seconds", "spread", "tokens_per_second", "flops", "ideal_gemm_seconds", "share", "peak_bytes",
        "planned_bytes", "allocations", "cpu")
# Tokens of a step.
PROGRAMS = {"gates": BATCH * LENGTH, "align": BATCH * LENGTH, "distill": BATCH * LENGTH, "finetune": BATCH * LENGTH,
            "prefill": BATCH * LENGTH, "decode": BATCH, "kernels": BATCH * LENGTH}


def bench(mode, *arguments):
    command = ("bench", mode, "--shape", SHAPE, "--length", LENGTH, "--batch", BATCH, "--threads", 1, "--json")
    return json.loads(run("morph", *command, *arguments).stdout)


def check_programs():
    for mode, tokens in PROGRAMS.items():
        result = bench(mode, "--repeat", 2, "--profile")
        assert all(result[key] is not None for key in KEYS), (mode, result)
        assert math.isfinite(result["share"]) and result["share"] > 0, (mode, result["share"])
        assert math.isclose(result["tokens_per_second"] * result["median_seconds"], tokens, rel_tol=1e-6), mode
        products = sum(2 * p["rows"] * p["columns"] * p["inner"] * p["count"] for p in result["products"])
        assert 0 < products < result["flops"], (mode, products, result["flops"])
        # Both count the same tensors, but what an estimate leaves out.
        assert abs(result["planned_bytes"] / result["peak_bytes"] - 1) < 0.03, (mode, result)
        assert result["allocations"] == 0 and result["cpu"], (mode, result)
        assert abs(sum(line["share"] for line in result["profile"]) - 1) < 0.2, (mode, result["profile"])
        if mode == "decode":
            assert result["read_bytes"] > 0 and result["read_share"] > 0
        if mode == "kernels":
            names = {line["mixer"] for line in result["mixers"]}
            assert {"attention", "linear_attention decay beta", "linear_attention head_decay"} <= names, names
            assert all(line["forward_seconds"] > 0 and line["backward_seconds"] > 0 for line in result["mixers"])


def check_memory_limit():
    for mode in ("gates", "distill"):
        whole = bench(mode, "--repeat", 1)
        limit = round(0.8 * whole["planned_bytes"])
        limited = bench(mode, "--repeat", 1, "--memory-limit", limit / 1e9)
        assert limited["planned_bytes"] <= limit and limited["peak_bytes"] <= 1.03 * limit, (mode, limit, limited)
        assert limited["loss"] == whole["loss"], (mode, limited["loss"], whole["loss"])
    message = run("morph", "bench", "gates", "--shape", SHAPE, "--memory-limit", 1e-6, expect=2).stderr
    assert "a step takes at least" in message and "--memory-limit is" in message, message
    assert "decoding keeps nothing" in run("morph", "bench", "decode", "--shape", SHAPE, "--memory-limit", 1, expect=2).stderr


def check_compile():
    result = bench("compile", "--repeat", 1)
    assert set(KEYS) <= set(result) and result["median_seconds"] > 0, result
    assert {"score", "align", "gates", "distill", "finetune", "decode"} == set(result["programs"]), result
    assert result["passes"]["DifferentiatePass"] > 0 and result["passes"]["Total"] > 0, result


def check_errors():
    for shape, words in (("4,64,4,2,128", "VOCAB is missing"), ("4,64,4,2,128,256,1", "more than six"),
                         ("4,64,4,2,x,256", "FFN is no number"), ("4,64,4,3,128,256", "multiple of KV_HEADS"),
                         ("4,66,4,2,128,256", "multiple of HEADS"), ("0,64,4,2,128,256", "LAYERS is no number"),
                         ("4,64,4,2,128,", "VOCAB is no number")):
        message = run("morph", "bench", "gates", "--shape", shape, expect=2).stderr
        assert words in message and "--shape LAYERS,HIDDEN" in message, message
    assert "one of them" in run("morph", "bench", "gates", expect=2).stderr
    assert "--full-layers is 5" in run("morph", "bench", "distill", "--shape", SHAPE, "--full-layers", 5, expect=2).stderr
    assert "--threads is 99999, and at most" in run("morph", "bench", "gates", "--shape", SHAPE, "--threads", 99999, expect=2).stderr
    assert "positions" in run("morph", "bench", "gates", "--shape", SHAPE, "--length", 8, "--positions", 8, expect=2).stderr


def check_losses(folder):
    for mode in ("gates", "align", "distill", "finetune"):
        for precision, tolerance in (("fp32", 1e-5), ("bf16", 1e-2)):
            saved = folder / f"{mode}-{precision}"
            ours = bench(mode, "--repeat", 1, "--precision", precision, "--save", saved, "--full-layers", 1)["loss"]
            theirs = make_step(mode, saved, precision, full_layers=1)()
            print(f"{mode} {precision}: {ours:.7g} and {theirs:.7g}")
            # Such a loss is of something: a gate step whose gates keep all attention would lose nothing.
            assert ours > 1e-3 and abs(theirs / ours - 1) < tolerance, (mode, precision, ours, theirs)
    # A saved model is a Hugging Face folder like any other.
    assert read_json(folder / "gates-fp32/config.json")["num_hidden_layers"] == 4
    assert json.loads(run("morph", "bench", "gates", "--model", folder / "gates-fp32", "--length", LENGTH, "--batch",
                          BATCH, "--precision", "fp32", "--repeat", 1, "--json").stdout)["loss"] > 1e-3


def main():
    with tempfile.TemporaryDirectory() as folder:
        check_errors()
        check_compile()
        check_programs()
        check_memory_limit()
        check_losses(pathlib.Path(folder))


main()
