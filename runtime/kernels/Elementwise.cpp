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

/// result = loop(x), elementwise.
template <typename Loop> void unary(const KernelCall &call, const Loop &loop) {
  const at::Tensor &x = call.operands[0];
  withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *px = x.const_data_ptr<T>();
    T *py = call.results[0].mutable_data_ptr<T>();
    forElements(x, [&](int64_t begin, int64_t count) { loop(px + begin, py + begin, count); });
  });
}

/// result = loop(a, b), elementwise on equal shapes.
template <typename Loop> void binary(const KernelCall &call, const Loop &loop) {
  const at::Tensor &a = call.operands[0], &b = call.operands[1];
  TORCH_CHECK(a.sizes() == b.sizes(), "shapes ", a.sizes(), " and ", b.sizes());
  withType(a, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *pa = a.const_data_ptr<T>(), *pb = b.const_data_ptr<T>();
    T *py = call.results[0].mutable_data_ptr<T>();
    forElements(a, [&](int64_t begin, int64_t count) { loop(pa + begin, pb + begin, py + begin, count); });
  });
}

void ones(const KernelCall &call) { call.results[0].fill_(1); }
std::vector<at::Tensor> onesReference(const KernelCall &) { return {at::ones({})}; }

/// A result tensor as the destination of an ATen function.
at::Tensor destination(const KernelCall &call) { return call.results[0]; }

void add(const KernelCall &call) {
  at::Tensor y = destination(call);
  at::add_out(y, call.operands[0], call.operands[1]);
}
std::vector<at::Tensor> addReference(const KernelCall &call) { return {at::add(call.operands[0], call.operands[1])}; }

void mul(const KernelCall &call) {
  at::Tensor y = destination(call);
  at::mul_out(y, call.operands[0], call.operands[1]);
}
std::vector<at::Tensor> mulReference(const KernelCall &call) { return {at::mul(call.operands[0], call.operands[1])}; }

void scale(const KernelCall &call) {
  at::Tensor y = destination(call);
  at::mul_out(y, call.operands[0], at::scalar_tensor(call.number("factor"), call.operands[0].options()));
}
std::vector<at::Tensor> scaleReference(const KernelCall &call) {
  return {at::mul(call.operands[0], call.number("factor"))};
}

void cast(const KernelCall &call) { call.results[0].copy_(call.operands[0]); }
std::vector<at::Tensor> castReference(const KernelCall &call) {
  // In a run in double nothing is rounded.
  const at::Tensor &x = call.operands[0];
  if (x.scalar_type() == at::kDouble)
    return {x};
  return {x.to(call.text("dtype") == "bf16" ? at::kBFloat16 : at::kFloat)};
}

void exponential(const KernelCall &call) {
  at::Tensor y = destination(call);
  at::exp_out(y, call.operands[0]);
}
std::vector<at::Tensor> expReference(const KernelCall &call) { return {at::exp(call.operands[0])}; }

// Above the threshold ATen returns x: at 40 that is exact in fp64.
void softplus(const KernelCall &call) {
  at::Tensor y = destination(call);
  at::softplus_out(y, call.operands[0], /*beta=*/1, /*threshold=*/40);
}
std::vector<at::Tensor> softplusReference(const KernelCall &call) { return {at::softplus(call.operands[0], 1, 40)}; }

void sigmoid(const KernelCall &call) {
  unary(call, [](const auto *x, auto *y, int64_t count) { sigmoidArray(x, y, count); });
}
std::vector<at::Tensor> sigmoidReference(const KernelCall &call) { return {at::sigmoid(call.operands[0])}; }

void silu(const KernelCall &call) {
  unary(call, [](const auto *x, auto *y, int64_t count) { siluArray(x, y, count); });
}
std::vector<at::Tensor> siluReference(const KernelCall &call) { return {at::silu(call.operands[0])}; }

void swiglu(const KernelCall &call) {
  binary(call, [](const auto *gate, const auto *x, auto *y, int64_t count) { swigluArray(gate, x, y, count); });
}
std::vector<at::Tensor> swigluReference(const KernelCall &call) {
  return {at::silu(call.operands[0]) * call.operands[1]};
}

void siluGrad(const KernelCall &call) {
  binary(call, [](const auto *dy, const auto *x, auto *dx, int64_t count) { siluGradArray(dy, x, dx, count); });
}

void sigmoidGrad(const KernelCall &call) {
  at::Tensor dx = destination(call);
  at::sigmoid_backward_out(dx, call.operands[0], call.operands[1]);
}

void swigluGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &gate = call.operands[1], &x = call.operands[2];
  TORCH_CHECK(dy.sizes() == x.sizes() && gate.sizes() == x.sizes(), "shapes ", dy.sizes(), ", ", gate.sizes(), ", ",
              x.sizes());
  withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *pdy = dy.const_data_ptr<T>(), *pg = gate.const_data_ptr<T>(), *px = x.const_data_ptr<T>();
    T *pdg = call.results[0].mutable_data_ptr<T>(), *pdx = call.results[1].mutable_data_ptr<T>();
    forElements(x, [&](int64_t begin, int64_t count) {
      swigluGradArray(pdy + begin, pg + begin, px + begin, pdg + begin, pdx + begin, count);
    });
  });
}

const KernelRegistration onesRegistration("ones", {ones, onesReference});
const KernelRegistration addRegistration("add", {add, addReference});
const KernelRegistration mulRegistration("mul", {mul, mulReference});
const KernelRegistration scaleRegistration("scale", {scale, scaleReference});
const KernelRegistration castRegistration("cast", {cast, castReference});
const KernelRegistration expRegistration("exp", {exponential, expReference});
const KernelRegistration softplusRegistration("softplus", {softplus, softplusReference});
const KernelRegistration sigmoidRegistration("sigmoid", {sigmoid, sigmoidReference});
const KernelRegistration siluRegistration("silu", {silu, siluReference});
const KernelRegistration swigluRegistration("swiglu", {swiglu, swigluReference});
const KernelRegistration siluGradRegistration("silu_grad", {siluGrad});
const KernelRegistration sigmoidGradRegistration("sigmoid_grad", {sigmoidGrad});
const KernelRegistration swigluGradRegistration("swiglu_grad", {swigluGrad});

} // namespace

} // namespace morph
