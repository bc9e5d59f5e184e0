# SPDX-License-Identifier: Apache-2.0
"""A roofline of every kernel of some models' programs on an A100, H100 and B200, without one: an estimate. The stand-in for
NVIDIA's driver (test/cuda) runs the kernels and counts bytes, sectors, passes over shared memory's banks, operations of tensor
cores and instructions; ptxas says registers and spills; occupancy follows.

A block takes of a multiprocessor the most of
  memory     bytes that the second cache has not (test/cuda/driver/SecondCache.h) at the memory's speed, or its sectors at that
             cache's
  tensor     operations of tensor cores at their peak
  issue      instructions at four a clock, and those of its units at their own rates (passes of shared memory at one)
  latency    one warp's instructions after one another (LATENCY), while as many blocks as fit take turns
`us` is the time of a launch where all multiprocessors have such blocks, `us_counted` that of the launch that was counted,
whose few blocks may not fill the device."""

import argparse
import collections
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile

import cuda_programs

# Copies and kernels of rows reach so much of the memory's bandwidth: measured on an H100 (passes/lower/README.md).
MEMORY_SHARE = 0.78
# Bytes a second of the second cache, of those of the memory. Published measurements: 2 to 3.
CACHE_SPEED = 2.5
# A warp's instructions of a class that a multiprocessor starts in a clock.
RATES = {"integer": 2, "float": 4, "special": 0.5, "convert": 2, "move": 4, "control": 2, "global": 1, "local": 1,
         "atomic": 0.25, "barrier": 0.5, "collective": 1}
# Clocks until the next instruction of the warp: with some independent loads in flight (600 clocks for three of global
# memory, 30 for three of shared), dependent arithmetic.
LATENCY = {"global": 200, "shared": 10, "special": 16, "barrier": 30, "collective": 24, "atomic": 300, "mma": 16}
OTHER_LATENCY = 4.5
LAUNCH_US = 2.0
ARCHITECTURES = {"a100": "sm_80", "h100": "sm_90", "b200": "sm_100"}
BYTES = {"f32": 4, "bf16": 2, "f16": 2, "f64": 8, "i64": 8}


def read_devices(source):
    """The data sheets of runtime/plan/Devices.def by key."""
    devices = {}
    text = (source / "runtime/plan/Devices.def").read_text()
    for line in re.findall(r"^MORPH_DEVICE\((.*)\)$", text, re.MULTILINE):
        key, name, target, *numbers = [part.strip().strip('"') for part in line.split(",")]
        memory, bandwidth, tensor, single, count, clock, shared = map(float, numbers)
        devices[key] = {"name": name, "target": target, "memory_bytes": 1e9 * memory, "bandwidth": 1e9 * bandwidth,
                        "tensor_flops": 1e12 * tensor, "flops": 1e12 * single, "multiprocessors": int(count),
                        "clock": 1e6 * clock, "shared_bytes": 1024 * int(shared)}
    return devices


