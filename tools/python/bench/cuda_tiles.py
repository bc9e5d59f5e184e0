# SPDX-License-Identifier: Apache-2.0
"""What ptxas says of the tiled kernels, for every tile that the compiler may take: passes/lower/cuda/TileAnswers.def, by which it
picks one where no ptxas is. Compiles them all, compares their PTX with what the table is of, and prints the estimates and what
is picked; with --write the table is made anew."""

import argparse
import collections
import concurrent.futures
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import cuda_model

TABLE = pathlib.Path("passes/lower/cuda/TileAnswers.def")
TARGETS = ("sm_80", "sm_90")
# Of heads. One between two of them is judged by the wider.
WIDTHS = (32, 64, 80, 96, 128, 192, 256)
HEADER = """// SPDX-License-Identifier: Apache-2.0
// Made by tools/bench --cuda-tiles --write: what ptxas says of tiled kernels. MORPH_TILE(kind, width of heads, rows of a block,
// columns that it goes over at once, warps, target, registers, bytes spilled), the most of some variants.
"""


def model_of(width):
    """Attention forward, on a cache and backward, which are code of their own for every number of heads that share keys: two,
    one, and three that no shift divides by, with padding at the start and a window. What is estimated and picked is that of
    two, which comes first."""
    lines, outputs, types = [], [], []

    def tensor(heads, element="bf16"):
        return f"tensor<?x?x{heads}x{width}x{element}>"

    def add(result, line):
        name = f"r{len(lines)}"
        lines.append(f"    %{name}:{len(result)} = {line}")
        outputs.extend(f'"{name}_{i}" = %{name}#{i}' for i in range(len(result)))
        types.extend(result)

    for heads, groups, start, window in ((2, 1, "", ""), (2, 2, "", ""), (3, 1, "start %s", "window 100")):
        q, kv, start_type = tensor(heads), tensor(groups), " start tensor<?xi64>" if start else ""
        result = [tensor(heads, "f32"), tensor(groups, "f32"), tensor(groups, "f32")]
        scale, types_of = f"scale 0.125 {window} :", f"{q}, {kv}, {kv}"
        add(result[:1], f"morph.attention %q{heads}, %k{groups}, %v{groups} {start} {scale} {types_of}{start_type}")
        add(result[:1], f"morph.attention %q{heads}, %ck{groups}, %cv{groups} {start} offset %o {scale} {types_of}{start_type} "
            "offset tensor<?xi64>")
        add(result, f"morph.attention_grad %q{heads}, %q{heads}, %k{groups}, %v{groups} {start} {scale} {q}, {types_of}"
            + (", tensor<?xi64>" if start else ""))
    parameters = [f'%q{heads}: {tensor(heads)} "q{heads}" [B, T]' for heads in (2, 3)]
    parameters += [f'%{name}{groups}: {tensor(groups)} "{name}{groups}" [B, {"S" if "c" in name else "T"}]'
                   for groups in (1, 2) for name in ("k", "v", "ck", "cv")]
    text = "\n".join(lines)
    return f"""morph.model @model base architecture "llama" layers 1 {{
  morph.program @tiles({", ".join(parameters)}, %s: tensor<?xi64> "s" [B], %o: tensor<?xi64> "o" [B]) {{
{text}
    morph.output {", ".join(outputs)} : {", ".join(types)}
  }}
}}
"""


class Tile(collections.namedtuple("Tile", "kind width rows columns warps")):
    @classmethod
    def of(cls, text):
        kind, *numbers = text.split()
        return cls(kind, *map(int, numbers))


