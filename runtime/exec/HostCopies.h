// SPDX-License-Identifier: Apache-2.0
// Small tensors of a device on the host and back.

#ifndef MORPH_RUNTIME_EXEC_HOSTCOPIES_H
#define MORPH_RUNTIME_EXEC_HOSTCOPIES_H

#include <ATen/core/Tensor.h>

#include <map>

namespace morph {

/// Tensors of a device as tensors of the CPU. Those that lie together, as the executor puts gates, travel by one copy
/// each way; a tensor of the CPU stands for itself.
class HostCopies {
public:
  /// The tensor on the host, which later calls give again: what is written to it is seen by them.
  at::Tensor of(const at::Tensor &tensor);
  /// Gives the devices what was written.
  void write() const;

private:
  struct Block {
    at::Tensor onDevice, onHost; ///< A whole storage.
  };
  std::map<const void *, Block> blocks_;
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_HOSTCOPIES_H
