# SPDX-License-Identifier: Apache-2.0
"""Every program of some models, compiled for GPUs, with random weights and inputs: what `tools/bench --cuda-model` counts and
`ctest -L cuda` compares with the CPU."""

import hashlib
import json
import os
import pathlib
import subprocess

import torch
from plan_runs import run_plan
from safetensors.torch import save_file

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
         "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True, "bos_token_id": 1,
         "eos_token_id": 2, "max_position_embeddings": 512}
MODELS = {
    # The embedded base of the quickstart, and its spec's mixer.
    "quickstart": {"config": "tiny-recall", "precision": "fp32", "backend": "gated_deltanet(chunk = 16)", "full_layers": 2},
    "stories260K": {"config": {**LLAMA, "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 5,
                               "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8, "vocab_size": 512,
                               "torch_dtype": "float32"},
                    "precision": "fp32", "backend": "lightning", "full_layers": 1},
    # One layer of Qwen3-1.7B, with a small vocabulary: the head's product is a library's.
    "qwen3-layer": {"config": "qwen3-1.7b", "changes": {"num_hidden_layers": 1, "vocab_size": 1000},
                    "precision": "bf16", "backend": "gated_deltanet", "full_layers": 0},
}
SPEC = """version = 1
name = "{name}"
seed = 0
[model]
path = "model"
precision = "{precision}"
[linear]
backend = "{backend}"
[budget]
full_layers = {full_layers}
[data]
text = ["text.txt"]
[[task]]
name = "recall"
kind = "mqar"
space = "tokens"
length = [96]
needles = 3
queries = 3
key_tokens = [128, 192]
value_tokens = [192, 256]
value_length = 2
noise_tokens = [0, 128]
[align]
steps = 1
[select]
method = "gates"
tasks = ["recall"]
steps = 1
[distill]
steps = 1
train = "all"
[finetune]
steps = 1
"""


def run(*command, **environment):
    """A program that must succeed; text output."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def write_spec(source, name, model, folder):
    """A model's spec with its config.json, and no weights."""
    config = model["config"]
    if isinstance(config, str):
        config = json.loads((source / "specs/models" / config / "config.json").read_text())
    (folder / "model").mkdir(parents=True)
    (folder / "model/config.json").write_text(json.dumps({**config, **model.get("changes", {})}))
    (folder / "text.txt").write_text("A text.\n" * 1000)
    spec = folder / "spec.toml"
    spec.write_text(SPEC.format(name=name, **model))
    return spec


def compile_plans(binaries, spec, target, folder):
    """The plans of every program by name, each update as a plan of its own; PTX beside them."""
    run(binaries / "morph", "compile", spec, "--device", target, "--out", folder)
    plans = {}
    for path in sorted(folder.glob("*.json")):
        plan = json.loads(path.read_text())
        if plan.get("format") != "morph-plan":
            continue
        plans[path.stem] = plan
        update = plan.pop("update", None)
        if update:
            plans[f"{path.stem}_update"] = update
    return plans


def generator(name):
    """Numbers of a name, whatever else is made."""
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big"))


def make_weights(plans):
    """Random values of all weights that some plan reads from a checkpoint; gates are not at their ends, where nothing is
    lost."""
    weights = {}
    for plan in plans:
        for weight in plan["weights"]:
            name, shape = weight.get("teacher_of") or weight["name"], weight["shape"]
            if name in weights or (weight.get("init") and not weight.get("gate")):
                continue
            if weight.get("gate"):
                weights[name] = 0.2 + 0.6 * torch.rand(shape, generator=generator(name))
            elif len(shape) > 1:
                weights[name] = torch.randn(shape, generator=generator(name)) / shape[-1] ** 0.5
            else:
                weights[name] = 1 + 0.1 * torch.randn(shape, generator=generator(name))
            if weight["dtype"] == "bf16":
                weights[name] = weights[name].bfloat16()
    return weights


