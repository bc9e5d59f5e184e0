# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts as Qwen3-MoE has them, for the classes that have such layers.

Morph has a layer's experts as transformers' classes do: gate_up_proj [E,2F,M], of which the first F rows are the gate, and
down_proj [E,M,F] (transformers' models/qwen3_moe/modeling_qwen3_moe.py).
"""

from .hybrid import join

STACKS = {"mlp.experts.gate_up_proj": ("gate_proj", "up_proj"), "mlp.experts.down_proj": ("down_proj",)}


def sparse_layers(hybrid):
    """Of each layer whether it has experts; the others have one MLP."""
    step, dense = hybrid.base.get("decoder_sparse_step", 1), hybrid.base.get("mlp_only_layers") or []
    return [layer not in dense and (layer + 1) % step == 0 for layer in range(len(hybrid.layers))]


def normalises(hybrid):
    """Whether the shares of the chosen experts are divided by their sum."""
    return bool(hybrid.base.get("norm_topk_prob", False))


def prevents_experts(hybrid):
    """Why not all layers have experts whose shares add up to one; None where they have, and where no layer has experts."""
    if not hybrid.has_experts:
        return None
    dense = [layer for layer, sparse in enumerate(sparse_layers(hybrid)) if not sparse]
    if dense:
        return (f"all of its layers have experts, and the base has one MLP in layer{'s' * (len(dense) > 1)} {join(dense)} "
                "(decoder_sparse_step, mlp_only_layers)")
    if not normalises(hybrid):
        return "it divides the shares of the chosen experts by their sum, and the base does not (norm_topk_prob is false)"
    return None


def experts_config(hybrid):
    """The fields of config.json that say which experts there are, by the names of all classes; none for a base without."""
    if not hybrid.has_experts:
        return {}
    base = hybrid.base
    return {"num_experts": base.get("num_local_experts") or base.get("num_experts", 128),
            "num_experts_per_tok": base.get("num_experts_per_tok", 8),
            "moe_intermediate_size": base.get("moe_intermediate_size", 768),
            "router_aux_loss_coef": base.get("router_aux_loss_coef", 0.001)}


def experts_apart(name, tensor):
    """The weights of single experts, (name, tensor), that a stack of them is made of; anything else as it is."""
    prefix, _, last = name.partition("mlp.experts.")
    parts = STACKS.get(f"mlp.experts.{last}")
    if parts is None:
        yield name, tensor
        return
    for i, expert in enumerate(tensor):
        for part, rows in zip(parts, expert.chunk(len(parts))):
            yield f"{prefix}mlp.experts.{i}.{part}.weight", rows
