# SPDX-License-Identifier: Apache-2.0
"""`morph-run serve` on a GPU: several requests at once, each at its own place, with kept prefixes, have the tokens that the CPU
gives each of them alone."""

import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from serve_engine_test import MODEL, read_scores, serve  # noqa: E402
from support import run  # noqa: E402

# A state, tails of a convolution, and a ring of a window, beside the rings of full attention.
MIXERS = ("gated_deltanet(conv=4)", "sliding_window(window=24)")


def make_plans(folder, mixer):
    """The plans of a hybrid's decode for the CPU and for GPUs."""
    paired, hybrid = folder / "paired.mlir", folder / "hybrid.mlir"
    run("morph-translate", "--import-hf", MODEL, "-o", folder / "base.mlir")
    run("morph-opt", folder / "base.mlir", f"--morph-pair-branches=candidates={mixer}", "-o", paired)
    run("morph-opt", paired, "--morph-discretize=kept=2,7", "-o", hybrid)
    for name, options in (("cpu", []), ("cuda", ["--device", "sm_80"])):
        (folder / name).mkdir(exist_ok=True)
        run("morph-translate", "--emit-plan", hybrid, "--program=decode", "--program-options=positions=true", *options, "-o", folder / name / "decode.json")
    return folder / "cpu/decode.json", folder / "cuda/decode.json"


def main():
    # The second and the last are told what the first and the second were: their states are there.
    shared = [7, 99, 31, 150, 12, 77, 200, 3, 64, 18]
    requests = [{"id": str(i), "tokens": tokens, "max_tokens": count, "keep_end": True} for i, (tokens, count) in enumerate(
        [(shared, 4), (shared + [5, 6], 3), ([1], 6), (shared + [5, 6, 90], 2)])]
    with tempfile.TemporaryDirectory() as folder:
        for mixer in MIXERS:
            cpu, cuda = make_plans(pathlib.Path(folder), mixer)
            alone, _ = serve(cpu, requests, "--slots", 1, "--prefix-cache-mb", 0)
            together, ends = serve(cuda, requests, "--slots", 2, "--chunk", 8, "--device", "cuda")
            assert together == alone, (mixer, together, alone)
            assert sum(end["cached_tokens"] for end in ends.values()) > 0, ends
            apart, _ = serve(cuda, requests, "--slots", 3, "--prefix-cache-mb", 0, "--device", "cuda")
            assert apart == alone, (mixer, apart, alone)
            scored = [request | {"prompt_logprobs": True, "top_logprobs": 2} for request in requests]
            expected, _ = read_scores(cpu, scored, "--slots", 1)
            found, tokens = read_scores(cuda, scored, "--slots", 2, "--chunk", 8, "--device", "cuda")
            assert tokens == alone, (mixer, tokens, alone)
            for name, told in expected.items():
                assert [token for token, _, _ in told] == [token for token, _, _ in found[name]]
                assert all(abs(a[1] - b[1]) < 1e-4 for a, b in zip(told, found[name])), (mixer, name, told, found[name])


if __name__ == "__main__":
    main()
