// SPDX-License-Identifier: Apache-2.0
// rms_norm and l2_norm over the last dimension, with their gradients.

#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/RowLoops.h"
#include "runtime/kernels/Rows.h"

namespace morph {

namespace {

std::vector<at::Tensor> rmsNorm(const KernelCall &call) {
  at::Tensor weight = call.operands[1].to(call.operands[0].scalar_type());
  double eps = call.number("eps");
  if (recording()) {
    const at::Tensor &x = call.operands[0];
    return {weight * (x * at::rsqrt(x.square().mean(-1, true) + eps))};
  }
  at::Tensor x = call.operands[0].contiguous(), y = at::empty_like(x);
  weight = weight.contiguous();
  int64_t width = x.size(-1);
  TORCH_CHECK(weight.numel() == width, "weight ", weight.sizes(), " for x ", x.sizes());
  withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *px = x.const_data_ptr<T>(), *pw = weight.const_data_ptr<T>();
    T *py = y.mutable_data_ptr<T>();
    forRows(x.numel() / width, width, [&](int64_t begin, int64_t end) {
      rmsNormRows(px + begin * width, pw, py + begin * width, end - begin, width, static_cast<T>(eps));
    });
  });
  return {y};
}

std::vector<at::Tensor> rmsNormInputGrad(const KernelCall &call) {
  at::Tensor dy = call.operands[0].contiguous(), x = call.operands[1].contiguous();
  at::Tensor weight = call.operands[2].to(x.scalar_type()).contiguous(), dx = at::empty_like(x);
  int64_t width = x.size(-1);
  TORCH_CHECK(weight.numel() == width && dy.sizes() == x.sizes(), "dy ", dy.sizes(), " and x ", x.sizes());
  double eps = call.number("eps");
  withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *pdy = dy.const_data_ptr<T>(), *px = x.const_data_ptr<T>(), *pw = weight.const_data_ptr<T>();
    T *pdx = dx.mutable_data_ptr<T>();
    forRows(x.numel() / width, width, [&](int64_t begin, int64_t end) {
      rmsNormInputGradRows(pdy + begin * width, px + begin * width, pw, pdx + begin * width, end - begin, width,
                           static_cast<T>(eps));
    });
  });
  return {dx};
}

std::vector<at::Tensor> rmsNormWeightGrad(const KernelCall &call) {
  at::Tensor dy = call.operands[0].contiguous(), x = call.operands[1].contiguous();
  int64_t width = x.size(-1), rows = x.numel() / width;
  TORCH_CHECK(dy.sizes() == x.sizes(), "dy ", dy.sizes(), " and x ", x.sizes());
  // A fixed split into blocks, summed in order: the result does not depend on the number of threads.
  constexpr int64_t block = 64;
  int64_t blocks = (rows + block - 1) / block;
  at::Tensor parts = at::zeros({blocks, width}, x.options());
  double eps = call.number("eps");
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
  return {parts.sum(0)};
}

std::vector<at::Tensor> l2Norm(const KernelCall &call) {
  double eps = call.number("eps");
  if (recording()) {
    const at::Tensor &x = call.operands[0];
    return {x * at::rsqrt(x.square().sum(-1, true) + eps)};
  }
  at::Tensor x = call.operands[0].contiguous(), y = at::empty_like(x);
  int64_t width = x.size(-1);
  withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *px = x.const_data_ptr<T>();
    T *py = y.mutable_data_ptr<T>();
    forRows(x.numel() / width, width, [&](int64_t begin, int64_t end) {
      l2NormRows(px + begin * width, py + begin * width, end - begin, width, static_cast<T>(eps));
    });
  });
  return {y};
}

std::vector<at::Tensor> l2NormGrad(const KernelCall &call) {
  at::Tensor dy = call.operands[0].contiguous(), x = call.operands[1].contiguous(), dx = at::empty_like(x);
  int64_t width = x.size(-1);
  TORCH_CHECK(dy.sizes() == x.sizes(), "dy ", dy.sizes(), " and x ", x.sizes());
  double eps = call.number("eps");
  withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *pdy = dy.const_data_ptr<T>(), *px = x.const_data_ptr<T>();
    T *pdx = dx.mutable_data_ptr<T>();
    forRows(x.numel() / width, width, [&](int64_t begin, int64_t end) {
      l2NormGradRows(pdy + begin * width, px + begin * width, pdx + begin * width, end - begin, width,
                     static_cast<T>(eps));
    });
  });
  return {dx};
}

const KernelRegistration rmsNormRegistration("rms_norm", rmsNorm);
const KernelRegistration rmsNormInputGradRegistration("rms_norm_input_grad", rmsNormInputGrad);
const KernelRegistration rmsNormWeightGradRegistration("rms_norm_weight_grad", rmsNormWeightGrad);
const KernelRegistration l2NormRegistration("l2_norm", l2Norm);
const KernelRegistration l2NormGradRegistration("l2_norm_grad", l2NormGrad);

} // namespace

} // namespace morph
