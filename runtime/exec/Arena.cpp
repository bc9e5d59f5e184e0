// SPDX-License-Identifier: Apache-2.0
#include "runtime/exec/Arena.h"

namespace morph {

void *Arena::reserve(int64_t bytes) {
  if (!memory_.defined() || memory_.numel() < bytes) {
    memory_ = at::Tensor(); // Never two at once.
    memory_ = at::empty({bytes}, at::TensorOptions(at::kByte).device(device_));
    ++generation_;
  }
  return memory_.data_ptr();
}

} // namespace morph
