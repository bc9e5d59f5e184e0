# SPDX-License-Identifier: Apache-2.0
"""Full and sliding-window attention: Qwen2, Qwen3 and, for Llama and Mistral, Code World Model, by their `layer_types`; of
mixtures of experts Qwen3-MoE, and with windows Mellum.

transformers' models/{qwen2,qwen3,cwm,mellum}: a layer of `sliding_attention` sees the last `sliding_window` positions, the
own one included, and all such layers have the same window. Cwm is a Llama with windows; Ministral is another, which vLLM
lacks. models/mellum is a Qwen3-MoE with windows in some layers, which may have rotary positions of their own.
"""

from .experts import experts_config, normalises, sparse_layers
from .hybrid import join, prevents_mixers

NAME = "Qwen3ForCausalLM, Qwen2ForCausalLM, CwmForCausalLM, Qwen3MoeForCausalLM or MellumForCausalLM"
CLASSES = {"qwen2": ("qwen2", "Qwen2ForCausalLM"), "qwen3": ("qwen3", "Qwen3ForCausalLM"),
           "llama": ("cwm", "CwmForCausalLM"), "mistral": ("cwm", "CwmForCausalLM"),
           "qwen3_moe": ("qwen3_moe", "Qwen3MoeForCausalLM")}
# Of a family whose own class has one window for all layers.
WINDOWED = {"qwen3_moe": ("mellum", "MellumForCausalLM")}
TYPES = tuple(sorted({kind for kind, _ in (*CLASSES.values(), *WINDOWED.values())}))
# Servers read the experts of these classes one by one, as their published checkpoints have them.
EXPERTS_APART = True


def resembles(hybrid):
    return all(mixer["kind"] == "sliding_window" for mixer in hybrid.linear())


def windows(hybrid):
    return sorted({window for layer, mixer in hybrid.mixers() if (window := hybrid.window(layer, mixer))})


def architecture(hybrid):
    """model_type and class of what loads this hybrid."""
    return windows(hybrid) and WINDOWED.get(hybrid.family) or CLASSES[hybrid.family]


def name(hybrid):
    return architecture(hybrid)[1]


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
    model_type, class_ = architecture(hybrid)
    fields = hybrid.common(model_type, class_) | experts_config(hybrid)
    if model_type in ("qwen2", "cwm"):
        del fields["attention_bias"]
    if hybrid.has_experts:
        fields["norm_topk_prob"] = normalises(hybrid)
    if model_type == "qwen3_moe":
        return fields | {key: hybrid.base[key] for key in ("decoder_sparse_step", "mlp_only_layers") if key in hybrid.base}
    found = windows(hybrid)
    types = ["sliding_attention" if hybrid.window(layer, mixer) else "full_attention"
             for layer, mixer in enumerate(hybrid.layers)]
    fields |= {"sliding_window": found[0] if found else hybrid.base["max_position_embeddings"], "layer_types": types}
    if model_type == "mellum":
        return fields | {"mlp_layer_types": ["sparse" if sparse else "dense" for sparse in sparse_layers(hybrid)],
                         "rope_parameters": dict.fromkeys(types, fields["rope_parameters"])}
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
