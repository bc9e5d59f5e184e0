// SPDX-License-Identifier: Apache-2.0
// Elementwise ops: the expressions of their records in dialect/*.td, on numbers and, for autograd, in ATen functions.
// Programs launch kernels that the compiler made of the same expressions; these are their reference, and run where an
// op stands alone (scalars, decay rates) or no compiled code is at hand.

#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/Rows.h"

#include <ATen/ScalarOps.h>
#include <ATen/TensorIterator.h>

#include <array>
#include <cmath>
#include <tuple>

namespace morph {

namespace {

using Tensors = std::vector<at::Tensor>;

/// A tensor in the words of dialect/Scalar.h, element by element, broadcast. Gradients flow through all of them, and
/// where a function is stable so is its gradient. Some words no record has at present.
class Elements {
public:
  Elements() = default;
  explicit Elements(at::Tensor tensor) : tensor(std::move(tensor)) {}
  /// A number, which takes the type of what stands beside it.
  Elements(double number) : tensor(at::native::wrapped_scalar_tensor(number)) {}
  operator at::Tensor() const { return tensor; }

  friend Elements operator+(const Elements &a, const Elements &b) { return Elements(a.tensor + b.tensor); }
  [[maybe_unused]] friend Elements operator-(const Elements &a, const Elements &b) {
    return Elements(a.tensor - b.tensor);
  }
  friend Elements operator*(const Elements &a, const Elements &b) { return Elements(a.tensor * b.tensor); }
  [[maybe_unused]] friend Elements operator/(const Elements &a, const Elements &b) {
    return Elements(a.tensor / b.tensor);
  }
  friend Elements operator-(const Elements &a) { return Elements(-a.tensor); }
  friend Elements exp(const Elements &x) { return Elements(at::exp(x.tensor)); }
  friend Elements log(const Elements &x) { return Elements(at::log(x.tensor)); }
  friend Elements log1p(const Elements &x) { return Elements(at::log1p(x.tensor)); }
  [[maybe_unused]] friend Elements sqrt(const Elements &x) { return Elements(at::sqrt(x.tensor)); }
  friend Elements abs(const Elements &x) { return Elements(at::abs(x.tensor)); }
  friend Elements sigmoid(const Elements &x) { return Elements(at::sigmoid(x.tensor)); }
  friend Elements fma(const Elements &a, const Elements &b, const Elements &c) { return a * b + c; }
  /// Of equal ones each has half of the gradient.
  friend Elements max(const Elements &a, const Elements &b) { return Elements(at::maximum(a.tensor, b.tensor)); }
  [[maybe_unused]] friend Elements selectBelow(const Elements &x, double limit, const Elements &a, const Elements &b) {
    return Elements(at::where(x.tensor < limit, a.tensor, b.tensor));
  }

private:
  at::Tensor tensor;
};

// The same words on numbers.
using std::abs, std::exp, std::fma, std::log, std::log1p, std::sqrt;
double sigmoid(double x) { return 1 / (1 + exp(-x)); }
double max(double a, double b) { return a > b ? a : b; }
[[maybe_unused]] double selectBelow(double x, double limit, double a, double b) { return x < limit ? a : b; }

/// Computes an op element by element, broadcast, in double, rounded once.
template <typename Op> void runElements(const KernelCall &call) {
  const Op op(call);
  at::TensorIteratorConfig config;
  for (const at::Tensor &result : call.results)
    config.add_output(result);
  for (const at::Tensor &operand : call.operands)
    config.add_const_input(operand);
  at::TensorIterator elements = config.resize_outputs(false).build();
  withType(call.results[0], [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    constexpr size_t tensors = Op::results + Op::operands;
    elements.for_each([&](char **data, const int64_t *strides, int64_t columns, int64_t rows) {
      for (int64_t i = 0; i < rows * columns; ++i) {
        auto at = [&, row = i / columns, column = i % columns](size_t tensor) {
          return reinterpret_cast<T *>(data[tensor] + column * strides[tensor] + row * strides[tensors + tensor]);
        };
        std::array<double, Op::operands> values;
        for (size_t o = 0; o < Op::operands; ++o)
          values[o] = static_cast<double>(*at(Op::results + o));
        const std::array<double, Op::results> results = std::apply(op, values);
        for (size_t r = 0; r < Op::results; ++r)
          *at(r) = static_cast<T>(results[r]);
      }
    });
  });
}

template <typename Op> Tensors recordElements(const KernelCall &call) {
  std::array<Elements, Op::operands> values;
  for (size_t o = 0; o < Op::operands; ++o)
    values[o] = Elements(call.operands[o]);
  const std::array<Elements, Op::results> results = std::apply(Op(call), values);
  return Tensors(results.begin(), results.end());
}

#include "runtime/kernels/ElementwiseReferences.inc"

void ones(const KernelCall &call) { call.results[0].fill_(1); }
Tensors onesReference(const KernelCall &) { return {at::ones({})}; }

void cast(const KernelCall &call) { call.results[0].copy_(call.operands[0]); }
Tensors castReference(const KernelCall &call) {
  // In a run in double nothing is rounded.
  const at::Tensor &x = call.operands[0];
  if (x.scalar_type() == at::kDouble)
    return {x};
  return {x.to(call.text("dtype") == "bf16" ? at::kBFloat16 : at::kFloat)};
}

const KernelRegistration onesRegistration("ones", {ones, onesReference});
const KernelRegistration castRegistration("cast", {cast, castReference});

} // namespace

} // namespace morph
