// SPDX-License-Identifier: Apache-2.0
// rms_norm and l2_norm over the last dimension, with their gradients, in ATen functions: the reference of what the
// compiler makes kernels of. The weight's gradient sums over rows and has a loop of its own.

#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/RowLoops.h"
#include "runtime/kernels/Rows.h"

namespace morph {

namespace {

using Tensors = std::vector<at::Tensor>;

Tensors rmsNorm(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  return {call.operands[1] * (x * at::rsqrt(x.square().mean(-1, true) + call.number("eps")))};
}

/// dx = r * (weight * dy - x * r^2 * mean(weight * dy * x)) with r = 1 / sqrt(mean(x^2) + eps).
Tensors rmsNormInputGrad(const KernelCall &call) {
  const at::Tensor &x = call.operands[1], weighted = call.operands[2] * call.operands[0];
  const at::Tensor r = at::rsqrt(x.square().mean(-1, true) + call.number("eps"));
  return {r * (weighted - x * r.square() * (weighted * x).mean(-1, true))};
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
    const T *pdy = dy.const_data_ptr<T>(), *px = x.const_data_ptr<T>();
    T *out = parts.mutable_data_ptr<T>();
    forRows(blocks, block * width, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        rmsNormWeightGradRows(pdy + b * block * width, px + b * block * width, out + b * width,
                              std::min(block, rows - b * block), width, static_cast<T>(eps));
    });
  });
  at::Tensor result = call.results[0];
  at::sum_out(result, parts, 0);
}

Tensors l2Norm(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  return {x * at::rsqrt(x.square().sum(-1, true) + call.number("eps"))};
}

/// dx = r * dy - x * r^3 * sum(dy * x) with r = 1 / sqrt(sum(x^2) + eps).
Tensors l2NormGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &x = call.operands[1];
  const at::Tensor r = at::rsqrt(x.square().sum(-1, true) + call.number("eps"));
  return {r * (dy - x * r.square() * (dy * x).sum(-1, true))};
}

const KernelRegistration rmsNormRegistration("rms_norm", {runByCopy<rmsNorm>, rmsNorm});
const KernelRegistration rmsNormInputGradRegistration("rms_norm_input_grad", {runByCopy<rmsNormInputGrad>});
const KernelRegistration rmsNormWeightGradRegistration("rms_norm_weight_grad", {rmsNormWeightGrad});
const KernelRegistration l2NormRegistration("l2_norm", {runByCopy<l2Norm>, l2Norm});
const KernelRegistration l2NormGradRegistration("l2_norm_grad", {runByCopy<l2NormGrad>});

} // namespace

} // namespace morph
