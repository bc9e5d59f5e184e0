// SPDX-License-Identifier: Apache-2.0

#include "runtime/exec/HostCopies.h"

#include <ATen/Functions.h>

namespace morph {

at::Tensor HostCopies::of(const at::Tensor &tensor) {
  if (tensor.device().is_cpu())
    return tensor;
  Block &block = blocks_[tensor.storage().data()];
  if (!block.onDevice.defined()) {
    block.onDevice = at::empty({0}, tensor.options()).set_(tensor.storage());
    block.onHost = block.onDevice.cpu();
  }
  return block.onHost.as_strided(tensor.sizes(), tensor.strides(), tensor.storage_offset());
}

void HostCopies::write() const {
  for (const auto &[memory, block] : blocks_)
    block.onDevice.copy_(block.onHost);
}

} // namespace morph
