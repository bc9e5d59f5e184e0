# SPDX-License-Identifier: Apache-2.0
"""Full and sliding-window attention: Qwen2, Qwen3 and, for Llama and Mistral, Code World Model, by their `layer_types`.

transformers' models/{qwen2,qwen3,cwm}: a layer of `sliding_attention` sees the last `sliding_window` positions, the own one
included, and all such layers have the same window. Cwm is a Llama with windows; Ministral is another, which vLLM lacks.
"""

from .hybrid import join, prevents_mixers

NAME = "Qwen3ForCausalLM, Qwen2ForCausalLM or CwmForCausalLM"
CLASSES = {"qwen2": ("qwen2", "Qwen2ForCausalLM"), "qwen3": ("qwen3", "Qwen3ForCausalLM"),
           "llama": ("cwm", "CwmForCausalLM"), "mistral": ("cwm", "CwmForCausalLM")}


def resembles(hybrid):
    return all(mixer["kind"] == "sliding_window" for mixer in hybrid.linear())


def name(hybrid):
    """The class that loads this hybrid."""
    return CLASSES[hybrid.family][1]


def windows(hybrid):
    return sorted({window for layer, mixer in hybrid.mixers() if (window := hybrid.window(layer, mixer))})


def prevents(hybrid):
    if hybrid.family not in CLASSES:
        return f"no class has the layers of a {hybrid.family} and windows"
    reason = prevents_mixers(hybrid, "sliding_window", "softmax attention of a window")
    if reason:
        return reason
    if hybrid.family == "llama" and (hybrid.qkv_bias or hybrid.mlp_bias):
        return "the base's projections have biases, and those of CwmForCausalLM have none"
    found = windows(hybrid)
    if len(found) > 1:
        return f"its sliding layers have one window, and the hybrid's have windows of {join(found)} positions"
    return None


def config(hybrid):
    model_type, architecture = CLASSES[hybrid.family]
    fields = hybrid.common(model_type, architecture)
    if model_type != "qwen3":
        del fields["attention_bias"]
    found = windows(hybrid)
    types = ["sliding_attention" if hybrid.window(layer, mixer) else "full_attention"
             for layer, mixer in enumerate(hybrid.layers)]
    fields |= {"sliding_window": found[0] if found else hybrid.base["max_position_embeddings"], "layer_types": types}
    if model_type != "cwm":
        # vLLM, which knows no windows of some layers, refuses them only where max_window_layers is not their number.
        fields |= {"use_sliding_window": bool(found), "max_window_layers": 0}
    return fields


def weights(hybrid, take):
    for name_ in take.names():
        layer = name_.split(".")[2] if name_.startswith("model.layers.") else None
        prefix = f"model.layers.{layer}.{hybrid.layers[int(layer)]['weights']}." if layer else None
        renamed = name_
        if prefix and name_.startswith(prefix):
            renamed = f"model.layers.{layer}.self_attn.{name_.removeprefix(prefix)}"
        yield renamed, take(name_)
