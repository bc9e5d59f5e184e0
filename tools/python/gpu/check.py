# SPDX-License-Identifier: Apache-2.0
"""Runs what pack.py has packed: see tools/gpu-check. It has PyTorch, safetensors and nothing of Morph's."""

import collections
import concurrent.futures
import ctypes
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

TARGETS = ("sm_80", "sm_90")
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "i64": torch.int64}
SIZES = {"B": 4, "T": 2048}
LOSS_TOLERANCE = 1e-3  # Of the quickstart; test/cuda/run_test.py has the same.
# Which a kernel that hangs is ended after.
PROGRAM_SECONDS, TESTS_SECONDS = 120, 300
MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


def library_path():
    """LibTorch's libraries, and NVIDIA's that came with it."""
    torch_folder = pathlib.Path(torch.__file__).parent
    return f"{torch_folder / 'lib'}:{torch_folder.parent / 'nvidia/cu13/lib'}"


def targets():
    """Those whose code the GPU runs, the last one the latest."""
    major, minor = torch.cuda.get_device_capability()
    return [target for target in TARGETS if int(target.removeprefix("sm_")) <= 10 * major + minor]


def check_program(folder, runner, target):
    """The differences of a program's outputs, as parts of its tolerance; or why it did not run."""
    command = [runner, folder / f"{target}.json", "--input", folder / "inputs.safetensors", "--output",
               folder / f"{target}.found", "--device", "cuda"]
    if (folder / "weights.safetensors").exists():
        command += ["--weights", folder / "weights.safetensors"]
    try:
        result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=PROGRAM_SECONDS)
    except subprocess.TimeoutExpired:
        return None, [f"no end within {PROGRAM_SECONDS} s"]
    if result.returncode:
        return None, result.stderr.strip().splitlines()[-1:]
    expected, found = load_file(folder / "cpu.safetensors"), load_file(folder / f"{target}.found")
    tolerance = float((folder / "tolerance").read_text())
    worst = 0.0
    for name in expected:
        scale = expected[name].abs().max().item() or 1.0
        difference = (found[name].double() - expected[name].double()).abs().max().item() / scale
        # What is no number is no agreement.
        worst = max(worst, difference / tolerance) if difference == difference else float("inf")
    return worst, []


def check_programs(folder):
    lines = collections.defaultdict(lambda: {"runs": 0, "wrong": 0, "worst_of_tolerance": 0.0, "errors": []})
    jobs = [(place, target) for place in sorted((folder / "programs").iterdir()) for target in targets()]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda job: check_program(job[0], folder / "morph-plan-run", job[1]), jobs)
    for (place, target), (worst, errors) in zip(jobs, results):
        line = lines[place.name.rsplit("-", 1)[0]]
        line["runs"] += 1
        line["errors"] += [f"{place.name} {target}: {error}" for error in errors]
        if worst is None or worst >= 1:
            line["wrong"] += 1
        line["worst_of_tolerance"] = max(line["worst_of_tolerance"], worst or 0.0)
    return lines


def run_tests(folder, name, **environment):
    """How many of a GoogleTest program's tests passed, failed and were skipped."""
    try:
        result = subprocess.run([f"./{name}"], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
                                timeout=TESTS_SECONDS)
    except subprocess.TimeoutExpired:
        return {"passed": 0, "skipped": 0, "failed": [], "code": f"no end within {TESTS_SECONDS} s"}
    counts = {word.lower(): int(number) for word, number in re.findall(r"\[  (PASSED|SKIPPED) +\] (\d+) test", result.stdout)}
    return {"passed": counts.get("passed", 0), "skipped": counts.get("skipped", 0),
            "failed": re.findall(r"\[  FAILED  \] (\S+\.\S+) \(", result.stdout), "code": result.returncode}


def are_tests_right(result):
    """Whether every program ended well and ran something: one that crashes prints no failed test."""
    return all(line["code"] == 0 and line["passed"] and not line["failed"] for line in result.values())


#===----------------------------------------------------------------------===#
# Speed of kernels
#===----------------------------------------------------------------------===#


