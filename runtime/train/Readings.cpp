// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Readings.h"

#include <algorithm>

namespace morph {

void Readings::keep(int64_t step, double weight, const at::Tensor &value) {
  const auto count = static_cast<int64_t>(keys_.size());
  if (!values_.defined() || count == values_.size(0)) {
    std::vector<int64_t> shape = value.sizes().vec();
    shape.insert(shape.begin(), std::max<int64_t>(16, 2 * count));
    const at::Tensor larger = at::empty(shape, value.options());
    if (count > 0)
      larger.narrow(0, 0, count).copy_(values_);
    values_ = larger;
  }
  values_.select(0, count).copy_(value);
  keys_.push_back({step, weight});
}

std::vector<Readings::Reading> Readings::take() {
  std::vector<Reading> readings;
  if (keys_.empty())
    return readings;
  const at::Tensor values = values_.narrow(0, 0, static_cast<int64_t>(keys_.size())).cpu();
  const int64_t size = values.numel() / values.size(0);
  const auto read = [&](const auto *value) {
    for (const Key &key : keys_) {
      readings.push_back({key.step, key.weight, {value, value + size}});
      value += size;
    }
  };
  if (values.scalar_type() == at::kDouble)
    read(values.const_data_ptr<double>());
  else
    read(values.const_data_ptr<float>());
  keys_.clear();
  return readings;
}

} // namespace morph
