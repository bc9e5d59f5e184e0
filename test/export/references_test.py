# SPDX-License-Identifier: Apache-2.0
"""Every declared mixer against an independent reference with copied weights: logits, gradients of all weights, decoding; of
the runtime's kernels in fp32, of its fp64, and of the exported PyTorch.

The references (mixer_references.py) are written from papers, and stand in transformers' layers in the place of attention,
in float64. Two layers of three have the mixer: the first one's weights get gradients through the other's hidden state, the
embedding's through both.
"""

import itertools
import json
import pathlib
import tempfile
import types
import unittest

import torch
import torch.nn.functional as F
import transformers
from hybrids import BIN, FULL, SOURCE, compile_hybrid, run
from mixer_references import REFERENCES, Base
from safetensors.torch import load_file, save_file
from torch import nn

from bench.plan_runs import run_plan
from export import morph_export

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

SHAPE = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, head_dim=8, max_position_embeddings=256, initializer_range=0.2, rms_norm_eps=1e-5)
BASES = {"biases": transformers.LlamaConfig(**SHAPE, attention_bias=True), "qwen3": transformers.Qwen3Config(**SHAPE)}
# Options that are another computation than the defaults.
VARIANTS = [("gated_deltanet", {"conv": 4}), ("deltanet", {"conv": 0}), ("kda", {"conv": 3}), ("mamba2", {"conv": 0}),
            ("hgrn2", {"bound": 0.25}), ("sliding_window", {"window": 20}), ("windowed_deltanet", {"window": 20})]
# `none` has no formula.
MIXERS = sorted({path.stem for path in (SOURCE / "dialect/mixers").glob("*.morph")} - {"none"})
BATCH, LENGTH, CHUNK = 2, 70, 16
# Two prefills, of more than a chunk and of less than one, and single steps.
PIECES = [39, 13] + [1] * (LENGTH - 52)
# Parts of the length of what is compared. Exports hold decays in fp32; in fp32 gradients are sums in which much cancels.
TOLERANCES = {"fp64": 1e-11, "PyTorch": 1e-6, "fp32": 1e-5}
FP32_GRADIENT_TOLERANCE = 1e-4


class Rotary(nn.Module):
    """transformers' default rotary positions, but not in fp32."""

    def __init__(self, config):
        super().__init__()
        steps = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
        self.frequencies = config.rope_parameters["rope_theta"] ** -steps

    def forward(self, x, position_ids):
        angles = position_ids.unsqueeze(-1) * self.frequencies
        angles = torch.cat((angles, angles), -1)
        return angles.cos(), angles.sin()


class Mixer(nn.Module):
    """A reference in the place of a layer's attention; `weights` are the model's, by the whole names."""

    def __init__(self, name, options, config, weights, prefix):
        super().__init__()
        self.reference, self.options, self.config = REFERENCES[name], options, config
        self.weights = {name.removeprefix(prefix): x for name, x in weights.items() if name.startswith(prefix)}

    def forward(self, hidden_states, position_embeddings, **_):
        config = self.config
        base = Base(config.num_attention_heads, config.num_key_value_heads, config.head_dim, config.rms_norm_eps,
                    config.model_type == "qwen3", getattr(config, "sliding_window", None), *position_embeddings)
        return self.reference(hidden_states, self.weights, base, **self.options), None


def widen(model, config):
    """Replaces what is fp32 in transformers' models of any type: norms and rotary positions."""
    model.model.rotary_emb = Rotary(config)
    for name, module in list(model.named_modules()):
        if type(module).__name__.endswith("RMSNorm"):
            norm = nn.RMSNorm(len(module.weight), module.variance_epsilon)
            norm.weight = module.weight
            model.set_submodule(name, norm)
    return model


