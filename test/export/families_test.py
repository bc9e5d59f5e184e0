# SPDX-License-Identifier: Apache-2.0
"""Of every family of bases, exports in stock transformers: one that keeps all layers computes what transformers' own class
does, and hybrids compute what the runtime does, whole, prefill and decoding, padded on the left. Random weights, norms and
biases; grouped heads; sizes that are no powers of two."""

import pathlib
import tempfile
import unittest

import torch
import transformers
from hybrids import FULL, judge

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

SHAPE = dict(vocab_size=96, hidden_size=36, intermediate_size=52, num_hidden_layers=4, num_attention_heads=6,
             num_key_value_heads=2, head_dim=12, max_position_embeddings=256, pad_token_id=0)
SHORT, LONG = [1.0, 1.1, 1.5], [1.0, 4.0, 30.0]
TYPES = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
FAMILIES = {
    "smollm3": ("SmolLM3", dict(no_rope_layers=[1, 0, 1, 0], attention_bias=True)),
    "olmo2": ("Olmo2", dict(attention_bias=True)),
    "olmo3": ("Olmo3", dict(sliding_window=20, layer_types=TYPES)),
    "phi3": ("Phi3", dict(sliding_window=50)),
    "phi3-longrope": ("Phi3", dict(
        hidden_size=48, head_dim=8, max_position_embeddings=1024, original_max_position_embeddings=256,
        partial_rotary_factor=0.75,
        rope_parameters=dict(rope_type="longrope", rope_theta=1e4, short_factor=SHORT, long_factor=LONG))),
    "gemma2": ("Gemma2", dict(sliding_window=20, query_pre_attn_scalar=20, attn_logit_softcapping=3.0,
                              final_logit_softcapping=4.0)),
    "gemma3_text": ("Gemma3Text", dict(sliding_window=20, query_pre_attn_scalar=20, layer_types=TYPES,
                                       rope_parameters={
                                           "sliding_attention": dict(rope_type="default", rope_theta=100.0),
                                           "full_attention": dict(rope_type="linear", rope_theta=1e4, factor=4.0)})),
    "cwm": ("Cwm", dict(sliding_window=20, layer_types=TYPES)),
    # Experts in all layers but one, of which the shares of the active ones do not add up to one, and do.
    "qwen3_moe": ("Qwen3Moe", dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=20, mlp_only_layers=[1],
                                   attention_bias=True)),
    "qwen3_moe-normalised": ("Qwen3Moe", dict(num_experts=5, num_experts_per_tok=3, moe_intermediate_size=20,
                                              norm_topk_prob=True, decoder_sparse_step=2, use_sliding_window=True,
                                              sliding_window=30)),
}
# What a family's own layers keep, its norms, positions and scale, is in each of these another way.
# In the first layer and in the second, which are of two kinds where a family has two.
PAIRS = [pair for a, b in (("gated_deltanet", "lightning"), ("retnet", "sliding_window(window=9)")) for pair in ((a, b), (b, a))]
TOLERANCE = 1e-4


def make_base(family, folder):
    """A random model of transformers' class, saved; the model."""
    name, changes = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SHAPE | changes)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for parameter in model.parameters():
        # Norm weights and biases start at one and zero, which would hide a mistake with them.
        if parameter.dim() == 1:
            torch.nn.init.uniform_(parameter, -0.5, 1.5)
        else:
            torch.nn.init.normal_(parameter, std=0.15)
    model.save_pretrained(folder)
    return model


class FamiliesTest(unittest.TestCase):
    def judge(self, family, stack):
        """The judgement, and the two models' greatest difference of log-probabilities."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            base = make_base(family, folder / "base")
            judgement = judge(folder, stack)
            ours = transformers.AutoModelForCausalLM.from_pretrained(folder / "hybrid", trust_remote_code=True).eval()
            ids = torch.randint(1, SHAPE["vocab_size"], (2, 70), generator=torch.Generator().manual_seed(1))
            with torch.no_grad():
                theirs, own = (model(ids).logits.log_softmax(-1) for model in (base, ours))
            return judgement, (theirs - own).abs().max().item()

    def test_bases(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                judgement, difference = self.judge(family, [FULL] * 4)
                self.assertEqual(judgement["verdict"], "agreement", judgement)
                self.assertLess(difference, TOLERANCE)

    def test_hybrids(self):
        for family in FAMILIES:
            for pair in PAIRS:
                with self.subTest(family=family, pair=pair):
                    judgement, difference = self.judge(family, [*pair, FULL, FULL])
                    self.assertEqual(judgement["verdict"], "agreement", judgement)
                    self.assertGreater(difference, TOLERANCE)


if __name__ == "__main__":
    unittest.main(verbosity=2)
