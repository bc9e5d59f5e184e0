// SPDX-License-Identifier: Apache-2.0
// Kernels: what the executor runs for an instruction, by op name. A file of kernels registers them with a static
// KernelRegistration; nothing else needs to know the file.

#ifndef MORPH_RUNTIME_KERNELS_KERNEL_H
#define MORPH_RUNTIME_KERNELS_KERNEL_H

#include "runtime/kernels/ScratchAllocator.h"
#include "runtime/plan/Plan.h"

#include <ATen/ATen.h>

#include <string>
#include <vector>

namespace morph {

/// The floats of a run. What a plan calls f32 is fp32, or everything is double, which is for tests.
enum class Precision { F32, F64 };

/// What a value of a plan is in a run.
inline at::ScalarType scalarType(plan::DType dtype, Precision precision) {
  if (dtype == plan::DType::I64)
    return at::kLong;
  if (precision == Precision::F64)
    return at::kDouble;
  return dtype == plan::DType::BF16 ? at::kBFloat16 : at::kFloat;
}

/// One call of a kernel. Optional operands that are absent are undefined tensors. Tensors are contiguous.
struct KernelCall {
  const plan::Plan &plan;
  const plan::Instruction &instruction;
  const std::vector<at::Tensor> &operands;
  /// Where the results go, of the plan's shapes and types. One that updates is the operand's own tensor; one that the
  /// op table lets be computed in place may lie in the operand's memory; the others overlap nothing.
  const std::vector<at::Tensor> &results;
  /// plan::scratchBytes of memory, aligned to 64.
  ScratchAllocator scratch{nullptr, 0};

  int64_t integer(const std::string &name) const { return std::get<int64_t>(instruction.attributes.at(name)); }
  double number(const std::string &name) const { return std::get<double>(instruction.attributes.at(name)); }
  const std::string &text(const std::string &name) const {
    return std::get<std::string>(instruction.attributes.at(name));
  }
  bool flag(const std::string &name) const { return instruction.attributes.count(name) != 0; }
};

/// The two forms of an op.
struct Kernel {
  /// Writes the results.
  void (*run)(const KernelCall &) = nullptr;
  /// The op in differentiable ATen functions, which never write into operands: under autograd it is the tests' oracle
  /// of the compiler's gradients. `results` is empty. Null for ops that no gradient flows through.
  std::vector<at::Tensor> (*reference)(const KernelCall &) = nullptr;
};

/// The kernel of an op, or null.
const Kernel *findKernel(const std::string &op);

struct KernelRegistration {
  KernelRegistration(const std::string &op, Kernel kernel);
};

/// A `run` that copies what a function returns.
template <std::vector<at::Tensor> (*Function)(const KernelCall &)> void runByCopy(const KernelCall &call) {
  const std::vector<at::Tensor> results = Function(call);
  for (size_t i = 0; i < results.size(); ++i)
    call.results[i].copy_(results[i]);
}

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_KERNEL_H
