# SPDX-License-Identifier: Apache-2.0
"""The remote code of exported hybrids by itself: models with every declared mixer, as the compiler writes it, and the
contracts of decoding (split = whole, left padding = none, generate = greedy); full layers of all base architectures
against transformers; training with and without checkpoints of layers. (The recurrences are in recurrence_test.py.)"""

import json
import pathlib
import tempfile
import unittest

import accelerate
import torch
import transformers
from hybrids import FULL, SOURCE, compile_mixers, load_modeling
from safetensors.torch import save_file

from export import modeling_morph as morph
from export import morph_export
from export.configuration_morph import MorphConfig

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, LAYERS, VOCABULARY = 32, 4, 2, 16, 4, 64
# Every mixer that comes with Morph, as it is by default; a window that is shorter than the texts.
BUILTIN = sorted(path.stem for path in (SOURCE / "dialect/mixers").glob("*.morph"))
STACKS = {name: [FULL, name, name, FULL] for name in BUILTIN if name != "sliding_window"} | {
    "gated_deltanet with convolution": ["gated_deltanet(conv=4)", FULL, "gated_deltanet(conv=4)", FULL],
    "no full layer": ["gated_deltanet"] * 2 + ["lightning"] * 2,
    "window": [FULL, "sliding_window(window=5)", "lightning", FULL],
}
# Bases whose projections have biases, and norms of queries and keys.
BASES = {"llama": {"model_type": "llama"}, "biases": {"model_type": "llama", "attention_bias": True},
         "qwen3": {"model_type": "qwen3"}}
SHAPE = dict(vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=48, num_attention_heads=HEADS,
             num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, rms_norm_eps=1e-5)


