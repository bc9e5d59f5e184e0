# SPDX-License-Identifier: Apache-2.0
"""Writes a hybrid as a Hugging Face folder: of a class of stock transformers (targets/), or with code of its own.

Which mixer a layer has, and the classes of PyTorch that compute them, come from `morph-translate --emit-pytorch`; the
model around them is modeling_morph.py, into which they are put.
Which weights the hybrid has is read from its decode plan; their values come from the weight files (the last one that
holds a name wins), then from the base checkpoint, then from the plan's initial values (constant buffers such as decays).
A weight's type is the one that the plan says, to which the runtime rounds what it does not train: the model that was
evaluated has the same bits as the one written here.
"""

import argparse
import hashlib
import json
import math
import pathlib
import shutil
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from data.files import InputError, print_error, sha256_of, weight_files  # noqa: E402
from end_process import run_and_end  # noqa: E402
from engines import survey  # noqa: E402
from other_tokens import TOKENIZER_FILES, other_tokens  # noqa: E402
from targets import Inexact, choose, explain  # noqa: E402
from targets.experts import experts_apart  # noqa: E402
from targets.hybrid import Hybrid, join  # noqa: E402

# The lines of modeling_morph.py between which the classes of the declared mixers go.
MARKS = ("# <declared mixers>\n", "# </declared mixers>\n")
COPIED_FILES = (*TOKENIZER_FILES, "chat_template.jinja", "generation_config.json", "LICENSE")
DTYPES = {"f32": torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16,
          "fp16": torch.float16}
SHARD_BYTES = 4 << 30


class ExportError(Exception):
    """The export cannot be made; the message says why."""


class WeightFiles:
    """Tensors by name over several safetensors files; the last file that holds a name wins."""

    def __init__(self, base, overrides):
        self.files, self.owner = [], {}
        for path in [*weight_files(base), *map(pathlib.Path, overrides)]:
            file = safe_open(path, framework="pt")
            self.files.append(file)
            for name in file.keys():
                self.owner[name] = file

    def __contains__(self, name):
        return name in self.owner

    def __getitem__(self, name):
        return self.owner[name].get_tensor(name)

    def read(self, name, pieces, shape):
        """The tensor of a name, or what the base has in its place: pieces of others, which have `shape` together."""
        if name in self or not pieces:
            if name not in self:
                raise ExportError(f"no file holds the weight {name}")
            return self[name]
        parts = [self[piece["tensor"]] for piece in pieces]
        parts = [part[slice(*piece["rows"])] if "rows" in piece else part for part, piece in zip(parts, pieces)]
        return torch.cat([part.flatten() for part in parts]).reshape(shape)


