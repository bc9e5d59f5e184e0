# SPDX-License-Identifier: Apache-2.0
"""The remote code of exported hybrids by itself: kernels against plain recurrences and transformers' own, models of all
base architectures against transformers, and the contracts of linear attention (peers: chunked = recurrent, split =
whole, left padding = none)."""

import json
import os
import pathlib
import sys
import tempfile
import unittest

import torch
import transformers
from safetensors.torch import save_file

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tools/python"))
from export import modeling_morph as morph  # noqa: E402
from export.configuration_morph import MorphConfig  # noqa: E402

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, LAYERS, VOCABULARY = 32, 4, 2, 16, 4, 64


def linear(kind, **options):
    return {"kind": kind, "weights": "linear_attn", "options": {"chunk": 8, **options}}


FULL = {"kind": "full", "weights": "self_attn", "window": None}
STACKS = {
    "gated_deltanet": [FULL, linear("gated_deltanet"), linear("gated_deltanet"), FULL],
    "gated_deltanet with convolution": [linear("gated_deltanet", conv=4), FULL, linear("gated_deltanet", conv=4), FULL],
    "lightning": [linear("lightning"), FULL, linear("lightning"), linear("lightning")],
    "no full layer": [linear("gated_deltanet")] * 2 + [linear("lightning")] * 2,
    "window": [FULL, {"kind": "sliding_window", "weights": "sliding_window", "window": 5}, linear("lightning"), FULL],
}


