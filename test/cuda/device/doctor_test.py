# SPDX-License-Identifier: Apache-2.0
"""`morph doctor` on the stand-ins: the device and its libraries, or why there is none."""

import json
import os
import subprocess
import unittest

MORPH = os.path.join(os.environ["MORPH_BIN"], "morph")


def cuda_finding(name="CUDA", **variables):
    environment = {**os.environ, **variables}
    report = subprocess.run([MORPH, "doctor", "--json"], env=environment, stdout=subprocess.PIPE, text=True).stdout
    text = subprocess.run([MORPH, "doctor"], env=environment, stdout=subprocess.PIPE, text=True).stdout
    finding = next(each for each in json.loads(report) if each["name"] == name)
    assert finding["detail"] in text, text
    return finding


class DoctorTest(unittest.TestCase):
    def test_a_device(self):
        finding = cuda_finding(MORPH_STAND_IN_DEVICE="a100")
        self.assertTrue(finding["found"])
        self.assertRegex(finding["detail"], r"^NVIDIA A100.*, \d+\.\d+ GB, capability 8\.0, driver of CUDA 13\.0, "
                                            r"cuBLASLt 13\.\d+\.\d+; by MORPH_CUDA_DRIVER=.*libcuda\.so\.1$")

    def test_exchange_between_devices(self):
        finding = cuda_finding("NCCL")
        self.assertTrue(finding["found"])
        self.assertEqual(finding["detail"], os.environ["MORPH_NCCL"])
        finding = cuda_finding("NCCL", MORPH_NCCL="/nowhere/libnccl.so.2")
        self.assertFalse(finding["found"])
        self.assertRegex(finding["detail"], "^no NCCL: /nowhere/libnccl.so.2: cannot open.*; several GPUs exchange by the host")

    def test_no_device(self):
        finding = cuda_finding(MORPH_STAND_IN_DEVICE="none")
        self.assertFalse(finding["found"])
        self.assertFalse(finding["needed"])
        self.assertIn("no CUDA device: cuInit: CUDA_ERROR_NO_DEVICE", finding["detail"])
        self.assertIn("none is needed", finding["detail"])

    def test_no_driver(self):
        finding = cuda_finding(MORPH_CUDA_DRIVER="/nowhere/libcuda.so.1")
        self.assertFalse(finding["found"])
        self.assertIn("no CUDA device: /nowhere/libcuda.so.1: cannot open shared object file", finding["detail"])

    def test_no_products(self):
        finding = cuda_finding(MORPH_CUBLASLT="/nowhere/libcublasLt.so.13")
        self.assertFalse(finding["found"])
        self.assertRegex(finding["detail"], "^NVIDIA .*, no cuBLASLt: /nowhere/libcublasLt.so.13: cannot open")


if __name__ == "__main__":
    unittest.main()
