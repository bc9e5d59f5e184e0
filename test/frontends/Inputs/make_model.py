# SPDX-License-Identifier: Apache-2.0
"""Writes a tiny Hugging Face folder for import tests: config.json and safetensors, right or wrong in one way.

Usage: make_model.py OUT [--arch llama|mistral|qwen2|qwen3|phi3|...] [--set key=json ...] [--fault NAME] [--shards] [--no-weights]
Only the standard library is used. Weights are zeros: importers look at headers only.
"""

import argparse
import json
import os
import struct

LAYERS, HIDDEN, FFN, VOCAB, HEADS, KV_HEADS, HEAD_DIM = 2, 16, 24, 32, 4, 2, 8
BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I8": 1}


def make_config(arch):
    config = {
        "architectures": ["X"],
        "model_type": arch,
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCAB,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    return config


def make_tensors(config):
    """Name -> (dtype, shape) of what the configuration needs."""
    tensors = {"model.embed_tokens.weight": [VOCAB, HIDDEN], "model.norm.weight": [HIDDEN]}
    arch = config.get("base_model_type", config["model_type"])
    qkv_bias = arch == "qwen2" or config.get("attention_bias", False)
    o_bias = config.get("attention_bias", False)
    kinds = config.get("layer_types", ["full_attention"] * LAYERS)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        tensors[prefix + "input_layernorm.weight"] = [HIDDEN]
        tensors[prefix + "post_attention_layernorm.weight"] = [HIDDEN]
        tensors[prefix + "mlp.gate_proj.weight"] = [FFN, HIDDEN]
        tensors[prefix + "mlp.up_proj.weight"] = [FFN, HIDDEN]
        tensors[prefix + "mlp.down_proj.weight"] = [HIDDEN, FFN]
        linear = kinds[layer] == "linear_attention"
        mixer = prefix + ("linear_attn." if linear else "self_attn.")
        kv_heads = HEADS if linear else KV_HEADS
        for name, heads in (("q", HEADS), ("k", kv_heads), ("v", kv_heads)):
            tensors[mixer + name + "_proj.weight"] = [heads * HEAD_DIM, HIDDEN]
            if qkv_bias:
                tensors[mixer + name + "_proj.bias"] = [heads * HEAD_DIM]
        tensors[mixer + "o_proj.weight"] = [HIDDEN, HEADS * HEAD_DIM]
        if o_bias:
            tensors[mixer + "o_proj.bias"] = [HIDDEN]
        if arch == "qwen3":
            tensors[mixer + "q_norm.weight"] = [HEAD_DIM]
            tensors[mixer + "k_norm.weight"] = [HEAD_DIM]
        if arch == "phi3":
            # One tensor for several projections.
            for whole, parts in ((mixer + "qkv_proj", [mixer + part + "_proj" for part in "qkv"]),
                                 (prefix + "mlp.gate_up_proj", [prefix + "mlp.gate_proj", prefix + "mlp.up_proj"])):
                rows = sum(tensors.pop(part + ".weight")[0] for part in parts)
                tensors[whole + ".weight"] = [rows, HIDDEN]
        if linear:
            tensors[mixer + "g_proj.weight"] = [HEADS * HEAD_DIM, HIDDEN]
            tensors[mixer + "o_norm.weight"] = [HEAD_DIM]
            for name in ("a_proj", "b_proj"):
                tensors[mixer + name + ".weight"] = [HEADS, HIDDEN]
            for name in ("A_log", "dt_bias"):
                tensors[mixer + name] = [HEADS]
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = [VOCAB, HIDDEN]
    return {name: ("BF16", shape) for name, shape in tensors.items()}


def count_bytes(dtype, shape):
    size = BYTES[dtype]
    for dimension in shape:
        size *= dimension
    return size


def write_safetensors(path, tensors, fault=None):
    header, offset = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = count_bytes(dtype, shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    first, second = list(header)[:2]
    if fault == "overlap":
        header[second]["data_offsets"] = list(header[first]["data_offsets"])
        header[second]["shape"] = header[first]["shape"]
    third = list(header)[2]
    if fault == "overlap-far":
        # Over a tensor of no bytes, which is between the two in the order of offsets.
        begin = header[first]["data_offsets"][0] + 2
        header[second] = {"dtype": "BF16", "shape": [0], "data_offsets": [begin, begin]}
        header[third] = {"dtype": "BF16", "shape": [2], "data_offsets": [begin + 2, begin + 6]}
    if fault == "gap":
        del header[second]
    if fault == "gap-first":
        del header[first]
    if fault == "trailing":
        header.popitem()
    if fault == "no-tensors":
        header = {}
    if fault == "deep-header":
        header[first]["shape"] = []
    if fault == "out-of-range":
        header[second]["data_offsets"] = [offset, offset + count_bytes(*tensors[second])]
    if fault == "wrong-size":
        header[first]["shape"] = [header[first]["shape"][0] + 1] + header[first]["shape"][1:]
    if fault == "bad-type":
        header[first]["dtype"] = "F3"
    if fault == "overflow":
        header[first]["shape"] = [1 << 40, 1 << 40]
    if fault == "overflow-empty":
        header[first] = {"dtype": "BF16", "shape": [0, 1 << 40, 1 << 40], "data_offsets": [0, 0]}
    if fault == "metadata-list":
        header["__metadata__"] = ["pt"]
    if fault == "metadata-number":
        header["__metadata__"] = {"format": 1}
    text = json.dumps(header)
    if fault == "deep-header":
        text = text.replace('"shape": []', '"shape": ' + "[" * 100_000 + "]" * 100_000, 1)
    if fault == "duplicate":
        text = text[:-1] + ", " + json.dumps(first) + ": " + json.dumps(header[first]) + "}"
    if fault == "not-json":
        text = text[:-1]
    length = len(text)
    if fault == "huge-header":
        length = 1 << 60
    if fault == "long-header":
        length = 50_000_000
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", length) + text.encode())
        file.write(b"\0" * (offset // 2 if fault == "truncated" else offset))
    if fault == "empty":
        open(path, "wb").close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--arch", default="llama")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--unset", action="append", default=[])
    parser.add_argument("--fault")
    parser.add_argument("--shards", action="store_true")
    parser.add_argument("--no-weights", action="store_true")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    config = make_config(arguments.arch)
    for assignment in arguments.set:
        key, value = assignment.split("=", 1)
        config[key] = json.loads(value)
    for key in arguments.unset:
        del config[key]
    with open(os.path.join(arguments.out, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
    if arguments.no_weights:
        return

    tensors = make_tensors(config)
    fault = arguments.fault
    if fault == "missing":
        del tensors["model.layers.1.mlp.up_proj.weight"]
    if fault == "renamed":
        tensors["model.layers.1.mlp.upp_proj.weight"] = tensors.pop("model.layers.1.mlp.up_proj.weight")
    if fault == "extra":
        tensors["model.layers.2.mlp.up_proj.weight"] = ("BF16", [FFN, HIDDEN])
        tensors["model.vision.weight"] = ("BF16", [4])
    if fault == "wrong-shape":
        tensors["model.norm.weight"] = ("BF16", [HIDDEN + 1])
    if fault == "int8":
        tensors["model.norm.weight"] = ("I8", [HIDDEN])
    fused = "model.layers.1.self_attn.qkv_proj.weight"
    if fault in ("short-fused", "long-fused"):
        tensors[fused] = ("BF16", [60 if fault == "short-fused" else 68, HIDDEN])
    if fault == "split-fused":
        tensors["model.layers.1.self_attn.q_proj.weight"] = tensors.pop(fused)
    if fault == "harmless":
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = ("F32", [HEAD_DIM // 2])
        tensors["lm_head.weight"] = ("BF16", [VOCAB, HIDDEN])
    if fault == "mixed-types":
        tensors["model.norm.weight"] = ("F32", [HIDDEN])
        tensors["model.embed_tokens.weight"] = ("F16", [VOCAB, HIDDEN])
    if not arguments.shards:
        write_safetensors(os.path.join(arguments.out, "model.safetensors"), tensors, fault)
        return
    names = sorted(tensors)
    weight_map = {}
    for index, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :])):
        file = f"model-{index + 1:05d}-of-00002.safetensors"
        write_safetensors(os.path.join(arguments.out, file), {name: tensors[name] for name in part})
        weight_map.update({name: file for name in part})
    if fault == "index-promises":
        weight_map["model.layers.9.x"] = weight_map["model.norm.weight"]
    if fault == "index-path":
        weight_map["model.norm.weight"] = "../model.safetensors"
    if fault == "index-zero":
        weight_map["model.norm.weight"] += "\0.safetensors"
    if fault == "index-folder":
        weight_map["model.norm.weight"] = ".."
    if fault == "index-twice":
        weight_map["model.norm.weight"] = "model-00001-of-00002.safetensors"
    if fault == "shard-missing":
        os.remove(os.path.join(arguments.out, "model-00002-of-00002.safetensors"))
    with open(os.path.join(arguments.out, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {}, "weight_map": weight_map}, file)


main()
