// SPDX-License-Identifier: Apache-2.0
// Kernels: what the executor runs for an instruction, by op name. A file of kernels registers them with a static
// KernelRegistration; nothing else needs to know the file.

#ifndef MORPH_RUNTIME_KERNELS_KERNEL_H
#define MORPH_RUNTIME_KERNELS_KERNEL_H

#include "runtime/plan/Plan.h"

#include <ATen/ATen.h>

#include <functional>
#include <string>
#include <vector>

namespace morph {

/// Precision of a program's products. Weights' masters, accumulation, residual stream, norms, states and gates are fp32
/// under F32 and BF16; F64 computes everything in double and is for tests.
enum class Precision { F32, BF16, F64 };

/// One call of a kernel. Optional operands that are absent are undefined tensors.
struct KernelCall {
  const plan::Plan &plan;
  const plan::Instruction &instruction;
  Precision precision;
  const std::vector<at::Tensor> &operands;

  int64_t integer(const std::string &name) const { return std::get<int64_t>(instruction.attributes.at(name)); }
  double number(const std::string &name) const { return std::get<double>(instruction.attributes.at(name)); }
  const std::string &text(const std::string &name) const {
    return std::get<std::string>(instruction.attributes.at(name));
  }
  bool flag(const std::string &name) const { return instruction.attributes.count(name) != 0; }
};

/// Computes the results of an instruction. Forward kernels use differentiable ATen functions only and never write into
/// their operands, so that the tests can run them under autograd as the oracle of the compiler's gradients.
using Kernel = std::function<std::vector<at::Tensor>(const KernelCall &)>;

/// The kernel of an op, or null.
const Kernel *findKernel(const std::string &op);

struct KernelRegistration {
  KernelRegistration(const std::string &op, Kernel kernel);
};

/// A product x [...,I] times w [O,I] transposed under the call's precision: operands rounded to bf16 under BF16, fp32
/// accumulation and result.
at::Tensor product(const at::Tensor &x, const at::Tensor &weight, Precision precision);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_KERNEL_H
