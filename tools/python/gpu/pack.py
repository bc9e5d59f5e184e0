# SPDX-License-Identifier: Apache-2.0
"""What tools/gpu-check takes to a machine with a GPU: see there."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

from check import TARGETS

SOURCE = pathlib.Path(__file__).resolve().parents[3]
# Meant from the clone, as in tools/common.sh.
BUILD = (SOURCE / (os.environ.get("MORPH_BUILD") or "build")).resolve()
# Hidden sizes and those of feed-forward layers: of models of 1.7 and 8 billion parameters.
ROWS = {2048: 6144, 4096: 12288}
# What a layer does row by row: a norm for bf16 products, the residual stream, SwiGLU, a norm's gradients.
PROGRAM = """
morph.model @model base architecture "llama" layers 1 {{
  morph.weight @norm : tensor<{C}xf32>
  morph.program @rows(%x: tensor<?x?x{C}xf32> "x" [B, T], %y: tensor<?x?x{C}xf32> "y" [B, T],
                      %g: tensor<?x?x{F}xf32> "g" [B, T], %u: tensor<?x?x{F}xf32> "u" [B, T]) {{
    %w = morph.param @norm : tensor<{C}xf32>
    %a = morph.add %x, %y : tensor<?x?x{C}xf32>, tensor<?x?x{C}xf32>
    %n = morph.rms_norm %a, %w eps 1.0e-5 : tensor<?x?x{C}xf32>, tensor<{C}xf32>
    %h = morph.cast %n to "bf16" : tensor<?x?x{C}xf32>
    %s = morph.swiglu %g, %u : tensor<?x?x{F}xf32>
    %i = morph.rms_norm_input_grad %x, %y, %w eps 1.0e-5 : tensor<?x?x{C}xf32>, tensor<?x?x{C}xf32>, tensor<{C}xf32>
    %v = morph.rms_norm_weight_grad %x, %y eps 1.0e-5 : tensor<?x?x{C}xf32>, tensor<?x?x{C}xf32>
    morph.output "a" = %a, "h" = %h, "s" = %s, "i" = %i, "v" = %v : tensor<?x?x{C}xf32>, tensor<?x?x{C}xbf16>,
        tensor<?x?x{F}xf32>, tensor<?x?x{C}xf32>, tensor<{C}xf32>
  }}
}}
"""

# Heads, key-value heads and head dimension, as models of 1.7 and 1 billion parameters have them.
ATTENTION = {"16-8-128": (16, 8, 128), "32-8-64": (32, 8, 64)}
ATTENTION_PROGRAM = """
morph.model @model base architecture "llama" layers 1 {{
  morph.program @attention(%d: {q} "d" [B, T], %q: {q} "q" [B, T], %k: {k} "k" [B, T], %v: {k} "v" [B, T]) {{
    %y, %lse = morph.attention %q, %k, %v scale 0.1 keep_lse : {q}, {k}, {k}
    %g:3 = morph.attention_grad %d, %q, %k, %v out %y lse %lse scale 0.1 : {q}, {q}, {k}, {k} out {q32} lse {lse}
    morph.output "y" = %y, "dq" = %g#0, "dk" = %g#1, "dv" = %g#2 : {q32}, {q32}, {k32}, {k32}
  }}
}}
"""

# Recurrences: heads, width, and the decay's operand with its shape, beside the delta rule or not.
RECURRENCES = {"gated_deltanet-16-128": (16, 128, "decay", "H", True), "gla-16-128": (16, 128, "channel_decay", "HxK", False)}
RECURRENCE_PROGRAM = """
morph.model @model base architecture "llama" layers 1 {{
  morph.program @recurrence(%d: {v} "d" [B, T], %q: {v} "q" [B, T], %k: {v} "k" [B, T], %v: {v} "v" [B, T],
                            %g: {g} "g" [B, T], %b: {b} "b" [B, T]) {{
    %y:4 = morph.linear_attention %q, %k, %v {operands} scale 0.1 chunk 64 keep_states keep_written : {v}, {v}, {v} {types}
    %r:{count} = morph.linear_attention_grad %d, %q, %k, %v {operands} states %y#2 written %y#3 scale 0.1 chunk 64
        : {v}, {v}, {v}, {v} {types} states {states} written {v32}
    morph.output "y" = %y#0{outputs} : {v32}{results}
  }}
}}
"""


def recurrence_program(heads, width, decay, shape, delta):
    """A recurrence with its gradient, of bf16."""
    def tensor(*sizes, dtype="f32"):
        return "tensor<" + "x".join("?" if size is None else str(size) for size in sizes) + f"x{dtype}>"
    v, v32 = (tensor(None, None, heads, width, dtype=dtype) for dtype in ("bf16", "f32"))
    b = tensor(None, None, heads)
    g = b if shape == "H" else v32
    operands, types, results = f"{decay} %g", f"{decay} {g}", [v32, v32, v32, g]
    if delta:
        operands, types, results = f"{operands} beta %b", f"{types} beta {b}", results + [b]
    return RECURRENCE_PROGRAM.format(
        v=v, v32=v32, g=g, b=b, operands=operands, types=types, count=len(results),
        states=tensor(None, heads, None, width, width), results="".join(f", {type_}" for type_ in results),
        outputs="".join(f', "g{i}" = %r#{i}' for i in range(len(results))))


# What decides and measures a run.
QUICKSTART = ["--set", "export.check=false"]


def pack_morph(folder):
    """Morph as tools/package makes it, and the quickstart as the CPU runs it."""
    subprocess.run([SOURCE / "tools/package", folder / "morph"], check=True)
    print("gpu-check: the quickstart on the CPU", flush=True)
    with tempfile.TemporaryDirectory() as run:
        subprocess.run([BUILD / "bin/morph", "run", SOURCE / "specs/quickstart.toml", "--out", f"{run}/run", *QUICKSTART],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (folder / "quickstart").mkdir()
        for name in ("selection.json", "evaluation.json", "metrics.jsonl"):
            shutil.copy(f"{run}/run/{name}", folder / "quickstart")


def emit(place, program, text):
    """A program's plans and PTX, to be timed."""
    place.mkdir(parents=True)
    (place / "model.mlir").write_text(text)
    for target in TARGETS:
        subprocess.run([BUILD / "bin/morph-opt", place / "model.mlir", "--morph-form-kernels",
                        # Options end at blanks that no quotes are around.
                        f'--morph-emit-plan=program={program} output="{place}/{target}.json" device={target}', "-o", os.devnull],
                       check=True)


