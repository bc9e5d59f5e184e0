// SPDX-License-Identifier: Apache-2.0
// Runs one kernel outside an executor.

#ifndef MORPH_TEST_RUNTIME_RUNKERNEL_H
#define MORPH_TEST_RUNTIME_RUNKERNEL_H

#include "runtime/kernels/Kernel.h"

#include <c10/core/GradMode.h>

namespace morph {

using Attributes = std::map<std::string, plan::Attribute>;

/// A plan with the rope table "rope" of three frequencies, which every call sees.
inline const plan::Plan &tablePlan() {
  static const plan::Plan plan = [] {
    plan::Plan p;
    p.ropeTables["rope"] = {{1, 0.3, 0.02}, 1.1};
    return p;
  }();
  return plan;
}

/// The results of an op's kernel; undefined tensors stand for absent operands. `record` lets autograd record.
inline std::vector<at::Tensor> runKernel(const std::string &op, const std::vector<at::Tensor> &operands,
                                         const Attributes &attributes = {}, Precision precision = Precision::F32,
                                         bool record = false) {
  c10::AutoGradMode mode(record);
  const Kernel *kernel = findKernel(op);
  TORCH_CHECK(kernel, "no kernel '", op, "'");
  plan::Instruction instruction{op, {}, {}, attributes};
  return (*kernel)(KernelCall{tablePlan(), instruction, precision, operands});
}

} // namespace morph

#endif // MORPH_TEST_RUNTIME_RUNKERNEL_H
