# SPDX-License-Identifier: Apache-2.0
"""Configuration of a hybrid model made by Morph: a Transformer some of whose layers use linear attention."""

from transformers import PretrainedConfig


class MorphConfig(PretrainedConfig):
    """The base model's configuration plus `layer_types` and the section `morph`.

    `morph` holds what the base's fields do not say:
        base_model_type  architecture of the base: llama, mistral, qwen2, qwen3
        mixers           one object a layer: `kind`, `full` or the name of a declared mixer; `weights`, the name of the
                         mixer's module; for full attention its `window` (null: all positions), for declared mixers
                         their `class` in modeling_morph.py and their `options`
        qkv_bias, o_bias, qk_norm_eps (null where q and k are not normalised) of full attention, norm_eps
        rope             `inverse_frequencies` (scaling applied) and `attention_factor`
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