def compile_tiles(binaries, target, width, folder):
    """The PTX of all tiles, each kernel's tile, what the compiler estimates of each tile, and what it picks of each kind."""
    place = pathlib.Path(folder) / f"{target}-{width}"
    place.mkdir()
    (place / "model.mlir").write_text(model_of(width))
    done = subprocess.run([binaries / "morph-opt", place / "model.mlir", "-o", os.devnull,
                           f"--morph-emit-plan=program=tiles output={place}/plan.json device={target} every-tile"],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    tiles, estimates = {}, {}
    for kernel, tile, blocks, time in re.findall(r"kernel (\S+) has tile ([\w ]+): (\d+) blocks, (\S+) us", done.stderr):
        tiles[kernel] = Tile.of(tile)
        estimates.setdefault(tiles[kernel], (int(blocks), float(time)))
    picked = {}
    for tile in map(Tile.of, re.findall(r"picks tile ([\w ]+)", done.stderr)):
        picked.setdefault(tile.kind, tile)
    return next(place.glob("*.ptx")), tiles, estimates, picked


def version_of(ptxas):
    return re.search(r"V[0-9.]+", subprocess.run([ptxas, "--version"], capture_output=True, text=True).stdout)[0]


def stamp_of(target, width, ptx):
    return f"// {target}, width {width}: PTX {ptx.stem}"


def line_of(tile, target, registers, spilled):
    return f'MORPH_TILE("{tile.kind}", {", ".join(map(str, tile[1:]))}, "{target}", {registers}, {spilled})'


def text_of(lines):
    """The table of these lines, with their sum: nobody writes one by hand."""
    text = HEADER + "\n".join(lines) + "\n"
    return f"{text}// SHA-256 of the lines before: {hashlib.sha256(text.encode()).hexdigest()}\n"


def assemble(ptxas, ptx, tiles, target):
    """Registers and spilled bytes by tile."""
    answers = {}
    for kernel, said in cuda_model.assemble(ptxas, ptx, target).items():
        if kernel in tiles:
            before = answers.get(tiles[kernel], (0, 0))
            answers[tiles[kernel]] = tuple(map(max, before, (said["registers"], said["spill_bytes"])))
    return answers


def main(arguments, binaries, source):
    """What tools/bench --cuda-tiles runs."""
    parser = argparse.ArgumentParser(prog="tools/bench --cuda-tiles", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make the table anew, with ptxas; then build again")
    parser.add_argument("--targets", default=",".join(TARGETS), help="to look at (default: all)")
    parser.add_argument("--widths", default=",".join(map(str, WIDTHS)), help="of heads, to look at (default: all)")
    options = parser.parse_args(arguments)
    if options.write:
        options.targets, options.widths = ",".join(TARGETS), ",".join(map(str, WIDTHS))
    ptxas = cuda_model.find_ptxas(binaries.parent) if options.write else None
    if options.write and not ptxas:
        sys.exit("bench: error: there is no ptxas")
    table, lines, rows, stale = (source / TABLE).read_text(), [], [], []
    cases = [(target, int(width)) for target in options.targets.split(",") for width in options.widths.split(",")]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        def look(case):
            found = compile_tiles(binaries, *case, folder)
            return found, assemble(ptxas, *found[:2], case[0]) if ptxas else None

        for (target, width), ((ptx, _, estimates, picked), answers) in zip(cases, pool.map(look, cases)):
            stamp = stamp_of(target, width, ptx)
            if options.write:
                lines.append(f"{stamp}, ptxas {version_of(ptxas)}")
                lines += [line_of(tile, target, *answer) for tile, answer in sorted(answers.items())]
                continue
            if stamp not in table:
                stale.append(f"{target} {width}")
            rows += [[target, tile.kind, str(width), f"{tile.rows}x{tile.columns}x{tile.warps}", str(blocks), f"{time:.1f}",
                      "picked" if tile == picked[tile.kind] else ""] for tile, (blocks, time) in sorted(estimates.items())]
    if options.write:
        (source / TABLE).write_text(text_of(lines))
        return
    print("Blocks of a multiprocessor at once, and estimated time of 4 x 2048 tokens with 16 heads on 8 "
          "of keys, or of one token after 16384\n")
    cuda_model.table(["target", "kernel", "width", "tile", "blocks", "us", ""], rows)
    if stale:
        sys.exit(f"bench: error: {TABLE} is not of the kernels as they are now ({', '.join(stale)}): "
                 "tools/bench --cuda-tiles --write makes it anew")
