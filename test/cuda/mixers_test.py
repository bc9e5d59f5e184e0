# SPDX-License-Identifier: Apache-2.0
"""Linear attention and short convolutions on a GPU."""

import collections
import tempfile
import unittest

import gpu
import torch
from programs import KEPT, TARGETS, Program, ProgramCase, begins_of, model, tensor


# Lengths of the documents of windows: of a position, of several chunks, and one a window.
DOCUMENTS = ([1, 2, 30, 16, 4], [53]), ([16, 1, 36], [48, 2, 3]), ([37], [37])


class ShortConvTest(ProgramCase):
    def test_short_conv(self):
        for batch, length, channels, taps, state in ((3, 37, 40, 4, True), (1, 2, 5, 4, True), (2, 300, 8, 3, False)):
            with self.subTest(length=length):
                x, w, s = tensor(None, None, channels), tensor(channels, 1, taps), tensor(None, taps - 1, channels)
                extra, operand, type = (f', %s: {s} "s" [B]', "state %s", f" state {s}") if state else ("", "", "")
                text = model(f"""(%x: {x} "x" [B, T], %d: {x} "d" [B, T]{extra}) {{
    %w = morph.param @w : {w}
    %dx, %dw = morph.short_conv_grad %d, %x, %w {operand} : {x}, {x}, {w}{type}
    %y, %f = morph.short_conv %x, %w {operand} : {x}, {w}{type}
    morph.output "y" = %y, "s" = %f, "dx" = %dx, "dw" = %dw : {x}, {s}, {x}, {w}
  }}""", f"morph.weight @w : {w}")
                torch.manual_seed(0)
                inputs = {"x": torch.randn(batch, length, channels), "d": torch.randn(batch, length, channels)}
                if state:
                    inputs["s"] = torch.randn(batch, taps - 1, channels)
                self.compare(text, inputs, {"w": torch.randn(channels, 1, taps)}, 2e-6)

    def test_documents(self):
        x, w, s, begins = tensor(None, None, 24), tensor(24, 1, 4), tensor(None, 3, 24), "begins tensor<?x?xi64>"
        text = model(f"""(%x: {x} "x" [B, T], %d: {x} "d" [B, T], %b: tensor<?x?xi64> "b" [B, T]) {{
    %w = morph.param @w : {w}
    %dx, %dw = morph.short_conv_grad %d, %x, %w begins %b : {x}, {x}, {w} {begins}
    %y, %f = morph.short_conv %x, %w begins %b : {x}, {w} {begins}
    morph.output "y" = %y, "s" = %f, "dx" = %dx, "dw" = %dw : {x}, {s}, {x}, {w}
  }}""", f"morph.weight @w : {w}")
        torch.manual_seed(0)
        weights = {"w": torch.randn(24, 1, 4)}
        for documents in DOCUMENTS:
            with self.subTest(documents=documents):
                batch = begins_of(*documents)
                inputs = {"x": torch.randn(*batch.shape, 24), "d": torch.randn(*batch.shape, 24), "b": batch}
                self.compare(text, inputs, weights, 2e-6)


