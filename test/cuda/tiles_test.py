# SPDX-License-Identifier: Apache-2.0
"""Tiles of kernels are picked by what ptxas says of the kernels as they are."""

import os
import pathlib
import sys
import tempfile
import unittest

SOURCE, BIN = pathlib.Path(os.environ["MORPH_SOURCE_DIR"]), pathlib.Path(os.environ["MORPH_BIN"])
sys.path.insert(0, str(SOURCE / "tools/python/bench"))
import cuda_model  # noqa: E402  pylint: disable=wrong-import-position
import cuda_tiles  # noqa: E402  pylint: disable=wrong-import-position


class TilesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Two of the cases: what changes a kernel changes it for all.
        cls.folder = tempfile.TemporaryDirectory()
        cls.cases = {case: cuda_tiles.compile_tiles(BIN, *case, cls.folder.name) for case in (("sm_90", 64), ("sm_80", 128))}
        _, _, cls.estimates, cls.picked = cls.cases["sm_90", 64]

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_table_is_of_these_kernels(self):
        table = (SOURCE / cuda_tiles.TABLE).read_text()
        for (target, width), (ptx, _, _, _) in self.cases.items():
            self.assertIn(cuda_tiles.stamp_of(target, width, ptx), table, "tools/bench --cuda-tiles --write makes it anew")
        for target in cuda_tiles.TARGETS:
            for width in cuda_tiles.WIDTHS:
                self.assertRegex(table, f"// {target}, width {width}: PTX [0-9a-f]{{64}}, ptxas V")

    def test_table_is_not_written_by_hand(self):
        table = (SOURCE / cuda_tiles.TABLE).read_text()
        lines = table.removeprefix(cuda_tiles.HEADER).splitlines()[:-1]
        self.assertEqual(table, cuda_tiles.text_of(lines))

    @unittest.skipUnless(cuda_model.find_ptxas(BIN.parent), "there is no ptxas")
    def test_answers_are_those_of_ptxas(self):
        ptxas = cuda_model.find_ptxas(BIN.parent)
        table = (SOURCE / cuda_tiles.TABLE).read_text()
        if f", ptxas {cuda_tiles.version_of(ptxas)}\n" not in table:
            self.skipTest("the table is of another ptxas")
        for (target, _), (ptx, tiles, _, _) in self.cases.items():
            for tile, (registers, spilled) in cuda_tiles.assemble(ptxas, ptx, tiles, target).items():
                self.assertIn(cuda_tiles.line_of(tile, target, registers, spilled), table)

    def test_estimates_of_what_was_measured(self):
        # H100, 4 x 2048 tokens, 32 heads of 64, bf16, forward (passes/lower/README.md): twice what estimates are of. That
        # of the backward was of kernels with more products.
        estimate = 2e-3 * self.estimates[cuda_tiles.Tile("attention", 64, 128, 64, 4)][1]
        self.assertLess(abs(estimate / 0.28 - 1), 0.15)

    def test_measured_tiles_are_left_for_more_than_the_error(self):
        for measured in (("attention", 64, 128, 64, 4), ("attention_rows", 64, 128, 32, 4), ("attention_keys", 64, 128, 32, 8)):
            tile = cuda_tiles.Tile(*measured)
            if self.picked[tile.kind] != tile:
                self.assertLess(self.estimates[self.picked[tile.kind]][1], 0.85 * self.estimates[tile][1])

    def test_what_spills_or_does_not_fit_is_not_picked(self):
        for tile, (blocks, time) in self.estimates.items():
            self.assertEqual(blocks == 0, time == float("inf"), tile)
        self.assertEqual(self.estimates[cuda_tiles.Tile("attention", 64, 128, 128, 4)][0], 0)
        for _, tiles, estimates, picked in self.cases.values():
            self.assertEqual(set(picked), {tile.kind for tile in tiles.values()})
            for tile in picked.values():
                self.assertGreater(estimates[tile][0], 0, tile)
        # All 255 registers, and none spilled by those kernels that the table is of.
        _, _, estimates, _ = self.cases["sm_80", 128]
        self.assertEqual(estimates[cuda_tiles.Tile("attention", 128, 256, 32, 8)][0], 0)


if __name__ == "__main__":
    unittest.main()
