// SPDX-License-Identifier: Apache-2.0
// rms_norm and l2_norm over the last dimension, with their gradients.

#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/RowLoops.h"
#include "runtime/kernels/Rows.h"

namespace morph {

namespace {

/// Runs `loop(begin, end)` over the rows of `x`, on several threads where it pays, and hands it the type of elements.
template <typename Loop> void overRows(const at::Tensor &x, const Loop &loop) {
  const int64_t width = x.size(-1);
  withType(x, [&](auto *type) {
    forRows(x.numel() / width, width, [&](int64_t begin, int64_t end) { loop(type, begin, end); });
  });
}

/// The row `row` of a tensor whose rows are `width` long.
template <typename T> const T *rowOf(const at::Tensor &x, int64_t row, int64_t width) {
  return x.const_data_ptr<T>() + row * width;
}
template <typename T> T *resultRow(const KernelCall &call, int64_t row, int64_t width) {
  return call.results[0].mutable_data_ptr<T>() + row * width;
}

void rmsNorm(const KernelCall &call) {
  const at::Tensor &x = call.operands[0], &weight = call.operands[1];
  const int64_t width = x.size(-1);
  const double eps = call.number("eps");
  TORCH_CHECK(weight.numel() == width, "weight ", weight.sizes(), " for x ", x.sizes());
  overRows(x, [&](auto *type, int64_t begin, int64_t end) {
    using T = std::remove_pointer_t<decltype(type)>;
    rmsNormRows(rowOf<T>(x, begin, width), weight.const_data_ptr<T>(), resultRow<T>(call, begin, width), end - begin,
                width, static_cast<T>(eps));
  });
}
std::vector<at::Tensor> rmsNormReference(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  return {call.operands[1] * (x * at::rsqrt(x.square().mean(-1, true) + call.number("eps")))};
}

void rmsNormInputGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &x = call.operands[1], &weight = call.operands[2];
  const int64_t width = x.size(-1);
  const double eps = call.number("eps");
  TORCH_CHECK(weight.numel() == width && dy.sizes() == x.sizes(), "dy ", dy.sizes(), " and x ", x.sizes());
  overRows(x, [&](auto *type, int64_t begin, int64_t end) {
    using T = std::remove_pointer_t<decltype(type)>;
    rmsNormInputGradRows(rowOf<T>(dy, begin, width), rowOf<T>(x, begin, width), weight.const_data_ptr<T>(),
                         resultRow<T>(call, begin, width), end - begin, width, static_cast<T>(eps));
  });
}

void rmsNormWeightGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &x = call.operands[1];
  TORCH_CHECK(dy.sizes() == x.sizes(), "dy ", dy.sizes(), " and x ", x.sizes());
  const int64_t width = x.size(-1), rows = x.numel() / width;
  // A fixed split into blocks, summed in order: the result does not depend on the number of threads.
  constexpr int64_t block = 64;
  const int64_t blocks = (rows + block - 1) / block;
  const at::Tensor parts = at::zeros({blocks, width}, x.options());
  const double eps = call.number("eps");
  withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T *out = parts.mutable_data_ptr<T>();
    forRows(blocks, block * width, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        rmsNormWeightGradRows(rowOf<T>(dy, b * block, width), rowOf<T>(x, b * block, width), out + b * width,
                              std::min(block, rows - b * block), width, static_cast<T>(eps));
    });
  });
  at::Tensor result = call.results[0];
  at::sum_out(result, parts, 0);
}

void l2Norm(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  const int64_t width = x.size(-1);
  const double eps = call.number("eps");
  overRows(x, [&](auto *type, int64_t begin, int64_t end) {
    using T = std::remove_pointer_t<decltype(type)>;
    l2NormRows(rowOf<T>(x, begin, width), resultRow<T>(call, begin, width), end - begin, width, static_cast<T>(eps));
  });
}
std::vector<at::Tensor> l2NormReference(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  return {x * at::rsqrt(x.square().sum(-1, true) + call.number("eps"))};
}

void l2NormGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &x = call.operands[1];
  const int64_t width = x.size(-1);
  const double eps = call.number("eps");
  TORCH_CHECK(dy.sizes() == x.sizes(), "dy ", dy.sizes(), " and x ", x.sizes());
  overRows(x, [&](auto *type, int64_t begin, int64_t end) {
    using T = std::remove_pointer_t<decltype(type)>;
    l2NormGradRows(rowOf<T>(dy, begin, width), rowOf<T>(x, begin, width), resultRow<T>(call, begin, width), end - begin,
                   width, static_cast<T>(eps));
  });
}

const KernelRegistration rmsNormRegistration("rms_norm", {rmsNorm, rmsNormReference});
const KernelRegistration rmsNormInputGradRegistration("rms_norm_input_grad", {rmsNormInputGrad});
const KernelRegistration rmsNormWeightGradRegistration("rms_norm_weight_grad", {rmsNormWeightGrad});
const KernelRegistration l2NormRegistration("l2_norm", {l2Norm, l2NormReference});
const KernelRegistration l2NormGradRegistration("l2_norm_grad", {l2NormGrad});

} // namespace

} // namespace morph
