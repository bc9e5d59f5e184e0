// SPDX-License-Identifier: Apache-2.0
// Runs one kernel outside an executor.

#ifndef MORPH_TEST_RUNTIME_RUNKERNEL_H
#define MORPH_TEST_RUNTIME_RUNKERNEL_H

#include "runtime/kernels/Kernel.h"
#include "runtime/plan/InferShapes.h"
#include "runtime/plan/Scratch.h"

#include <ATen/Parallel.h>

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

/// The results of an op's kernel; undefined tensors stand for absent operands. `reference`, and operands that require a
/// gradient, run its differentiable form where it has one.
inline std::vector<at::Tensor> runKernel(const std::string &op, std::vector<at::Tensor> operands,
                                         const Attributes &attributes = {}, bool reference = false) {
  const Kernel *kernel = findKernel(op);
  const plan::OpRule *rule = plan::findOpRule(op);
  TORCH_CHECK(kernel && rule, "no kernel '", op, "'");
  plan::Instruction instruction{op, {}, {}, attributes};
  // Optional operands at the end may be left out.
  while (operands.size() < rule->operands.size() && rule->operands.back().arity == plan::Arity::Optional)
    operands.emplace_back();
  // What the length of the one variadic operand is, the others say.
  for (const plan::OperandRule &operand : rule->operands)
    if (operand.arity == plan::Arity::Variadic)
      instruction.attributes[operand.name + "_count"] =
          static_cast<int64_t>(operands.size() - (rule->operands.size() - 1));
  std::vector<at::Tensor> given, results;
  bool isDouble = false;
  for (const at::Tensor &operand : operands) {
    reference |= operand.defined() && operand.requires_grad();
    isDouble |= operand.defined() && operand.scalar_type() == at::kDouble;
  }
  if (reference && kernel->reference)
    return kernel->reference(KernelCall{tablePlan(), instruction, operands, results});
  // The operands are the values of a plan whose only instruction it is.
  plan::Plan plan = tablePlan();
  for (const at::Tensor &operand : operands) {
    given.push_back(operand.defined() ? operand.contiguous() : operand);
    instruction.operands.push_back(operand.defined() ? static_cast<int64_t>(given.size()) - 1 : -1);
    plan::TensorType &type = plan.values.emplace_back();
    if (!operand.defined())
      continue;
    type.shape.assign(operand.sizes().begin(), operand.sizes().end());
    if (operand.scalar_type() == at::kBFloat16)
      type.dtype = plan::DType::BF16;
  }
  plan::BoundSizes sizes;
  StatusOr<std::vector<plan::TensorType>> inferred = plan::inferResults(plan, instruction, sizes);
  TORCH_CHECK(inferred.ok(), op, ": ", inferred.status().message());
  std::vector<std::vector<int64_t>> extents;
  for (const at::Tensor &tensor : given)
    extents.push_back(tensor.defined() ? tensor.sizes().vec() : std::vector<int64_t>());
  for (const plan::TensorType &type : *inferred) {
    instruction.results.push_back(static_cast<int64_t>(extents.size()));
    extents.emplace_back();
    for (const plan::Dim &dim : type.shape)
      extents.back().push_back(std::get<int64_t>(dim));
    const bool half = type.dtype == plan::DType::BF16;
    results.push_back(at::empty(extents.back(), isDouble ? at::kDouble : half ? at::kBFloat16 : at::kFloat));
  }
  // What is updated is a copy of what the caller gave.
  const std::vector<int64_t> updated = plan::updatedValues(instruction, *rule);
  for (size_t r = 0; r < results.size(); ++r)
    if (updated[r] >= 0)
      results[r] = given[static_cast<size_t>(updated[r])] = given[static_cast<size_t>(updated[r])].clone();
  // Not a number in it, and a mark behind it.
  const int64_t bytes = plan::scratchBytes(plan, instruction, extents, {isDouble, at::get_num_threads()});
  const at::Tensor scratch = at::full({bytes + 64}, 0xff, at::kByte);
  kernel->run(KernelCall{plan, instruction, given, results, {scratch.mutable_data_ptr(), bytes}});
  TORCH_CHECK(scratch.slice(0, bytes).eq(0xff).all().item<bool>(), op, ": written behind the scratch");
  return results;
}

} // namespace morph

#endif // MORPH_TEST_RUNTIME_RUNKERNEL_H