def make_inputs(plan, batch, length):
    """Random inputs of a run with so many sequences of so many tokens. Of `decode` the tokens come in pieces: a prefill, a
    few, one after the other."""
    vocabulary = next(weight["shape"][0] for weight in plan["weights"] if "embed" in weight["name"]) \
        if any("embed" in weight["name"] for weight in plan["weights"]) else 1
    tokens = torch.randint(0, vocabulary, (batch, length), generator=generator("tokens"))
    if plan["program"] == "decode":
        few = min(3, length - 2)
        return {"tokens": tokens, "pieces": torch.tensor([length - few - 2, few, 1, 1])}
    positions = torch.cat([torch.tensor([0, length // 2, length - 2]) + length * sequence for sequence in range(batch)])
    sizes = {"B": batch, "T": length, "N": len(positions)}
    inputs = {}
    for each in plan["inputs"]:
        name, value = each["name"], plan["values"][each["value"]]
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in value["shape"]]
        normal = torch.randn(shape, generator=generator(name))
        if name == "tokens":
            inputs[name] = tokens
        elif name == "positions":
            inputs[name] = positions
        elif name == "targets":
            inputs[name] = torch.randint(0, vocabulary, shape, generator=generator(name))
        elif name == "weights":
            inputs[name] = torch.rand(shape, generator=generator(name))
        elif name == "share":
            # Makes gradients large enough to be compared.
            inputs[name] = torch.tensor(10.0)
        elif name == "rate":
            inputs[name] = torch.tensor(1e-2)
        elif name == "step":
            inputs[name] = torch.tensor(3)
        elif name.startswith("exp_avg_sq."):
            inputs[name] = normal.square()
        elif name.startswith(("grad.", "exp_avg.")):
            # Of a program that adds to them, morph-plan-run begins at zero.
            if plan["program"].endswith("_update"):
                inputs[name] = normal
        else:
            raise RuntimeError(f"program '{plan['program']}' has the input '{name}', which is not known here")
    return inputs


def distances(values, expected):
    """How far outputs are from those that are expected, of the largest of each. Gradients of gates may all be zero."""
    return {name: (values[name] - value).abs().max().item() / max(value.abs().max().item(), 1e-3)
            for name, value in expected.items()}


class Programs:
    """The programs of one model for one target, in a folder of their own. `model`: as MODELS has them; none: the one of that
    name."""

    def __init__(self, binaries, source, name, target, folder, model=None):
        self.binaries, self.target = binaries, target
        self.folder = pathlib.Path(folder) / f"{name}-{target}"
        spec = write_spec(source, name, model or MODELS[name], self.folder)
        self.plans = compile_plans(binaries, spec, target, self.folder / "plans")
        save_file(make_weights(self.plans.values()), self.folder / "weights.safetensors")

    def run(self, program, batch, length, device, precision="f32", counts=None, runs=1, factors="fast",
            **environment):
        """The file of the outputs of a program, of the last run. A plan for a GPU without its code is one for the CPU. What the
        stand-in for NVIDIA's driver counts or reports is a process's: with `counts` or a report the run has its own."""
        plan = self.plans[program]
        if device == "cpu":
            plan = {key: value for key, value in plan.items() if key != "device"}
        path = self.folder / "plans" / f"{program}-{device}.json"
        path.write_text(json.dumps(plan))
        inputs = self.folder / f"{program}-{batch}-{length}.safetensors"
        if not inputs.exists():
            save_file(make_inputs(plan, batch, length), inputs)
        output = self.folder / f"{program}-{device}-{precision}.safetensors"
        options = ["--runs", runs, "--factors", factors, *(["--counts", counts] if counts else [])]
        start = run if counts or "MORPH_STAND_IN_REPORT" in environment else run_plan
        start(self.binaries.parent / "test/bin/morph-plan-run", path, "--input", inputs, "--output", output, "--device", device,
              "--precision", precision, "--weights", self.folder / "weights.safetensors", *options, **environment)
        return output