def make_config(mixers, qkv_bias=False, o_bias=False, qk_norm_eps=None, rope=None, tied=True, **others):
    return MorphConfig(
        **others,
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=48, num_hidden_layers=len(mixers),
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, rms_norm_eps=1e-5,
        tie_word_embeddings=tied, pad_token_id=0, bos_token_id=1, eos_token_id=None,
        layer_types=["full_attention" if mixer["kind"] == "full" else "linear_attention" for mixer in mixers],
        morph={"version": 1, "base_model_type": "llama", "mixers": mixers, "qkv_bias": qkv_bias, "o_bias": o_bias,
               "qk_norm_eps": qk_norm_eps, "norm_eps": 1e-5,
               "rope": rope or {"inverse_frequencies": [10000.0 ** (-2 * i / HEAD_DIM) for i in range(HEAD_DIM // 2)],
                                "attention_factor": 1.0}})


def randomise(model, seed=0):
    """Weights large enough that every part of the model matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if name.endswith("decay"):
                parameter.copy_(-values.abs())
            elif "norm" in name:
                parameter.copy_(1 + 0.2 * values)
            else:
                parameter.copy_(values * (0.2 if parameter.dim() > 1 else 0.5))
    return model.eval()


def make_model(mixers, **keywords):
    return randomise(morph.MorphForCausalLM(make_config(mixers, **keywords)))


def random_ids(*shape, seed=1):
    return torch.randint(1, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


class KernelTest(unittest.TestCase):
    """Chunked forms against a loop over positions, in float64."""

    def inputs(self, length, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return torch.randn(2, length, 3, *shape, generator=generator, dtype=torch.float64)

        return {"q": morph.l2_norm(draw(8)), "k": morph.l2_norm(draw(8)), "v": draw(8), "g": -draw().abs(),
                "beta": draw().sigmoid(), "state": torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)}

    def loop(self, kind, q, k, v, g, beta, state):
        outputs = []
        for t in range(q.shape[1]):
            state = state * g[:, t, :, None, None].exp()
            value = v[:, t]
            if kind == "gated_delta_rule":
                value = beta[:, t, :, None] * (value - torch.einsum("bhkv,bhk->bhv", state, k[:, t]))
            state = state + torch.einsum("bhk,bhv->bhkv", k[:, t], value)
            outputs.append(torch.einsum("bhkv,bhk->bhv", state, q[:, t]))
        return torch.stack(outputs, dim=1), state

    def run_kernel(self, kind, inputs, **keywords):
        extras = ("beta",) if kind == "gated_delta_rule" else ()
        names = ("q", "k", "v", "g", *extras, "state")
        suffix = "" if "chunk" in keywords else "_step"
        return getattr(morph, kind + suffix)(*(inputs[name] for name in names), **keywords)

    def test_chunked_is_recurrent(self):
        for kind in ("gated_delta_rule", "fixed_decay"):
            for length in (1, 5, 16, 23):
                inputs = self.inputs(length)
                expected = self.loop(kind, **inputs)
                for chunk in (1, 4, 16, 64):
                    with self.subTest(kind=kind, length=length, chunk=chunk):
                        for a, b in zip(self.run_kernel(kind, inputs, chunk=chunk), expected):
                            torch.testing.assert_close(a, b, atol=1e-11, rtol=1e-11)

    def test_step_is_loop(self):
        for kind in ("gated_delta_rule", "fixed_decay"):
            with self.subTest(kind=kind):
                inputs = self.inputs(1)
                for a, b in zip(self.run_kernel(kind, inputs), self.loop(kind, **inputs)):
                    torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)

    def test_strong_decay_stays_finite(self):
        inputs = self.inputs(64)
        inputs["g"] = torch.full_like(inputs["g"], -40.0)
        for kind in ("gated_delta_rule", "fixed_decay"):
            output, state = self.run_kernel(kind, {name: x.float() for name, x in inputs.items()}, chunk=64)
            self.assertTrue(output.isfinite().all() and state.isfinite().all(), kind)

    def test_agrees_with_transformers(self):
        try:
            from transformers.models.qwen3_next.modeling_qwen3_next import torch_recurrent_gated_delta_rule
        except ImportError:
            self.skipTest("this transformers has no gated delta rule of its own")
        inputs = {name: x.float() for name, x in self.inputs(23).items()}
        expected, _ = torch_recurrent_gated_delta_rule(
            inputs["q"], inputs["k"], inputs["v"], inputs["g"], inputs["beta"], inputs["state"].clone(), True)
        inputs["q"] = inputs["q"] * 8**-0.5
        output, _ = self.run_kernel("gated_delta_rule", inputs, chunk=8)
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-4)


class ContractTest(unittest.TestCase):
    """Whole models: decoding and padding change no logits."""

    def test_prefill_and_decode_is_whole(self):
        ids = random_ids(2, 29)
        for name, mixers in STACKS.items():
            for bias in (False, True):
                model = make_model(mixers, qkv_bias=bias, qk_norm_eps=1e-6 if bias else None)
                with torch.no_grad():
                    whole = model(ids).logits
                    for split in (1, 3, 17):
                        with self.subTest(stack=name, bias=bias, split=split):
                            output = model(ids[:, :split], use_cache=True)
                            parts, cache = [output.logits], output.past_key_values
                            middle = model(ids[:, split:split + 5], past_key_values=cache, use_cache=True)
                            parts.append(middle.logits)
                            for t in range(split + 5, ids.shape[1]):
                                parts.append(model(ids[:, t:t + 1], past_key_values=cache, use_cache=True).logits)
                            torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-4, rtol=1e-4)

    def test_left_padding_is_none(self):
        ids = random_ids(1, 21)
        for name, mixers in STACKS.items():
            for bias in (False, True):
                with self.subTest(stack=name, bias=bias), torch.no_grad():
                    model = make_model(mixers, qkv_bias=bias)
                    alone = model(ids).logits
                    padded = torch.cat((torch.zeros(1, 6, dtype=torch.long), ids), 1)
                    batch = torch.cat((padded, random_ids(1, 27, seed=5)))
                    mask = torch.ones_like(batch)
                    mask[0, :6] = 0
                    together = model(batch, attention_mask=mask).logits
                    torch.testing.assert_close(together[:1, 6:], alone, atol=1e-4, rtol=1e-4)
                    # and in two steps, the padding in the first
                    first = model(batch[:, :15], attention_mask=mask[:, :15], use_cache=True)
                    second = model(batch[:, 15:], attention_mask=mask, past_key_values=first.past_key_values)
                    torch.testing.assert_close(second.logits[:1], alone[:, 9:], atol=1e-4, rtol=1e-4)

    def test_generate(self):
        for name, mixers in STACKS.items():
            with self.subTest(stack=name), torch.no_grad():
                model = make_model(mixers)
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

    def test_all_linear_state_does_not_grow(self):
        model = make_model(STACKS["no full layer"])
        with torch.no_grad():
            cache = model(random_ids(1, 9), use_cache=True).past_key_values
            before = sum(tensor.numel() for layer in cache.layers for tensor in layer.values())
            model(random_ids(1, 30), past_key_values=cache)
        self.assertEqual(before, sum(tensor.numel() for layer in cache.layers for tensor in layer.values()))


class FolderTest(unittest.TestCase):
    """Folders on disk, read by transformers' Auto classes."""

    def test_full_layers_are_the_base(self):
        common = dict(vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=48, num_hidden_layers=2,
                      num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, rms_norm_eps=1e-5)
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
                mixers = [{"kind": "full", "weights": "self_attn", "window": window}] * 2
                model = morph.MorphForCausalLM(make_config(mixers, tied=False, **keywords)).eval()
                model.load_state_dict(base.state_dict(), strict=True)
                ids = random_ids(2, 19)
                torch.testing.assert_close(model(ids).logits, base(ids).logits, atol=1e-5, rtol=1e-4)

    def test_remote_code_loads(self):
        for tied in (True, False):
            with self.subTest(tied=tied), tempfile.TemporaryDirectory() as folder, torch.no_grad():
                model = make_model(STACKS["gated_deltanet"], tied=tied)
                weights = {name: x.contiguous() for name, x in model.state_dict().items()
                           if not (tied and name == "lm_head.weight")}
                save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
                config = model.config.to_dict()
                config.update(architectures=["MorphForCausalLM"], model_type="morph_hybrid", auto_map={
                    "AutoConfig": "configuration_morph.MorphConfig",
                    "AutoModelForCausalLM": "modeling_morph.MorphForCausalLM"})
                pathlib.Path(folder, "config.json").write_text(json.dumps(config))
                for file in ("configuration_morph.py", "modeling_morph.py"):
                    pathlib.Path(folder, file).write_text((SOURCE / "tools/python/export" / file).read_text())
                loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True,
                                                                           dtype=torch.float32)
                ids = random_ids(1, 20)
                torch.testing.assert_close(loaded(ids).logits, model(ids).logits, atol=1e-6, rtol=1e-5)
                # save_pretrained and load again: transformers' own round trip
                with tempfile.TemporaryDirectory() as again:
                    loaded.save_pretrained(again)
                    reloaded = transformers.AutoModelForCausalLM.from_pretrained(again, trust_remote_code=True)
                    torch.testing.assert_close(reloaded(ids).logits, model(ids).logits, atol=1e-6, rtol=1e-5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
