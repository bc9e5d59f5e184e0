# SPDX-License-Identifier: Apache-2.0
"""morph plan --device: memory, times and contexts of models whose weights are not there, on GPUs that are not there."""

import json
import os
import pathlib
import unittest

from support import run

SPECS = pathlib.Path(os.environ["MORPH_SOURCE_DIR"]) / "specs"
PEAK = {"a100": 312e12, "h100": 989e12, "b200": 2250e12}
MEMORY = {"a100": 80e9, "h100": 80e9, "b200": 180e9}


def plan(spec, device, *arguments):
    return json.loads(run("morph", "plan", SPECS / spec, "--device", device, "--json", *arguments).stdout)


class PlanDeviceTest(unittest.TestCase):
    def check(self, report, device):
        self.assertFalse(report["device"]["measured"])
        for stage in report["stages"]:
            # No faster than the peak of tensor cores, within the memory, and not slower than a fiftieth of the peak.
            ideal = stage["flops"] / PEAK[device]
            self.assertGreater(stage["seconds"], ideal, stage["stage"])
            self.assertLess(stage["seconds"], 50 * ideal, stage["stage"])
            self.assertTrue(stage["memory_bytes"] <= MEMORY[device] or stage["excess"], stage["stage"])
        self.assertGreater(report["device"]["hybrid_context"], 2 * report["device"]["full_context"])
        for line in report["cache"]:
            # A token reads all weights: of 1.7B or 8B parameters in bf16 at 3.35 TB/s more than .9 ms.
            self.assertGreater(line["full_seconds"], line["full_bytes"] / 8e12)
        self.assertGreater(report["cache"][-1]["full_seconds"], report["cache"][-1]["hybrid_seconds"])

    def test_qwen3_1_7b(self):
        reports = {device: plan("qwen3-1.7b.toml", device) for device in PEAK}
        for device, report in reports.items():
            self.check(report, device)
        for slow, fast in (("a100", "h100"), ("h100", "b200")):
            for a, b in zip(reports[slow]["stages"], reports[fast]["stages"]):
                self.assertGreater(a["seconds"], b["seconds"], a["stage"])
        # What an 80 GB device has no room for is computed twice there, and not on one of 180 GB.
        self.assertGreater(sum(stage["extra_flops"] for stage in reports["h100"]["stages"]), 0)
        self.assertEqual(sum(stage["extra_flops"] for stage in reports["b200"]["stages"]), 0)
        # Weights of 1.7B parameters in bf16, and the cache.
        cache = reports["h100"]["cache"]
        token = (cache[1]["full_bytes"] - cache[0]["full_bytes"]) / 8192
        expected = (80e9 - 3.5e9) / token
        self.assertLess(abs(reports["h100"]["device"]["full_context"] / expected - 1), .1)

    def test_qwen3_8b(self):
        report = plan("qwen3-8b.toml", "h100")
        self.check(report, "h100")
        text = run("morph", "plan", SPECS / "qwen3-8b.toml", "--device", "h100").stdout
        self.assertIn("Times are estimates for one NVIDIA H100 80 GB", text)
        self.assertIn("The longest context of one sequence: full ", text)

    def test_limits_of_the_spec_stay(self):
        report = plan("quickstart.toml", "h100", "--memory-limit", "0.05")
        self.assertTrue(any("the limit is 50.0 MB" in stage["excess"] for stage in report["stages"]))

    def test_without_a_device_nothing_is_said_of_time(self):
        report = json.loads(run("morph", "plan", SPECS / "quickstart.toml", "--json").stdout)
        self.assertNotIn("device", report)
        self.assertTrue(all(stage["seconds"] is None for stage in report["stages"]))

    def test_wrong_devices(self):
        error = run("morph", "plan", SPECS / "quickstart.toml", "--device", "v100", expect=2).stderr
        self.assertIn("v100 not in {a100,h100,b200,measured}", error)

    def test_measured_without_a_device(self):
        error = run("morph", "plan", SPECS / "quickstart.toml", "--device", "measured", expect=1,
                    env={**os.environ, "MORPH_CUDA_DRIVER": "/nonexistent/libcuda.so.1"}).stderr
        self.assertIn("no CUDA device: ", error)


if __name__ == "__main__":
    unittest.main()
