# SPDX-License-Identifier: Apache-2.0
"""tools/bench --cuda-model: every kernel has a line with estimates for every device; the arithmetic of the model."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE, BIN = pathlib.Path(os.environ["MORPH_SOURCE_DIR"]), pathlib.Path(os.environ["MORPH_BIN"])
sys.path.insert(0, str(SOURCE / "tools/python/bench"))
import cuda_model  # noqa: E402  pylint: disable=wrong-import-position


def bench(*arguments):
    return subprocess.run([sys.executable, SOURCE / "tools/python/bench/bench.py", "--cuda-model", *map(str, arguments)],
                          env={**os.environ, "MORPH_PROGRAM": str(BIN / "morph")}, capture_output=True, text=True)


class ModelTest(unittest.TestCase):
    def setUp(self):
        self.devices = cuda_model.read_devices(SOURCE)

    def test_devices(self):
        self.assertEqual(list(self.devices), ["a100", "h100", "b200"])
        self.assertEqual(self.devices["h100"]["multiprocessors"], 132)
        self.assertEqual(self.devices["h100"]["bandwidth"], 3.35e12)

    def test_occupancy(self):
        h100 = self.devices["h100"]
        # By warps, by blocks, by registers (rounded up to 8 a thread), by shared memory with its KB of the system.
        self.assertEqual(cuda_model.occupancy(256, 32, 0, h100), 8)
        self.assertEqual(cuda_model.occupancy(32, 16, 0, h100), 32)
        self.assertEqual(cuda_model.occupancy(256, 121, 0, h100), 2)
        self.assertEqual(cuda_model.occupancy(128, 32, 75 * 1024, h100), 3)
        self.assertEqual(cuda_model.occupancy(128, 32, 75 * 1024, self.devices["a100"]), 2)
        self.assertEqual(cuda_model.occupancy(128, 32, 228 * 1024, h100), 0)

    def estimate(self, blocks=1320, loaded=0, **counts):
        counted = {"launches": 1, "blocks": blocks, "memory_loaded": loaded, "memory_stored": 0}
        zeros = dict.fromkeys(("sectors", "mma_flops", "wavefronts"), 0)
        return cuda_model.estimate({**zeros, **counts}, counted, {"threads": 256, "shared_bytes": 0},
                                   {"registers": 32, "shared_bytes": 0}, self.devices["h100"])

    def test_bounds(self):
        memory = self.estimate(loaded=1e9, sectors=1e9 / 32)
        self.assertEqual(memory["bound"], "memory")
        self.assertAlmostEqual(memory["us"], 1e9 / (3.35e12 * cuda_model.MEMORY_SHARE) * 1e6, places=6)
        tensor = self.estimate(mma_flops=989e9)
        self.assertEqual((tensor["bound"], round(tensor["us"])), ("tensor", 1000))
        # 132 multiprocessors of 1.98 GHz start four instructions a clock.
        issue = self.estimate(float=132 * 1.98e9 * 4 * 1e-3)
        self.assertEqual(round(issue["clocks_a_block"]["issue"] * 1320 / 132 / 1.98e9 * 1e6), 1000)
        # Conflicts of banks take passes.
        self.assertEqual(self.estimate(shared=100, wavefronts=132 * 1.98e9 * 1e-3)["bound"], "issue")
        # A chain of loads of few warps waits for memory.
        self.assertEqual(self.estimate(**{"global": 8 * 1320}, sectors=8 * 1320)["bound"], "latency")
        # Few blocks do not fill the device.
        few = self.estimate(blocks=1, float=1e5)
        self.assertGreater(few["us_counted"], 50 * few["us"])

    def test_size_formulas(self):
        self.assertEqual(cuda_model.evaluate(7, {}), 7)
        self.assertEqual(cuda_model.evaluate([[2, 3, ["B", "T"], 8], [1, 1, [], 1]], {"B": 2, "T": 5}), 2 * 4 + 1)

    @unittest.skipUnless(cuda_model.find_ptxas(BIN.parent), "there is no ptxas")
    def test_command(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "model.json"
            done = bench("--only", "stories260K", "--length", 32, "--json", file)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("stories260K, 1 x 32 tokens. Estimates", done.stdout)
            report = json.loads(file.read_text())
            rows = report["models"]["stories260K"]
            self.assertLessEqual({"align", "gates", "distill", "finetune", "score", "decode", "decode-full", "align_update"},
                                 {row["program"] for row in rows})
            self.assertLessEqual({"launch", "attention", "attention_grad", "linear_attention", "linear_attention_grad", "adamw",
                                  "kl_divergence", "embedding"}, {row["op"] for row in rows})
            for row in rows:
                self.assertEqual(sorted(row["devices"]), ["a100", "b200", "h100"], row["kernel"])
                for device in row["devices"].values():
                    self.assertIn(device["bound"], ("memory", "tensor", "issue", "latency"))
                    self.assertGreater(device["us"], 0)
                    self.assertGreater(device["registers"], 0)
                    self.assertTrue(0 < device["occupancy"] <= 1)

    def test_wrong_arguments(self):
        done = bench("--only", "gpt")
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no model 'gpt'", done.stderr)


if __name__ == "__main__":
    unittest.main()