def make_base(config, folder):
    """A model whose biases and norms are random too."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)


def make_weights(plan, generator, transferred):
    """Random values of the weights that a mixer brings and, unless they are `transferred`, of those that it takes over: far
    from first values, so that nothing is zero or alike, but of decays' sizes."""
    weights = {}
    for weight in plan["weights"]:
        init = weight.get("init")
        if init and weight.get("trainable") and not (transferred and init["kind"] in ("copy", "repeat_heads")):
            noise = torch.randn(weight["shape"], generator=generator)
            begin = float(weight["name"].endswith("norm.weight"))
            if init["kind"] in ("constant", "values"):
                begin = morph_export.initial_value(weight, {})
            weights[weight["name"]] = begin + (0.3 if len(weight["shape"]) == 1 else 0.2) * noise
    return weights


def relative(given, expected):
    """The length of the difference as a part of the length of what is expected."""
    return ((given.double() - expected).norm() / expected.norm()).item()


class Hybrid:
    """A base with a mixer in its layers 0 and 2, compiled, with random weights."""

    def __init__(self, folder, base, name, options, transferred=False):
        self.folder, self.config, self.name, self.options = folder, BASES[base], name, options
        written = options if name == "sliding_window" else {"chunk": CHUNK} | options
        mixer = f"{name}({','.join(f'{key}={value}' for key, value in written.items())})"
        make_base(self.config, folder / "base")
        compile_hybrid(folder / "base", folder, [mixer, FULL, mixer])
        for program, *given in (("logits",), ("decode",), ("finetune", "--program-options=train=all")):
            run("morph-translate", "--emit-plan", folder / "hybrid.mlir", f"--program={program}", *given, "-o",
                folder / f"{program}.json")
        generator = torch.Generator().manual_seed(1)
        self.new = make_weights(json.loads((folder / "finetune.json").read_text()), generator, transferred)
        save_file(self.new, folder / "new.safetensors")
        self.tokens = torch.randint(0, self.config.vocab_size, (BATCH, LENGTH), generator=generator)
        self.targets = torch.randint(0, self.config.vocab_size, (BATCH, LENGTH), generator=generator)

    def reference(self):
        """Logits [B,T,V] and the gradients of the mean cross-entropy."""
        model = widen(transformers.AutoModelForCausalLM.from_pretrained(self.folder / "base", dtype=torch.float64),
                      self.config)
        weights = {name: x.double().requires_grad_() for name, x in self.new.items()}
        for index in (0, 2):
            layer, prefix = model.model.layers[index], f"model.layers.{index}.linear_attn."
            taken = {prefix + name: self.repeat(name, x) for name, x in layer.self_attn.named_parameters()}
            layer.self_attn = Mixer(self.name, self.options, self.config, taken | weights, prefix)
        return self.differentiate(model, weights | dict(model.named_parameters()))

    def repeat(self, name, x):
        """A weight of the base as mixers of one key-value head a head take it over."""
        times = self.config.num_attention_heads // self.config.num_key_value_heads
        if name.split(".")[0] not in ("k_proj", "v_proj") or self.name == "sliding_window":
            return x
        return torch.cat([head for head in x.split(self.config.head_dim) for _ in range(times)])

    def exported(self):
        """Logits and gradients of the exported folder in transformers, and logits by decoding."""
        out = self.folder / "hybrid"
        morph_export.export(types.SimpleNamespace(
            base=self.folder / "base", config=None, run=self.folder, mixers=self.folder / "mixers.json",
            selection=self.folder / "selection.json", plan=self.folder / "decode.json",
            weights=[self.folder / "new.safetensors"], format="remote", out=out))
        model = transformers.AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True, dtype=torch.float64)
        logits, gradients = self.differentiate(model, dict(model.named_parameters()))
        cache, begin, steps = None, 0, []
        with torch.no_grad():
            for size in PIECES:
                output = model(self.tokens[:, begin:begin + size], past_key_values=cache, use_cache=True)
                cache, begin = output.past_key_values, begin + size
                steps.append(output.logits[:, -1])
        return logits, gradients, torch.stack(steps, 1)

    def differentiate(self, model, weights):
        logits = model(self.tokens, use_cache=False).logits
        loss = F.cross_entropy(logits.flatten(0, 1), self.targets.flatten())
        values = {name: x for name, x in weights.items() if x.requires_grad}
        gradients = torch.autograd.grad(loss, list(values.values()), allow_unused=True)
        return logits.detach(), {name: x for name, x in zip(values, gradients) if x is not None}

    def run_plan(self, program, precision, **inputs):
        """The outputs of a plan in the runtime."""
        save_file(inputs, self.folder / "inputs.safetensors")
        run_plan(BIN.parent / "test/bin/morph-plan-run", self.folder / f"{program}.json", "--input",
                 self.folder / "inputs.safetensors", "--output", self.folder / "outputs.safetensors", "--weights",
                 self.folder / "base", "--weights", self.folder / "new.safetensors", "--precision", precision)
        return load_file(self.folder / "outputs.safetensors")

    def runtime(self, precision):
        """As `exported`, of the runtime."""
        rows = torch.arange(BATCH * LENGTH)
        whole = self.run_plan("logits", precision, tokens=self.tokens, positions=rows)["logits"]
        weights = torch.ones(len(rows)) / len(rows)
        trained = self.run_plan("finetune", precision, tokens=self.tokens, positions=rows,
                                targets=self.targets.flatten(), weights=weights, share=torch.ones(()))
        steps = self.run_plan("decode", precision, tokens=self.tokens, pieces=torch.tensor(PIECES))["logits"]
        gradients = {name.removeprefix("grad."): x for name, x in trained.items() if name.startswith("grad.")}
        return whole.reshape(BATCH, LENGTH, -1), gradients, steps.transpose(0, 1)