def initial_value(weight, weights):
    """The first value of a weight that no file holds, as dialect/MorphAttrs.td defines it."""
    init = weight["init"]
    kind, shape = init["kind"], weight["shape"]
    if kind == "values":
        # Of the last dimensions, the same along those before them.
        return torch.tensor(init["values"], dtype=torch.float32).repeat(math.prod(shape) // len(init["values"])).reshape(shape)
    if kind == "constant":
        return torch.full(shape, float(init["value"]), dtype=torch.float32)
    if kind == "copy":
        return weights.read(init["source"], init.get("pieces"), shape).reshape(shape)
    if kind == "repeat_heads":
        source = weights.read(init["source"], init.get("pieces"), [shape[0] // init["times"], *shape[1:]])
        groups = source.reshape(init["heads"], -1, *source.shape[1:])
        return groups.repeat_interleave(init["times"], dim=0).reshape(shape)
    raise ExportError(f"the weight {weight['name']} was never trained and starts from random values")


def layer_type(mixer):
    """transformers' name in `layer_types`."""
    if mixer["kind"] == "full":
        return "sliding_attention" if mixer["window"] else "full_attention"
    return "linear_attention"


def make_modeling(classes):
    """modeling_morph.py of a hybrid: the model, and the classes of its declared mixers."""
    text = (HERE / "modeling_morph.py").read_text()
    before, rest = text.split(MARKS[0])
    return before + classes + rest.split(MARKS[1])[1]


def make_configuration(classes):
    """configuration_morph.py of a hybrid. transformers keeps one model class a configuration class, and configurations of
    the same text are one in a process: hybrids with other mixers need another text."""
    digest = hashlib.sha256(classes.encode()).hexdigest()
    return (HERE / "configuration_morph.py").read_text() + f"\n# For mixers with the digest {digest}.\n"


def make_config(base, mixers, plan):
    """config.json of the hybrid: the base's, and what transformers and Morph's importer need beside it."""
    names = [weight["name"] for weight in plan["weights"]]
    config = {key: value for key, value in base.items()
              if key not in ("architectures", "auto_map", "layer_types", "torch_dtype", "dtype")}
    embedding = next((weight for weight in plan["weights"] if weight["name"] == "model.embed_tokens.weight"), None)
    config.update({
        # The type of all but the vectors of declared mixers, whatever the base's config says: what is stored is loaded.
        "dtype": str(DTYPES[embedding["dtype"]]).removeprefix("torch."),
        "architectures": ["MorphForCausalLM"],
        "auto_map": {"AutoConfig": "configuration_morph.MorphConfig",
                     "AutoModel": "modeling_morph.MorphModel",
                     "AutoModelForCausalLM": "modeling_morph.MorphForCausalLM"},
        "model_type": "morph_hybrid",
        "base_model_type": base["model_type"],
        "layer_types": [layer_type(mixer) for mixer in mixers["layers"]],
        # What a family's own class would take where its config.json does not say, and names of its own for it.
        "hidden_act": mixers["model"]["activation"],
        "rms_norm_eps": mixers["model"]["rms_norm_eps"],
        "head_dim": mixers["model"]["head_dim"],
        "tie_word_embeddings": "lm_head.weight" not in names,
        "morph": {
            "version": 2,
            "base_model_type": base["model_type"],
            "norm_eps": mixers["model"]["rms_norm_eps"],
            "mixers": mixers["layers"],
            "qkv_bias": any(name.endswith("q_proj.bias") for name in names),
            "o_bias": any(name.endswith("o_proj.bias") for name in names),
        } | {key: value for key, value in mixers["model"].items() if key not in ("activation", "rms_norm_eps", "head_dim")},
    })
    return config


class PlanWeights:
    """The weights of a plan by name, of the types and shapes that it says, and which of them nobody has asked for."""

    def __init__(self, plan, weights):
        self.plan = {weight["name"]: weight for weight in sorted(plan["weights"], key=lambda weight: weight["name"])
                     if not weight.get("teacher_of") and not weight.get("gate")}
        self.weights, self.left = weights, set(self.plan)

    def names(self):
        return list(self.plan)

    def __contains__(self, name):
        return name in self.plan

    def __call__(self, name):
        if name not in self.plan:
            raise ExportError(f"the hybrid has no weight {name}, which the class that is to load it needs")
        weight = self.plan[name]
        tensor = initial_value(weight, self.weights) if name not in self.weights and "init" in weight else \
            self.weights.read(name, weight.get("pieces"), weight["shape"])
        if list(tensor.shape) != weight["shape"]:
            raise ExportError(f"the weight {name} has shape {list(tensor.shape)}, expected {weight['shape']}")
        if not torch.isfinite(tensor).all():
            raise ExportError(f"the weight {name} holds values that are not finite")
        self.left.discard(name)
        return tensor.to(DTYPES[weight["dtype"]])


def check_dropped(plan, weights, mixers):
    """No tensor of the weight files goes nowhere, but those of mixers that were not chosen."""
    names = {weight["name"] for weight in plan["weights"]} | \
        {piece["tensor"] for weight in plan["weights"] for piece in weight.get("pieces", [])}

    def is_other(name):
        if name.endswith("rotary_emb.inv_freq") or name == "lm_head.weight":
            return True  # Made of the config; a copy of the embedding where the plan has no head.
        parts = name.split(".")
        if not name.startswith("model.layers.") or not parts[2].isdigit() or int(parts[2]) >= len(mixers):
            return False
        return parts[3] not in KEPT_MODULES and parts[3] != mixers[int(parts[2])]["weights"]

    dropped = sorted(name for name in weights.owner if name not in names and not is_other(name))
    if dropped:
        raise ExportError(f"the hybrid has no place for {join(dropped)}: the export would drop what the weights hold")


def write_weights(tensors, out):
    """Tensors by name, as (name, tensor) one after the other, as one safetensors file, or as shards of 4 GB with an
    index; the types that they have."""
    shards, current, size, dtypes = [], {}, 0, set()
    for name, tensor in tensors:
        tensor = tensor.contiguous()
        if current and size + tensor.nbytes > SHARD_BYTES:
            shards.append(current)
            current, size = {}, 0
        current[name] = tensor.clone()
        size += tensor.nbytes
        dtypes.add(tensor.dtype)
    shards.append(current)
    if len(shards) == 1:
        save_file(shards[0], out / "model.safetensors", metadata={"format": "pt"})
        (out / "model.safetensors").chmod(0o644)
        return dtypes
    index = {"metadata": {"total_size": sum(t.nbytes for shard in shards for t in shard.values())}, "weight_map": {}}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        save_file(shard, out / file, metadata={"format": "pt"})
        (out / file).chmod(0o644)
        index["weight_map"].update({name: file for name in shard})
    write_json(out / "model.safetensors.index.json", index)
    return dtypes


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def name_in(folder, path):
    """A file's path within a folder, its name alone where it lies elsewhere."""
    path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


# Of the targets' classes those that frontends/huggingface reads.
IMPORTED = {"Qwen2ForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "CwmForCausalLM"}
# Of a layer's modules those that no mixer stands in the place of.
KEPT_MODULES = {"mlp", "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                "post_feedforward_layernorm"}
# Of layers that kept the base's attention.
FULL_STATES = {"k": "[batch, kv_heads, positions, head_dim], keys, rotary applied",
               "v": "[batch, kv_heads, positions, head_dim], values"}


def make_manifest(base, base_config, mixers, selection, run, overrides, form):
    """conversion_manifest.json: where the model comes from, how its mixers are declared, what decoding keeps."""
    return {
        "version": 1,
        "export": form,
        "source": {"folder": base.name, "model_type": base_config["model_type"],
                   "sha256": {path.name: sha256_of(path) for path in [base / "config.json", *weight_files(base)]}},
        "trained_weights": {name_in(run, path): sha256_of(path) for path in map(pathlib.Path, overrides)},
        "selection": {key: selection.get(key) for key in
                      ("method", "layers", "budget", "kept", "chosen", "scores", "standard_errors", "drift", "cost",
                       "seed")
                      if key in selection},
        "declarations": mixers["declarations"],
        "state_layout": {"full": FULL_STATES} | mixers["states"],
        "check": None,
    }


def write_remote(base_config, mixers, plan, take, out):
    """The folder with the code of its own."""
    (out / "configuration_morph.py").write_text(make_configuration(mixers["classes"]))
    (out / "modeling_morph.py").write_text(make_modeling(mixers["classes"]))
    (out / "mixers.mlir").write_text(mixers["module"])
    write_weights(((name, take(name)) for name in take.names()), out)
    write_json(out / "config.json", make_config(base_config, mixers, plan))


def expected_weights(config):
    """Names and shapes of the weights of a model of stock transformers, none of which is made."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    return {name: list(parameter.shape) for name, parameter in model.named_parameters()}


def write_native(target, hybrid, take, out):
    """The folder of a class of stock transformers: every weight of the hybrid is used, every one of the class given."""
    config = target.config(hybrid)
    expected, written = expected_weights(config), {}

    def checked():
        for name, tensor in target.weights(hybrid, take):
            written[name] = list(tensor.shape)
            yield from experts_apart(name, tensor) if target.EXPERTS_APART else [(name, tensor)]

    dtypes = write_weights(checked(), out)
    name = target.name(hybrid)
    if take.left:
        raise ExportError(f"{name} has no place for {join(sorted(take.left))}: the export would drop weights")
    if missing := sorted(expected.keys() - written.keys()):
        raise ExportError(f"{name} needs {join(missing)}, which the hybrid does not have")
    if wrong := sorted(key for key, shape in written.items() if expected.get(key) != shape):
        raise ExportError(f"{name} expects other shapes, or nothing, of {join(wrong)}")
    # A class casts all weights to one type. Those that are fp32 beside a base of less keep their digits in fp32 alone.
    dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32
    write_json(out / "config.json", config | {"dtype": str(dtype).removeprefix("torch.")})


def copy_tokenizer(base, out):
    for file in COPIED_FILES:
        if (base / file).exists():
            shutil.copyfile(base / file, out / file)


def export(arguments):
    base, out = arguments.base, arguments.out
    base_config = json.loads((arguments.config or base / "config.json").read_text())
    mixers = json.loads(arguments.mixers.read_text())
    selection = json.loads(arguments.selection.read_text())
    plan = json.loads(arguments.plan.read_text())
    out.mkdir(parents=True, exist_ok=True)
    weights = WeightFiles(base, arguments.weights)
    check_dropped(plan, weights, mixers["layers"])
    hybrid = Hybrid(base_config, [mixers])
    target, reason = None, None
    if arguments.format != "remote":
        target, reasons = choose(hybrid)
        reason = explain(hybrid, reasons) if reasons else None
    tokens = target and other_tokens(base, target.config(hybrid))
    if tokens and arguments.format == "auto":
        target, reason = None, tokens
    form = {"format": "remote", "class": "MorphForCausalLM"}
    if target:
        try:
            write_native(target, hybrid, PlanWeights(plan, weights), out)
            form = {"format": "native", "class": target.name(hybrid)} | ({"tokenizer": tokens} if tokens else {})
        except Inexact as error:
            target, reason = None, str(error)
            for file in out.glob("*"):
                file.unlink()
    if not target and arguments.format == "native":
        raise ExportError(f"no class of stock transformers computes this hybrid's function ({reason})")
    if not target:
        if reason:
            print(f"export: with code of its own, as no class of stock transformers does the same: {reason}", file=sys.stderr)
            form["native_prevented"] = reason
        write_remote(base_config, mixers, plan, PlanWeights(plan, weights), out)
    else:
        print(f"export: {form['class']} of stock transformers", file=sys.stderr)
        if tokens:
            print(f"export: note: {tokens}; PreTrainedTokenizerFast.from_pretrained reads the file as it is, and servers take the "
                  "base's folder as their tokenizer", file=sys.stderr)
        if form["class"] not in IMPORTED:
            print("export: note: `morph generate`, `serve`, `chat` and `eval` do not read it; with export.format = \"remote\" they do",
                  file=sys.stderr)
    # Of the layers that were kept, which the plan could not know.
    form["engines"] = survey(hybrid, target, tokens)
    for entry in form["engines"]:
        for warning in entry["warnings"]:
            print(f"export: note: {entry['engine']}: {warning}", file=sys.stderr)
    copy_tokenizer(base, out)
    write_json(out / "conversion_manifest.json",
               make_manifest(base, base_config, mixers, selection, arguments.run, arguments.weights, form))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=pathlib.Path, required=True, help="Hugging Face folder of the base model")
    parser.add_argument("--config", type=pathlib.Path,
                        help="the base's config.json as the hybrid's context makes it (default: as it is)")
    parser.add_argument("--run", type=pathlib.Path, required=True, help="the run's folder")
    parser.add_argument("--mixers", type=pathlib.Path, required=True, help="output of morph-translate --emit-pytorch")
    parser.add_argument("--selection", type=pathlib.Path, required=True, help="selection.json")
    parser.add_argument("--plan", type=pathlib.Path, required=True, help="the hybrid's decode plan")
    parser.add_argument("--weights", action="append", default=[], help="trained weights; later ones win")
    parser.add_argument("--format", choices=("auto", "native", "remote"), default="auto",
                        help="a class of stock transformers, the folder's own code, or the first where there is one")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the folder to write")
    try:
        export(parser.parse_args())
    except InputError as error:
        print_error("morph_export", error)
        sys.exit(2)
    except (ExportError, OSError) as error:
        print_error("morph_export", error)
        sys.exit(1)


if __name__ == "__main__":
    run_and_end(main)
