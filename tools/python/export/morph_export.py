# SPDX-License-Identifier: Apache-2.0
"""Writes a hybrid as a Hugging Face folder that stock transformers loads with trust_remote_code.

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
# The lines of modeling_morph.py between which the classes of the declared mixers go.
MARKS = ("# <declared mixers>\n", "# </declared mixers>\n")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                   "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "generation_config.json",
                   "LICENSE")
DTYPES = {"f32": torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16,
          "fp16": torch.float16}
SHARD_BYTES = 4 << 30

class ExportError(Exception):
    """The export cannot be made; the message says why."""


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class WeightFiles:
    """Tensors by name over several safetensors files; the last file that holds a name wins."""

    def __init__(self, base, overrides):
        self.files, self.owner = [], {}
        for path in [*sorted(pathlib.Path(base).glob("*.safetensors")), *map(pathlib.Path, overrides)]:
            file = safe_open(path, framework="pt")
            self.files.append(file)
            for name in file.keys():
                self.owner[name] = file

    def __contains__(self, name):
        return name in self.owner

    def __getitem__(self, name):
        return self.owner[name].get_tensor(name)


def initial_value(weight, weights):
    """The first value of a weight that no file holds, as dialect/MorphAttrs.td defines it."""
    init = weight.get("init")
    if init is None:
        raise ExportError(f"no file holds the weight {weight['name']}")
    kind, shape = init["kind"], weight["shape"]
    if kind == "values":
        # Of the last dimensions, the same along those before them.
        return torch.tensor(init["values"], dtype=torch.float32).repeat(math.prod(shape) // len(init["values"])).reshape(shape)
    if kind == "constant":
        return torch.full(shape, float(init["value"]), dtype=torch.float32)
    if kind == "copy":
        return weights[init["source"]].reshape(shape)
    if kind == "repeat_heads":
        source = weights[init["source"]]
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
    tables = plan.get("rope_tables", {})
    table = next(iter(tables.values())) if isinstance(tables, dict) and tables else (tables[0] if tables else {})
    eps = base.get("rms_norm_eps", 1e-6)
    config = {key: value for key, value in base.items()
              if key not in ("architectures", "auto_map", "layer_types", "torch_dtype")}
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
        "layer_types": [layer_type(mixer) for mixer in mixers],
        "morph": {
            "version": 1,
            "base_model_type": base["model_type"],
            "norm_eps": eps,
            "mixers": mixers,
            "qkv_bias": any(name.endswith("q_proj.bias") for name in names),
            "o_bias": any(name.endswith("o_proj.bias") for name in names),
            "qk_norm_eps": eps if any(name.endswith("q_norm.weight") for name in names) else None,
            "rope": {"inverse_frequencies": table.get("inverse_frequencies", []),
                     "attention_factor": table.get("attention_factor", 1.0)},
        },
    })
    return config


def write_weights(plan, weights, out):
    """The plan's weights as one safetensors file, or as shards of 4 GB with an index."""
    shards, current, size = [], {}, 0
    for weight in sorted(plan["weights"], key=lambda weight: weight["name"]):
        name = weight["name"]
        if weight.get("teacher_of") or weight.get("gate"):
            continue
        tensor = weights[name] if name in weights else initial_value(weight, weights)
        if list(tensor.shape) != weight["shape"]:
            raise ExportError(f"the weight {name} has shape {list(tensor.shape)}, expected {weight['shape']}")
        if not torch.isfinite(tensor).all():
            raise ExportError(f"the weight {name} holds values that are not finite")
        tensor = tensor.to(DTYPES[weight["dtype"]]).contiguous()
        if current and size + tensor.nbytes > SHARD_BYTES:
            shards.append(current)
            current, size = {}, 0
        current[name] = tensor.clone()
        size += tensor.nbytes
    shards.append(current)
    if len(shards) == 1:
        save_file(shards[0], out / "model.safetensors", metadata={"format": "pt"})
        (out / "model.safetensors").chmod(0o644)
        return
    index = {"metadata": {"total_size": sum(t.nbytes for shard in shards for t in shard.values())}, "weight_map": {}}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        save_file(shard, out / file, metadata={"format": "pt"})
        (out / file).chmod(0o644)
        index["weight_map"].update({name: file for name in shard})
    write_json(out / "model.safetensors.index.json", index)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def name_in(folder, path):
    """A file's path within a folder, its name alone where it lies elsewhere."""
    path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


# Of layers that kept the base's attention.
FULL_STATES = {"k": "[batch, kv_heads, positions, head_dim], keys, rotary applied",
               "v": "[batch, kv_heads, positions, head_dim], values"}


def make_manifest(base, base_config, mixers, selection, run, overrides):
    """conversion_manifest.json: where the model comes from, how its mixers are declared, what decoding keeps."""
    return {
        "version": 1,
        "source": {"folder": base.name, "model_type": base_config["model_type"],
                   "sha256": {path.name: sha256(path) for path in
                              sorted([base / "config.json", *base.glob("*.safetensors")])}},
        "trained_weights": {name_in(run, path): sha256(path) for path in map(pathlib.Path, overrides)},
        "selection": {key: selection.get(key) for key in
                      ("method", "layers", "budget", "kept", "chosen", "scores", "standard_errors", "drift", "cost",
                       "seed")
                      if key in selection},
        "declarations": mixers["declarations"],
        "state_layout": {"full": FULL_STATES} | mixers["states"],
        "check": None,
    }


def export(arguments):
    base, out = arguments.base, arguments.out
    base_config = json.loads((base / "config.json").read_text())
    mixers = json.loads(arguments.mixers.read_text())
    selection = json.loads(arguments.selection.read_text())
    plan = json.loads(arguments.plan.read_text())
    out.mkdir(parents=True, exist_ok=True)
    weights = WeightFiles(base, arguments.weights)
    (out / "configuration_morph.py").write_text(make_configuration(mixers["classes"]))
    (out / "modeling_morph.py").write_text(make_modeling(mixers["classes"]))
    (out / "mixers.mlir").write_text(mixers["module"])
    for file in TOKENIZER_FILES:
        if (base / file).exists():
            shutil.copyfile(base / file, out / file)
    write_weights(plan, weights, out)
    write_json(out / "config.json", make_config(base_config, mixers["layers"], plan))
    write_json(out / "conversion_manifest.json",
               make_manifest(base, base_config, mixers, selection, arguments.run, arguments.weights))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=pathlib.Path, required=True, help="Hugging Face folder of the base model")
    parser.add_argument("--run", type=pathlib.Path, required=True, help="the run's folder")
    parser.add_argument("--mixers", type=pathlib.Path, required=True, help="output of morph-translate --emit-pytorch")
    parser.add_argument("--selection", type=pathlib.Path, required=True, help="selection.json")
    parser.add_argument("--plan", type=pathlib.Path, required=True, help="the hybrid's decode plan")
    parser.add_argument("--weights", action="append", default=[], help="trained weights; later ones win")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the folder to write")
    try:
        export(parser.parse_args())
    except (ExportError, OSError) as error:
        print(f"morph_export: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
