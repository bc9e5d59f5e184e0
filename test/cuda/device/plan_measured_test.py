# SPDX-License-Identifier: Apache-2.0
"""`morph plan --device measured` measures the device that there is: the stand-in, as slow as it is."""

import json
import os
import subprocess
import unittest

MORPH = os.path.join(os.environ["MORPH_BIN"], "morph")
SPEC = os.path.join(os.environ["MORPH_SOURCE_DIR"], "specs/quickstart.toml")


class PlanMeasuredTest(unittest.TestCase):
    def plan(self, **variables):
        return subprocess.run([MORPH, "plan", SPEC, "--device", "measured", "--json"], env={**os.environ, **variables},
                              capture_output=True, text=True)

    def test_a_device(self):
        done = self.plan()
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        device = report["device"]
        self.assertTrue(device["measured"])
        self.assertIn("H100", device["name"])
        # A host that copies and multiplies: no faster than memory and vector units are, no slower than a few megabytes.
        for key, least, most in (("row_bytes_per_second", 1e7, 1e12), ("bf16_product_flops", 1e6, 1e13),
                                 ("fp32_product_flops", 1e6, 1e13)):
            self.assertTrue(least < device[key] < most, (key, device[key]))
        self.assertTrue(all(stage["seconds"] > 0 for stage in report["stages"]))

    def test_no_device(self):
        done = self.plan(MORPH_STAND_IN_DEVICE="none")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no CUDA device: cuInit: CUDA_ERROR_NO_DEVICE", done.stderr)


if __name__ == "__main__":
    unittest.main()
