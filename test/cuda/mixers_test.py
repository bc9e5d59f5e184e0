# SPDX-License-Identifier: Apache-2.0
"""Softmax attention, linear attention and short convolutions on a GPU."""

import unittest

import torch
from programs import ProgramCase, model


def tensor(*shape, dtype="f32"):
    return f"tensor<{'x'.join('?' if size is None else str(size) for size in shape)}{'x' if shape else ''}{dtype}>"


def attention_program(batch, queries, keys, heads, groups, width, options="", inputs=None, half=False):
    """A program and its inputs. `options` are what the op has between its operands and its attributes."""
    cached = queries != keys or "offset" in options
    q, k = tensor(None, None, heads, width), tensor(None, None, groups, width)
    dims = "B, S" if cached else "B, T"
    extra = {"start": ('%start: tensor<?xi64> "start" [B]', "start tensor<?xi64>"),
             "offset": ('%offset: tensor<i64> "offset"', "offset tensor<i64>")}
    used = [name for name in extra if f"%{name}" in options]
    parameters = ", ".join([f'%q: {q} "q" [B, T]', f'%k: {k} "k" [{dims}]', f'%v: {k} "v" [{dims}]',
                            *(extra[name][0] for name in used)])
    types = " ".join([f"{q}, {k}, {k}", *(extra[name][1] for name in used)])
    body, names = "", "%q, %k, %v"
    if half:
        types = types.replace("f32", "bf16")
        names = "%hq, %hk, %hv"
        for name, type in (("q", q), ("k", k), ("v", k)):
            body += f'%h{name} = morph.cast %{name} to "bf16" : {type}\n    '
    text = model(f"""({parameters}) {{
    {body}%y = morph.attention {names} {options} : {types}
    morph.output "y" = %y : {q}
  }}""")
    torch.manual_seed(0)
    return text, {"q": torch.randn(batch, queries, heads, width), "k": torch.randn(batch, keys, groups, width),
                  "v": torch.randn(batch, keys, groups, width), **(inputs or {})}


def gradient_program(batch, length, keys, heads, groups, width, options, half=False):
    """The same of attention_grad; the second sequence has 17 keys of padding where there is a start, the third nothing
    else."""
    q, k = tensor(None, None, heads, width), tensor(None, None, groups, width)
    types, start = f"{q}, {q}, {k}, {k}", "start" in options
    casts, names = "", "%d, %q, %k, %v"
    if half:
        casts = "\n    ".join(f'%h{name} = morph.cast %{name} to "bf16" : {type}'
                             for name, type in (("d", q), ("q", q), ("k", k), ("v", k)))
        names, types = names.replace("%", "%h"), types.replace("f32", "bf16")
    dims = "B, T" if keys == length else "B, S"
    parameters = f'%d: {q} "d" [B, T], %q: {q} "q" [B, T], %k: {k} "k" [{dims}], %v: {k} "v" [{dims}]'
    text = model(f"""({parameters}{', %s: tensor<?xi64> "s" [B]' if start else ''}) {{
    {casts}
    %g:3 = morph.attention_grad {names} {options} : {types}{', tensor<?xi64>' if start else ''}
    morph.output "dq" = %g#0, "dk" = %g#1, "dv" = %g#2 : {q}, {k}, {k}
  }}""")
    torch.manual_seed(0)
    shapes = {"d": (length, heads), "q": (length, heads), "k": (keys, groups), "v": (keys, groups)}
    inputs = {name: torch.randn(batch, *shape, width) for name, shape in shapes.items()}
    if start:
        inputs["s"] = torch.tensor([0, 17, length])
    return text, inputs