def assemble(ptxas, ptx, architecture):
    """Registers, spilled bytes and static shared memory of each kernel: what ptxas -v says."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as output:
        done = subprocess.run([ptxas, "-v", f"-arch={architecture}", ptx, "-o", output.name], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ptxas: {done.stderr}")
    kernels = {}
    name = None
    for line in done.stderr.splitlines():
        if found := re.search(r"Compiling entry function '(\S+)'", line):
            name = found[1]
            kernels[name] = {"registers": 0, "spill_bytes": 0, "shared_bytes": 0}
        elif name and (found := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line)):
            kernels[name]["spill_bytes"] = int(found[1]) + int(found[2])
        elif name and (found := re.search(r"Used (\d+) registers", line)):
            kernels[name]["registers"] = int(found[1])
            if found := re.search(r"(\d+) bytes smem", line):
                kernels[name]["shared_bytes"] = int(found[1])
    return kernels


def occupancy(threads, registers, shared, device):
    """Blocks of a multiprocessor: by its 64 warps, 32 blocks, 64 K registers and shared memory."""
    warps = math.ceil(threads / 32)
    by_registers = 65536 // (math.ceil(registers * 32 / 256) * 256 * warps) if registers else 32
    return max(0, min(64 // warps, 32, by_registers, int(device["shared_bytes"] // (shared + 1024))))


def sum_counts(counted):
    """The counts of a kernel over its instructions. Shares of the shared memory's passes are those of the loop that has most
    of them."""
    total = collections.Counter()
    for line in counted["lines"]:
        total[line["class"]] += line["threads"] / 32
        for key in ("flops", "mma_flops", "bytes_loaded", "bytes_stored", "requests", "sectors", "ideal_sectors",
                    "shared_requests", "wavefronts", "ideal_wavefronts"):
            total[key] += line.get(key, 0)
    return total


def evaluate(formula, sizes):
    """A size formula of a plan's device code (runtime/plan/DeviceCode.h); 0 where a size is not known: the rings of decoding,
    whose slots Programs.run leaves to the runtime."""
    if isinstance(formula, int):
        return formula
    if any(name not in sizes for _, _, names, _ in formula for name in names):
        return 0
    value = 0
    for times, scale, names, per in formula:
        product = scale
        for name in names:
            product *= sizes[name]
        value += times * -(-product // per)
    return value


def is_uniform(plan, instruction, operand):
    """Whether all rows of a kernel of rows read the same operand."""
    if instruction["op"] != "launch":
        return False
    kernel = next(each for each in plan["kernels"] if each["name"] == instruction["attributes"]["kernel"])
    shape = kernel["values"][operand]["shape"]
    return not shape or not isinstance(shape[0], str)


def launches_of(plan, sizes):
    """What each kernel is launched for in a run: its op, threads and shared memory of a block, and bytes of operands, results
    and scratch once each a launch, where sizes are known; of these the operands that all rows read."""
    kernels = {}
    for instruction, code in zip(plan["instructions"], plan["devices"][0]["instructions"]):
        for launch in code["launches"]:
            entry = kernels.setdefault(launch["kernel"], {"op": instruction["op"], "threads": launch["threads"],
                                                          "shared_bytes": launch.get("shared", 0), "ideal_bytes": 0,
                                                          "uniform_bytes": 0})
            values, uniform = set(), set()
            for argument in launch["arguments"]:
                if argument["kind"] in ("operand", "result"):
                    values.add(instruction[f"{argument['kind']}s"][argument["index"]])
                if argument["kind"] == "operand" and is_uniform(plan, instruction, argument["index"]):
                    uniform.add(instruction["operands"][argument["index"]])
            if any(argument["kind"] == "scratch" for argument in launch["arguments"]):
                entry["ideal_bytes"] += evaluate(code["scratch"], sizes)
            for value in values - {-1}:
                kind = plan["values"][value]
                bytes_of = BYTES[kind["dtype"]]
                for dim in kind["shape"]:
                    bytes_of *= dim if isinstance(dim, int) else evaluate([[1, 1, [dim], 1]], sizes)
                entry["ideal_bytes"] += bytes_of
                entry["uniform_bytes"] += bytes_of if value in uniform else 0
    return kernels


def estimate(counts, counted, launch, assembled, device):
    """Times of a launch on a device and what bounds it."""
    launches, blocks = counted["launches"], counted["blocks"] / counted["launches"]
    per_block = {key: value / counted["blocks"] for key, value in counts.items()}
    resident = occupancy(launch["threads"], assembled["registers"], launch["shared_bytes"] + assembled["shared_bytes"], device)
    clock, count = device["clock"], device["multiprocessors"]
    # Clocks of a multiprocessor for one block.
    bandwidth = device["bandwidth"] * MEMORY_SHARE / (count * clock)
    clocks = {"memory": max((counted["memory_loaded"] + counted["memory_stored"]) / counted["blocks"] / bandwidth,
                            32 * per_block["sectors"] / (CACHE_SPEED * bandwidth)),
              "tensor": per_block["mma_flops"] / (device["tensor_flops"] / (count * clock)),
              "issue": max(sum(per_block.get(kind, 0) for kind in [*RATES, "shared", "mma"]) / 4, per_block["wavefronts"],
                           *(per_block.get(kind, 0) / rate for kind, rate in RATES.items()))}
    warps = math.ceil(launch["threads"] / 32)
    alone = sum(per_block.get(kind, 0) * LATENCY.get(kind, OTHER_LATENCY) for kind in [*RATES, "shared", "mma"]) / warps
    clocks["latency"] = alone / max(1, resident)
    bound = max(clocks, key=clocks.get)
    full = blocks / count * clocks[bound] / clock
    waves = math.ceil(blocks / (count * max(1, resident)))
    return {"bound": bound, "occupancy": resident * warps / 64, "us": 1e6 * full,
            "us_counted": LAUNCH_US + 1e6 * max(full, waves * alone / clock), "clocks_a_block": clocks}


def model_program(programs, program, plan, sizes, counts_file, ptxas, devices):
    """Rows of one program: a kernel each."""
    rows = []
    counted = {each["kernel"]: each for each in json.loads(counts_file.read_text())}
    keys = [key for key, device in devices.items() if device["target"] == programs.target]
    ptx = programs.folder / "plans" / f"{plan['devices'][0]['ptx']}.ptx"
    assembled = {key: assemble(ptxas, ptx, ARCHITECTURES[key]) for key in keys} if counted else {}
    for name, launch in launches_of(plan, sizes).items():
        if name not in counted:
            continue
        counts = sum_counts(counted[name])
        row = {"program": program, "kernel": name, "op": launch["op"], "launches": counted[name]["launches"],
               "blocks": counted[name]["blocks"], "threads": launch["threads"], "shared_bytes": launch["shared_bytes"],
               "full_sectors": counts["ideal_sectors"] / max(1, counts["sectors"]),
               "sector_bytes": 32 * counts["sectors"], "ideal_bytes": launch["ideal_bytes"],
               "uniform_bytes": launch["uniform_bytes"],
               "touched_bytes": counted[name]["first_loaded"] + counted[name]["first_stored"],
               "memory_bytes": counted[name]["memory_loaded"] + counted[name]["memory_stored"],
               "bank_passes": counts["wavefronts"] / max(1, counts["ideal_wavefronts"]),
               "tensor_share": counts["mma_flops"] / max(1, counts["mma_flops"] + counts["flops"]),
               "counts": dict(counts), "devices": {}}
        for key in keys:
            row["devices"][key] = {**assembled[key][name],
                                   **estimate(counts, counted[name], launch, assembled[key][name], devices[key])}
        rows.append(row)
    return rows


def sizes_of(plan, batch, length):
    """The named sizes of the run of Programs.run; of the caches there are none."""
    return {"B": batch, "T": length, "N": 3 * batch}


def find_ptxas(build):
    """The assembler that the build has found, or None."""
    cache = (build / "CMakeCache.txt").read_text()
    found = re.search(r"^MORPH_PTXAS:FILEPATH=(.*)$", cache, re.MULTILINE)
    return None if not found or found[1].endswith("NOTFOUND") else found[1]


def model_models(names, batch, length, binaries, source, report=lambda text: None):
    """The rows of all programs of these models, with estimates for every device."""
    build = binaries.parent
    ptxas, devices = find_ptxas(build), read_devices(source)
    if not ptxas:
        raise RuntimeError("there is no ptxas: registers and occupancy are not known without it")
    libraries = {"MORPH_CUDA_DRIVER": str(build / "test/cuda/lib/libcuda.so.1"),
                 "MORPH_CUBLASLT": str(build / "test/cuda/lib/libcublasLt.so.13")}
    result = {}
    for name in names:
        rows = {}
        for target in sorted({device["target"] for device in devices.values()}):
            with tempfile.TemporaryDirectory() as folder:
                programs = cuda_programs.Programs(binaries, source, name, target, folder)
                for program, plan in programs.plans.items():
                    report(f"{name} {target} {program}")
                    counts = programs.folder / f"{program}.counts"
                    programs.run(program, batch, length, "cuda", counts=counts, **libraries,
                                 MORPH_STAND_IN_DEVICE="a100" if target == "sm_80" else "h100")
                    for row in model_program(programs, program, plan, sizes_of(plan, batch, length), counts, ptxas, devices):
                        known = rows.setdefault((program, row["kernel"]), row)
                        known["devices"].update(row["devices"])
        result[name] = list(rows.values())
    return {"devices": devices, "batch": batch, "length": length, "models": result}


def table(header, lines):
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    for line in [header, ["-" * width for width in widths], *lines]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")
    print()


def print_report(report, is_long):
    """A line a kind of op, of its slowest kernel; `is_long`: one a kernel and program. `loaded`: sectors that warps ask for, over
    the bytes that a launch touches, once each; `HBM`: the same of what the second cache has not."""
    keys = list(report["devices"])
    for name, rows in report["models"].items():
        print(f"{name}, {report['batch']} x {report['length']} tokens. Estimates of a launch where the device is full, us\n")
        lines = []
        seen = {}
        for row in sorted(rows, key=lambda row: -row["devices"]["h100"]["us"]):
            label = f"{row['program']} {row['kernel']}" if is_long else row["op"]
            if label in seen:
                continue
            seen[label] = row
            h100 = row["devices"]["h100"]
            loaded, memory = (f"{row[bytes_of] / row['touched_bytes']:.2f}" if row["touched_bytes"] else "-"
                              for bytes_of in ("sector_bytes", "memory_bytes"))
            lines.append([label, str(h100["registers"]), str(max(each["spill_bytes"] for each in row["devices"].values())),
                          f"{(row['shared_bytes'] + h100['shared_bytes']) / 1024:.0f}", f"{h100['occupancy']:.2f}",
                          f"{row['full_sectors']:.2f}", loaded, memory, f"{row['bank_passes']:.2f}", f"{row['tensor_share']:.2f}",
                          *(f"{row['devices'][key]['us']:.2f} {row['devices'][key]['bound']}" for key in keys)])
        table(["kernel" if is_long else "op", "registers", "spills", "shared KB", "occupancy", "full sectors", "loaded",
               "HBM", "bank passes", "tensor share", *keys], lines)


def main(arguments, binaries, source):
    """What tools/bench --cuda-model runs."""
    parser = argparse.ArgumentParser(prog="tools/bench --cuda-model", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(cuda_programs.MODELS), help="models, with commas between (default: all: "
                        + ", ".join(cuda_programs.MODELS) + ")")
    parser.add_argument("--batch", type=int, default=1, help="sequences (default: 1)")
    parser.add_argument("--length", type=int, default=128, help="tokens of each (default: 128)")
    parser.add_argument("--long", action="store_true", help="a line a kernel and program, not one an op")
    parser.add_argument("--json", type=pathlib.Path, help="file of the results")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    if unknown := [name for name in names if name not in cuda_programs.MODELS]:
        parser.error(f"there is no model '{unknown[0]}'")
    if options.batch < 1 or options.length < 8:
        parser.error("--batch is 1 or more, --length 8 or more")
    try:
        report = model_models(names, options.batch, options.length, binaries, source,
                              lambda text: print(f"bench: {text}", file=sys.stderr, flush=True))
    except RuntimeError as error:
        sys.exit(f"bench: error: {error}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    print_report(report, options.long)