def make_config(mixers, qkv_bias=False, o_bias=False, qk_norm_eps=None, rope=None, tied=True, **others):
    return MorphConfig(
        **others, **SHAPE, num_hidden_layers=len(mixers),
        tie_word_embeddings=tied, pad_token_id=0, bos_token_id=1, eos_token_id=None,
        layer_types=[morph_export.layer_type(mixer) for mixer in mixers],
        morph={"version": 2, "base_model_type": "llama", "mixers": mixers, "qkv_bias": qkv_bias, "o_bias": o_bias,
               "qk_norm_eps": qk_norm_eps, "qk_norm_wide": False, "qk_norm_offset": 0.0, "norm_eps": 1e-5,
               "norms": ["input_layernorm", "post_attention_layernorm"], "norm_offset": 0.0, "embedding_scale": 1.0,
               "logit_softcap": None, "attention_scale": HEAD_DIM ** -0.5, "attention_softcap": None,
               "ropes": {"rope": rope or {
                   "inverse_frequencies": [10000.0 ** (-2 * i / HEAD_DIM) for i in range(HEAD_DIM // 2)],
                   "attention_factor": 1.0}}, "experts": None})


def compile_stack(stack, base="llama"):
    """What the compiler writes for these mixers on a base."""
    return compile_mixers({**SHAPE, **BASES[base], "num_hidden_layers": len(stack), "rope_theta": 10000.0}, stack)


def randomise(model, seed=0):
    """Weights large enough that every part of the model matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if name.endswith("decay"):
                parameter.copy_(-values.abs())
            elif not parameter.requires_grad:
                # Constants of a mixer: what fills them is the compiler's.
                parameter.copy_(values * 0.1)
            elif "norm" in name:
                parameter.copy_(1 + 0.2 * values)
            else:
                parameter.copy_(values * (0.2 if parameter.dim() > 1 else 0.5))
    return model.eval()


def make_model(stack, base="llama", tied=True, seed=0):
    """A model of `stack` with random weights."""
    mixers = compile_stack(stack, base)
    config = make_config(mixers["layers"], tied=tied, qkv_bias=base == "biases", o_bias=base == "biases",
                         qk_norm_eps=1e-5 if base == "qwen3" else None)
    return randomise(load_modeling(mixers["classes"]).MorphForCausalLM(config), seed)


def random_ids(*shape, seed=1):
    return torch.randint(1, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


class ContractTest(unittest.TestCase):
    """Whole models: decoding and padding change no logits."""

    def for_each_model(self, check):
        for base in BASES:
            for name, stack in STACKS.items():
                with self.subTest(stack=name, base=base), torch.no_grad():
                    check(make_model(stack, base))

    def test_prefill_and_decode_is_whole(self):
        ids = random_ids(2, 29)

        def check(model):
            whole = model(ids).logits
            for split in (1, 3, 17):
                output = model(ids[:, :split], use_cache=True)
                parts, cache = [output.logits], output.past_key_values
                middle = model(ids[:, split:split + 5], past_key_values=cache, use_cache=True)
                parts.append(middle.logits)
                for t in range(split + 5, ids.shape[1]):
                    parts.append(model(ids[:, t:t + 1], past_key_values=cache, use_cache=True).logits)
                torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-4, rtol=1e-4)

        self.for_each_model(check)

    def test_left_padding_is_none(self):
        ids = random_ids(1, 21)

        def check(model):
            alone = model(ids).logits
            padded = torch.cat((torch.zeros(1, 6, dtype=torch.long), ids), 1)
            batch = torch.cat((padded, random_ids(1, 27, seed=5)))
            mask = torch.ones_like(batch)
            mask[0, :6] = 0
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            together = model(batch, attention_mask=mask, position_ids=positions).logits
            torch.testing.assert_close(together[:1, 6:], alone, atol=1e-4, rtol=1e-4)
            # and in two steps, the padding in the first
            first = model(batch[:, :15], attention_mask=mask[:, :15], position_ids=positions[:, :15], use_cache=True)
            second = model(batch[:, 15:], attention_mask=mask, position_ids=positions[:, 15:],
                           past_key_values=first.past_key_values)
            torch.testing.assert_close(second.logits[:1], alone[:, 9:], atol=1e-4, rtol=1e-4)

        self.for_each_model(check)

    def test_generate(self):
        def check(model):
            ids = random_ids(1, 9)
            expected = ids
            for _ in range(8):
                expected = torch.cat((expected, model(expected).logits[:, -1:].argmax(-1)), 1)
            batch = torch.cat((torch.cat((torch.zeros(1, 3, dtype=torch.long), ids), 1), random_ids(1, 12, seed=7)))
            mask = torch.ones_like(batch)
            mask[0, :3] = 0
            output = model.generate(batch, attention_mask=mask, max_new_tokens=8, do_sample=False)
            self.assertEqual(output[0, 3:].tolist(), expected[0].tolist())
            beams = model.generate(ids, max_new_tokens=4, num_beams=3, do_sample=False)
            self.assertEqual(beams.shape, (1, 13))

        self.for_each_model(check)

    def test_hooks_that_move_arguments(self):
        """As with `device_map` over several GPUs, or weights that are offloaded: accelerate then makes the dictionaries among
        every module's arguments anew."""
        ids = random_ids(2, 9)
        for name, stack in STACKS.items():
            with self.subTest(stack=name), torch.no_grad():
                model = make_model(stack)
                expected = model.generate(ids, max_new_tokens=8, do_sample=False)
                beams = model.generate(ids, max_new_tokens=4, num_beams=3, do_sample=False)
                hooked = accelerate.dispatch_model(model, {"": "cpu"}, force_hooks=True)
                self.assertTrue(any(hasattr(module, "_hf_hook") for module in hooked.model.layers.modules()))
                self.assertEqual(hooked.generate(ids, max_new_tokens=8, do_sample=False).tolist(), expected.tolist())
                self.assertEqual(hooked.generate(ids, max_new_tokens=4, num_beams=3, do_sample=False).tolist(), beams.tolist())

    def test_half_precision_is_near(self):
        ids = random_ids(2, 29)

        def check(model):
            expected = model(ids).logits.softmax(-1)
            half = model.to(torch.bfloat16)(ids).logits.float().softmax(-1)
            self.assertLess((half - expected).abs().sum(-1).mean(), 0.1)

        self.for_each_model(check)

    def test_all_linear_state_does_not_grow(self):
        model = make_model(STACKS["no full layer"])
        with torch.no_grad():
            cache = model(random_ids(1, 9), use_cache=True).past_key_values
            before = sum(tensor.numel() for layer in cache.layers for tensor in layer.values())
            model(random_ids(1, 30), past_key_values=cache)
        self.assertEqual(before, sum(tensor.numel() for layer in cache.layers for tensor in layer.values()))

    def test_a_window_keeps_no_more_than_it_sees(self):
        model = make_model(STACKS["window"])
        with torch.no_grad():
            cache = model(random_ids(1, 9), use_cache=True).past_key_values
            model(random_ids(1, 30), past_key_values=cache)
        self.assertEqual([layer["k"].shape[2] for layer in cache.layers if "k" in layer], [39, 5, 39])


class TrainingTest(unittest.TestCase):
    """A loss goes back to every weight, through checkpoints of layers as without them."""

    def gradients(self, model, ids):
        model.zero_grad()
        model(ids, labels=ids).loss.backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}

    def test_gradient_checkpointing(self):
        ids = random_ids(2, 19)
        for name, stack in STACKS.items():
            with self.subTest(stack=name):
                model = make_model(stack).train()
                expected = self.gradients(model, ids)
                for reentrant in (False, True):
                    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
                    passes = []
                    hook = model.model.layers[0].input_layernorm.register_forward_hook(lambda *_: passes.append(1))
                    for weight, gradient in self.gradients(model, ids).items():
                        torch.testing.assert_close(gradient, expected[weight], msg=weight)
                    hook.remove()
                    self.assertEqual(len(passes), 2, "the layer is computed again for its gradients")
                with self.assertRaisesRegex(ValueError, "cannot go with a cache"):
                    model(ids, past_key_values=morph.MorphCache(len(stack)))
                self.assertEqual(model.eval().generate(ids, max_new_tokens=2, do_sample=False).shape, (2, 21))

    def test_frozen_weights(self):
        model = make_model(STACKS["lightning"])
        self.assertEqual([name for name, weight in model.named_parameters() if not weight.requires_grad],
                         ["model.layers.1.linear_attn.decay", "model.layers.2.linear_attn.decay"])


class FolderTest(unittest.TestCase):
    """Folders on disk, read by transformers' Auto classes."""

    def test_full_layers_are_the_base(self):
        common = dict(**SHAPE, num_hidden_layers=2)
        bases = {
            "llama": (transformers.LlamaConfig(**common, rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
                      {}, None),
            "llama with GELU": (
                transformers.LlamaConfig(**common, hidden_act="gelu_pytorch_tanh",
                                         rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
                {"hidden_act": "gelu_pytorch_tanh"}, None),
            "llama with quick GELU": (
                transformers.LlamaConfig(**common, hidden_act="quick_gelu",
                                         rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
                {"hidden_act": "quick_gelu"}, None),
            "mistral": (transformers.MistralConfig(**common, sliding_window=7,
                                                   rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
                        {}, 7),
            "qwen2": (transformers.Qwen2Config(**common, rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
                      {"qkv_bias": True}, None),
            "qwen3": (transformers.Qwen3Config(**common, rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
                      {"qk_norm_eps": 1e-5}, None),
        }
        for name, (config, keywords, window) in bases.items():
            with self.subTest(base=name), torch.no_grad():
                base = randomise(transformers.AutoModelForCausalLM.from_config(config))
                mixers = [{"kind": "full", "weights": "self_attn", "window": window, "rope": "rope"}] * 2
                model = morph.MorphForCausalLM(make_config(mixers, tied=False, **keywords)).eval()
                model.load_state_dict(base.state_dict(), strict=True)
                ids = random_ids(2, 19)
                torch.testing.assert_close(model(ids).logits, base(ids).logits, atol=1e-5, rtol=1e-4)

    def test_remote_code_loads(self):
        for tied in (True, False):
            with self.subTest(tied=tied), tempfile.TemporaryDirectory() as folder, torch.no_grad():
                stack = ["gated_deltanet(conv=4)", "rwkv7", FULL]
                model = make_model(stack, tied=tied)
                weights = {name: x.contiguous() for name, x in model.state_dict().items()
                           if not (tied and name == "lm_head.weight")}
                save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
                config = model.config.to_dict()
                config.update(architectures=["MorphForCausalLM"], model_type="morph_hybrid", auto_map={
                    "AutoConfig": "configuration_morph.MorphConfig",
                    "AutoModelForCausalLM": "modeling_morph.MorphForCausalLM"})
                pathlib.Path(folder, "config.json").write_text(json.dumps(config))
                source = (SOURCE / "tools/python/export/configuration_morph.py").read_text()
                pathlib.Path(folder, "configuration_morph.py").write_text(source)
                source = morph_export.make_modeling(compile_stack(stack)["classes"])
                pathlib.Path(folder, "modeling_morph.py").write_text(source)
                loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True,
                                                                           dtype=torch.float32)
                ids = random_ids(1, 20)
                torch.testing.assert_close(loaded(ids).logits, model(ids).logits, atol=1e-6, rtol=1e-5)
                # in half precision all but the vectors of mixers, however they are named
                half = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True,
                                                                         dtype=torch.bfloat16)
                mixer = half.model.layers[1].mixer
                for name, parameter in mixer.named_parameters():
                    self.assertEqual(parameter.dtype, torch.float32 if parameter.dim() == 1 else torch.bfloat16, name)
                self.assertEqual(half.model.layers[0].mixer.q_proj.weight.dtype, torch.bfloat16)
                self.assertTrue(half(ids).logits.isfinite().all())
                # save_pretrained and load again: transformers' own round trip
                with tempfile.TemporaryDirectory() as again:
                    loaded.save_pretrained(again)
                    reloaded = transformers.AutoModelForCausalLM.from_pretrained(again, trust_remote_code=True)
                    torch.testing.assert_close(reloaded(ids).logits, model(ids).logits, atol=1e-6, rtol=1e-5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
