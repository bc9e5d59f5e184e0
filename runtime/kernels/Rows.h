// SPDX-License-Identifier: Apache-2.0
// Helpers of the kernels that run plain loops over tensors.

#ifndef MORPH_RUNTIME_KERNELS_ROWS_H
#define MORPH_RUNTIME_KERNELS_ROWS_H

#include "runtime/kernels/Parallel.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

namespace morph {

/// Calls `function` with a null pointer of the tensor's element type, float or double.
template <typename Function> auto withType(const at::Tensor &tensor, Function &&function) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kDouble, "expected fp32 or fp64, got ",
              tensor.scalar_type());
  if (tensor.scalar_type() == at::kDouble)
    return function(static_cast<double *>(nullptr));
  return function(static_cast<float *>(nullptr));
}

/// Calls `body(begin, end)` over ranges of `count` rows of `width` elements, on several threads where it pays. `body`
/// must not throw.
template <typename Body> void forRows(int64_t count, int64_t width, const Body &body) {
  parallelRanges(at::get_num_threads(), count, 16384 / std::max<int64_t>(width, 1), body);
}

/// The sum over blocks of `count` elements of `part(begin, end)`, accumulated in double in the order of the blocks: the
/// result does not depend on the number of threads.
template <typename Part> double sumBlocks(int64_t count, const Part &part) {
  constexpr int64_t block = 8192;
  int64_t blocks = (count + block - 1) / block;
  std::vector<double> parts(static_cast<size_t>(blocks));
  parallelRanges(at::get_num_threads(), blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      parts[static_cast<size_t>(b)] = static_cast<double>(part(b * block, std::min(count, (b + 1) * block)));
  });
  double sum = 0;
  for (double value : parts)
    sum += value;
  return sum;
}

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_ROWS_H
