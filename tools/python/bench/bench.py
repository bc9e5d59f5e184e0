# SPDX-License-Identifier: Apache-2.0
"""Morph against PyTorch on this machine: one table. A row runs both in turns, on the same weights, tokens and number of
threads, and compares the losses before the times. Times are medians; a ratio above one means that Morph is faster.

Memory: `held` is what Morph's tensors take at most (`peak_bytes` of morph bench), `peak` the whole process's, for both
sides with the libraries; on a GPU `peak` is its memory that tensors take. Rows that stand in the file of --json with the same device,
threads, precision and peers are not run again."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))
import cuda_model
import cuda_tiles
import serve_speed
import tokenise
from data.files import InputError, check_writable, parse_json, read_text
from morph_data import exit_status

SMOLLM2 = "30,576,9,3,1536,49152"
SMALL = "12,512,8,4,1536,8192"
# Largest relative difference of the losses.
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}


def training_row(mode, shape, precision, memory_limit=None):
    """A step of 1024 tokens; with a limit in GB it computes values twice to stay within it."""
    return {"kind": "training", "mode": mode, "shape": shape, "precision": precision, "length": 1024,
            "memory_limit": memory_limit}


def make_rows():
    """All rows by name, in the order of the table."""
    rows = {
        "gates-smollm2-bf16": training_row("gates", SMOLLM2, "bf16"),
        "gates-smollm2-fp32": training_row("gates", SMOLLM2, "fp32"),
        "gates-small-bf16": training_row("gates", SMALL, "bf16"),
    }
    for mode in ("align", "distill"):
        rows[f"{mode}-small-bf16"] = training_row(mode, SMALL, "bf16")
    for mode in ("align", "distill"):
        rows[f"{mode}-smollm2-bf16"] = training_row(mode, SMOLLM2, "bf16")
    for thousands in (1, 4, 16, 64, 128):
        rows[f"decode-{thousands}k"] = {"kind": "decode", "mode": "decode", "shape": SMOLLM2, "precision": "bf16",
                                        "length": 1024 * thousands}
    for layers in (12, 28, 80, 1000):
        rows[f"compile-{layers}"] = {"kind": "compile", "mode": "compile", "shape": SMALL.replace("12", str(layers), 1)}
    # About a third of what PyTorch takes, the libraries on both sides included.
    for mode, precision, limit in (("gates", "bf16", 0.85), ("gates", "fp32", 1.4), ("distill", "bf16", 1.2)):
        rows[f"{mode}-smollm2-{precision}-{limit}GB"] = training_row(mode, SMOLLM2, precision, limit)
    # For trying the command itself.
    rows["gates-tiny-fp32"] = {**training_row("gates", "2,64,4,2,128,256", "fp32"), "length": 128, "hidden": True}
    return rows


class Failure(Exception):
    """What ends a row."""


SOURCE = pathlib.Path(__file__).resolve().parents[3]
# Not MORPH, by which the guide calls the clone.
MORPH = pathlib.Path(os.environ.get("MORPH_PROGRAM") or SOURCE / "build/bin/morph")


def check_morph():
    """Ends the call where there is no Morph to be measured."""
    if not (MORPH.is_file() and os.access(MORPH, os.X_OK)):
        raise InputError(f"there is no program {MORPH}", "tools/build makes it; MORPH_BUILD names another build folder")


def run_morph(row, *arguments):
    """One call of `morph bench`, parsed."""
    command = [MORPH, "bench", row["mode"], "--shape", row["shape"], "--json"]
    if "length" in row:
        command += ["--length", str(row["length"]), "--precision", row["precision"]]
    if row.get("memory_limit"):
        command += ["--memory-limit", str(row["memory_limit"])]
    process = subprocess.run(command + [str(argument) for argument in arguments], capture_output=True, text=True,
                             check=False)
    if process.returncode:
        raise Failure(process.stderr.strip() or f"morph ended with exit code {process.returncode}")
    return json.loads(process.stdout)


class Worker:
    """A PyTorch step in a process that waits between turns."""

    def __init__(self, row, folder, arguments, compiled=False):
        layers = int(row["shape"].split(",")[0])
        job = {"mode": row["mode"], "folder": str(folder), "precision": row["precision"], "length": row["length"],
               "threads": arguments.threads, "full_layers": full_layers(layers), "compiled": compiled,
               "device": arguments.device}
        # PyTorch's threads wait as they do for everyone; it sleeps while Morph has its turn. What it says on standard
        # error goes to ours: compilers have much to say.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
        self.process = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).with_name("worker.py"), json.dumps(job)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.loss = self.read()["loss"]
        self.seconds, self.peak = [], 0

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"PyTorch's side ended with exit code {self.process.wait()}")
        return json.loads(line)

    def turn(self, steps):
        """Runs so many steps."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        result = self.read()
        self.seconds += result["seconds"]
        self.peak = self.peak or result["peak_bytes"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def full_layers(layers):
    """How many layers of a hybrid keep full attention: what `morph bench` takes by default."""
    return max(1, int(layers / 8 + 0.5))


def compare_losses(ours, theirs, row):
    difference = abs(ours - theirs) / max(abs(ours), 1e-12)
    if not difference <= TOLERANCE[row["precision"]]:
        raise Failure(f"the losses differ: {ours:.6g} and {theirs:.6g}; nothing was timed")


def merge(runs):
    """Several calls of morph bench as one: medians over all samples, everything else from the last: the first one saves
    the model for PyTorch, which takes memory that a step does not."""
    result = dict(runs[-1])
    result["seconds"] = [second for run in runs for second in run["seconds"]]
    result["median_seconds"] = statistics.median(result["seconds"])
    result["ideal_gemm_seconds"] = statistics.median(run["ideal_gemm_seconds"] for run in runs)
    result["share"] = result["ideal_gemm_seconds"] / result["median_seconds"]
    if "ideal_read_seconds" in result:
        result["ideal_read_seconds"] = statistics.median(run["ideal_read_seconds"] for run in runs)
        result["read_share"] = result["ideal_read_seconds"] / result["median_seconds"]
    del result["products"]
    return result


def run_in_turns(row, arguments, variants, peers):
    """Morph's variants (further arguments by name) and PyTorch's, in turns: results by name."""
    common = ["--device", arguments.device, *(["--threads", arguments.threads] if arguments.threads else [])]
    with tempfile.TemporaryDirectory() as folder:
        ours, workers = {name: [] for name in variants}, {}
        try:
            for turn in range(arguments.turns):
                for i, (name, options) in enumerate(variants.items()):
                    save = ["--save", folder] if turn == 0 and i == 0 else []
                    ours[name].append(run_morph(row, *common, *save, *options, "--repeat", arguments.repeat))
                if turn == 0:
                    for peer in peers:
                        workers[peer] = Worker(row, folder, arguments, compiled=peer == "compile")
                        if workers[peer].loss is not None:
                            compare_losses(ours["morph"][0]["loss"], workers[peer].loss, row)
                for worker in workers.values():
                    worker.turn(arguments.repeat)
        finally:
            for worker in workers.values():
                worker.close()
    result = {name: merge(runs) for name, runs in ours.items()}
    for peer, worker in workers.items():
        result[peer] = {"median_seconds": statistics.median(worker.seconds), "seconds": worker.seconds,
                        "peak_bytes": worker.peak, "loss": worker.loss}
    return result


def setup_of(row, arguments):
    """What a row's results depend on beside the programs: those of another setup are no results of this call."""
    peers = {"training": arguments.peers, "decode": [peer for peer in arguments.peers if peer == "eager"], "compile": []}
    return {"device": arguments.device, "threads": arguments.threads or os.cpu_count(), "precision": row.get("precision"),
            "peers": peers[row["kind"]]}


def run_row(row, arguments):
    """The results of a row by side, and its setup."""
    setup = setup_of(row, arguments)
    if row["kind"] == "compile":
        sides = {"morph": run_morph(row, "--repeat", 1 if row["shape"].startswith("1000,") else arguments.repeat)}
    else:
        layers = row["shape"].split(",")[0]
        full = {"full": ["--full-layers", layers]} if row["kind"] == "decode" else {}
        sides = run_in_turns(row, arguments, {"morph": [], **full}, setup["peers"])
    return {"setup": setup, **sides}


def read_results(path):
    """The rows of the file of --json, none where there is no such file yet."""
    if path is None:
        return {}
    check_writable(path, "--json")
    if not path.exists():
        return {}
    hint = "name another file, or remove this one: its rows are then run again"
    results = parse_json(read_text(path), f"'{path}'", hint)
    if not isinstance(results, dict) or not all(isinstance(sides, dict) for sides in results.values()):
        raise InputError(f"'{path}' is no file of results: an object with an object a row is expected", hint)
    return results


def table(header, lines):
    """Text columns, the first aligned left."""
    lines = [header, *lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
        print("  " + "  ".join(cells).rstrip())
    print()


def seconds(result):
    return f"{result['median_seconds']:.4g}" if result else "-"


def ratio(other, ours):
    return f"{other['median_seconds'] / ours['median_seconds']:.2f}x" if other else "-"


def gigabytes(count):
    return f"{count / 1e9:.2f}"


def print_tables(rows, results):
    """All rows that there are results of, a table a kind."""
    by_kind = {kind: [(name, results[name]) for name, row in rows.items() if name in results and row["kind"] == kind]
               for kind in ("training", "decode", "compile")}
    if by_kind["training"]:
        lines = []
        for name, sides in by_kind["training"]:
            ours, eager, compiled = sides["morph"], sides.get("eager"), sides.get("compile")
            peak = ours["peak_bytes" if "device" in ours else "peak_rss_bytes"]
            memory = peak / eager["peak_bytes"] if eager else None
            lines.append([name, seconds(ours), seconds(eager), seconds(compiled), ratio(eager, ours),
                          ratio(compiled, ours), f"{ours['ideal_gemm_seconds']:.4g}", f"{ours['share']:.2f}",
                          f"{ours['ideal_gemm_seconds'] / eager['median_seconds']:.2f}" if eager else "-",
                          gigabytes(ours["peak_bytes"]), gigabytes(peak),
                          gigabytes(eager["peak_bytes"]) if eager else "-",
                          f"{memory:.2f}" if memory else "-"])
        table(["a step, s", "morph", "eager", "compile", "eager/morph", "compile/morph", "ideal", "share",
               "eager's share", "held GB", "peak GB", "eager's peak GB", "peak ratio"], lines)
    if by_kind["decode"]:
        table(["a token, s", "hybrid", "full", "eager full", "full/hybrid", "eager/hybrid", "reading", "read share"],
              [[name, seconds(sides["morph"]), seconds(sides["full"]), seconds(sides.get("eager")),
                ratio(sides["full"], sides["morph"]), ratio(sides.get("eager"), sides["morph"]),
                *((f"{sides['morph']['ideal_read_seconds']:.4g}", f"{sides['morph']['read_share']:.2f}")
                  if "read_share" in sides["morph"] else ("-", "-"))]
               for name, sides in by_kind["decode"]])
    if by_kind["compile"]:
        table(["layers", "config to plans, s", "passes to gates, s"],
              [[name, seconds(sides["morph"]), f"{sides['morph']['passes']['Total']:.3f}"]
               for name, sides in by_kind["compile"]])


def parse_arguments(rows):
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="rows, with commas between: " + ", ".join(
        name for name, row in rows.items() if not row.get("hidden")))
    parser.add_argument("--json", type=pathlib.Path, help="file of the results; rows of the same device, threads, precision and "
                        "peers in it are not run again")
    parser.add_argument("--peers", default="eager,compile", help="eager, compile, both or '' (default: both; compiling "
                        "takes minutes a row)")
    parser.add_argument("--turns", type=int, default=3, help="turns that each side has (default: 3)")
    parser.add_argument("--repeat", type=int, default=2, help="samples of a turn (default: 2)")
    parser.add_argument("--cuda-model", action="store_true", help="in place of all that: estimates of every kernel on GPUs "
                        "that are not there (tools/bench --cuda-model --help)")
    parser.add_argument("--cuda-tiles", action="store_true", help="nor that: what ptxas says of tiled kernels, and what the "
                        "compiler picks by it (tools/bench --cuda-tiles --help)")
    parser.add_argument("--serve", action="store_true", help="nor that: morph serve against transformers' generate "
                        "(tools/bench --serve --help)")
    parser.add_argument("--tokenise", action="store_true", help="nor that: memory and time of tokenising a corpus "
                        "(tools/bench --tokenise --help)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N, of both sides (default: cpu)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of each side (default: all cores)")
    arguments = parser.parse_args()
    arguments.peers = sorted({peer for peer in arguments.peers.split(",") if peer}, reverse=True)
    if unknown := set(arguments.peers) - {"eager", "compile"}:
        parser.error(f"unknown peer '{unknown.pop()}'")
    names = [name for name, row in rows.items() if not row.get("hidden")]
    if arguments.only:
        names = arguments.only.split(",")
        if unknown := [name for name in names if name not in rows]:
            parser.error(f"there is no row '{unknown[0]}'")
    if min(arguments.turns, arguments.repeat) < 1 or arguments.threads < 0:
        parser.error("--turns and --repeat are 1 or more, --threads is not negative")
    return arguments, names


def main():
    for option, module in (("--cuda-model", cuda_model), ("--cuda-tiles", cuda_tiles), ("--serve", serve_speed),
                           ("--tokenise", tokenise)):
        if option in sys.argv:
            if module is not tokenise and not {"-h", "--help"} & set(sys.argv):  # Its step is Python's.
                check_morph()
            sys.exit(module.main([argument for argument in sys.argv[1:] if argument != option], MORPH.parent, SOURCE))
    rows = make_rows()
    arguments, names = parse_arguments(rows)
    check_morph()
    results = read_results(arguments.json)
    shown, failed = {}, False
    for name in names:
        if results.get(name, {}).get("setup") == setup_of(rows[name], arguments):
            shown[name] = results[name]
            continue
        print(f"bench: {name}", file=sys.stderr, flush=True)
        try:
            results[name] = shown[name] = run_row(rows[name], arguments)
        except Failure as error:
            print(f"bench: error: {name}: {error}", file=sys.stderr)
            failed = True
            continue
        if arguments.json:
            partial = arguments.json.with_suffix(".partial")
            partial.write_text(json.dumps(results, indent=1))
            partial.replace(arguments.json)
    if shown:
        first = next(iter(shown.values()))["morph"]
        print(first.get("device", first["cpu"]))
        print()
        print_tables(rows, shown)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    sys.exit(exit_status("bench", main))