def find_wrong(hybrid):
    """What differs by more than its tolerance, and by how much; gradients by the weight."""
    logits, gradients = hybrid.reference()
    ends = [end - 1 for end in itertools.accumulate(PIECES)]
    sides = {"fp32": hybrid.runtime("f32"), "fp64": hybrid.runtime("f64"), "PyTorch": hybrid.exported()}
    wrong = {}
    for side, (whole, given, steps) in sides.items():
        found = {"forward": relative(whole, logits), "decode": relative(steps, logits[:, ends])}
        found |= {"gradient of " + name: relative(given[name], x) if name in given else float("nan")
                  for name, x in gradients.items()}
        for what, error in found.items():
            tolerance = FP32_GRADIENT_TOLERANCE if (side, what[:4]) == ("fp32", "grad") else TOLERANCES[side]
            # Written so that a NaN is wrong.
            if not error <= tolerance:
                wrong[side, what] = error
    return wrong


class ReferencesTest(unittest.TestCase):
    def check(self, name, base, options, find):
        with self.subTest(mixer=name, base=base, **options), tempfile.TemporaryDirectory() as folder:
            self.assertEqual(find(pathlib.Path(folder)), {})

    def test_every_mixer_has_one(self):
        self.assertEqual(MIXERS, sorted(REFERENCES))

    def test_mixers(self):
        for name in MIXERS:
            for base in BASES:
                self.check(name, base, {}, lambda folder: find_wrong(Hybrid(folder, base, name, {})))
        for name, options in VARIANTS:
            self.check(name, "biases", options, lambda folder: find_wrong(Hybrid(folder, "biases", name, options)))

    def test_what_is_taken_over(self):
        """Weights of the base, its key-value heads repeated: those that the runtime makes where no file has them."""
        def find(folder):
            hybrid = Hybrid(folder, "biases", name, {}, transferred=True)
            error = relative(hybrid.runtime("f64")[0], hybrid.reference()[0])
            return {} if error <= TOLERANCES["fp64"] else {"forward": error}

        for name in ("kda", "retnet", "sliding_window"):
            self.check(name, "biases", {}, find)


if __name__ == "__main__":
    unittest.main(verbosity=2)
