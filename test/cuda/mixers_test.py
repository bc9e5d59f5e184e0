# SPDX-License-Identifier: Apache-2.0
"""Linear attention and short convolutions on a GPU."""

import unittest

import torch
from programs import ProgramCase, model, tensor


class ShortConvTest(ProgramCase):
    def test_short_conv(self):
        for batch, length, channels, taps, state in ((3, 37, 40, 4, True), (1, 2, 5, 4, True), (2, 300, 8, 3, False)):
            with self.subTest(length=length):
                x, w, s = tensor(None, None, channels), tensor(channels, 1, taps), tensor(None, taps - 1, channels)
                extra, operand, type = (f', %s: {s} "s" [B]', "state %s", f", {s}") if state else ("", "", "")
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


class LinearAttentionTest(ProgramCase):
    SHAPES = {"head_decay": "H", "decay": "BTH", "channel_decay": "BTHK", "beta": "BTH", "write": "BTHK",
              "erase": "BTHK", "bonus": "HK", "state": "BHKW"}

    def recurrence(self, sizes, operands="", attributes="", kept=(), half=False, tolerance=2e-6, gradient=False):
        """`sizes` of B, T, H, G, K and V; `operands` of the op beside q, k and v."""
        sizes = dict(zip("BTHGKV", sizes))
        sizes["W"] = sizes["V"] + ("normaliser" in attributes)
        names = operands.split()

        def type_of(letters, dtype="f32"):
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
            elif name == "beta":
                value = value.sigmoid()
            elif name in ("write", "erase"):
                value = torch.nn.functional.normalize(value, dim=-1) * (-0.7 if name == "write" else 1)
            elif name == "state" and "normaliser" in attributes:
                value = value.abs()
            inputs[name] = value
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
            results = {f"d{name}": letters[name] for name in ["q", "k", "v", *names] if name != "state"}
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
        self.compare(text, {name: value for name, value in inputs.items() if name not in weights}, weights, tolerance)

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
        self.recurrence((2, 37, 2, 1, 32, 32), "decay beta", "chunk 16", half=True, gradient=True, tolerance=2e-2)
        self.recurrence((2, 37, 2, 1, 32, 32), "decay beta", "chunk 16", half=True, tolerance=2e-2)


if __name__ == "__main__":
    unittest.main()
