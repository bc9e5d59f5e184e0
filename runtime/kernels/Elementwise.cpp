// SPDX-License-Identifier: Apache-2.0
// Elementwise ops: the expressions of their records in dialect/*.td, in ATen functions. Programs launch kernels that
// the compiler made of the same expressions; these are their reference, and run where an op stands alone (scalars,
// gates) or no compiled code is at hand.

#include "runtime/kernels/Kernel.h"

#include <ATen/ScalarOps.h>

namespace morph {

namespace {

using Tensors = std::vector<at::Tensor>;

/// A tensor in the words of dialect/Scalar.h, element by element, broadcast. Gradients flow through all of them, and
/// where a function is stable so is its gradient.
class Elements {
public:
  explicit Elements(at::Tensor tensor) : tensor(std::move(tensor)) {}
  /// A number, which takes the type of what stands beside it.
  Elements(double number) : tensor(at::native::wrapped_scalar_tensor(number)) {}
  operator at::Tensor() const { return tensor; }

  friend Elements operator+(const Elements &a, const Elements &b) { return Elements(a.tensor + b.tensor); }
  friend Elements operator-(const Elements &a, const Elements &b) { return Elements(a.tensor - b.tensor); }
  friend Elements operator*(const Elements &a, const Elements &b) { return Elements(a.tensor * b.tensor); }
  friend Elements operator/(const Elements &a, const Elements &b) { return Elements(a.tensor / b.tensor); }
  friend Elements operator-(const Elements &a) { return Elements(-a.tensor); }
  friend Elements exp(const Elements &x) { return Elements(at::exp(x.tensor)); }
  friend Elements log1p(const Elements &x) { return Elements(at::log1p(x.tensor)); }
  friend Elements sqrt(const Elements &x) { return Elements(at::sqrt(x.tensor)); }
  friend Elements abs(const Elements &x) { return Elements(at::abs(x.tensor)); }
  friend Elements sigmoid(const Elements &x) { return Elements(at::sigmoid(x.tensor)); }
  friend Elements fma(const Elements &a, const Elements &b, const Elements &c) { return a * b + c; }
  /// Of equal ones each has half of the gradient.
  friend Elements max(const Elements &a, const Elements &b) { return Elements(at::maximum(a.tensor, b.tensor)); }
  friend Elements selectBelow(const Elements &x, double limit, const Elements &a, const Elements &b) {
    return Elements(at::where(x.tensor < limit, a.tensor, b.tensor));
  }

private:
  at::Tensor tensor;
};

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