class LinearAttentionTest(ProgramCase):
    SHAPES = {"head_decay": "H", "decay": "BTH", "channel_decay": "BTHK", "beta": "BTH", "write": "BTHK",
              "erase": "BTHK", "bonus": "HK", "state": "BHKW", "begins": "BT"}

    def recurrence(self, *case, tolerance=2e-6, **options):
        self.compare(*self.recurrence_program(*case, **options), tolerance=tolerance)

    def recurrence_program(self, sizes, operands="", attributes="", kept=(), half=False, gradient=False, strong=False,
                           documents=()):
        """A program, its inputs and weights. `sizes` of B, T, H, G, K and V; `operands` of the op beside q, k and v;
        `strong`: some decays leave nothing, some betas write nothing; `documents`: the lengths of the sequences'."""
        sizes = dict(zip("BTHGKV", sizes))
        sizes["W"] = sizes["V"] + ("normaliser" in attributes)
        names = operands.split() + ["begins"] * bool(documents)

        def type_of(letters, dtype="f32"):
            dtype = "i64" if letters == self.SHAPES["begins"] else dtype
            return tensor(*(None if letter in "BTN" else sizes[letter] for letter in letters), dtype=dtype)

        def size_of(letters):
            return [sizes[letter] for letter in letters]

        torch.manual_seed(0)
        inputs = {"q": torch.randn(size_of("BTGK")), "v": torch.randn(size_of("BTHV")),
                  "k": torch.nn.functional.normalize(torch.randn(size_of("BTGK")), dim=-1)}
        if "normaliser" in attributes:
            inputs["q"], inputs["k"] = inputs["q"].abs(), inputs["k"].abs()
        for name in names:
            value = torch.randn(size_of(self.SHAPES[name]))
            if "decay" in name:
                value = -value.abs() * 0.2
                if strong:
                    value = torch.where(torch.rand_like(value) < 0.1, torch.tensor(-1e4), value)
            elif name == "beta":
                value = value.sigmoid()
                if strong:
                    value = torch.where(torch.rand_like(value) < 0.1, torch.tensor(0.0), value)
            elif name in ("write", "erase"):
                value = torch.nn.functional.normalize(value, dim=-1) * (-0.7 if name == "write" else 1)
            elif name == "state" and "normaliser" in attributes:
                value = value.abs()
            inputs[name] = begins_of(*documents) if name == "begins" else value
        letters = {"q": "BTGK", "k": "BTGK", "v": "BTHV", **self.SHAPES}
        dims = {"B": "B", "T": "T"}
        if gradient:
            inputs["dy"], letters["dy"] = torch.randn(size_of("BTHV")), "BTHV"
        # What depends on no run is a weight.
        body, weights = "", {}
        parameters = []
        for name in inputs:
            if name in ("head_decay", "bonus"):
                body += f"%{name} = morph.param @{name} : {type_of(letters[name])}\n    "
                weights[name] = inputs[name]
            else:
                run = ", ".join(letter for letter in letters[name] if letter in dims)
                parameters.append(f'%{name}: {type_of(letters[name])} "{name}" [{run}]')
        factors, dtype = "%q, %k, %v", "f32"
        if gradient:
            factors = "%dy, " + factors
        if half:
            for name in factors.replace("%", "").split(", "):
                body += f'%h{name} = morph.cast %{name} to "bf16" : {type_of(letters[name])}\n    '
            factors, dtype = factors.replace("%", "%h"), "bf16"
        used = " ".join(f"{name} %{name}" for name in names)
        types = ", ".join(type_of(letters[name], dtype) for name in (["dy"] if gradient else []) + ["q", "k", "v"])
        types += "".join(f" {name} {type_of(letters[name])}" for name in names)
        results = {"y": "BTHV", "state": "BHKW", **{name: {"states": "BHNKW", "written": "BTHW"}[name] for name in kept}}
        if gradient:
            results = {f"d{name}": letters[name] for name in ["q", "k", "v", *names] if name not in ("state", "begins")}
        flags = "".join(f" keep_{name}" for name in kept)
        if gradient and kept:
            body += (f"%f:{2 + len(kept)} = morph.linear_attention {factors.split(', ', 1)[1]} {used} scale 0.3 {attributes}"
                     f"{flags} : {types.split(', ', 1)[1]}\n    ")
            shapes = {"states": "BHNKW", "written": "BTHW"}
            used += "".join(f" {name} %f#{2 + i}" for i, name in enumerate(kept))
            types += "".join(f" {name} {type_of(shapes[name])}" for name in kept)
            flags = ""
        op = "linear_attention_grad" if gradient else "linear_attention"
        body += f"%r:{len(results)} = morph.{op} {factors} {used} scale 0.3 {attributes}{flags} : {types}"
        outputs = ", ".join(f'"{name}" = %r#{i}' for i, name in enumerate(results))
        text = model(f"""({", ".join(parameters)}) {{
    {body}
    morph.output {outputs} : {", ".join(type_of(letters) for letters in results.values())}
  }}""", "\n  ".join(f"morph.weight @{name} : {type_of(letters[name])}" for name in weights))
        return text, {name: value for name, value in inputs.items() if name not in weights}, weights

    def test_updates_and_decays(self):
        for update in ("", "beta", "write erase"):
            for decay in ("", "head_decay", "decay", "channel_decay"):
                with self.subTest(update=update, decay=decay):
                    self.recurrence((2, 37, 4, 2, 16, 24), f"{decay} {update} state", "chunk 16")

    def test_terms(self):
        # A wide key; widths that fill no warp and no group; one position; a bonus, a normaliser, both.
        self.recurrence((1, 20, 2, 2, 256, 40), "decay beta", "chunk 64", tolerance=4e-6)
        self.recurrence((1, 19, 3, 1, 10, 7), "channel_decay state", "chunk 8")
        self.recurrence((3, 1, 2, 1, 64, 64), "decay beta state", "chunk 64")
        self.recurrence((2, 21, 2, 1, 16, 16), "channel_decay bonus state", "chunk 8")
        self.recurrence((2, 21, 2, 1, 16, 16), "decay state", "chunk 8 normaliser 0.1")
        self.recurrence((1, 21, 2, 2, 12, 5), "head_decay bonus", "chunk 8 normaliser 0.1")

    def test_kept(self):
        for operands in ("decay state", "decay beta", "channel_decay write erase"):
            with self.subTest(operands=operands):
                self.recurrence((2, 37, 2, 1, 16, 16), operands, "chunk 16", kept=("states", "written"))

    def test_gradients(self):
        for update in ("", "beta", "write erase"):
            for decay in ("", "head_decay", "decay", "channel_decay"):
                with self.subTest(update=update, decay=decay):
                    self.recurrence((2, 37, 4, 2, 16, 24), f"{decay} {update} state", "chunk 16", gradient=True,
                                    tolerance=4e-6)

    def test_gradients_of_terms(self):
        # Several blocks a head; widths that fill no warp; a bonus, a normaliser, both.
        self.recurrence((1, 20, 2, 2, 128, 72), "decay beta", "chunk 64", gradient=True, tolerance=4e-6)
        self.recurrence((2, 13, 2, 1, 128, 40), "head_decay bonus", "chunk 12", gradient=True, tolerance=4e-6)
        self.recurrence((1, 13, 2, 1, 128, 40), "channel_decay write erase", "chunk 12", gradient=True, tolerance=4e-6)
        self.recurrence((1, 19, 3, 1, 10, 7), "channel_decay state", "chunk 8", gradient=True, tolerance=4e-6)
        self.recurrence((2, 21, 2, 1, 16, 16), "channel_decay bonus state", "chunk 8", gradient=True, tolerance=4e-6)
        self.recurrence((2, 21, 2, 1, 16, 16), "decay", "chunk 8 normaliser 0.1", gradient=True, tolerance=4e-6)
        self.recurrence((1, 21, 2, 2, 12, 5), "head_decay bonus", "chunk 8 normaliser 0.1", gradient=True,
                        tolerance=4e-6)

    def test_gradients_of_what_is_kept(self):
        for operands, kept in (("decay", ("states",)), ("channel_decay write erase", ("states", "written"))):
            with self.subTest(operands=operands):
                self.recurrence((2, 37, 2, 1, 16, 16), operands, "chunk 12", kept=kept, gradient=True, tolerance=4e-6)

    def test_bf16(self):
        for update in ("", "beta"):
            for decay in ("", "head_decay", "decay", "channel_decay"):
                with self.subTest(update=update, decay=decay):
                    case = ((2, 70, 4, 2, 32, 40), f"{decay} {update} state", "chunk 32")
                    self.recurrence(*case, half=True, tolerance=2e-2)
                    self.recurrence(*case, half=True, gradient=True, tolerance=2e-2)

    def test_bf16_of_terms(self):
        # Free vectors of writing and erasing; the widest keys.
        for case in (((2, 70, 2, 1, 32, 40), "channel_decay write erase state", "chunk 32"),
                     ((1, 70, 2, 1, 256, 40), "decay beta state", "chunk 64")):
            with self.subTest(operands=case[1]):
                self.recurrence(*case, half=True, tolerance=2e-2)
                self.recurrence(*case, half=True, gradient=True, tolerance=2e-2)

    def test_documents(self):
        for terms, attributes in (("", "chunk 16"), ("decay beta", "chunk 16"), ("channel_decay beta", "chunk 16"),
                                  ("channel_decay write erase bonus", "chunk 16"), ("head_decay", "chunk 8 normaliser 1.0")):
            for documents in DOCUMENTS:
                sizes = (len(documents), sum(documents[0]), 4, 2, 16, 24)
                for gradient in (False, True):
                    with self.subTest(terms=terms, documents=documents, gradient=gradient):
                        self.recurrence(sizes, terms, attributes, documents=documents, gradient=gradient, tolerance=4e-6)

    def test_bf16_of_documents(self):
        for gradient in (False, True):
            with self.subTest(gradient=gradient):
                self.recurrence((2, 53, 4, 2, 32, 32), "decay beta", "chunk 16", documents=DOCUMENTS[0], gradient=gradient,
                                half=True, tolerance=1e-2)

    def test_chunks(self):
        # Several chunks and tiles of columns, of which the last are not full; chunks that are longer than a block's.
        sizes = (1, 150, 2, 1, 128, 128)
        for operands in ("decay beta", "channel_decay beta", "channel_decay bonus"):
            with self.subTest(operands=operands):
                self.recurrence(sizes, operands, "chunk 64", half=True, tolerance=2e-2)
                self.recurrence(sizes, operands, "chunk 64", half=True, gradient=True, tolerance=2e-2)
        self.recurrence((1, 150, 2, 1, 128, 72), "decay beta state", "chunk 64")
        self.recurrence((1, 150, 2, 1, 128, 72), "decay beta state", "chunk 64", gradient=True, tolerance=4e-6)
        self.recurrence((1, 150, 2, 1, 64, 64), "channel_decay beta state", "chunk 100", tolerance=4e-6)
        self.recurrence((1, 150, 2, 1, 64, 64), "channel_decay beta state", "chunk 100", gradient=True, tolerance=4e-6)
        self.recurrence((1, 90, 2, 1, 48, 33), "decay state", "chunk 40 normaliser 0.1", half=True, gradient=True,
                        tolerance=2e-2)

    def test_decays_and_betas_of_zero(self):
        # Now and then nothing is written, or nothing is left of the state: decays are zero, and their quotients no numbers. In
        # chunks the sums of their logarithms go up to 500, and are as exact as that.
        for operands in ("decay beta", "channel_decay beta"):
            for gradient in (False, True):
                with self.subTest(operands=operands, gradient=gradient):
                    self.recurrence((1, 90, 2, 1, 32, 32), operands, "chunk 64", gradient=gradient, tolerance=1e-4,
                                    strong=True)

    def test_decay_that_is_no_number(self):
        # From its position on nothing is a number, here as on the CPU: what hides it trains on with a state of its own.
        if KEPT:
            self.skipTest("what is kept has a tolerance")
        for decay in ("decay", "channel_decay"):
            text, inputs, weights = self.recurrence_program((1, 128, 2, 1, 32, 32), decay, "chunk 64")
            inputs[decay][:, 5] = torch.nan
            with tempfile.TemporaryDirectory() as folder:
                one = Program(folder, text, inputs, weights)
                expected = {name: value.isnan() for name, value in one.run(None).items()}
                self.assertFalse(expected["y"][:, :5].any())
                self.assertTrue(expected["y"][:, 5:].all() and expected["state"].all())
                for target in TARGETS:
                    if gpu.refuses(target):
                        continue
                    with self.subTest(decay=decay, target=target):
                        found = one.run(target)
                        for name, isNan in expected.items():
                            self.assertTrue(torch.equal(found[name].isnan(), isNan), name)

    def test_counts(self):
        # Of two heads' inputs and outputs, once each: what warps load and store, and what the memory gives and takes. Backward
        # with the states at the chunks' starts, each as large as a chunk of v, written and read, and their gradients. Blocks of
        # two tiles of columns read keys and queries, at the same time: the second cache has them.
        elements = 256 * 2 * 128
        state, forward, backward = 128 * 256, elements * (3 * 2 + 4), elements * (4 * 2 + 3 * 4)
        for operands, kernels, memory, loaded, memoryBack, loadedBack in (
                ("decay beta", 2, 1.29, 1.85, 2.82, 3.6), ("decay", 1, 1.01, 1.45, 2.33, 2.95),
                ("channel_decay beta", 2, 1.93, 2.5, 2.91, 3.6)):
            for gradient in (False, True):
                ideal = backward if gradient else forward + state * 4
                if "channel" in operands:
                    ideal += elements * (8 if gradient else 4)
                for target in ("sm_80", "sm_90"):
                    with self.subTest(operands=operands, gradient=gradient, target=target):
                        counts = self.counts(*self.recurrence_program((1, 256, 2, 2, 128, 128), operands, "chunk 64", half=True,
                                                                      gradient=gradient), target=target)
                        counts = {name: count for name, count in counts.items() if name.startswith("linear_attention")}
                        self.assertEqual(len(counts), kernels + 2 if gradient else kernels, counts.keys())
                        for name, count in counts.items():
                            # One register of the kernel with the most sums, on sm_80: stored and loaded.
                            mostSpills = 8 if "channel" in operands and gradient and target == "sm_80" else 0
                            self.assertLessEqual(count["spill_bytes"], mostSpills, name)
                            self.assertLess(count["wavefronts"], 1.15 * count["ideal_wavefronts"], name)
                            # Solves are fp32.
                            least = .8 if "scores" in name else .9
                            self.assertGreater(count["mma_flops"], least * (count["mma_flops"] + count["flops"]), name)
                        all_counts = sum(counts.values(), collections.Counter())
                        self.assertLess(all_counts["memory_loaded"] + all_counts["memory_stored"],
                                        (memoryBack if gradient else memory) * ideal)
                        self.assertLess(all_counts["bytes_loaded"] + all_counts["bytes_stored"],
                                        (loadedBack if gradient else loaded) * ideal)


if __name__ == "__main__":
    unittest.main()
