// SPDX-License-Identifier: Apache-2.0
// The devices that the stand-in plays, by their data sheets.

#ifndef MORPH_TEST_CUDA_DRIVER_DEVICE_H
#define MORPH_TEST_CUDA_DRIVER_DEVICE_H

#include <cuda.h>

#include <cstdint>
#include <string>

namespace morph::standin {

struct Device {
  const char *key, *name;
  int major, minor, processors;
  int sharedPerProcessor, sharedPerBlock; ///< Bytes; of a block that asks for more than 48 KiB.
  int l2, clock, memoryClock, busWidth;   ///< Bytes, kHz, kHz, bits.
  uint64_t memory;                        ///< Bytes.
};

/// The device of a key ("a100", "h100", "b200"), or null.
const Device *findDevice(const std::string &key);

/// The value of an attribute; false where the stand-in does not know it.
bool deviceAttribute(const Device &device, CUdevice_attribute attribute, int &value);

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_DEVICE_H