def size_of(size):
    """A number, a name, or a name over a number, rounded up: chunks of a length."""
    if isinstance(size, int):
        return size
    name, _, per = size.partition("/")
    return -(-SIZES[name] // int(per or 1))


def value_of(formula):
    """runtime/plan/DeviceCode.h: a number, or the sum of times * ceil(scale * product / per)."""
    if isinstance(formula, int):
        return formula
    total = 0
    for times, scale, names, per in formula:
        product = scale
        for name in names:
            product *= SIZES[name]
        total += times * -(-product // per)
    return total


def median_seconds(run, repeats=20):
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return sorted(times)[repeats // 2]


class Launches:
    """The launches of a plan, on PyTorch's stream and memory."""

    def __init__(self, folder):
        self.plan = json.loads((folder / f"{targets()[-1]}.json").read_text())
        self.device = self.plan["devices"][0]
        self.driver = ctypes.CDLL("libcuda.so.1")
        torch.manual_seed(0)
        self.values = [torch.randn([size_of(size) for size in value["shape"]], device="cuda").to(DTYPES[value["dtype"]])
                       for value in self.plan["values"]]
        self.module = ctypes.c_void_p()
        text = (folder / f"{self.device['ptx']}.ptx").read_bytes() + b"\0"
        self.call("cuModuleLoadData", ctypes.byref(self.module), text)

    def call(self, function, *arguments):
        if code := getattr(self.driver, function)(*arguments):
            raise RuntimeError(f"{function}: CUDA error {code}")

    def number(self, argument, instruction, scratch):
        if argument["kind"] in ("operand", "result"):
            value = instruction[argument["kind"] + "s"][argument["index"]]
            return self.values[value].data_ptr() if value >= 0 else 0
        return value_of(argument["size"]) + (scratch.data_ptr() if argument["kind"] == "scratch" else 0)

    def runner(self, place):
        """A function that launches instruction `place`."""
        instruction, code = self.plan["instructions"][place], self.device["instructions"][place]
        scratch = torch.empty(max(256, value_of(code.get("scratch", 0))), dtype=torch.uint8, device="cuda")
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        launches = []
        for launch in code["launches"]:
            function = ctypes.c_void_p()
            self.call("cuModuleGetFunction", ctypes.byref(function), self.module, launch["kernel"].encode())
            if (shared := launch.get("shared", 0)) > 48 * 1024:
                self.call("cuFuncSetAttribute", function, MAX_DYNAMIC_SHARED, shared)
            numbers = [self.number(argument, instruction, scratch) for argument in launch["arguments"]]
            memory = (ctypes.c_uint64 * len(numbers))(*numbers)
            addresses = (ctypes.c_void_p * len(numbers))(*[ctypes.addressof(memory) + 8 * i for i in range(len(numbers))])
            grid = [value_of(size) for size in launch["grid"]]
            launches.append(((function, *grid, launch["threads"], 1, 1, shared, stream, addresses, None),
                             memory, scratch))

        def run():
            for arguments, *_ in launches:
                self.call("cuLaunchKernel", *arguments)
        return run

    def bytes_of(self, place):
        instruction = self.plan["instructions"][place]
        values = (self.values[v] for v in instruction["operands"] + instruction["results"] if v >= 0)
        return sum(value.numel() * value.element_size() for value in values)


def time_eager(rows):
    """The same in PyTorch eager; of kernels of several ops all of them."""
    x, y, g, u = (rows.values[value["value"]] for value in rows.plan["inputs"])
    weight = torch.randn(x.shape[-1], device="cuda", requires_grad=True)
    input = y.detach().requires_grad_()
    output = F.rms_norm(input, weight.shape, weight, 1e-5)
    frozen = weight.detach()
    runs = {"add, rms_norm, cast": lambda: F.rms_norm(x + y, frozen.shape, frozen, 1e-5).bfloat16(),
            "swiglu": lambda: F.silu(g) * u,
            "rms_norm's gradients": lambda: torch.autograd.grad(output, (input, weight), x, retain_graph=True)}
    return {name: median_seconds(run) for name, run in runs.items()}


def time_rows(folder):
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    copy = 2 * source.numel() / median_seconds(lambda: torch.empty_like(source).copy_(source))
    del source
    result = {"copy_bytes_per_second": copy}
    for place in sorted((folder / "rows").iterdir(), key=lambda path: int(path.name)):
        rows = Launches(place)
        kernels = {}
        for i, code in enumerate(rows.device["instructions"]):
            if code["launches"]:
                seconds = median_seconds(rows.runner(i))
                kernels[code["launches"][0]["kernel"]] = {"seconds": seconds,
                                                          "share_of_copy": rows.bytes_of(i) / seconds / copy}
        result[place.name] = {"kernels": kernels, "eager_seconds": time_eager(rows)}
    return result


def time_attention(folder):
    """Attention of bf16, forward and backward, beside PyTorch's scaled_dot_product_attention."""
    result = {}
    for place in sorted((folder / "attention").iterdir()):
        plan = Launches(place)
        d, q, k, v = (plan.values[value["value"]] for value in plan.plan["inputs"])
        batch, length, heads, width = q.shape
        flops = {"attention": 4 * batch * heads * width * length * (length + 1) / 2}
        flops["attention_grad"] = 2.5 * flops["attention"]
        seconds = {instruction["op"]: median_seconds(plan.runner(i))
                   for i, instruction in enumerate(plan.plan["instructions"]) if instruction["op"] in flops}
        inputs = [value.transpose(1, 2).detach().requires_grad_() for value in (q, k, v)]
        y = F.scaled_dot_product_attention(*inputs, is_causal=True, enable_gqa=True)
        eager = {"attention": median_seconds(
                     lambda: F.scaled_dot_product_attention(*(value.detach() for value in inputs), is_causal=True, enable_gqa=True)),
                 "attention_grad": median_seconds(
                     lambda: torch.autograd.grad(y, inputs, d.transpose(1, 2), retain_graph=True))}
        result[place.name] = {op: {"seconds": seconds[op], "flops_per_second": flops[op] / seconds[op],
                                   "torch_seconds": eager[op]} for op in flops}
    return result


def fla_kernel(name):
    """flash-linear-attention's function of a recurrence, or null where the package is not there (PYTHONPATH may name its
    wheel's folder). Of each kernel's configurations Triton tries the first two: all take minutes."""
    try:
        import triton
        whole = triton.autotune
        if "fla" not in sys.modules:
            triton.autotune = lambda configs, *arguments, **more: whole(configs[:2], *arguments, **more)
        if name.startswith("gated_deltanet"):
            from fla.ops.gated_delta_rule import chunk_gated_delta_rule as kernel
        else:
            from fla.ops.gla import chunk_gla as kernel
        return kernel
    except ImportError:
        return None


def time_recurrence(folder):
    """Linear attention of bf16 in chunks, forward and backward, beside flash-linear-attention's kernels."""
    result = {}
    for place in sorted((folder / "recurrence").iterdir()):
        plan = Launches(place)
        d, q, k, v, g, beta = (plan.values[value["value"]] for value in plan.plan["inputs"])
        # Values of every size would overflow: keys of length one, decays below one.
        k.copy_(F.normalize(k.float(), dim=-1))
        g.copy_(-g.abs() * 0.1)
        beta.copy_(beta.sigmoid())
        seconds = {instruction["op"]: median_seconds(plan.runner(i))
                   for i, instruction in enumerate(plan.plan["instructions"]) if "linear_attention" in instruction["op"]}
        line = result[place.name] = {"forward_seconds": seconds["linear_attention"],
                                     "backward_seconds": seconds["linear_attention_grad"]}
        kernel = fla_kernel(place.name)
        if not kernel:
            continue
        try:
            delta = place.name.startswith("gated_deltanet")
            inputs = [value.detach().requires_grad_() for value in (q, k, v, g, *([beta] if delta else []))]

            def run():
                return kernel(*inputs, scale=0.1)[0]

            line["fla_forward_seconds"] = median_seconds(lambda: run().detach())
            y = run()
            line["fla_backward_seconds"] = median_seconds(lambda: torch.autograd.grad(y, inputs, d, retain_graph=True))
        except Exception as error:  # Whatever Triton has to say is the result.
            line["fla_error"] = str(error).strip().splitlines()[0][:200]
    return result


#===----------------------------------------------------------------------===#
# Morph itself
#===----------------------------------------------------------------------===#


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def compare_losses(ours, theirs):
    """The largest difference of two runs' losses, as a part of the losses; none where they are not of the same steps."""
    steps = [[(line["stage"], line.get("variant"), line["step"]) for line in lines] for lines in (ours, theirs)]
    if steps[0] != steps[1] or not steps[0]:
        return None
    # A loss may be next to zero. What is no number is no agreement.
    parts = [abs(one["loss"] - other["loss"]) / max(abs(other["loss"]), 1e-3) for one, other in zip(ours, theirs)]
    return max(part if part == part else float("inf") for part in parts)


def run_quickstart(folder):
    """The quickstart on the GPU beside the CPU's: its seconds, kept layers, the losses of each stage's first and last
    logged step, and the largest difference of all of them."""
    out = folder / "quickstart/cuda"
    # A run that is whole would not be run again, on whichever GPU it was.
    if out.exists():
        shutil.rmtree(out)
    begin = time.perf_counter()
    result = subprocess.run([folder / "morph/morph", "run", folder / "morph/specs/quickstart.toml", "--out", out, "--device",
                             "cuda", "--set", "export.check=false", "--json"], capture_output=True, text=True)
    if result.returncode:
        return {"error": result.stderr.strip().splitlines()[-3:]}
    figures = {"seconds": time.perf_counter() - begin}
    places = {"cpu": folder / "quickstart", "cuda": out}
    lines = {name: read_lines(place / "metrics.jsonl") for name, place in places.items()}
    for name, place in places.items():
        losses = collections.defaultdict(list)
        for line in lines[name]:
            losses[" ".join(filter(None, (line["stage"], line.get("variant", ""))))].append(line["loss"])
        figures[name] = {"kept": json.loads((place / "selection.json").read_text())["kept"],
                         "losses": {stage: [values[0], values[-1]] for stage, values in losses.items()}}
    return {**figures, "largest_difference": compare_losses(lines["cuda"], lines["cpu"])}


def is_quickstart_right(result):
    """Whether the GPU keeps the CPU's layers and has its losses."""
    return ("error" not in result and result["cuda"]["kept"] == result["cpu"]["kept"]
            and result["largest_difference"] is not None and result["largest_difference"] <= LOSS_TOLERANCE)


def run_bench(folder):
    """tools/bench's table on the GPU."""
    results = folder / "bench.json"
    results.unlink(missing_ok=True)  # Rows that stand in it are not run again.
    environment = {**os.environ, "MORPH_PROGRAM": str(folder / "morph/morph"), "MORPH_PYTHON": sys.executable}
    process = subprocess.run([sys.executable, folder / "morph/tools/python/bench/bench.py", "--device", "cuda", "--only",
                              ROWS_OF_BENCH, "--json", results], env=environment, text=True, stdout=subprocess.PIPE)
    print(process.stdout)
    rows = json.loads(results.read_text()) if results.exists() else {}
    return rows if process.returncode == 0 else {**rows, "error": "a row was not measured"}


ROWS_OF_BENCH = "gates-smollm2-bf16,align-smollm2-bf16,distill-smollm2-bf16,gates-smollm2-fp32,decode-1k,decode-16k"


def print_rows(result):
    for line in result.values():
        if isinstance(line, dict):
            for kernel, figures in line["kernels"].items():
                print(f"{kernel}: {figures['seconds'] * 1e6:.1f} us, {figures['share_of_copy']:.2f} of a copy")
            for name, seconds in line["eager_seconds"].items():
                print(f"  PyTorch eager: {name}: {seconds * 1e6:.1f} us")


def print_attention(result):
    for name, ops in result.items():
        for op, figures in ops.items():
            print(f"{op} {name}: {figures['seconds'] * 1e6:.1f} us, {figures['flops_per_second'] / 1e12:.0f} TFLOP/s; "
                  f"PyTorch: {figures['torch_seconds'] * 1e6:.1f} us")


def print_recurrence(result):
    for name, line in result.items():
        print(f"{name}: " + ", ".join(f"{key} {value if isinstance(value, str) else f'{value * 1e6:.1f} us'}"
                                      for key, value in line.items()))


def print_programs(result):
    for name, line in result.items():
        print(f"{name}: {line['runs']} runs, {line['wrong']} wrong, worst {line['worst_of_tolerance']:.2f} of the tolerance")
        for error in line["errors"]:
            print(f"  {error}")


def run_both_tests(folder):
    return {"driver": run_tests(folder, "cuda-driver-test", MORPH_CUDA_DRIVER="libcuda.so.1"),
            "device": run_tests(folder, "cuda-device-test")}


# What each part runs, prints, and when it is right.
PARTS = {
    "programs": (check_programs, print_programs,
                 lambda result: bool(result) and not any(line["wrong"] for line in result.values())),
    "tests": (run_both_tests, print, are_tests_right),
    "quickstart": (run_quickstart, print, is_quickstart_right),
    "rows": (time_rows, print_rows, lambda result: True),
    "attention": (time_attention, print_attention, lambda result: True),
    "recurrence": (time_recurrence, print_recurrence, lambda result: True),
    "bench": (run_bench, lambda result: None, lambda result: "error" not in result),
}


def read_result(path, device):
    """What earlier calls have found on the same device with the same PyTorch; else there is nothing yet."""
    result = json.loads(path.read_text()) if path.exists() else {}
    return result if {name: result.get(name) for name in device} == device else dict(device)


def main(folder, names):
    if unknown := set(names) - set(PARTS):
        print(f"gpu-check: error: there is no part '{unknown.pop()}': {', '.join(PARTS)}", file=sys.stderr)
        return 2
    torch.zeros(1, device="cuda")
    os.environ["LD_LIBRARY_PATH"] = library_path()
    print(torch.cuda.get_device_name(), flush=True)
    path = folder / "result.json"
    result = read_result(path, {"device": torch.cuda.get_device_name(), "torch": torch.__version__})
    wrong = False
    for name in names or PARTS:
        run, show, is_right = PARTS[name]
        begin = time.perf_counter()
        result[name] = run(folder)
        show(result[name])
        wrong |= not is_right(result[name])
        print(f"gpu-check: {name}: {'right' if is_right(result[name]) else 'WRONG'}, {time.perf_counter() - begin:.0f} s",
              flush=True)
        path.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]))
