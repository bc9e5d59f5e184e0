# SPDX-License-Identifier: Apache-2.0
"""The family of recurrences of exported models against a loop over positions, in float64: every decay with added values,
the delta rule and free vectors, bonuses, normalisers, grouped keys; lengths, chunks and splits; and what is passed to
flash-linear-attention where it is there."""

import itertools
import os
import pathlib
import sys
import types
import unittest
from unittest import mock

import torch

SOURCE = pathlib.Path(os.environ.get("MORPH_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tools/python"))
from export import modeling_morph as morph  # noqa: E402

torch.set_num_threads(1)

BATCH, GROUPS, HEADS, KEY, VALUE = 2, 2, 4, 5, 3
DECAYS = ("none", "head", "position", "channel")
UPDATES = ("added", "delta", "free")
# What each variant has beside decay and update.
EXTRAS = ({}, {"bonus": True}, {"normaliser": 1e-3}, {"bonus": True, "normaliser": 1e-3})
TOLERANCE = {"atol": 1e-11, "rtol": 1e-11}


def make_operands(decay, update, bonus=False, normaliser=None, length=23, seed=0):
    """Random operands of `linear_attention`, its state among them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def draw_unit(heads):
        return morph.l2_norm(draw(BATCH, length, heads, KEY), 0)

    operands = {"q": draw_unit(GROUPS), "k": draw_unit(GROUPS), "v": draw(BATCH, length, HEADS, VALUE), "scale": 0.7,
                "state": draw(BATCH, HEADS, KEY, VALUE + (normaliser is not None))}
    shape = {"head": (HEADS,), "position": (BATCH, length, HEADS), "channel": (BATCH, length, HEADS, KEY)}
    if decay != "none":
        operands["decay"] = -draw(*shape[decay]).abs()
    if update == "delta":
        operands["beta"] = draw(BATCH, length, HEADS).sigmoid()
    if update == "free":
        operands |= {"write": -draw_unit(HEADS), "erase": draw_unit(HEADS)}
    if bonus:
        operands["bonus"] = draw(HEADS, KEY)
    if normaliser is not None:
        # Sums that are divided by are positive where q, k and the state are.
        operands |= {name: operands[name].abs() for name in ("q", "k", "state", *(["bonus"] if bonus else []))}
        operands["normaliser"] = normaliser
    return operands


def loop(q, k, v, state, decay=None, beta=None, write=None, erase=None, bonus=None, scale=1.0, normaliser=None):
    """The recurrence as it is defined, position by position."""
    repeats = HEADS // GROUPS
    if normaliser is not None:
        v = torch.cat((v, torch.ones_like(v[..., :1])), -1)
    outputs = []
    for t in range(q.shape[1]):
        query, key = q[:, t].repeat_interleave(repeats, 1), k[:, t].repeat_interleave(repeats, 1)
        if decay is not None:
            log = decay if decay.dim() == 1 else decay[:, t]
            state = state * (log if log.dim() == 3 else log[..., None]).exp().unsqueeze(-1)
        value = v[:, t]
        if beta is not None:
            value = beta[:, t, :, None] * (value - torch.einsum("bhkv,bhk->bhv", state, key))
        if write is not None:
            erased = torch.einsum("bhkv,bhk->bhv", state, erase[:, t])
            state = state + torch.einsum("bhk,bhv->bhkv", write[:, t], erased)
        state = state + torch.einsum("bhk,bhv->bhkv", key, value)
        output = torch.einsum("bhkv,bhk->bhv", state, query)
        if bonus is not None:
            output = output + (bonus * query * key).sum(-1, keepdim=True) * v[:, t]
        output = scale * output
        if normaliser is not None:
            output = output[..., :-1] / (output[..., -1:] + normaliser)
        outputs.append(output)
    return torch.stack(outputs, 1), state


def cut(operands, positions):
    """The operands of some positions."""
    per_position = ("q", "k", "v", "decay", "beta", "write", "erase")
    return {name: x[:, positions] if name in per_position and x.dim() > 1 else x for name, x in operands.items()}


class FamilyTest(unittest.TestCase):
    def variants(self):
        for decay, update, extras in itertools.product(DECAYS, UPDATES, EXTRAS):
            # Sums of values that are taken away again are no positive divisors.
            if update == "added" or "normaliser" not in extras:
                yield {"decay": decay, "update": update, **extras}

    def assert_same(self, first, second):
        for a, b in zip(first, second):
            torch.testing.assert_close(a, b, **TOLERANCE)

    def test_chunks_are_the_loop(self):
        for variant, length in itertools.product(self.variants(), (1, 2, 16, 37)):
            operands = make_operands(**variant, length=length)
            expected = loop(**operands)
            for chunk in (1, 4, 16, 64):
                with self.subTest(**variant, length=length, chunk=chunk):
                    self.assert_same(morph.linear_attention(**operands, chunk=chunk), expected)

    def test_split_is_whole(self):
        for variant, split in itertools.product(self.variants(), (1, 16, 20)):
            with self.subTest(**variant, split=split):
                operands = make_operands(**variant)
                expected = morph.linear_attention(**operands, chunk=8)
                first, state = morph.linear_attention(**cut(operands, slice(split)), chunk=8)
                rest = cut(operands, slice(split, None)) | {"state": state}
                second, state = morph.linear_attention(**rest, chunk=8)
                self.assert_same((torch.cat((first, second), 1), state), expected)

    def test_left_padding_is_none(self):
        padding = 5
        mask = torch.ones(BATCH, 23, dtype=torch.bool)
        mask[:, :padding] = False
        for variant in self.variants():
            with self.subTest(**variant):
                operands = make_operands(**variant)
                del operands["state"]
                padded, alone = {}, {}
                output = morph.recurrence(padded, "state", mask=mask, dtype=torch.float64, **operands)
                expected = morph.recurrence(alone, "state", mask=None, dtype=torch.float64,
                                            **cut(operands, slice(padding, None)))
                self.assert_same((output[:, padding:], padded["state"]), (expected, alone["state"]))

    def test_gradients_are_the_loops(self):
        for variant in self.variants():
            with self.subTest(**variant):
                operands = make_operands(**variant, length=19)
                gradients = []
                for function in (loop, lambda **keywords: morph.linear_attention(**keywords, chunk=8)):
                    leaves = {name: x.clone().requires_grad_() if torch.is_tensor(x) else x
                              for name, x in operands.items()}
                    output, state = function(**leaves)
                    (output.square().sum() + state.square().sum()).backward()
                    gradients.append([x.grad for x in leaves.values() if torch.is_tensor(x)])
                for a, b in zip(*gradients):
                    torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)

    def test_strong_decay_stays_finite(self):
        for decay, update in itertools.product(DECAYS[1:], UPDATES):
            with self.subTest(decay=decay, update=update):
                operands = make_operands(decay, update, length=64)
                operands["decay"] = torch.full_like(operands["decay"], -40.0)
                # By channels beside some that do not decay at all.
                if decay == "channel":
                    operands["decay"][..., 0] = 0
                expected = loop(**operands)
                single = {name: x.float() if torch.is_tensor(x) else x for name, x in operands.items()}
                for a, b in zip(morph.linear_attention(**single, chunk=64), expected):
                    torch.testing.assert_close(a, b.float(), atol=1e-4, rtol=1e-4)

    def test_agrees_with_transformers(self):
        from transformers.models.qwen3_next.modeling_qwen3_next import torch_recurrent_gated_delta_rule

        operands = make_operands("position", "delta")
        q, k = (operands[name].repeat_interleave(HEADS // GROUPS, 2).float() for name in ("q", "k"))
        expected, _ = torch_recurrent_gated_delta_rule(q, k, *(operands[name].float() for name in
                                                               ("v", "decay", "beta", "state")), True)
        operands["scale"] = KEY**-0.5
        torch.testing.assert_close(morph.linear_attention(**operands, chunk=8)[0].float(), expected, atol=1e-5, rtol=1e-4)


class FlaTest(unittest.TestCase):
    """Which kernel of flash-linear-attention is called, and with what: by modules that stand for its own."""

    KERNELS = {("position", "delta"): ("fla.ops.gated_delta_rule", "chunk_gated_delta_rule"),
               ("none", "delta"): ("fla.ops.gated_delta_rule", "chunk_gated_delta_rule"),
               ("channel", "delta"): ("fla.ops.kda", "chunk_kda"),
               ("head", "added"): ("fla.ops.simple_gla", "chunk_simple_gla"),
               ("none", "added"): ("fla.ops.simple_gla", "chunk_simple_gla"),
               ("channel", "added"): ("fla.ops.gla", "chunk_gla")}

    class CudaTensor(torch.Tensor):
        """A tensor that says it is on a GPU."""

        @property
        def is_cuda(self):
            return True

    def call(self, module, name, operands, mask=None, dtype=torch.bfloat16):
        """The output and the state of `recurrence`, and the arguments that the kernel was called with, or None."""
        calls = []

        def kernel(q, k, v, g, beta=None, *, scale, initial_state, output_final_state):
            calls.append(dict(q=q, k=k, v=v, g=g, beta=beta, scale=scale, initial_state=initial_state,
                              output_final_state=output_final_state))
            o, state = loop_of_kernel(q, k, v, g, beta, scale, initial_state)
            return o.to(v.dtype), state

        def loop_of_kernel(q, k, v, g, beta, scale, state):
            with mock.patch.object(sys.modules[__name__], "GROUPS", HEADS):
                wide = [None if x is None else x.double() for x in (q, k, v, state, g, beta)]
                return loop(*wide, scale=scale)

        stand_ins = {module: types.SimpleNamespace(**{name: kernel})}
        for parent in ("fla", "fla.ops"):
            stand_ins[parent] = types.ModuleType(parent)
        cache = {"state": operands.pop("state")}
        operands["v"] = operands["v"].as_subclass(self.CudaTensor)
        with mock.patch.dict(sys.modules, stand_ins):
            output = morph.recurrence(cache, "state", mask=mask, dtype=dtype, **operands)
        return output, cache["state"], calls[0] if calls else None

    def test_kernels(self):
        for (decay, update), (module, name) in self.KERNELS.items():
            with self.subTest(decay=decay, update=update):
                operands = make_operands(decay, update)
                expected = loop(**operands)
                output, state, given = self.call(module, name, dict(operands))
                self.assertIsNotNone(given)
                self.assertEqual(given["q"].shape, (BATCH, 23, HEADS, KEY))
                self.assertEqual(given["g"].shape, (BATCH, 23, HEADS, KEY)[: 4 if decay == "channel" else 3])
                self.assertEqual([given[name].dtype for name in ("q", "k", "v")], [torch.bfloat16] * 3)
                self.assertEqual((given["beta"] is None, given["output_final_state"]), (update == "added", True))
                torch.testing.assert_close(output.double(), expected[0], atol=5e-2, rtol=5e-2)
                torch.testing.assert_close(state, expected[1], atol=5e-2, rtol=5e-2)

    def test_what_has_no_kernel(self):
        for case in ({"update": "free"}, {"update": "added", "bonus": True}, {"update": "added", "normaliser": 1e-3}):
            with self.subTest(**case):
                operands = make_operands("position", **case)
                expected = loop(**operands)
                output, state, given = self.call("fla.ops.simple_gla", "chunk_simple_gla", dict(operands))
                self.assertIsNone(given)
                torch.testing.assert_close(output.as_subclass(torch.Tensor), expected[0], **TOLERANCE)

    def test_full_precision_and_steps_have_none(self):
        operands = make_operands("position", "delta")
        module, name = self.KERNELS["position", "delta"]
        self.assertIsNone(self.call(module, name, dict(operands), dtype=torch.float32)[2])
        self.assertIsNone(self.call(module, name, cut(operands, slice(1)))[2])

    def test_padding_has_no_keys(self):
        operands = make_operands("position", "delta")
        mask = torch.ones(BATCH, 23, dtype=torch.bool)
        mask[:, :4] = False
        given = self.call(*self.KERNELS["position", "delta"], operands, mask=mask)[2]
        self.assertEqual(given["k"][:, :4].abs().max(), 0)
        self.assertGreater(given["k"][:, 4:].abs().max(), 0)

    def test_without_fla(self):
        operands = make_operands("position", "delta")
        expected = loop(**operands)
        with mock.patch.dict(sys.modules, {"fla": None}):
            cache = {"state": operands.pop("state")}
            operands["v"] = operands["v"].as_subclass(self.CudaTensor)
            output = morph.recurrence(cache, "state", mask=None, dtype=torch.bfloat16, **operands)
        torch.testing.assert_close(output.as_subclass(torch.Tensor), expected[0], **TOLERANCE)


if __name__ == "__main__":
    unittest.main(verbosity=2)
