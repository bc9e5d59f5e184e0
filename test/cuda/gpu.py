# SPDX-License-Identifier: Apache-2.0
"""Which driver the tests run on, and what its device is: counts and sizes of memory are the stand-in's, which plays every
device; NVIDIA's has one, which refuses code for later ones."""

import ctypes
import functools
import os

CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@functools.cache
def driver():
    """The library that the runtime opens."""
    return ctypes.CDLL(os.environ.get("MORPH_CUDA_DRIVER") or "libcuda.so.1")


def is_stand_in():
    """Whether it is the stand-in of this folder."""
    return hasattr(driver(), "morphStandInCountersJson")


@functools.cache
def capability():
    """The compute capability of NVIDIA's first device: 90 is that of sm_90."""
    device, parts = ctypes.c_int(), []
    codes = [driver().cuInit(0), driver().cuDeviceGet(ctypes.byref(device), 0)]
    for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR):
        parts.append(ctypes.c_int())
        codes.append(driver().cuDeviceGetAttribute(ctypes.byref(parts[-1]), attribute, device))
    if any(codes):
        raise RuntimeError(f"the driver does not tell the device's capability: CUDA errors {codes}")
    return 10 * parts[0].value + parts[1].value


def refuses(target):
    """Whether the device is too old for code of a target ("sm_90")."""
    return not is_stand_in() and int(target.removeprefix("sm_")) > capability()
