# SPDX-License-Identifier: Apache-2.0
"""Llama or Mistral with Mamba-2: Granite 4's hybrid without experts.

transformers' models/granitemoehybrid/modeling_granitemoehybrid.py with multipliers of 1, attention of 1 / sqrt(D) and rotary
positions is a Llama whose gate and up projections are one matrix. Its Mamba layers with a group a head have the B and C, the
norm and the skip of mamba2(per_head = true); rows of in_proj are z, x, B, C and dt.
"""

from .hybrid import filter_width, filters, prevents_mixers, prevents_projections

NAME = "GraniteMoeHybridForCausalLM"
TYPES = ("granitemoehybrid",)
EXPERTS_APART = False


def resembles(hybrid):
    return any(mixer["kind"] == "mamba2" for mixer in hybrid.linear())


def name(hybrid):
    return NAME


def prevents(hybrid):
    if not hybrid.linear():
        return "a hybrid without linear layers is one of softmax attention"
    reason = prevents_mixers(hybrid, "mamba2", "Mamba-2")
    if reason:
        return reason
    if hybrid.qk_norm:
        return f"its full attention has no norms of queries and keys, which a {hybrid.family} has"
    if any(not mixer["options"]["per_head"] for mixer in hybrid.linear()):
        return ("its Mamba layers have a skip a head and a norm a group of heads, where mamba2 has a skip a channel and "
                "one norm; mamba2(per_head = true) has the former")
    inner = hybrid.heads * hybrid.head_dim
    if inner % hybrid.hidden:
        return f"its Mamba layers are a multiple of the hidden size {hybrid.hidden} wide, and the base's heads are {inner}"
    return prevents_projections(hybrid, "its Mamba layers")


def config(hybrid):
    fields = hybrid.common(TYPES[0], NAME)
    if hybrid.head_dim == hybrid.hidden // hybrid.heads:
        del fields["head_dim"]  # What the class takes where it is not said, and other programs only know so.
    if fields["rope_parameters"]["rope_type"] == "default":
        fields["rope_theta"] = fields["rope_parameters"]["rope_theta"]  # Where SGLang looks.
    return fields | {
        # The names that releases of transformers before 5 know, too.
        "layer_types": ["attention" if mixer["kind"] == "full" else "mamba" for mixer in hybrid.layers],
        "position_embedding_type": "rope", "attention_multiplier": hybrid.head_dim ** -0.5, "embedding_multiplier": 1.0,
        "residual_multiplier": 1.0, "logits_scaling": 1.0, "num_local_experts": 0, "num_experts_per_tok": 0,
        "shared_intermediate_size": hybrid.base["intermediate_size"], "mamba_n_heads": hybrid.heads,
        "mamba_n_groups": hybrid.heads, "mamba_d_state": hybrid.head_dim, "mamba_d_head": hybrid.head_dim,
        "mamba_d_conv": filter_width(hybrid), "mamba_expand": hybrid.heads * hybrid.head_dim // hybrid.hidden,
        "mamba_conv_bias": False, "mamba_proj_bias": False}


def weights(hybrid, take):
    import torch

    yield "model.embed_tokens.weight", take("model.embed_tokens.weight")
    for i, mixer in enumerate(hybrid.layers):
        layer = f"model.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}{norm}.weight", take(f"{layer}{norm}.weight")
        yield f"{layer}shared_mlp.input_linear.weight", torch.cat(
            [take(f"{layer}mlp.{part}.weight") for part in ("gate_proj", "up_proj")])
        yield f"{layer}shared_mlp.output_linear.weight", take(f"{layer}mlp.down_proj.weight")
        prefix = f"{layer}{mixer['weights']}."
        if mixer["kind"] == "full":
            for part in "qkvo":
                yield f"{layer}self_attn.{part}_proj.weight", take(f"{prefix}{part}_proj.weight")
            continue
        own = f"{layer}mamba."
        yield f"{own}in_proj.weight", torch.cat(
            [take(f"{prefix}{part}_proj.weight") for part in ("z", "v", "k", "q", "dt")])
        yield f"{own}conv1d.weight", filters(take, prefix, [f"{part}_conv.weight" for part in "vkq"],
                                             hybrid.heads * hybrid.head_dim, filter_width(hybrid))
        yield f"{own}norm.weight", take(f"{prefix}head_norm.weight").repeat(hybrid.heads)
        for theirs, ours in {"A_log": "A_log", "dt_bias": "dt_bias", "D": "head_skip",
                             "out_proj.weight": "o_proj.weight"}.items():
            yield own + theirs, take(prefix + ours)
    yield "model.norm.weight", take("model.norm.weight")
    if "lm_head.weight" in take:
        yield "lm_head.weight", take("lm_head.weight")
