// SPDX-License-Identifier: Apache-2.0
// Elementwise ops and their gradients.

#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/RowLoops.h"
#include "runtime/kernels/Rows.h"

namespace morph {

namespace {

/// Runs `loop(begin, count)` over ranges of the elements.
template <typename Loop> void forElements(const at::Tensor &like, const Loop &loop) {
  at::parallel_for(0, like.numel(), 16384, [&](int64_t begin, int64_t end) { loop(begin, end - begin); });
}

std::vector<at::Tensor> ones(const KernelCall &call) {
  return {at::ones({}, call.precision == Precision::F64 ? at::kDouble : at::kFloat)};
}

std::vector<at::Tensor> add(const KernelCall &call) { return {at::add(call.operands[0], call.operands[1])}; }
std::vector<at::Tensor> mul(const KernelCall &call) { return {at::mul(call.operands[0], call.operands[1])}; }
std::vector<at::Tensor> scale(const KernelCall &call) { return {at::mul(call.operands[0], call.number("factor"))}; }
std::vector<at::Tensor> exponential(const KernelCall &call) { return {at::exp(call.operands[0])}; }

std::vector<at::Tensor> softplus(const KernelCall &call) {
  // Above the threshold ATen returns x: at 40 that is exact in fp64.
  return {at::softplus(call.operands[0], /*beta=*/1, /*threshold=*/40)};
}

/// y = loop(x), elementwise.
template <typename Loop> at::Tensor unary(const at::Tensor &operand, const Loop &loop) {
  at::Tensor x = operand.contiguous(), y = at::empty_like(x);
  withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *px = x.const_data_ptr<T>();
    T *py = y.mutable_data_ptr<T>();
    forElements(x, [&](int64_t begin, int64_t count) { loop(px + begin, py + begin, count); });
  });
  return y;
}

std::vector<at::Tensor> sigmoid(const KernelCall &call) {
  if (recording())
    return {at::sigmoid(call.operands[0])};
  return {unary(call.operands[0], [](const auto *x, auto *y, int64_t count) { sigmoidArray(x, y, count); })};
}

std::vector<at::Tensor> silu(const KernelCall &call) {
  if (recording())
    return {at::silu(call.operands[0])};
  return {unary(call.operands[0], [](const auto *x, auto *y, int64_t count) { siluArray(x, y, count); })};
}

/// y = loop(a, b), elementwise on equal shapes.
template <typename Loop> at::Tensor binary(const at::Tensor &left, const at::Tensor &right, const Loop &loop) {
  at::Tensor a = left.contiguous(), b = right.contiguous(), y = at::empty_like(a);
  TORCH_CHECK(a.sizes() == b.sizes(), "shapes ", a.sizes(), " and ", b.sizes());
  withType(a, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *pa = a.const_data_ptr<T>(), *pb = b.const_data_ptr<T>();
    T *py = y.mutable_data_ptr<T>();
    forElements(a, [&](int64_t begin, int64_t count) { loop(pa + begin, pb + begin, py + begin, count); });
  });
  return y;
}

std::vector<at::Tensor> swiglu(const KernelCall &call) {
  if (recording())
    return {at::silu(call.operands[0]) * call.operands[1]};
  return {binary(call.operands[0], call.operands[1],
                 [](const auto *gate, const auto *x, auto *y, int64_t count) { swigluArray(gate, x, y, count); })};
}

std::vector<at::Tensor> siluGrad(const KernelCall &call) {
  return {binary(call.operands[0], call.operands[1],
                 [](const auto *dy, const auto *x, auto *dx, int64_t count) { siluGradArray(dy, x, dx, count); })};
}

std::vector<at::Tensor> sigmoidGrad(const KernelCall &call) {
  return {at::sigmoid_backward(call.operands[0], call.operands[1])};
}

std::vector<at::Tensor> swigluGrad(const KernelCall &call) {
  at::Tensor dy = call.operands[0].contiguous(), gate = call.operands[1].contiguous();
  at::Tensor x = call.operands[2].contiguous(), dgate = at::empty_like(x), dx = at::empty_like(x);
  TORCH_CHECK(dy.sizes() == x.sizes() && gate.sizes() == x.sizes(), "shapes ", dy.sizes(), ", ", gate.sizes(), ", ",
              x.sizes());
  withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *pdy = dy.const_data_ptr<T>(), *pg = gate.const_data_ptr<T>(), *px = x.const_data_ptr<T>();
    T *pdg = dgate.mutable_data_ptr<T>(), *pdx = dx.mutable_data_ptr<T>();
    forElements(x, [&](int64_t begin, int64_t count) {
      swigluGradArray(pdy + begin, pg + begin, px + begin, pdg + begin, pdx + begin, count);
    });
  });
  return {dgate, dx};
}

const KernelRegistration onesRegistration("ones", ones);
const KernelRegistration addRegistration("add", add);
const KernelRegistration mulRegistration("mul", mul);
const KernelRegistration scaleRegistration("scale", scale);
const KernelRegistration expRegistration("exp", exponential);
const KernelRegistration softplusRegistration("softplus", softplus);
const KernelRegistration sigmoidRegistration("sigmoid", sigmoid);
const KernelRegistration siluRegistration("silu", silu);
const KernelRegistration swigluRegistration("swiglu", swiglu);
const KernelRegistration siluGradRegistration("silu_grad", siluGrad);
const KernelRegistration sigmoidGradRegistration("sigmoid_grad", sigmoidGrad);
const KernelRegistration swigluGradRegistration("swiglu_grad", swigluGrad);

} // namespace

} // namespace morph