class AttentionTest(ProgramCase):
    def attention(self, *case, half=False):
        self.compare(*attention_program(*case, half=half), tolerance=1e-2 if half else 2e-6)

    def gradients(self, *cases, half=False):
        for case in cases:
            with self.subTest(case=case):
                # Sums of up to 300 rows.
                self.compare(*gradient_program(*case, half=half), tolerance=1e-2 if half else 4e-6)

    def test_attention(self):
        # Several tiles, a width that no vector fits, and wide heads with smaller tiles.
        for case in ((2, 70, 70, 4, 2, 64, "scale 0.125"), (1, 150, 150, 2, 2, 32, "scale 0.2"),
                     (3, 9, 9, 3, 1, 10, "scale 0.3"), (1, 40, 40, 2, 1, 256, "scale 0.0625"),
                     (1, 130, 130, 2, 1, 96, "scale 0.1 window 33")):
            with self.subTest(case=case):
                self.attention(*case)

    def test_padding(self):
        # The first sequence sees all keys, the last rows of the third none before their own.
        self.attention(3, 75, 75, 2, 1, 16, "start %start scale 0.25", {"start": torch.tensor([0, 70, 75])})

    def test_ring(self):
        # Position p lies in slot p mod S, with a window and without one; several queries, and one.
        for queries, keys, offset, window in ((5, 90, 333, "window 80"), (3, 70, 67, ""), (1, 100, 250, "window 100")):
            with self.subTest(queries=queries, keys=keys):
                self.attention(2, queries, keys, 4, 2, 16, f"start %start offset %offset scale 0.25 {window}",
                               {"start": torch.tensor([0, offset - 20]), "offset": torch.tensor(offset)})

    def test_gradients(self):
        # The second with rows that see no key and one row in the last tile, the third with a window that begins with the
        # last row of a tile, the fourth with smaller tiles, the fifth with more keys than queries.
        self.gradients((2, 70, 70, 4, 2, 64, "scale 0.125"), (3, 43, 43, 3, 1, 10, "start %s scale 0.3"),
                       (1, 150, 150, 2, 1, 32, "scale 0.2 window 34"), (1, 40, 40, 2, 2, 256, "scale 0.0625"),
                       (2, 40, 101, 2, 1, 16, "scale 0.25 window 50"))

    def test_gradients_of_bf16(self):
        # On tensor cores; the last with kernels of their own for dk and dv.
        self.gradients((2, 140, 140, 4, 2, 64, "scale 0.125"), (3, 43, 43, 3, 1, 10, "start %s scale 0.3"),
                       (1, 150, 150, 2, 1, 32, "scale 0.2 window 34"), (2, 40, 101, 6, 2, 80, "scale 0.1 window 50"),
                       (1, 90, 90, 2, 2, 256, "scale 0.0625"), half=True)

    def test_bf16(self):
        # On tensor cores: several tiles of rows and of keys, widths that no vector fits or that are no multiple of a
        # block, a window whose first keys are no multiple of a tile, padding.
        for case in ((2, 200, 200, 4, 2, 64, "scale 0.125"), (1, 33, 33, 2, 1, 20, "scale 0.2 window 9"),
                     (1, 70, 70, 2, 1, 256, "scale 0.0625"), (1, 150, 150, 6, 2, 72, "scale 0.1 window 77"),
                     (1, 20, 20, 1, 1, 8, "scale 0.3"), (1, 21, 21, 3, 1, 11, "scale 0.3"),
                     (3, 140, 140, 2, 1, 16, "start %start scale 0.25", {"start": torch.tensor([0, 70, 140])})):
            with self.subTest(case=case[:7]):
                self.attention(*case, half=True)

    def test_bf16_of_caches(self):
        # Rings; where there are few rows, blocks share the keys, some of which may have none.
        for queries, keys, offset, window in ((5, 90, 333, "window 80"), (3, 700, 67, ""), (1, 600, 1450, "window 600"),
                                              (40, 600, 450, "")):
            with self.subTest(queries=queries, keys=keys):
                self.attention(2, queries, keys, 4, 2, 16, f"start %start offset %offset scale 0.25 {window}",
                               {"start": torch.tensor([0, offset - 20]), "offset": torch.tensor(offset)}, half=True)
        self.attention(2, 7, 520, 3, 1, 10, "scale 0.3", half=True)


    def check_counts(self, program, ideal, most, kernels):
        """Of the kernels of an op that have products: three quarters and more of the arithmetic is that of tensor cores, no
        access to shared memory has a bank conflict, no register is spilled, and at most `most` times the `ideal` bytes are
        moved by all kernels of the op."""
        for target in ("sm_80", "sm_90"):
            with self.subTest(target=target):
                counts = self.counts(*program, target=target)
                if not counts:
                    return
                counts = {name: count for name, count in counts.items() if name.startswith("attention")}
                self.assertEqual(len(counts), kernels, counts.keys())
                for name, count in counts.items():
                    self.assertEqual(count["spills"], 0, name)
                    self.assertEqual(count["wavefronts"], count["ideal_wavefronts"], name)
                    self.assertLessEqual(count["sectors"], 1.1 * count["ideal_sectors"], name)
                    if count["mma_flops"]:
                        share = count["mma_flops"] / (count["mma_flops"] + count["flops"])
                        self.assertGreater(share, .95, name)
                moved = sum(count["bytes_loaded"] + count["bytes_stored"] for count in counts.values())
                self.assertLess(moved, most * ideal)
                self.assertTrue(any(count["mma_flops"] for count in counts.values()))

    def test_counts(self):
        for width in (64, 128):
            with self.subTest(width=width):
                # Two tiles of rows, of which the first sees half of the keys. Inputs are bf16, outputs fp32.
                elements, options = 2 * 256 * 2 * width, f"scale {width ** -.5}"
                sizes = (2, 256, 256, 2, 2, width, options)
                self.check_counts(attention_program(*sizes, half=True), elements * (3 * 2 + 4), 1.25, kernels=1)
                # Keys and values are read by two passes for dq, and by those for dk and dv.
                self.check_counts(gradient_program(*sizes, half=True), elements * (4 * 2 + 3 * 4), 1.95, kernels=2)
        # Decoding is reading the cache.
        sizes = (2, 1, 1024, 8, 2, 128, "offset %offset scale 0.1", {"offset": torch.tensor(1023)})
        self.check_counts(attention_program(*sizes, half=True), 2 * 2 * 1024 * 2 * 128 * 2, 1.15, kernels=2)


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
