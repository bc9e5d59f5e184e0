// SPDX-License-Identifier: Apache-2.0
// Sums, broadcasts and gathers between the GPUs of several processes, by NCCL, which is opened when a program first
// asks for it.

#ifndef MORPH_RUNTIME_DEVICE_NCCL_H
#define MORPH_RUNTIME_DEVICE_NCCL_H

#include "runtime/device/CudaDevice.h"

#include <memory>
#include <string>

namespace morph {

/// A process' part in a group of GPUs, one each. All call the same functions in the same order; what they start goes on
/// the device's stream, like everything else. Where a process ends, the others wait for ever: who has started them ends
/// them (tools/morph/Workers).
class Nccl {
public:
  /// The file that it is read from. The errors of makeId.
  static StatusOr<std::string> file();
  /// By which the processes of a group find each other: made by one, given to all. Errors: "no NCCL: REASON"; the file
  /// that MORPH_NCCL names, or the first libnccl.so.2 of the loader's path, the wheel beside LibTorch and the toolkit.
  static StatusOr<std::string> makeId();
  /// Joins the group with a device that outlives it; returns when all have. Errors: two processes have one GPU.
  static StatusOr<std::unique_ptr<Nccl>> join(CudaDevice &device, const std::string &id, int64_t rank, int64_t count);
  ~Nccl();
  Nccl(const Nccl &) = delete;
  Nccl &operator=(const Nccl &) = delete;

  enum class Type { F32, F64, I64 };
  /// Sums of `count` numbers in the devices' memory, in place. All get the same bits.
  Status allReduce(void *memory, int64_t count, Type type);
  /// The root's bytes, in the place of those of the others.
  Status broadcast(void *memory, int64_t bytes, int64_t root);
  /// All processes' `bytes` at `part`, by rank, into `whole`.
  Status allGather(const void *part, void *whole, int64_t bytes);

private:
  Nccl(CudaDevice &device, void *group) : device_(device), group_(group) {}
  CudaDevice &device_;
  void *group_;
};

} // namespace morph

#endif // MORPH_RUNTIME_DEVICE_NCCL_H
