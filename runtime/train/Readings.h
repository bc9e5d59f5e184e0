// SPDX-License-Identifier: Apache-2.0
// Small outputs of many runs, kept where they are made until somebody looks.

#ifndef MORPH_RUNTIME_TRAIN_READINGS_H
#define MORPH_RUNTIME_TRAIN_READINGS_H

#include <ATen/core/Tensor.h>

#include <vector>

namespace morph {

/// Copies of a scalar or vector, each of a run of a program. Whoever reads a GPU's value waits until the GPU has done
/// all that it was given, and leaves it with nothing to do: so values stay there and are read together.
class Readings {
public:
  struct Reading {
    int64_t step;
    double weight;
    std::vector<double> value; ///< Its elements.
  };

  /// Keeps a copy of `value`, fp32 or fp64, where it lies; waits for nothing. All values have one shape, type and
  /// device.
  void keep(int64_t step, double weight, const at::Tensor &value);

  /// All that was kept since the last call, in order; waits for the device.
  std::vector<Reading> take();

private:
  struct Key {
    int64_t step;
    double weight;
  };
  std::vector<Key> keys_;
  at::Tensor values_; ///< [capacity, ...]
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_READINGS_H
