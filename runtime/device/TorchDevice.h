// SPDX-License-Identifier: Apache-2.0
// LibTorch tensors on a CudaDevice: the device type that LibTorch leaves to others (PrivateUse1), named "cuda_driver".
// Tensors are made, viewed, copied and filled on the device. Every other function of LibTorch brings its arguments to
// the CPU, computes there and takes the results back: right, and slow. What is meant to be fast is a kernel or a
// product of CudaDevice on the tensors' memory, in the same order.

#ifndef MORPH_RUNTIME_DEVICE_TORCHDEVICE_H
#define MORPH_RUNTIME_DEVICE_TORCHDEVICE_H

#include "runtime/base/Status.h"
#include "runtime/device/CudaDevice.h"

#include <ATen/ATen.h>

#include <memory>

namespace morph {

/// LibTorch's device for `device`, with its ordinal as index. A process has one CudaDevice for an ordinal's tensors,
/// which stays open; another one for the same ordinal is an error.
StatusOr<at::Device> torchDevice(std::shared_ptr<CudaDevice> device);

/// The CudaDevice of a device that torchDevice returned.
CudaDevice &cudaDeviceOf(at::Device device);

/// True for tensors and devices of CudaDevices.
inline bool isCuda(at::Device device) { return device.type() == at::kPrivateUse1; }

} // namespace morph

#endif // MORPH_RUNTIME_DEVICE_TORCHDEVICE_H
