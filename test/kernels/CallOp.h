// SPDX-License-Identifier: Apache-2.0
// Runs one op's kernel as the executor would.

#ifndef MORPH_TEST_KERNELS_CALLOP_H
#define MORPH_TEST_KERNELS_CALLOP_H

#include "runtime/kernels/Kernel.h"

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

namespace morph {

/// The results of the kernel of `op`; an undefined tensor stands for an absent operand.
inline std::vector<at::Tensor> callOp(const std::string &op, const std::vector<at::Tensor> &operands,
                                      const std::map<std::string, plan::Attribute> &attributes,
                                      Precision precision = Precision::F32) {
  const Kernel *kernel = findKernel(op);
  TORCH_CHECK(kernel, "no kernel for '", op, "'");
  plan::Plan plan;
  plan::Instruction instruction;
  instruction.op = op;
  instruction.attributes = attributes;
  return (*kernel)(KernelCall{plan, instruction, precision, operands});
}

} // namespace morph

#endif // MORPH_TEST_KERNELS_CALLOP_H