def emit_timed(folder):
    """What check.py times beside PyTorch: rows, attention and recurrences."""
    for width, ffn in ROWS.items():
        emit(folder / "rows" / str(width), "rows", PROGRAM.format(C=width, F=ffn))
    for name, (heads, groups, width) in ATTENTION.items():
        types = {letter + suffix: f"tensor<?x?x{count}x{width}x{dtype}>" for letter, count in (("q", heads), ("k", groups))
                 for suffix, dtype in (("", "bf16"), ("32", "f32"))}
        emit(folder / "attention" / name, "attention", ATTENTION_PROGRAM.format(lse=f"tensor<?x{heads}x?xf32>", **types))
    for name, arguments in RECURRENCES.items():
        emit(folder / "recurrence" / name, "recurrence", recurrence_program(*arguments))


def fail(message, hint=""):
    print(f"gpu-check: error: {message}", *([f"gpu-check: hint: {hint}"] if hint else []), sep="\n", file=sys.stderr)
    sys.exit(2)


def main(folder):
    if not (BUILD / "bin/morph-opt").exists():
        fail(f"{BUILD}/bin/morph-opt is not there", "tools/build makes it; MORPH_BUILD names another build folder")
    if folder.exists() and any(folder.iterdir()):
        fail(f"'{folder}' is there and not empty")
    programs = folder / "programs"
    programs.mkdir(parents=True)
    environment = {**os.environ, "MORPH_BIN": str(BUILD / "bin"), "MORPH_SOURCE_DIR": str(SOURCE), "OMP_NUM_THREADS": "1",
                   "MORPH_KEEP_PROGRAMS": str(programs.resolve())}
    tests = [test for test in sorted((SOURCE / "test/cuda").glob("*_test.py")) if "ProgramCase" in test.read_text()]
    for test in tests:
        print(f"gpu-check: programs of {test.name}", flush=True)
        subprocess.run([sys.executable, test, "--quiet"], env=environment, check=True)
    emit_timed(folder)
    pack_morph(folder)
    for name in ("morph-plan-run", "cuda-driver-test", "cuda-device-test"):
        shutil.copy(BUILD / "test/bin" / name, folder)
    shutil.copytree(SOURCE / "test/cuda/ptx", folder / "test/cuda/ptx")
    shutil.copy(SOURCE / "tools/gpu-check", folder)
    shutil.copy(SOURCE / "tools/python/gpu/check.py", folder)
    print(f"gpu-check: {len(list(programs.iterdir()))} programs; on the GPU's machine: {shlex.quote(f'{folder}/gpu-check')}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
