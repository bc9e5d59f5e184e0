# SPDX-License-Identifier: Apache-2.0
"""Softmax attention on a GPU."""

import unittest

import torch
from programs import ProgramCase, begins_of, model, tensor


def attention_program(batch, queries, keys, heads, groups, width, options="", inputs=None, half=False):
    """A program and its inputs. `options` are what the op has between its operands and its attributes."""
    cached = queries != keys or "offset" in options
    q, k = tensor(None, None, heads, width), tensor(None, None, groups, width)
    dims = "B, S" if cached else "B, T"
    extra = {"start": ('%start: tensor<?xi64> "start" [B]', "start tensor<?xi64>"),
             "offset": ('%offset: tensor<?xi64> "offset" [B]', "offset tensor<?xi64>"),
             "begins": ('%begins: tensor<?x?xi64> "begins" [B, T]', "begins tensor<?x?xi64>")}
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


# What gradients with and without what the forward keeps have in common.
SAME = {"dq": "found_dq", "dk": "found_dk", "dv": "found_dv"}


def gradient_program(batch, length, keys, heads, groups, width, options, half=False, found=True):
    """The same of attention_grad with what the forward keeps, and, where `found`, of one without; the second sequence has 17
    keys of padding where there is a start, the third nothing else."""
    q, k = tensor(None, None, heads, width), tensor(None, None, groups, width)
    types, start = f"{q}, {q}, {k}, {k}", "start" in options
    casts, names = "", "%d, %q, %k, %v"
    if half:
        casts = "\n    ".join(f'%h{name} = morph.cast %{name} to "bf16" : {type}'
                             for name, type in (("d", q), ("q", q), ("k", k), ("v", k)))
        names, types = names.replace("%", "%h"), types.replace("f32", "bf16")
    dims = "B, T" if keys == length else "B, S"
    parameters = f'%d: {q} "d" [B, T], %q: {q} "q" [B, T], %k: {k} "k" [{dims}], %v: {k} "v" [{dims}]'
    start_type, lse = ", tensor<?xi64>" if start else "", tensor(None, heads, None)
    padding, attributes = options[:options.index("scale")], options[options.index("scale"):]
    again = f"%f:3 = morph.attention_grad {names} {options} : {types}{start_type}" if found else ""
    outputs = ', "found_dq" = %f#0, "found_dk" = %f#1, "found_dv" = %f#2' if found else ""
    # The reciprocal of a row's sum: zero where it sees no key.
    text = model(f"""({parameters}{', %s: tensor<?xi64> "s" [B]' if start else ''}) {{
    {casts}
    %y, %lse = morph.attention {names.split(", ", 1)[1]} {options} keep_lse
        : {types.split(", ", 1)[1]}{start_type.replace(",", " start")}
    %negative = morph.scale %lse by -1.0 : {lse}
    %reciprocal = morph.exp %negative : {lse}
    %g:3 = morph.attention_grad {names} {padding} out %y lse %lse {attributes} : {types}{start_type} out {q} lse {lse}
    {again}
    morph.output "reciprocal" = %reciprocal, "dq" = %g#0, "dk" = %g#1, "dv" = %g#2{outputs}
        : {lse}, {q}, {k}, {k}{f", {q}, {k}, {k}" if found else ""}
  }}""")
    torch.manual_seed(0)
    shapes = {"d": (length, heads), "q": (length, heads), "k": (keys, groups), "v": (keys, groups)}
    inputs = {name: torch.randn(batch, *shape, width) for name, shape in shapes.items()}
    if start:
        inputs["s"] = torch.tensor([0, 17, length])
    return text, inputs


def document_program(documents, heads, groups, width, half=False):
    """attention and its gradients on windows of several documents, and inputs."""
    q, k = tensor(None, None, heads, width), tensor(None, None, groups, width)
    casts, types, names = "", f"{q}, {q}, {k}, {k}", "%d, %q, %k, %v"
    if half:
        casts = "\n    ".join(f'%h{name} = morph.cast %{name} to "bf16" : {type}'
                             for name, type in (("d", q), ("q", q), ("k", k), ("v", k)))
        names, types = names.replace("%", "%h"), types.replace("f32", "bf16")
    last = types.split(", ", 1)[1]
    text = model(f"""(%d: {q} "d" [B, T], %q: {q} "q" [B, T], %k: {k} "k" [B, T], %v: {k} "v" [B, T],
    %b: tensor<?x?xi64> "b" [B, T]) {{
    {casts}
    %y = morph.attention {names.split(", ", 1)[1]} begins %b scale 0.2 : {last} begins tensor<?x?xi64>
    %g:3 = morph.attention_grad {names} begins %b scale 0.2 window 21 : {types} begins tensor<?x?xi64>
    morph.output "y" = %y, "dq" = %g#0, "dk" = %g#1, "dv" = %g#2 : {q}, {q}, {k}, {k}
  }}""")
    torch.manual_seed(0)
    begins = begins_of(*documents)
    inputs = {name: torch.randn(*begins.shape, groups if name in "kv" else heads, width) for name in "dqkv"}
    return text, {**inputs, "b": begins}


