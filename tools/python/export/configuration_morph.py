# SPDX-License-Identifier: Apache-2.0
"""Configuration of a hybrid model made by Morph: a Transformer some of whose layers use linear attention."""

from transformers import PretrainedConfig


class MorphConfig(PretrainedConfig):
    """The base model's configuration plus `layer_types` and the section `morph`.

    `morph` holds what the base's fields do not say, or say in names of its family:
        base_model_type  architecture of the base: llama, gemma2, ...
        mixers           one object a layer: `kind`, `full` or the name of a declared mixer; `weights`, the name of the
                         mixer's module; `rope`, the name of its table of rotary frequencies, null where positions are not
                         rotated; for full attention its `window` (null: all positions), for declared mixers their `class`
                         in modeling_morph.py and their `options`
        ropes            by name `inverse_frequencies` (scaling applied) and `attention_factor`
        norms            names of a layer's norms: `input_layernorm` stands before the mixer, `post_attention_layernorm`
                         behind it where there is `post_feedforward_layernorm`, else before the feed-forward network,
                         as does `pre_feedforward_layernorm`
        norm_offset      what norms add to their weights; norm_eps
        embedding_scale  factor of the embedding's rows; logit_softcap, c of c tanh(logit / c), null: none
        qkv_bias, o_bias, qk_norm_eps (null where q and k are not normalised), qk_norm_wide (norms of all heads together),
        qk_norm_offset, attention_scale and attention_softcap (null: none) of full attention
    """

    model_type = "morph_hybrid"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                 num_attention_heads=2, num_key_value_heads=None, head_dim=None, rms_norm_eps=1e-6, hidden_act="silu",
                 max_position_embeddings=2048, layer_types=None, morph=None, use_cache=True, initializer_range=0.02,
                 tie_word_embeddings=False, **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads or num_attention_heads
        self.head_dim = head_dim or hidden_size // num_attention_heads
        self.rms_norm_eps = rms_norm_eps
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        # transformers' names; morph.mixers says which mixer a layer has.
        self.layer_types = layer_types
        self.morph = morph
        self.use_cache = use_cache
        self.initializer_range = initializer_range
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
