# SPDX-License-Identifier: Apache-2.0
"""Every row cluster of every program of a layer of Qwen3-1.7B's shape, alone: inputs and outputs go over the memory once each,
in whole sectors, and nothing is spilled."""

import json
import os
import pathlib
import sys
import tempfile
import unittest

import torch
from safetensors.torch import save_file

SOURCE, BIN = pathlib.Path(os.environ["MORPH_SOURCE_DIR"]), pathlib.Path(os.environ["MORPH_BIN"])
sys.path.insert(0, str(SOURCE / "tools/python/bench"))
import cuda_model  # noqa: E402  pylint: disable=wrong-import-position
import cuda_programs  # noqa: E402  pylint: disable=wrong-import-position

ROWS = {"B": 1, "T": 512, "N": 512}
# Bytes that are not worth whole sectors: decays and gates of heads, sums of parts.
SMALL = 1 << 20
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "i64": torch.int64}


def clusters_of(plan):
    """A plan that launches each kernel of rows of another once, each on inputs of its own."""
    result = {**{key: plan[key] for key in ("format", "version", "model", "rope_tables", "kernels")}, "program": "test",
              "inputs": [], "outputs": [], "weights": [], "values": [], "instructions": [],
              "devices": [{**plan["devices"][0], "instructions": []}]}

    def define(value):
        result["values"].append(plan["values"][value])
        return len(result["values"]) - 1

    seen = set()
    for instruction, code in zip(plan["instructions"], plan["devices"][0]["instructions"]):
        if instruction["op"] != "launch" or instruction["attributes"]["kernel"] in seen:
            continue
        seen.add(instruction["attributes"]["kernel"])
        copy = {**instruction, "operands": [], "results": []}
        for operand in instruction["operands"]:
            copy["operands"].append(define(operand))
            result["inputs"].append({"name": f"i{len(result['inputs'])}", "value": copy["operands"][-1]})
        for value in instruction["results"]:
            copy["results"].append(define(value))
            result["outputs"].append({"name": f"o{len(result['outputs'])}", "value": copy["results"][-1]})
        result["instructions"].append(copy)
        result["devices"][0]["instructions"].append(code)
    return result


class ClustersTest(unittest.TestCase):
    def check(self, programs, program, folder):
        plan = clusters_of(programs.plans[program])
        path = programs.folder / "plans" / f"{program}-clusters.json"
        path.write_text(json.dumps(plan))
        torch.manual_seed(0)
        inputs = {}
        for each in plan["inputs"]:
            kind = plan["values"][each["value"]]
            shape = [ROWS[dim] if isinstance(dim, str) else dim for dim in kind["shape"]]
            inputs[each["name"]] = torch.rand(shape).to(DTYPES[kind["dtype"]])
        save_file(inputs, folder / "inputs.safetensors")
        counts = folder / "counts.json"
        cuda_programs.run(BIN.parent / "test/bin/morph-plan-run", path, "--input", folder / "inputs.safetensors", "--output",
                          folder / "outputs.safetensors", "--device", "cuda", "--counts", counts,
                          MORPH_STAND_IN_DEVICE="a100" if programs.target == "sm_80" else "h100")
        rows = cuda_model.model_program(programs, program, plan, ROWS, counts, cuda_model.find_ptxas(BIN.parent),
                                        cuda_model.read_devices(SOURCE))
        self.assertEqual(len(rows), len({launch["kernel"] for code in plan["devices"][0]["instructions"]
                                         for launch in code["launches"]}))
        for row in rows:
            with self.subTest(program=program, kernel=row["kernel"], target=programs.target):
                for device in row["devices"].values():
                    self.assertEqual(device["spill_bytes"], 0)
                # Memory gives and takes everything once.
                self.assertLessEqual(row["memory_bytes"], 1.05 * row["ideal_bytes"])
                if row["ideal_bytes"] < SMALL:
                    continue
                self.assertGreaterEqual(row["full_sectors"], .95)
                # The second cache gives again what all rows read, to each line: at most as much as a line itself is.
                self.assertLessEqual(row["sector_bytes"], 1.7 * row["ideal_bytes"])
        return len(rows)

    @unittest.skipUnless(cuda_model.find_ptxas(BIN.parent), "there is no ptxas")
    def test_clusters(self):
        with tempfile.TemporaryDirectory() as folder:
            for target, only in (("sm_80", ["distill"]), ("sm_90", None)):
                programs = cuda_programs.Programs(BIN, SOURCE, "qwen3-layer", target, folder)
                number = sum(self.check(programs, program, pathlib.Path(folder)) for program, plan in programs.plans.items()
                             if program in (only or programs.plans) and any(each["op"] == "launch"
                                                                            for each in plan["instructions"]))
                self.assertGreater(number, 20)


if __name__ == "__main__":
    unittest.main()