class AttentionTest(ProgramCase):
    def attention(self, *case, half=False):
        self.compare(*attention_program(*case, half=half), tolerance=1e-2 if half else 2e-6)

    def gradients(self, *cases, half=False):
        for case in cases:
            with self.subTest(case=case):
                # Sums of up to 300 rows.
                self.compare(*gradient_program(*case, half=half), tolerance=1e-2 if half else 4e-6, same=SAME)

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

    def test_soft_caps(self):
        # Low enough that most scores are bent; the last with caches, whose blocks share the keys in bf16.
        cap = "scale 0.5 window 61 softcap 0.8"
        for half in (False, True):
            with self.subTest(half=half):
                self.attention(2, 100, 100, 4, 2, 32, cap, half=half)
                self.attention(2, 3, 700, 4, 2, 16, "start %start offset %offset scale 0.5 softcap 0.8",
                               {"start": torch.tensor([0, 30]), "offset": torch.tensor([60, 67])}, half=half)
                self.gradients((2, 100, 100, 4, 2, 32, cap), (3, 43, 43, 2, 1, 16, "start %s scale 0.5 softcap 0.8"), half=half)
        self.gradients((1, 70, 70, 2, 2, 256, "scale 0.2 softcap 1.5"), half=True)

    def test_documents(self):
        # Some of a token and some of several tiles; one a window.
        for documents in (([1, 70, 5, 44], [120]), ([64, 1, 55], [3, 7, 110]), ([33], [33])):
            for half in (False, True):
                with self.subTest(documents=documents, half=half):
                    self.compare(*document_program(documents, 4, 2, 32, half=half), tolerance=1e-2 if half else 4e-6)

    def test_ring(self):
        # Position p lies in slot p mod S, with a window and without one; several queries, and one.
        for queries, keys, offset, window in ((5, 90, 333, "window 80"), (3, 70, 67, ""), (1, 100, 250, "window 100")):
            with self.subTest(queries=queries, keys=keys):
                self.attention(2, queries, keys, 4, 2, 16, f"start %start offset %offset scale 0.25 {window}",
                               {"start": torch.tensor([0, offset - 20]), "offset": torch.tensor([offset - 7, offset])})

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
                       (1, 90, 90, 2, 1, 128, "scale 0.1"), (1, 90, 90, 2, 2, 256, "scale 0.0625"), half=True)

    def test_bf16(self):
        # On tensor cores: several tiles of rows and of keys, widths that no vector fits or that are no multiple of a
        # block, a window whose first keys are no multiple of a tile, padding.
        for case in ((2, 200, 200, 4, 2, 64, "scale 0.125"), (1, 33, 33, 2, 1, 20, "scale 0.2 window 9"),
                     (1, 70, 70, 2, 1, 128, "scale 0.1"), (1, 70, 70, 2, 1, 256, "scale 0.0625"), (1, 150, 150, 6, 2, 72, "scale 0.1 window 77"),
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
                               {"start": torch.tensor([0, offset - 20]), "offset": torch.tensor([offset - 7, offset])}, half=True)
        self.attention(2, 7, 520, 3, 1, 10, "scale 0.3", half=True)


    def check_counts(self, program, ideal, memory, loaded, kernels, op="attention_"):
        """Of the kernels of `op` that have products: nearly all arithmetic is that of tensor cores, no access to shared memory
        has a bank conflict, no register is spilled. Of all kernels of the op: what the memory gives and takes, and what warps
        load and store, is at most so many times the `ideal` bytes."""
        for target in ("sm_80", "sm_90"):
            with self.subTest(target=target):
                counts = self.counts(*program, target=target)
                counts = {name: count for name, count in counts.items() if name.startswith(op)}
                self.assertEqual(len(counts), kernels, counts.keys())
                for name, count in counts.items():
                    self.assertEqual(count["spill_bytes"], 0, name)
                    self.assertEqual(count["wavefronts"], count["ideal_wavefronts"], name)
                    self.assertLessEqual(count["sectors"], 1.1 * count["ideal_sectors"], name)
                    if count["mma_flops"]:
                        share = count["mma_flops"] / (count["mma_flops"] + count["flops"])
                        self.assertGreater(share, .95, name)
                for what, most in (("memory", memory), ("bytes", loaded)):
                    moved = sum(count[f"{what}_loaded"] + count[f"{what}_stored"] for count in counts.values())
                    self.assertLess(moved, most * ideal, what)
                self.assertTrue(any(count["mma_flops"] for count in counts.values()))

    def test_counts(self):
        for width in (64, 128):
            with self.subTest(width=width):
                # Two tiles of rows, of which the first sees half of the keys. Inputs are bf16, outputs fp32.
                elements, options = 2 * 256 * 2 * width, f"scale {width ** -.5}"
                sizes = (2, 256, 256, 2, 2, width, options)
                self.check_counts(attention_program(*sizes, half=True), elements * (3 * 2 + 4), 1.01, 1.25, kernels=1)
                # All but the forward's result is read for dq and for dk and dv.
                self.check_counts(gradient_program(*sizes, half=True, found=False), elements * (4 * 2 + 4 * 4), 1.36, 1.55,
                                  kernels=2, op="attention_grad")
        # Decoding is reading the cache.
        sizes = (2, 1, 1024, 8, 2, 128, "offset %offset scale 0.1", {"offset": torch.tensor([1023, 1023])})
        self.check_counts(attention_program(*sizes, half=True), 2 * 2 * 1024 * 2 * 128 * 2, 1.06, 1.15, kernels=2)


if __name__ == "__main__":
    unittest.main()
