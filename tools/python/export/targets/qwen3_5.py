# SPDX-License-Identifier: Apache-2.0
"""Qwen3 with gated DeltaNet: the text model of Qwen3.5, dense or, for Qwen3-MoE, with experts.

transformers' models/qwen3_5/modeling_qwen3_5.py differs from Qwen3 by convention in three things, and
models/qwen3_5_moe/modeling_qwen3_5_moe.py from Qwen3-MoE in a fourth:
- Its RMSNorms, but for the gated one, multiply by 1 + weight, in fp32. The weight is stored as w - 1; for w of bf16 or fp16
  that is exact in fp32, for w of fp32 it is rounded by half a unit of 1.
- Its attention multiplies what the heads give by sigmoid(gate), whose rows stand in q_proj behind each head's. A saturated
  gate is 1 - 1e-8 at best in some programs; rows of zeros give exactly 1/2 in all of them, and o_proj of twice the size,
  a power of two, exactly the result.
- Its linear layers always have a convolution. A filter that takes the newest input alone changes nothing.
- Beside the chosen experts every layer has one that all tokens share. Of zeros, with a gate of zeros, it adds 0 exactly.
"""

from .experts import experts_config, prevents_experts
from .hybrid import filter_width, filters, prevents_mixers, prevents_projections

NAME = "Qwen3_5ForCausalLM or Qwen3_5MoeForCausalLM"
TYPES = ("qwen3_5_text", "qwen3_5_moe_text")
ROTARY_PARTS = 3
# Servers read the experts of this class stacked, as its published checkpoints have them.
EXPERTS_APART = False
# The width of the shared expert, which has no use: small beside a layer's experts (Qwen3-30B-A3B: 128 of 768), not 0, which
# llama.cpp takes for a width that is not said, and a multiple of what tensor-parallel servers and fp8's blocks cut it into.
SHARED_WIDTH = 128


def resembles(hybrid):
    return any(mixer["kind"] == "gated_deltanet" for mixer in hybrid.linear())


def name(hybrid):
    return "Qwen3_5MoeForCausalLM" if hybrid.has_experts else "Qwen3_5ForCausalLM"


def prevents(hybrid):
    if not hybrid.linear():
        return "a hybrid without linear layers is one of softmax attention"
    reason = prevents_mixers(hybrid, "gated_deltanet", "gated DeltaNet")
    if reason:
        return reason
    if not hybrid.qk_norm:
        return f"its full attention has a norm on each head's queries and keys, which a {hybrid.family} has not"
    if any(mixer["options"]["base_norm"] for mixer in hybrid.linear()):
        return ("its linear layers have no norms before the convolutions, where gated_deltanet has the base's; "
                "gated_deltanet(base_norm = false) leaves them out")
    return prevents_experts(hybrid) or prevents_projections(hybrid, "its linear layers")


def config(hybrid):
    fields = hybrid.common(TYPES[1] if hybrid.has_experts else TYPES[0], name(hybrid))
    fields |= experts_config(hybrid)
    if hybrid.has_experts:
        fields["shared_expert_intermediate_size"] = SHARED_WIDTH
    rope = fields["rope_parameters"]
    rope["partial_rotary_factor"] = 1.0
    # Positions of text are the same in all three parts, so that their sizes change nothing; they must sum up to the half.
    half = hybrid.head_dim // 2
    rope |= {"mrope_interleaved": True,
             "mrope_section": [half - 2 * (half // ROTARY_PARTS), half // ROTARY_PARTS, half // ROTARY_PARTS]}
    return fields | {
        "layer_types": ["full_attention" if mixer["kind"] == "full" else "linear_attention" for mixer in hybrid.layers],
        "linear_conv_kernel_dim": filter_width(hybrid),
        "linear_key_head_dim": hybrid.head_dim, "linear_value_head_dim": hybrid.head_dim,
        "linear_num_key_heads": hybrid.heads, "linear_num_value_heads": hybrid.heads}


def weights(hybrid, take):
    import torch

    def centred(name_):
        """w - 1, in w's type where that loses nothing, else in fp32."""
        from . import Inexact

        w = take(name_)
        narrow = (w.float() - 1).to(w.dtype)
        z = narrow if torch.equal(1 + narrow.float(), w.float()) else w.float() - 1
        if not torch.allclose(1 + z.float(), w.float(), rtol=1e-5, atol=0):
            raise Inexact(f"{name(hybrid)} stores norms as their difference to 1, which loses digits of {name_}")
        return z

    def gated(q):
        """q_proj [H * D,M] with the rows of a gate that is 1/2."""
        q = q.unflatten(0, (hybrid.heads, hybrid.head_dim))
        return torch.cat([q, torch.zeros_like(q)], 1).flatten(0, 1)

    def mlp(prefix):
        """The weights below `prefix` between a layer's second norm and the sum."""
        if not hybrid.has_experts:
            for part in ("gate_proj", "up_proj", "down_proj"):
                yield f"{prefix}{part}.weight", take(f"{prefix}{part}.weight")
            return
        router = take(f"{prefix}gate.weight")
        yield f"{prefix}gate.weight", router
        for part in ("gate_up_proj", "down_proj"):
            yield f"{prefix}experts.{part}", take(f"{prefix}experts.{part}")
        for part, shape in {"shared_expert.gate_proj": (SHARED_WIDTH, hybrid.hidden),
                            "shared_expert.up_proj": (SHARED_WIDTH, hybrid.hidden),
                            "shared_expert.down_proj": (hybrid.hidden, SHARED_WIDTH),
                            "shared_expert_gate": (1, hybrid.hidden)}.items():
            yield f"{prefix}{part}.weight", router.new_zeros(shape)

    yield "model.embed_tokens.weight", take("model.embed_tokens.weight")
    for i, mixer in enumerate(hybrid.layers):
        layer = f"model.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}{norm}.weight", centred(f"{layer}{norm}.weight")
        yield from mlp(f"{layer}mlp.")
        prefix = f"{layer}{mixer['weights']}."
        if mixer["kind"] == "full":
            own = f"{layer}self_attn."
            yield f"{own}q_proj.weight", gated(take(f"{prefix}q_proj.weight"))
            for part in ("k_proj", "v_proj"):
                yield f"{own}{part}.weight", take(f"{prefix}{part}.weight")
            yield f"{own}o_proj.weight", take(f"{prefix}o_proj.weight") * 2
            for part in ("q_norm", "k_norm"):
                yield f"{own}{part}.weight", centred(f"{prefix}{part}.weight")
            continue
        own = f"{layer}linear_attn."
        yield f"{own}in_proj_qkv.weight", torch.cat([take(f"{prefix}{part}_proj.weight") for part in "qkv"])
        yield f"{own}conv1d.weight", filters(take, prefix, [f"{part}_conv.weight" for part in "qkv"],
                                             hybrid.heads * hybrid.head_dim, filter_width(hybrid))
        for theirs, ours in {"in_proj_z.weight": "g_proj.weight", "in_proj_b.weight": "b_proj.weight",
                             "in_proj_a.weight": "a_proj.weight", "A_log": "A_log", "dt_bias": "dt_bias",
                             "norm.weight": "o_norm.weight", "out_proj.weight": "o_proj.weight"}.items():
            yield own + theirs, take(prefix + ours)
    yield "model.norm.weight", centred("model.norm.weight")
    if "lm_head.weight" in take:
        yield "lm_head.weight", take("lm_head.weight")
